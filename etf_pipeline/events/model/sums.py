"""Whether two places have the same of an event, told by its log, channel and number. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from etf_pipeline.events.model.chain import GENESIS, chain
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.numbered import Numbered


class Sums:
    """A sum of 64 bits of each event of one log, by channel and number; eight bytes an event.

    Attributes:
        differing: ids of events that were compared and are otherwise.
        lacking: ids of events that were compared and were never seen.
    """

    def __init__(self, log: str) -> None:
        self._log = log
        self._sums: dict[str, Numbered] = {}
        self.differing: dict[str, None] = {}
        self.lacking: dict[str, None] = {}

    def saw(self, events: Iterable[Event]) -> None:
        """The log has these; those of other logs, and those without a number, are passed over."""
        groups: dict[str, tuple[list[int], list[int]]] = {}
        for event in events:
            if event.number > 0 and event.log == self._log:
                numbers, sums = groups.setdefault(event.channel, ([], []))
                numbers.append(event.number)
                sums.append(_sum(event))
        for channel, group in groups.items():
            self._sums.setdefault(channel, Numbered(np.uint64)).put(*group)

    def compare(self, events: Iterable[Event]) -> None:
        """Another place has these."""
        for event in events:
            if event.number and event.log == self._log:
                sums = self._sums.get(event.channel)
                known = 0 if sums is None else sums.get(event.number)
                if known == 0:
                    self.lacking[event.id] = None
                elif known != _sum(event):
                    self.differing[event.id] = None


def _sum(event: Event) -> int:
    return int.from_bytes(chain(GENESIS, event)[:8]) | 1  # 0 is for none
