"""What each process noted: what it was about to do, what was confirmed to it, and what failed.

A line is a JSON list. An event is noted as intended before the call that records it, and as
acknowledged, with an fsync, after that call has returned. Times are those of the machine's
monotonic clock, which all processes of a host share.
"""

from __future__ import annotations

import json
import mmap
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

CHANNELS = ("etf-data-events", "portfolio-events", "query-events")
LINEAGE = "lineage-events"
_SIZE = 2**28
_COUNTED = len("0000000000\n")


class Ledger:
    """One process's file; a fork begins another.

    It is mapped into memory, so that a process whose files may not grow can still note that. Its
    first line is how many events were acknowledged, for who only wants to know whether it goes on.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._guard = threading.Lock()
        self._begin()
        os.register_at_fork(
            before=self._guard.acquire,
            after_in_parent=self._guard.release,
            after_in_child=self._after_fork,
        )

    def _begin(self) -> None:
        path = self._folder / f"{self._name}-{os.getpid()}.jsonl"
        with path.open("w+b") as handle:
            handle.truncate(_SIZE)
            self._map = mmap.mmap(handle.fileno(), _SIZE)
        self._end, self._count = _COUNTED, 0
        self._map[:_COUNTED] = b"%010d\n" % 0

    def _after_fork(self) -> None:
        self._begin()
        self._guard.release()

    def write(self, *values: Any, sync: bool = False) -> None:
        line = json.dumps(values).encode() + b"\n"
        with self._guard:
            begin, self._end = self._end, self._end + len(line)
            self._map[begin : self._end] = line
            if sync:
                page = begin - begin % mmap.PAGESIZE
                self._map.flush(page, self._end - page)

    def intend(self, events: list[Any]) -> None:
        found = [list(Intended(e.channel, e.subject, e.time_us, e.type, e.id)) for e in events]
        self.write("intend", found)

    def acknowledge(self, ids: list[str]) -> None:
        self.write("ack", time.monotonic(), ids, sync=True)
        with self._guard:
            self._count += len(ids)
            self._map[:_COUNTED] = b"%010d\n" % self._count


class Intended(NamedTuple):
    """An event that somebody was about to record; `time_us` is microseconds since 1970 UTC."""

    channel: str
    subject: str
    time_us: int
    type: str
    id: str


@dataclass
class Replay:
    """One replay: when it began and ended, from which event time, and what came of it."""

    began: float
    ended: float
    from_us: int | None
    ids: list[str]
    queries: int
    error: str = ""


@dataclass
class Noted:
    """All ledgers of one store."""

    intended: dict[str, Intended] = field(default_factory=dict)
    acknowledged: dict[str, float] = field(default_factory=dict)
    failed: list[tuple[float, float, str]] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    replays: list[Replay] = field(default_factory=list)
    runs: dict[str, float] = field(default_factory=dict)


def read_ledgers(folder: Path) -> Noted:
    found = Noted()
    for line in _lines(folder):
        kind, *rest = line
        if kind == "intend":
            found.intended.update({i[-1]: Intended(*i) for i in rest[0]})
        elif kind == "ack":
            found.acknowledged.update(dict.fromkeys(rest[1], rest[0]))
        elif kind == "fail":
            found.failed.append((rest[0], rest[1], rest[2]))
        elif kind == "crash":
            found.crashed.append(rest[0])
        elif kind == "replay":
            found.replays.append(Replay(*rest))
        elif kind == "run":
            found.runs[rest[1]] = rest[0]
    return found


def count_acknowledged(folder: Path) -> int:
    """How many events were acknowledged by now."""
    return sum(_count(p) for p in folder.glob("*.jsonl"))


def _count(path: Path) -> int:
    with path.open("rb") as handle:
        return int(handle.read(_COUNTED).rstrip(b"\0") or 0)  # it may just have been made


def _lines(folder: Path) -> Iterator[list[Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        for line in _written(path).split(b"\n"):
            try:
                yield json.loads(line)
            except ValueError:  # the count; or the last one of a process that was killed, torn
                continue


def _written(path: Path) -> bytes:
    """What was written of a file that is longer than that."""
    with path.open("rb") as handle:
        found = bytearray()
        while block := handle.read(2**20):
            found += block
            if block.endswith(b"\0"):
                break
    return bytes(found.rstrip(b"\0"))
