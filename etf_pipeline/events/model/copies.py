"""Whether all copies of an event say the same, and which events no chain here proves. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from etf_pipeline.errors import EventFormatError
from etf_pipeline.events.model.envelope import Event

_NOTHING: tuple[object, ...] = (None, "", [], {})


class Copies:
    """A hash of each event's id and one of what it says: 17 bytes for each copy.

    Args:
        log: id of the local log, whose hash chain proves what is of it.

    Attributes:
        fewer: ids of events of which a copy of another log says less, and nothing else.
    """

    def __init__(self, log: str) -> None:
        self._log = log
        self._names, self._sums, self._foreign = array("q"), array("q"), bytearray()
        self.fewer: list[str] = []

    def saw(self, events: Sequence[Event]) -> None:
        """These were read, each from some place."""
        self._names.extend([hash(e[0]) for e in events])
        # When it was recorded, by which log and where it lies may differ; what it says may not.
        self._sums.extend([hash((*e[1:6], e[7], e[8])) for e in events])
        self._foreign.extend([e[11] != self._log for e in events])

    def unproven(self, proven: array[int]) -> int:
        """How many events no copy of is of the local log.

        Args:
            proven: hashes of the ids of events that its chain leads through under former ids.
        """
        names, foreign = np.asarray(self._names), np.frombuffer(self._foreign, np.bool_)
        if not foreign.any():
            return 0
        known = np.concatenate([names[~foreign], np.asarray(proven)])
        return len(np.setdiff1d(names[foreign], known))

    def differing(self, again: Iterable[Iterable[Event]]) -> Iterator[str]:
        """Ids of events of which copies contradict each other; `fewer` has those that do not.

        Args:
            again: the same events once more, read only when not all say the same.
        """
        names, sums = np.asarray(self._names), np.asarray(self._sums)
        order = np.argsort(names)
        ordered = names[order]
        # Of several copies, those that say the same may lie apart, but then not all are alike.
        first = np.flatnonzero(ordered[1:] == ordered[:-1])
        bad = set(ordered[first[sums[order[first]] != sums[order[first + 1]]]].tolist())
        if not bad:
            return
        told: dict[str, dict[tuple[object, ...], Event]] = {}
        for event in (e for batch in again for e in batch if hash(e.id) in bad):
            told.setdefault(event.id, {})[(event.log, *event[1:6], *event[7:9])] = event
        for name, versions in sorted(told.items()):
            if any(contradict(a, b) for a, b in combinations(versions.values(), 2)):
                yield name
            else:
                self.fewer.append(name)


def contradict(one: Event, other: Event) -> bool:
    """Whether two copies of an event cannot both be as they were recorded.

    They can where two machines tell one fact, and one of them knows less: the file that has the
    values was replaced before it told, or its release does not tell them yet.
    """
    same = (1, 3, 4, 5, 8)  # type, source, subject, time and channel
    if [one[i] for i in same] != [other[i] for i in same]:
        return True
    try:
        a, b = one.payload().model_dump(), other.payload().model_dump()
    except EventFormatError:
        return one.data != other.data
    differing = [name for name in a if a[name] != b[name]]
    if differing and (one.log == other.log or not (one.log and other.log)):
        return True
    return not (_says_less(a, b, differing) or _says_less(b, a, differing))


def _says_less(one: dict[str, Any], other: dict[str, Any], differing: Sequence[str]) -> bool:
    """Whether one says nothing where they differ, but why it does not."""
    return all(other[n] is None if n == "gone" else one[n] in _NOTHING for n in differing)
