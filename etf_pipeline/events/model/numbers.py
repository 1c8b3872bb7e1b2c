"""Is anything missing? Told by the numbers that every local log gives its events. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from etf_pipeline.events.model.checks import first_few
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.numbered import Numbered, Span, holes, joined

_EVER = 2**63
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
        self._seen: dict[Series, Numbered] = {}
        self._declared: dict[Series, list[Span]] = {}

    def saw(self, events: Iterable[Event]) -> None:
        """These were read; again and in any order is all the same. Without a number, none is."""
        groups: dict[Series, list[int]] = {}
        for event in events:
            if event[12] > 0:
                key = (event[11], event[8])
                group = groups.get(key)
                if group is None:
                    groups[key] = [event[12]]
                else:
                    group.append(event[12])
        for key, group in groups.items():
            marks = self._seen.get(key)
            if marks is None:
                marks = self._seen[key] = Numbered(np.uint8)
            marks.put(group, [1] * len(group))

    def declared(self, gap: Gap) -> None:
        """Somebody declared these lost for good: they are missed no more."""
        self._declared.setdefault((gap.log, gap.channel), []).append((gap.first, gap.last))

    def tops(self) -> dict[Series, int]:
        """The greatest number that was seen of each log and channel."""
        return {key: marks.spans()[-1][1] for key, marks in self._seen.items()}

    def gaps(
        self, upto: Mapping[Series, int] | None = None, below: Mapping[Series, int] | None = None
    ) -> Iterator[Gap]:
        """What is missing below the greatest number seen, or known to have been given.

        Args:
            upto: numbers that are known to have been given, by log and channel.
            below: if given, greater ones that were seen besides do not count.
        """
        known = upto or {}
        for key in sorted({*self._seen, *self._declared, *known}):
            spans = list(self._declared.get(key, ()))
            if key in self._seen:
                spans += self._seen[key].spans()
            top = _EVER if below is None else max(below.get(key, 0), known.get(key, 0))
            for first, last in holes(joined(sorted(spans)), known.get(key, 0)):
                if first <= top:
                    yield Gap(*key, first, min(last, top))


class Held:
    """Which events of one local log were read already, so that copies of them may be passed over.

    Told by number and id, as an older copy of a log that was put back gives numbers again; eight
    bytes an event.
    """

    def __init__(self, log: str) -> None:
        self.log = log.encode()
        self._marks: dict[str, Numbered] = {}

    def saw(self, events: Iterable[Event]) -> None:
        """These were read."""
        log = self.log.decode()
        groups: dict[str, tuple[list[int], list[int]]] = {}
        for event in events:
            if event[12] > 0 and event[11] == log:
                group = groups.get(event[8])
                if group is None:
                    group = groups[event[8]] = ([], [])
                group[0].append(event[12])
                group[1].append(hash(event[0]))
        for channel, group in groups.items():
            self._marks.setdefault(channel, Numbered(np.int64)).put(*group)

    def others(self, events: Sequence[Event]) -> Sequence[Event]:
        """Those of some events that were not read, in their order."""
        log, groups = self.log.decode(), dict[str, list[int]]()
        rest = []
        for i, event in enumerate(events):
            if event[11] != log:
                rest.append(i)
            elif (group := groups.get(event[8])) is None:
                groups[event[8]] = [i]
            else:
                group.append(i)
        for channel, group in groups.items():
            mine = [events[i] for i in group]
            was = self.which(channel, [e[12] for e in mine], [e[0] for e in mine])
            rest += [i for i, known in zip(group, was, strict=True) if not known]
        return [events[i] for i in sorted(rest)]

    def which(self, channel: str, numbers: Sequence[int], names: Sequence[str]) -> list[bool]:
        """Of each event whether it was read, told by its number, above 0, and its id."""
        marks = self._marks.get(channel)
        if marks is None:
            return [False] * len(numbers)
        same = marks.values(numbers) == np.array(list(map(hash, names)), np.int64)
        found: list[bool] = same.tolist()
        return found if all(names) else [f and n != "" for f, n in zip(found, names, strict=True)]
