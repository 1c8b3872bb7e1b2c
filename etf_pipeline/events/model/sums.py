"""Whether two places have the same of an event, told by its log, channel and number. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence

import numpy as np

from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.numbered import Numbered

# Begins what is summed up, so that nobody can make another event of an equal sum.
_SECRET = secrets.token_hex(16)


class Sums:
    """A sum of 63 bits of each event of one log, by channel and number; 17 bytes an event.

    Attributes:
        differing: ids of events that were compared and are otherwise.
        lacking: ids of events that were compared and were never seen.
    """

    def __init__(self, log: str) -> None:
        self._log = log
        self._sums: dict[str, Numbered] = {}
        self._positions: dict[str, Numbered] = {}
        self._same = Numbered(np.uint8)
        self.differing: dict[str, None] = {}
        self.lacking: dict[str, None] = {}

    def saw(self, events: Iterable[Event]) -> None:
        """The log has these; those of other logs, and those without a number, are passed over.

        Args:
            events: each with its position in the log, above 0.
        """
        for channel, group in self._groups(events)[0].items():
            sums = self._sums.setdefault(channel, Numbered(np.int64))
            numbers = [e[12] for e in group]
            sums.put(numbers, list(map(_sum, group)))
            positions = self._positions.setdefault(channel, Numbered(np.int64))
            positions.put(numbers, [e[10] for e in group])

    def compare(self, events: Iterable[Event]) -> list[Event]:
        """Another place has these. Those are given of which the log does not have the same."""
        groups, rest = self._groups(events)
        for channel, group in groups.items():
            numbers = [e[12] for e in group]
            known = self._sums.get(channel, _NONE).values(numbers)
            same = known == np.array(list(map(_sum, group)), np.int64)
            for i in np.flatnonzero(~same).tolist():
                (self.differing if known[i] else self.lacking)[group[i].id] = None
                rest.append(group[i])
            if same.any():
                there = self._positions[channel].values(numbers)[same].tolist()
                self._same.put(there, [1] * len(there))
        return rest

    def not_same(self, positions: Sequence[int]) -> list[int]:
        """Those of some positions in the log whose events the other place did not have so."""
        rest = np.flatnonzero(self._same.values(positions) == 0).tolist()
        return [positions[i] for i in rest]

    def _groups(self, events: Iterable[Event]) -> tuple[dict[str, list[Event]], list[Event]]:
        """Numbered events of the log by channel, and the rest."""
        groups: dict[str, list[Event]] = {}
        rest = []
        for event in events:
            if event[12] <= 0 or event[11] != self._log:
                rest.append(event)
            elif (group := groups.get(event[8])) is None:
                groups[event[8]] = [event]
            else:
                group.append(event)
        return groups, rest


_NONE = Numbered(np.int64)


def _sum(event: Event) -> int:
    a, b, c, d, e, f, g, h, i = event[:9]
    text = f"{_SECRET}{a}\x1f{b}\x1f{c}\x1f{d}\x1f{e}\x1f{f}\x1f{g}\x1f{h}\x1f{i}"
    return hash(text) | 1  # 0 is for none
