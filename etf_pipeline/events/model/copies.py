"""Whether all copies of an event say the same, and which events no chain here proves. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from etf_pipeline.events.model.envelope import Event


class Copies:
    """A hash of each event's id and one of what it says: 17 bytes for each copy.

    Args:
        log: id of the local log, whose hash chain proves what is of it.
    """

    def __init__(self, log: str) -> None:
        self._log = log
        self._names, self._sums, self._foreign = array("q"), array("q"), bytearray()

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
        """Ids of events of which not all copies say the same.

        Args:
            again: the same events once more, read only when there are such.
        """
        names, sums = np.asarray(self._names), np.asarray(self._sums)
        order = np.argsort(names)
        ordered = names[order]
        # Of several copies, those that say the same may lie apart, but then not all are alike.
        first = np.flatnonzero(ordered[1:] == ordered[:-1])
        bad = set(ordered[first[sums[order[first]] != sums[order[first + 1]]]].tolist())
        if bad:
            yield from sorted({e.id for batch in again for e in batch if hash(e.id) in bad})
