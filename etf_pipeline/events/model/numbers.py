"""Is anything missing? Told by the numbers that every local log gives its events. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from etf_pipeline.events.model.checks import first_few
from etf_pipeline.events.model.envelope import Event

# A local log's id, and a channel.
Series = tuple[str, str]


class Gap(NamedTuple):
    """Events of one log and channel that nothing holds: the numbers of the first and the last."""

    log: str
    channel: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.channel} {self.first} to {self.last} of log {self.log}"


def missing(gaps: Sequence[Gap], meanwhile: str) -> str:
    """What is missing, in words, and what to do.

    Args:
        gaps: at least one.
        meanwhile: what became of the events that are there.
    """
    return (
        f"events are missing: {first_few([str(g) for g in gaps])}; {meanwhile}. Restore "
        "events/archive from a backup, or start a process on the machine of that log, which sends "
        "what waits there; `etf events missing` lists them, and declares them lost when they are"
    )


class Numbers:
    """Which numbers were seen of each log and channel; a byte an event."""

    def __init__(self) -> None:
        self._seen: dict[Series, bytearray] = {}

    def saw(self, events: Iterable[Event]) -> None:
        """These were read; again and in any order is all the same. Without a number, none is."""
        seen = self._seen
        for event in events:
            number = event[12]
            if number:
                marks = seen.get((event[11], event[8]))
                if marks is None:
                    marks = seen[(event[11], event[8])] = bytearray(number + 1)
                elif number >= len(marks):
                    marks.extend(bytes(max(number + 1 - len(marks), len(marks))))
                marks[number] = 1

    def declared(self, gap: Gap) -> None:
        """Somebody declared these lost for good: they are missed no more."""
        marks = self._seen.setdefault((gap.log, gap.channel), bytearray())
        marks.extend(bytes(max(0, gap.last + 1 - len(marks))))
        marks[gap.first : gap.last + 1] = b"\1" * (gap.last + 1 - gap.first)

    def gaps(self, upto: Mapping[Series, int] | None = None) -> Iterator[Gap]:
        """What is missing below the greatest number seen, or known to have been given.

        Args:
            upto: numbers that are known to have been given, by log and channel.
        """
        known = upto or {}
        for log, channel in sorted({*self._seen, *known}):
            marks = self._seen.get((log, channel), bytearray())
            end = max(marks.rfind(1), known.get((log, channel), 0)) + 1
            marks = marks[:end] + bytes(max(0, end - len(marks)))
            first = marks.find(0, 1)
            while first != -1:
                after = marks.find(1, first)
                after = end if after == -1 else after
                yield Gap(log, channel, first, after - 1)
                first = marks.find(0, after)


class Held:
    """Which events of one local log were read already, so that copies of them may be passed over.

    Told by number and id, as an older copy of a log that was put back gives numbers again; eight
    bytes an event.
    """

    def __init__(self, log: str) -> None:
        self.log = log.encode()
        self._marks: dict[str, array[int]] = {}

    def saw(self, events: Iterable[Event]) -> None:
        """These were read."""
        log = self.log.decode()
        for event in events:
            if event[11] == log and event[12]:
                marks = self._marks.setdefault(event[8], array("q"))
                number = event[12]
                if number >= len(marks):
                    marks.extend([0] * (number + 1 - len(marks)))
                marks[number] = hash(event[0])

    def has(self, channel: str, number: int, name: str) -> bool:
        """Whether the event of this number and id was read."""
        marks = self._marks.get(channel, ())
        return 0 < number < len(marks) and marks[number] == hash(name)
