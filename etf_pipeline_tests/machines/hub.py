"""The machine that decides what runs. It does at once what Dagster's daemon does by its clock.

It hands runs over, watches their signs of life, hands over again what was lost, and tells events.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg

from etf_pipeline.events.settings import load_event_settings
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.orchestration.beats import LOST_SECONDS, Beats, Watch
from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.orchestration.database import outage
from etf_pipeline.orchestration.instance import open_instance
from etf_pipeline.orchestration.jobs import DERIVE, INGEST
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.tasks import MADE_BY
from etf_pipeline.settings import load_settings
from etf_pipeline_tests.machines.source import YAHOO_SHARD
from etf_pipeline_tests.pipeline.machines import hand_over

A = TypeVar("A")
_TRIES = 4
_AWAY_SECONDS = 60.0
_POOL, _AT_ONCE = "yahoo", 1
_TABLES = tuple(a for a in MADE_BY[DERIVE] if not LINEAGE[a].goes_without)
_DEFINITIONS = "etf_pipeline_tests.machines.definitions"


@dataclass
class Asked:
    """A run that has to come out well, and every try of it."""

    job: str
    partition: str = ""
    assets: tuple[str, ...] = ()
    runs: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.job} {self.partition}".strip()

    @property
    def config(self) -> dict[str, Any]:
        """Yahoo is asked of one shard, the files of the others."""
        yahoo = {"ops": {"raw_prices": {"config": {"source": "yahoo"}}}}
        return yahoo if self.partition == YAHOO_SHARD else {}


class Hub:
    """In this process, with a home and a working copy of its own."""

    def __init__(self, *, hurried: bool) -> None:
        """`hurried` is for cycles that do not wait for the minute of a run's silence."""
        settings, events = load_settings(), load_event_settings()
        self.pipeline = Pipeline(settings, events)
        self._repository = build_definitions(settings, events, self.pipeline).get_repository_def()
        self.instance = open_instance()
        self._hurried, self._ahead = hurried, 0.0
        self._watch = Watch(self.instance, clock=lambda: time.monotonic() + self._ahead)
        self._sensor = self._repository.get_sensor_def("event_relay")
        self._cursor: str | None = None
        self.instance.event_log_storage.set_concurrency_slots(_POOL, _AT_ONCE)
        self.tell()  # from now on

    @property
    def partitions(self) -> list[str]:
        return self.pipeline.universe.partitions()

    def ask_shards(self) -> list[Asked]:
        return [Asked(INGEST, p) for p in self.partitions]

    def ask_tables(self, *, whole: bool) -> list[Asked]:
        """With what people open besides, if it is `whole`: drawing takes longer than all else."""
        return [Asked(DERIVE, assets=() if whole else _TABLES)]

    def hand_over(self, asked: Asked) -> None:
        """Hand one more try of it over."""
        run = hand_over(
            self.instance,
            self._repository,
            asked.job,
            asked.partition,
            asked.config,
            _DEFINITIONS,
            asked.assets,
        )
        asked.runs.append(run)

    def under_way(self, asked: list[Asked]) -> tuple[str, int] | None:
        """A run among these that a worker executes by now, and the number of its process."""
        mine = {run for one in asked for run in one.runs}
        for run, (process, _) in self.seen().items():
            number = _number(process)
            started = run in mine and self.status(run) is dg.DagsterRunStatus.STARTED
            if started and number is not None:
                return run, number
        return None

    def seen(self) -> dict[str, tuple[str, int]]:
        """The signs of life that there are."""
        return self.patient(Beats(self.instance).seen)

    def status(self, run: str) -> dg.DagsterRunStatus:
        found = self.patient(lambda: self.instance.get_run_by_id(run))
        assert found is not None
        return found.status

    def done(self, asked: Asked) -> bool:
        """Whether its last try came out; one that failed is handed over again.

        Raises:
            AssertionError: it failed again and again.
        """
        status = self.status(asked.runs[-1])
        if status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED):
            if len(asked.runs) >= _TRIES:
                raise AssertionError(f"{asked} failed {_TRIES} times: {self.why(asked.runs[-1])}")
            self.patient(lambda: self.hand_over(asked))
        return status is dg.DagsterRunStatus.SUCCESS

    def over(self, asked: Asked) -> bool:
        """Whether its last try is, whichever way."""
        run = self.patient(lambda: self.instance.get_run_by_id(asked.runs[-1]))
        return run is not None and run.is_finished

    def why(self, run: str) -> str:
        """The last of what Dagster recorded of a run."""
        told = [e for e in self.instance.all_logs(run) if e.dagster_event is not None]
        return "; ".join(str(e.user_message or e.dagster_event.message) for e in told[-4:])

    def look(self) -> None:
        """Look at the signs of life; when only the dead are left, their minute is over at once."""
        self.patient(self._watch.look)
        seen = self.seen()
        if self._hurried and seen and not any(_lives(_number(p)) for p, _ in seen.values()):
            # Not in one go: who did not look for so long begins to count anew.
            for _ in range(3):
                self._ahead += LOST_SECONDS / 2
                self.patient(self._watch.look)

    def tell(self) -> str:
        """One tick of the sensor that tells events; what it said."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self._cursor,
            repository_def=self._repository,
            resources={"pipeline": self.pipeline},
        )
        tick = self._sensor.evaluate_tick(context)
        self._cursor = tick.cursor
        return tick.skip_message or ""

    def left(self) -> list[str]:
        """What is held or unfinished though nothing is under way any more, in words."""
        storage = self.instance.event_log_storage
        found = [
            f"run {r.run_id} stays {r.status.value}"
            for r in self.instance.get_runs()
            if not r.is_finished
        ]
        for pool in storage.get_concurrency_keys():
            info = storage.get_concurrency_info(pool)
            held = {s.run_id for s in info.claimed_slots} | info.pending_run_ids
            found += [f"a slot of {pool} stays with run {run}" for run in sorted(held)]
        return found + [f"run {run} stays {p}" for run, (p, _) in self.seen().items()]

    def patient(self, call: Callable[[], A]) -> A:
        """What a call comes to when PostgreSQL is there again."""
        deadline = time.monotonic() + _AWAY_SECONDS
        while True:
            try:
                return call()
            except Exception as error:
                if outage(error) is None or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def close(self) -> None:
        self.pipeline.events.close(0)
        self.instance.dispose()


def _number(process: str) -> int | None:
    """The number of a process; None where a run was begun whose process has not said which."""
    number = process.rpartition(" ")[2]
    return int(number) if number.isdigit() else None


def _lives(pid: int | None) -> bool:
    """Whether a process of this host is there and has not ended; one that is not known may be."""
    if pid is None:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX" and pid != os.getpid()
