"""Starts processes cheaply: a process that has everything imported, and nothing open, is forked.

It has no thread and no file of a store, so its children are what a fresh start would be. Those
whose clock is to be another are started afresh, as the library for that is loaded at the start.

    python -m etf_pipeline_tests.soak.nursery
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_NEEDED = (
    "etf_pipeline.cli.app",
    "etf_pipeline.cli.events",
    "etf_pipeline.events.kafka.log",
    "etf_pipeline.events.kafka.worker",
    "etf_pipeline.events.proof.verify",
    "etf_pipeline.library.system",
    "etf_pipeline_tests.soak.programs",
)
_PR_SET_CHILD_SUBREAPER = 36
_START_SECONDS, _END_SECONDS = 60.0, 10.0
# Without these rights even root is stopped by a folder that may not be written.
_RIGHTS = "-dac_override,-dac_read_search"


class Nursery:
    """The asking side; one per process that runs cycles."""

    def __init__(self) -> None:
        self._ended: dict[int, int] = {}
        self._replies: list[int] = []
        self._changed = threading.Condition()
        self._begin()

    def _begin(self) -> None:
        # Not ours: whoever reads that to its end would wait for what is left of a cycle.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [*without_rights(), sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        # Its own: who still waits for one before it gets none of these.
        self._ended, self._replies = {}, []
        threading.Thread(
            target=self._listen,
            args=[self._process.stdout, self._ended, self._replies],
            daemon=True,
        ).start()

    def restart(self) -> None:
        """Kill it, and begin anew; what was started is killed by whoever knows of it."""
        self._process.kill()
        self._process.wait(_END_SECONDS)
        self._begin()

    def start(
        self, program: str, args: list[str], env: dict[str, str], out: Path, *, afresh: bool = False
    ) -> int:
        """Run a program of `programs.py`; its process number, which is its group's too."""
        asked = {"program": program, "args": args, "env": env, "out": str(out), "afresh": afresh}
        assert self._process.stdin is not None
        with self._changed:
            replies = self._replies
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            if not self._changed.wait_for(lambda: replies, _START_SECONDS):
                self._errors.seek(0)
                text = self._errors.read().decode(errors="replace")[-3000:]
                raise RuntimeError(f"no process was started within {_START_SECONDS:g} s: {text}")
            return replies.pop(0)

    def ended(self, pid: int) -> int | None:
        """How it ended: an exit code, or a signal's number negated; None while it runs."""
        with self._changed:
            return self._ended.get(pid)

    def wait(self, pid: int, seconds: float) -> int | None:
        """As `ended`, once it has or that many seconds have gone."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._ended, seconds)
            return self._ended.get(pid)

    def family(self) -> dict[int, int]:
        """Its children, theirs and so on, each with its process group; but those that ended.

        A number that is noted anywhere may be that of somebody else's process by now.
        """
        found = dict(_processes())
        mine, new = dict[int, int](), {self._process.pid}
        while new:
            new = {p for p, (parent, _) in found.items() if parent in new}
            mine |= {p: found[p][1] for p in new}
        return mine

    def kill(self, *groups: int) -> None:
        """SIGKILL for all of these process groups."""
        for pid, group in self.family().items():
            if group in groups:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_END_SECONDS)

    def _listen(self, said: Iterable[str], ended: dict[int, int], replies: list[int]) -> None:
        for line in said:
            told = json.loads(line)
            with self._changed:
                if "started" in told:
                    ended.pop(told["started"], None)  # another one had the number before
                    replies.append(told["started"])
                else:
                    ended[told["ended"]] = told["code"]
                self._changed.notify_all()


def _processes() -> Iterator[tuple[int, tuple[int, int]]]:
    """Each process that has not ended, with its parent and its process group."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, group, *_ = path.read_text().rpartition(")")[2].split()
            if state not in "ZX":
                yield int(path.parent.name), (int(parent), int(group))


def without_rights() -> list[str]:
    """What a command begins with, that what it starts may write only what it is allowed to."""
    if os.geteuid() != 0:
        return []
    found = shutil.which("setpriv")
    return [] if found is None else [found, "--bounding-set", _RIGHTS, "--inh-caps", _RIGHTS]


def can_forbid_writing() -> bool:
    """Whether a folder that may not be written stops the processes started here."""
    return os.geteuid() != 0 or bool(without_rights())


def _serve() -> dict[str, Any] | None:
    """Until there is nobody who asks; in a child, what it is to do."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(reading, selectors.EVENT_READ)
    held, started = b"", list[int]()
    while True:
        for key, _ in selector.select():
            if key.fd == reading:
                os.read(reading, 4096)
                _reap()
                continue
            data = os.read(0, 65536)
            if not data:
                for pid in started:  # with what they forked
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(pid, signal.SIGKILL)
                return None
            *lines, held = (held + data).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    selector.close()
                    os.close(reading)
                    os.close(writing)
                    return json.loads(line)
                started.append(pid)
                _tell({"started": pid})


def _adopt_orphans() -> None:
    """Become the parent of what a child forked once that child has ended (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _tell({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _tell(what: dict[str, Any]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _become(asked: dict[str, Any]) -> None:
    os.setsid()
    out = os.open(asked["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(old, new)
    if asked["afresh"]:
        argv = [sys.executable, "-m", "etf_pipeline_tests.soak.programs"]
        os.execve(sys.executable, [*argv, asked["program"], *asked["args"]], asked["env"])
    faulthandler.register(signal.SIGQUIT, file=2, all_threads=True)  # says where it is
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    from etf_pipeline_tests.soak.programs import PROGRAMS

    code = 1
    try:
        PROGRAMS[asked["program"]](*asked["args"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        _exit(code)


def _exit(code: int) -> None:
    """End as Python does, but for taking every module apart, which takes longer than most do."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def main() -> None:
    """Import what children will need, then serve."""
    for name in _NEEDED:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a fork of a process with threads is another matter"
    _adopt_orphans()
    gc.collect()
    gc.freeze()  # children would copy what they look through
    asked = _serve()
    if asked is not None:
        _become(asked)


if __name__ == "__main__":
    main()
