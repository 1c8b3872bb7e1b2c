"""Runs side by side, each in a process of its own: `ETF_EXECUTOR=multiprocess` of `etf run`.

Workers are fresh interpreters that are given the very pipeline of the command line, and serve one
run after the other. They end with whoever started them, however that ends. Dagster's own executor
would start an interpreter for each step, and let none of them say how far it is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.outcomes import Outcome
from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.orchestration.failures import StepFailure
from etf_pipeline.orchestration.interrupts import handled, interrupt
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.stages import settled
from etf_pipeline.orchestration.tasks import Done, Task, execute
from etf_pipeline.steps.workers import listen, workers_of
from etf_pipeline.store.stages import Before

log = logging.getLogger(__name__)
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; "
    "from etf_pipeline.orchestration.side_by_side import serve; serve()"
)
_BREATH_SECONDS = 0.5  # where waiting cannot be interrupted, Ctrl-C is heard after this long
_LAST_SECONDS = 10.0  # for what is under way to end by itself when it is stopped


@dataclass(frozen=True)
class Told:
    """One outcome, as it comes."""

    asset: str
    outcome: Outcome


@dataclass(frozen=True)
class Said:
    """Something for whoever waits."""

    text: str


@dataclass(frozen=True)
class Broken:
    """A run that could not be executed at all."""

    why: str


class Worker:
    """One process, and the pipes to it."""

    def __init__(self, given: bytes, inbox: queue.Queue[tuple[Worker, Any]]) -> None:
        self.task: Task | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # who started it hears Ctrl-C, and passes it on once
        )
        self._given: bytes | None = given
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()

    def give(self, task: Task, workers: int) -> None:
        """Have a run executed, with so many processes in its steps; the inbox is told of it."""
        self.task = task
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError):  # it is gone, which its other pipe says
            if self._given is not None:
                stdin.write(self._given)
                self._given = None
            pickle.dump((task, workers), stdin)
            stdin.flush()

    def stop(self) -> None:
        """Have what is under way end, with its end on record."""
        with contextlib.suppress(OSError):
            self._process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)

    def end(self, seconds: float) -> None:
        """Have it gone, at once where it does not end within some seconds."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._process.kill()
        self._process.wait()

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        code = self._process.wait()
        name = f"exit code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                name = signal.Signals(-code).name
        return f"its process {self._process.pid} was ended by {name}"

    def _listen(self, inbox: queue.Queue[tuple[Worker, Any]]) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            while True:
                inbox.put((self, pickle.load(stdout)))
        except Exception:  # an end, or what cannot be understood
            inbox.put((self, None))


class SideBySide:
    """Executes runs in as many processes as there are cores, or runs, if these are fewer."""

    def __init__(self, pipeline: Pipeline, instance: dg.DagsterInstance, most: int) -> None:
        self._pipeline, self._instance = pipeline, instance
        self._most = most
        self._inbox: queue.Queue[tuple[Worker, Any]] = queue.Queue()
        self._workers: list[Worker] = []
        self._before: dict[str, Before] = {}
        parts = (
            *(pipeline.settings, pipeline.event_settings, pipeline.clock),
            *(pipeline.source, pipeline.pairs),
        )
        self._given = pickle.dumps((parts, instance.get_ref()))

    def execute(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """What came of each run, in their order, as they end."""
        # Processes in steps besides: as many in all as the setting allows one step.
        beside = max(1, min(self._most, len(tasks)))
        share = max(1, workers_of(self._pipeline.settings.workers) // beside)
        left, done = [(t, share) for t in tasks], dict[str, Done]()
        self._before = {t.run_id: t.before(self._pipeline) for t in tasks}
        for worker in self._workers:
            if left:
                worker.give(*left.pop(0))
        for task in tasks:
            while task.run_id not in done:
                while left and len(self._workers) < self._most:
                    self._workers.append(Worker(self._given, self._inbox))
                    self._workers[-1].give(*left.pop(0))
                with contextlib.suppress(queue.Empty):
                    for one in self._heard(*self._inbox.get(timeout=_BREATH_SECONDS), left):
                        done[one.run_id] = one
            yield done[task.run_id]

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.end(_LAST_SECONDS)
        self._workers.clear()

    def stop(self) -> None:
        """Stop what is under way, and record the end of what could not do so itself."""
        tasks = [w.task for w in self._workers if w.task is not None]
        for worker in self._workers:
            worker.stop()
        self.close()
        for task in tasks:
            run = self._instance.get_run_by_id(task.run_id)
            if run is not None and not run.is_finished:
                self._instance.report_run_canceled(run)

    def _heard(self, worker: Worker, message: Any, left: list[tuple[Task, int]]) -> Iterator[Done]:
        """Take in a message; gives the run that it ends."""
        pipeline, task = self._pipeline, worker.task
        if isinstance(message, Told) and pipeline.progress is not None:
            pipeline.progress(message.asset, message.outcome)
        elif isinstance(message, Said) and pipeline.say is not None:
            pipeline.say(message.text)
        elif isinstance(message, Done):
            worker.task = None
            if left:
                worker.give(*left.pop(0))
            yield message
        elif isinstance(message, Broken) or message is None:
            self._workers.remove(worker)
            code = ReasonCode.OUR_MISTAKE if isinstance(message, Broken) else ReasonCode.KILLED
            worker.end(0 if message is None else _LAST_SECONDS)
            why = message.why if isinstance(message, Broken) else worker.ending
            if task is not None:
                yield self._lost(task, StepFailure(code, why))

    def _lost(self, task: Task, failure: StepFailure) -> Done:
        """What came of a run whose process is gone: as far as Dagster's record of it tells."""
        run = self._instance.get_run_by_id(task.run_id)
        if run is not None and not run.is_finished:
            self._instance.report_run_failed(run, failure.message)
        logs = self._instance.all_logs(task.run_id) if run is not None else []
        events = [e.dagster_event for e in logs if e.dagster_event is not None]
        planned = [dg.AssetKey(name) for name in task.makes]
        before = self._before[task.run_id]
        stages = settled(
            self._pipeline, task.run_id, task.partition, planned, events, before, failure
        )
        return Done(task.run_id, tuple(stages))


@contextmanager
def side_by_side(
    pipeline: Pipeline, instance: dg.DagsterInstance, most: int
) -> Iterator[Callable[[Sequence[Task]], Iterator[Done]]]:
    """What executes runs side by side, for the block; SIGTERM is heard as Ctrl-C in it.

    Args:
        pipeline: given to each process as it is, but for its display.
        instance: of the runs.
        most: processes at a time; as many as there are cores are enough.
    """
    crew = SideBySide(pipeline, instance, most)
    with handled(interrupt, signal.SIGTERM):
        try:
            yield crew.execute
        except BaseException:
            crew.stop()
            raise
        crew.close()


def serve() -> None:
    """Be a worker: execute what comes in on standard input until that ends. Never returns."""
    outward = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come in between
    inward: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(sys.stdin.buffer, inward), daemon=True).start()
    sending = threading.Lock()

    def send(message: object) -> None:
        with sending:
            pickle.dump(message, outward)
            outward.flush()

    try:
        (settings, events, clock, source, pairs), ref = inward.get()
        pipeline = Pipeline(settings, events, clock, None, source, pairs)
        pipeline = replace(
            pipeline,
            progress=lambda asset, outcome: send(Told(asset, outcome)),
            say=lambda text: send(Said(text)),
        )
        with dg.DagsterInstance.from_ref(ref) as instance:
            defs = build_definitions(settings, events, pipeline).get_repository_def()
            while True:
                task, workers = inward.get()
                pipeline.settings = settings.model_copy(update={"workers": workers})
                send(execute(task, pipeline, defs, instance))
    except KeyboardInterrupt:
        os._exit(130)
    except BaseException as error:
        traceback.print_exc()
        send(Broken(f"{type(error).__name__}: {error}"))
        os._exit(1)  # the listener is in the middle of reading
