"""Independent work spread over processes, in one way: results and their order are those of one.

Workers are fresh interpreters that import this package and nothing of the program that starts them,
so that a script without a `__main__` guard may start them too. They end with it, however it ends.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, Protocol, TypeVar

from etf_pipeline.errors import WorkerDiedError

T = TypeVar("T")
R = TypeVar("R")
Item = TypeVar("Item", contravariant=True)
Result = TypeVar("Result", covariant=True)

LEAST = 300  # items of some milliseconds each: starting a worker takes about a second
_AT_ONCE = 8  # items; a worker that ends takes no more with it, and progress goes on
_MOST = 8  # by default, as each worker takes 150 to 200 MB
_LOGGER = "etf_pipeline"
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from etf_pipeline.steps.workers import serve; serve()"
)
# Where waiting cannot be interrupted (Windows), a Ctrl-C is heard after this long.
_BREATH_SECONDS = 0.5


class Work(Protocol[Item, Result]):
    """What is done to each item; pickled, so its class is that of a module.

    Entered once in each process: what it opens for all items (readers, caches) it keeps until then.
    """

    def __call__(self) -> AbstractContextManager[Callable[[Item], Result]]:
        """The function of one item, for as long as the block lasts."""
        ...


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def workers_of(asked: int | None) -> int:
    """How many workers there may be: as many as are asked for, else one for each core, to 8."""
    return min(usable_cores(), _MOST) if asked is None else asked


def spread(
    work: Work[T, R],
    items: Sequence[T],
    workers: int,
    *,
    least: int | None = None,
    at_once: int = _AT_ONCE,
    each: Callable[[R], None] | None = None,
) -> list[R]:
    """The result of each item, in their order, whatever the number of workers.

    Args:
        work: what is done; its results must not depend on what other items are done before.
        items: pickled on their way to a worker, as results are on their way back.
        workers: how many processes; with one, all is done in this one.
        least: below so many items all is done in this process, too; None for `LEAST`.
        at_once: how many items a worker takes at a time; 1 for those that take seconds.
        each: told of every result as it comes, in order, in this process.

    Raises:
        WorkerDiedError: a worker ended before its work. What it published is whole.
        Exception: the first, in order of items, that the work raised.
    """
    results: list[R] = []
    parts = [items[i : i + at_once] for i in range(0, len(items), at_once)]
    count = min(workers, len(parts))
    alone = count < 2 or len(items) < (LEAST if least is None else least)
    found = _here(work, items) if alone else _there(work, parts, count)
    with contextlib.closing(found):
        for result in found:
            results.append(result)
            if each is not None:
                each(result)
    return results


def _here(work: Work[T, R], items: Sequence[T]) -> Generator[R, None, None]:
    with work() as one:
        yield from map(one, items)


def _there(work: Work[T, R], parts: Sequence[Sequence[T]], count: int) -> Generator[R, None, None]:
    with _asking(pickle.dumps(work), count) as ask:
        for answer in [ask(part) for part in parts]:
            reply = _awaited(answer)
            for record in reply.records:
                _log_again(record)
            yield from reply.results
            if reply.error is not None:
                raise reply.error


@dataclass(frozen=True)
class _Reply:
    """What came of some items: results up to the first error, and what was logged meanwhile."""

    results: list[Any]
    error: BaseException | None
    records: list[logging.LogRecord]


class _Worker:
    """One process, and the pipes to it."""

    def __init__(self, work: bytes) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        level = logging.getLogger(_LOGGER).getEffectiveLevel()
        self._first: tuple[bytes, int] | None = (work, level)

    def ask(self, items: Sequence[Any]) -> _Reply:
        """Have some items done."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            if self._first is not None:
                pickle.dump(self._first, stdin)
                self._first = None
            pickle.dump(items, stdin)
            stdin.flush()
            reply: _Reply = pickle.load(stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise WorkerDiedError(
                f"worker process {self._process.pid} {_ending(self._process)} before its work was "
                "done. What it published is whole: run again; if it is short of memory, with a "
                "smaller ETF_WORKERS (1 for no workers)"
            ) from error
        return reply

    def kill(self) -> None:
        """Have it gone, whatever it is doing."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Close the pipes, once nobody waits for it any more."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not sent any more
                if pipe is not None:
                    pipe.close()


def _ending(process: subprocess.Popen[bytes]) -> str:
    """How a process that does not answer any more ended, in words."""
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "closed its pipe"
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


@contextmanager
def _asking(work: bytes, count: int) -> Iterator[Callable[[Sequence[Any]], Future[_Reply]]]:
    """What has items done by the next of some workers that is free; all are gone afterwards."""
    workers: list[_Worker] = []
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    threads = ThreadPoolExecutor(count, thread_name_prefix="etf-worker")  # one waits for each

    def ask(items: Sequence[Any]) -> _Reply:
        worker = idle.get()
        try:
            return worker.ask(items)
        finally:
            idle.put(worker)

    try:
        for _ in range(count):
            workers.append(_Worker(work))
            idle.put(workers[-1])
        yield lambda items: threads.submit(ask, items)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.kill()
        threads.shutdown()
        for worker in workers:
            worker.close()


def _awaited(answer: Future[_Reply]) -> _Reply:
    while True:
        with contextlib.suppress(TimeoutError):
            return answer.result(timeout=_BREATH_SECONDS)


def _log_again(record: logging.LogRecord) -> None:
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def serve() -> None:
    """Be a worker: do what comes in on standard input until that ends. Never returns."""
    for name in ("SIGINT", "SIGTERM"):  # who started us hears them, and ends us
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    outward = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come in between
    inward: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(sys.stdin.buffer, inward), daemon=True).start()
    pickled, level = inward.get()
    logged = _collecting(level)
    try:
        with _opened(pickled) as one:
            while True:
                outward.write(_done(one, inward.get(), logged))
                outward.flush()
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # the listener is in the middle of reading


@contextmanager
def _opened(pickled: bytes) -> Iterator[Callable[[Any], Any]]:
    """The function of one item; where it cannot be had, one that raises the reason."""
    try:
        opened = pickle.loads(pickled)()
        one = opened.__enter__()
    except Exception as error:
        yield partial(_raise, error)
    else:
        yield one  # never left but by the end of this process


def _raise(error: Exception, _: object) -> None:
    raise error


def listen(pipe: IO[bytes], inward: queue.SimpleQueue[Any]) -> None:
    """Take in what comes; when whoever sends it is gone, so is this process, at once."""
    try:
        while True:
            inward.put(pickle.load(pipe))
    except BaseException:  # an end, or what cannot be understood
        os._exit(0)


def _done(
    one: Callable[[Any], Any],
    items: Sequence[Any],
    logged: queue.SimpleQueue[logging.LogRecord],
) -> bytes:
    """A pickled reply."""
    results: list[Any] = []
    error: BaseException | None = None
    try:
        for item in items:
            results.append(one(item))
    except Exception as raised:
        raised.add_note(f"in a worker process:\n{traceback.format_exc()}")
        error = raised
    records = [logged.get() for _ in range(logged.qsize())]
    try:
        reply = pickle.dumps(_Reply(results, error, records))
        pickle.loads(reply)  # some errors only fail when they are read
    except Exception as unfit:
        text = f"cannot be sent back from a worker process: {error or unfit!r}"
        reply = pickle.dumps(_Reply([], RuntimeError(text), []))
    return reply


def _collecting(level: int) -> queue.SimpleQueue[logging.LogRecord]:
    """What the package logs from now on, as texts; it is logged again by who started us."""
    logged: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logger = logging.getLogger(_LOGGER)
    logger.handlers, logger.propagate = [logging.handlers.QueueHandler(logged)], False
    logger.setLevel(level)
    return logged
