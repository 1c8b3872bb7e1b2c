"""What goes wrong: a function for each kind of `script.py`.

Those of `BEFORE` come before runs are handed over, those of `DURING` when one is under way; of
`redis_away` it depends. Each says what it did, as that depends on what the machines were doing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from etf_pipeline.model.schemas import HISTORY, RAW, RISK_METRICS, WEIGHTS, Table
from etf_pipeline_tests.machines.hub import Asked
from etf_pipeline_tests.machines.script import Trouble
from etf_pipeline_tests.machines.world import Box, World, until
from etf_pipeline_tests.share.s3 import Gate

_BEGIN_SECONDS = 60.0
_WRITE_SECONDS = 30.0
_HOUR = 3600
_TOO_LATE = "nothing is under way any more"


@dataclass
class Phase:
    """The runs that are handed over together, and what there was before."""

    world: World
    asked: list[Asked]
    had: dict[str, set[tuple[str, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.had = {b.folder.name: _written(b, _ALL) for b in self.world.boxes}

    def box(self, trouble: Trouble) -> Box:
        """The machine that a trouble chose."""
        return self.world.boxes[trouble.choice % len(self.world.boxes)]

    def under_way(self) -> tuple[str, int, Box] | None:
        """A run that is executed by now, its process and its machine; None when all are over."""
        found: list[tuple[str, int, Box]] = []

        def look() -> bool:
            if (one := self.world.hub.under_way(self.asked)) is not None:
                box = self.world.box_of(one[1])
                found.extend([] if box is None else [(*one, box)])
            return bool(found) or all(self.world.hub.over(a) for a in self.asked)

        until(look, _BEGIN_SECONDS)
        return found[0] if found else None


def one_shard_twice(phase: Phase, trouble: Trouble) -> str:
    """One run is asked for twice, and both machines take it at once."""
    one = phase.asked.pop(trouble.choice % len(phase.asked))
    phase.asked[:0] = [one, Asked(one.job, one.partition, one.assets)]
    return f"{one} is asked for twice"


def stale_copy(phase: Phase, trouble: Trouble) -> str:
    """A working copy, or both, are put back to what they were."""
    nights = 1 if trouble.tables else 2
    boxes = phase.world.boxes if trouble.choice % 3 == 2 else [phase.box(trouble)]
    for box in boxes:
        phase.world.put_back(box, nights)
    names = " and ".join(b.folder.name for b in boxes)
    return f"what {names} has is put back by {nights} nights"


def clock_off(phase: Phase, trouble: Trouble) -> str:
    """A machine's clock is an hour ahead or behind until the cycle ends."""
    box, offset = phase.box(trouble), _HOUR if trouble.choice % 4 < 2 else -_HOUR
    box.set_clock(offset)
    return f"the clock of {box.folder.name} is off by {offset} s"


def redis_away_from_the_hub(phase: Phase, trouble: Trouble) -> str:
    """The way to the broker is shut while runs are sent."""
    gate = phase.world.services.redis
    gate.shut()
    phase.world.later(trouble.seconds, gate.open)
    return f"Redis is away for {trouble.seconds:g} s from before the runs are handed over"


def killed_before_event(phase: Phase, trouble: Trouble) -> str:
    """A run's process ends when it has written a file, most likely before Dagster knows of it."""
    victim = phase.under_way()
    if victim is None:
        return _TOO_LATE
    run, pid, box = victim
    tables, had = _chosen(trouble), phase.had[box.folder.name]

    def wrote() -> bool:
        return not _written(box, tables) <= had

    until(lambda: wrote() or not box.worker.has(pid), _WRITE_SECONDS, 0.002)
    if not box.worker.has(pid):
        return f"run {run} ended before it could be killed"
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return f"run {run} on {box.folder.name} is killed, having written {tables[0].name}"


def machine_killed(phase: Phase, trouble: Trouble) -> str:
    """Every process of a machine ends, and it begins again."""
    victim = phase.under_way()
    time.sleep(trouble.after)
    box = phase.box(trouble) if victim is None else victim[2]
    box.lose()
    box.begin_again()
    what = "idle" if victim is None else f"in the middle of run {victim[0]}"
    return f"{box.folder.name} is lost, {what}, and begins again"


def postgres_away(phase: Phase, trouble: Trouble) -> str:
    """The database ends at once, and is started again."""
    phase.under_way()
    time.sleep(trouble.after)
    phase.world.services.postgres.down()
    time.sleep(trouble.seconds)
    phase.world.services.postgres.up()
    return f"PostgreSQL was away for {trouble.seconds:g} s"


def share_away(phase: Phase, trouble: Trouble) -> str:
    """The way to the bucket is shut, and opened again."""
    phase.under_way()
    time.sleep(trouble.after)
    with _shut(phase.world.services.s3):
        time.sleep(trouble.seconds)
    return f"S3 was away for {trouble.seconds:g} s"


def redis_away_from_workers(phase: Phase, trouble: Trouble) -> str:
    """The way to the broker is shut while runs are executed."""
    phase.under_way()
    time.sleep(trouble.after)
    with _shut(phase.world.services.redis):
        time.sleep(trouble.seconds)
    return f"Redis was away for {trouble.seconds:g} s"


Happens = Callable[[Phase, Trouble], str]
BEFORE: dict[str, Happens] = {
    "one_shard_twice": one_shard_twice,
    "stale_copy": stale_copy,
    "clock_off": clock_off,
}
DURING: dict[str, Happens] = {
    "killed_before_event": killed_before_event,
    "machine_killed": machine_killed,
    "postgres_away": postgres_away,
    "share_away": share_away,
    "redis_away": redis_away_from_workers,
}


def before(trouble: Trouble) -> Happens | None:
    """What happens before runs are handed over."""
    if trouble.what == "redis_away" and trouble.choice % 2:
        return redis_away_from_the_hub
    return BEFORE.get(trouble.what)


def during(trouble: Trouble) -> Happens | None:
    """What happens when one is under way."""
    return None if before(trouble) else DURING[trouble.what]


_SHARD, _TABLES = (RAW, HISTORY), (RISK_METRICS, WEIGHTS)
_ALL = (*_SHARD, *_TABLES)


def _chosen(trouble: Trouble) -> tuple[Table, ...]:
    among = _TABLES if trouble.tables else _SHARD
    return (among[trouble.choice % len(among)],)


def _written(box: Box, tables: tuple[Table, ...]) -> set[tuple[str, int]]:
    """Files of tables, each with its number on the disk, which a new version does not share."""
    found = set()
    for path in (p for t in tables for p in box.layout.files(t)):
        with contextlib.suppress(FileNotFoundError):
            found.add((str(path), path.stat().st_ino))
    return found


@contextlib.contextmanager
def _shut(gate: Gate) -> Iterator[None]:
    gate.shut()
    try:
        yield
    finally:
        gate.open()
