"""Small values by number, where numbers are dense but for what is broken or forged. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Numbers below this, and below so many times what was put, are in one array.
_ROOM = 2**20
_TIMES = 16
Span = tuple[int, int]


class Numbered:
    """A value for each number from 1 on, 0 for none: in an array, at the size of its type each.

    A number that lies far beyond how many were put costs what a dictionary's entry does, and not
    an array of that length.

    Args:
        dtype: of the values.
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._near: npt.NDArray[np.generic] = np.zeros(0, dtype)
        # What is at or beyond the end of the array.
        self._far: dict[int, int] = {}
        self._put = 0

    def put(self, numbers: Sequence[int], values: Sequence[int]) -> None:
        """These numbers, at least one and all above 0, have these values."""
        self._put += len(numbers)
        limit, top = _ROOM + _TIMES * self._put, max(numbers)
        if top >= len(self._near):
            if top >= limit:
                top = max((n for n in numbers if n < limit), default=0)
            if top >= len(self._near):
                self._grow(top + 1)
            end = len(self._near)
            self._far |= {n: v for n, v in zip(numbers, values, strict=True) if n >= end}
            pairs = [(n, v) for n, v in zip(numbers, values, strict=True) if n < end]
            if not pairs:
                return
            numbers, values = zip(*pairs, strict=True)
        self._near[np.array(numbers, np.int64)] = np.array(values, self._near.dtype)

    def _grow(self, least: int) -> None:
        near = np.zeros(max(least, 2 * len(self._near)), self._near.dtype)
        near[: len(self._near)] = self._near
        self._near = near
        for number in [n for n in self._far if n < len(near)]:
            near[number] = self._far.pop(number)

    def values(self, numbers: Sequence[int]) -> npt.NDArray[np.generic]:
        """The values of some numbers, 0 for none."""
        wanted = np.array(numbers, np.int64)
        found = np.zeros(len(wanted), self._near.dtype)
        near = (wanted > 0) & (wanted < len(self._near))
        found[near] = self._near[wanted[near]]
        if self._far:
            for i in np.flatnonzero(~near).tolist():
                found[i] = self._far.get(numbers[i], 0)
        return found

    def spans(self) -> list[Span]:
        """First and last of the numbers, in order, that have values and follow each other."""
        has = self._near != 0
        edges = np.flatnonzero(has[1:] != has[:-1]).tolist()
        if len(edges) % 2:
            edges.append(len(has) - 1)
        near = [(a + 1, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        return joined([*near, *((n, n) for n in sorted(self._far))])


def joined(spans: Sequence[Span]) -> list[Span]:
    """Spans, in order of their beginnings, where those that touch are one."""
    found: list[Span] = []
    for first, last in spans:
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def holes(spans: Sequence[Span], upto: int) -> list[Span]:
    """What spans, in order and apart, leave out from 1 to their last, or to `upto`."""
    found, before = [], 0
    for first, last in spans:
        if first > before + 1:
            found.append((before + 1, first - 1))
        before = last
    if upto > before:
        found.append((before + 1, upto))
    return found
