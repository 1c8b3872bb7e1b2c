"""Signs of life of runs, and the failure of those that give none any more.

A process that executes a run counts in a row of a table beside Dagster's, every few seconds.
Whoever watches sees whether the count goes on, and judges how long it has stood still by its own
monotonic clock: what the clocks of machines and of the database say does not matter.

A run that was only slow, and has been failed meanwhile, is told so by its own next sign of life: it
is interrupted. What it could write until then is harmless: one process at a time writes a partition
or a history, and what a batch or a file has already is not written again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import sqlalchemy as sa
from sqlalchemy import exc

from etf_pipeline.orchestration.database import outage
from etf_pipeline.orchestration.interrupts import interruptible
from etf_pipeline.settings import environment
from etf_pipeline.store.forks import unforked

log = logging.getLogger(__name__)
BEAT_SECONDS = 10.0
# Six signs of life that did not come; with the pause between two looks, within two minutes.
LOST_SECONDS = 60.0
LOOK_SECONDS = 15.0
# What nobody but others makes of a run.
_ENDED = frozenset({dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED})
# On a run that the launcher handed to a worker; Celery itself may not be installed here.
_WORKERS_TAG = "dagster-celery/task_id"
_UNKNOWN = "on a machine that did not say which"
_BEATS = sa.Table(
    "etf_run_beats",
    sa.MetaData(),
    sa.Column("run_id", sa.String(255), primary_key=True),
    sa.Column("process", sa.Text, nullable=False),
    sa.Column("beat", sa.BigInteger, nullable=False),
)


@dataclass
class Beats:
    """The table of signs of life, in the database of an instance."""

    instance: dg.DagsterInstance

    def begin(self, run_id: str) -> None:
        """The first sign of life of a run, in place of those of an earlier process."""
        mine = {"process": _process(), "beat": 0}
        self.expect(run_id)
        with self._connected() as connection:
            connection.execute(_BEATS.update().where(_BEATS.c.run_id == run_id).values(mine))
            connection.commit()

    def expect(self, run_id: str) -> None:
        """A row for a run that has none, so that its signs of life are missed from now on."""
        with self._connected() as connection:
            with contextlib.suppress(exc.IntegrityError, exc.ProgrammingError):
                # of two that make the table at the same moment one is refused
                _BEATS.create(connection, checkfirst=True)
            with contextlib.suppress(exc.IntegrityError):
                row = {"run_id": run_id, "process": _UNKNOWN, "beat": 0}
                connection.execute(_BEATS.insert().values(row))
            connection.commit()

    def beat(self, run_id: str) -> bool:
        """One more; False where somebody has taken the run's row away."""
        mine = _BEATS.update().where(_BEATS.c.run_id == run_id)
        with self._connected() as connection:
            there = connection.execute(mine.values(beat=_BEATS.c.beat + 1)).rowcount
            connection.commit()
        return bool(there)

    def seen(self) -> dict[str, tuple[str, int]]:
        """By run: the process, and its count."""
        with self._connected() as connection:
            if not sa.inspect(connection).has_table(_BEATS.name):
                return {}
            rows = connection.execute(_BEATS.select()).all()
        return {r.run_id: (r.process, r.beat) for r in rows}

    def end(self, run_id: str, seen: tuple[str, int] | None = None) -> bool:
        """Take a row away; of several that do, one is told that it did.

        With `seen`, only if it says that still.
        """
        row = _BEATS.delete().where(_BEATS.c.run_id == run_id)
        if seen is not None:
            row = row.where(_BEATS.c.process == seen[0], _BEATS.c.beat == seen[1])
        with self._connected() as connection:
            gone = connection.execute(row).rowcount
            connection.commit()
        return bool(gone)

    def _connected(self) -> contextlib.AbstractContextManager[sa.Connection]:
        storage: Any = self.instance.run_storage
        found: contextlib.AbstractContextManager[sa.Connection] = storage.connect()
        return found


def _process() -> str:
    """This process, for people: the machine's name, and the process's number at the end."""
    return f"on {platform.node()}, process {os.getpid()}"


@contextlib.contextmanager
def alive(instance: dg.DagsterInstance, run_id: str, every: float = BEAT_SECONDS) -> Iterator[None]:
    """A run of the command line in the main thread, which hears when it is ended from elsewhere.

    With signs of life, where other machines may wait for its slot.
    """
    if environment.postgres_url():
        with beating(instance, run_id, every):
            yield
        return
    ended = _EndedElsewhere(run_id)

    def look() -> None:
        with unforked():
            run = instance.get_run_by_id(run_id)
        ended.heed(run)

    with _again_and_again(look, run_id, every), interruptible():
        yield


def was_cancelled(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether somebody ever cancelled a run, whatever Dagster calls it since it came out."""
    asked = {dg.DagsterEventType.RUN_CANCELING, dg.DagsterEventType.RUN_CANCELED}
    return bool(instance.get_records_for_run(run_id, of_type=asked, limit=1).records)


@contextlib.contextmanager
def beating(
    instance: dg.DagsterInstance, run_id: str, every: float = BEAT_SECONDS
) -> Iterator[None]:
    """Give signs of life of a run while the block executes it in the main thread.

    The main thread is interrupted, as by Ctrl-C, when the run was ended from elsewhere. A run whose
    end could not be recorded keeps its row: it is missed, and failed by whoever watches.
    """
    beats, watch, ended = Beats(instance), Watch(instance), _EndedElsewhere(run_id)
    beats.begin(run_id)

    def look() -> None:
        there = beats.beat(run_id)
        run = instance.get_run_by_id(run_id)
        watch.look()
        ended.heed(run, there)

    try:
        with _again_and_again(look, run_id, every), interruptible():
            yield
    finally:
        _leave(beats, run_id)


@contextlib.contextmanager
def _again_and_again(look: Callable[[], None], run_id: str, every: float) -> Iterator[None]:
    """Have a thread look every few seconds during the block; that it could not is said."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(every):
            try:
                look()
            except Exception as error:
                log.warning("no sign of life of run %s: %s", run_id, outage(error) or error)

    thread = threading.Thread(target=keep, name="etf-beats", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(every)


@dataclass
class _EndedElsewhere:
    """Whether a run that is executed here was ended by somebody else: then it is interrupted.

    Once, so that it can clean up; again only where it is here still after a pause.
    """

    run_id: str
    _failed: bool = False
    _quiet_until: float = float("-inf")

    def heed(self, run: dg.DagsterRun | None, there: bool = True) -> None:
        """Judge by what Dagster says of the run, and by whether its row is `there`."""
        if run is None:
            return  # it is about to be made
        # One that has just failed by itself leaves the block before the next look.
        known, self._failed = self._failed, run.status is dg.DagsterRunStatus.FAILURE
        ended = run.status in _ENDED or (self._failed and (known or not there))
        if ended and time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + BEAT_SECONDS / 2
            log.error("run %s was ended from elsewhere: interrupting it here", self.run_id)
            _interrupt_main_thread()


def _leave(beats: Beats, run_id: str) -> None:
    """Take a run's row away, unless its end is not recorded."""
    try:
        run = beats.instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            beats.end(run_id)
    except Exception as error:
        if (lost := outage(error)) is None:
            raise
        log.warning("run %s is missed until its end is known: %s", run_id, lost)


def _interrupt_main_thread() -> None:
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:  # a wait of the system's is not ended by it
        signal.raise_signal(signal.SIGINT)


@dataclass
class Watch:
    """Whoever looks at the signs of life, again and again, and fails the runs that give none."""

    instance: dg.DagsterInstance
    lost_after: float = LOST_SECONDS
    clock: Callable[[], float] = time.monotonic
    _since: dict[str, tuple[tuple[str, int], float]] = field(default_factory=dict)
    _looked: float = float("-inf")
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> list[str]:
        """Look once; the runs that were failed.

        What was seen before a pause in looking (the database was away, this machine slept) does not
        count: who could not look could not see either.
        """
        with self._turn:
            beats = Beats(self.instance)
            seen = beats.seen()
            if unseen := self._unseen(seen):
                for run_id in unseen:
                    beats.expect(run_id)
                seen = beats.seen()
            now = self.clock()
            if now - self._looked > self.lost_after:
                self._since.clear()
            self._looked = now
            self._since = {
                run: known if (known := self._since.get(run)) and known[0] == beat else (beat, now)
                for run, beat in seen.items()
            }
            silent = [r for r, (_, t) in self._since.items() if now - t >= self.lost_after]
            return [run for run in silent if self._fail(run, self._since.pop(run)[0])]

    def _unseen(self, seen: Iterable[str]) -> list[str]:
        """Runs under way on workers without a row, as where who took it could not go on to fail it.

        Asked for after the rows: one that has ended meanwhile is not among them, and one that has
        begun meanwhile has a row that stays.
        """
        started = self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        known = set(seen)
        return [r.run_id for r in started if _WORKERS_TAG in r.tags and r.run_id not in known]

    def _fail(self, run_id: str, seen: tuple[str, int]) -> bool:
        """Fail a run and free its slots, unless it is over or somebody else just did."""
        run = self.instance.get_run_by_id(run_id)
        if not Beats(self.instance).end(run_id, seen):
            return False
        if run is None or run.is_finished:
            return False
        message = (
            f"the run is lost: it was {seen[0]}, and has given no sign of life for "
            f"{self.lost_after:g} s: its machine, or its way to the database, is gone"
        )
        log.error("run %s: %s", run_id, message)
        self.instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        self.instance.report_run_failed(run, message)
        return True
