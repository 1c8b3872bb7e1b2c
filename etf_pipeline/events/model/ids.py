"""Event ids by the million: 16 bytes each in sorted arrays, and not a Python string each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
# An id as `str(uuid.UUID(…))` writes it; whatever is written in another way is another id.
_CANONICAL = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LENGTH = 36
_HYPHENS = (8, 13, 18, 23)
_DIGITS = np.array([i for i in range(_LENGTH) if i not in _HYPHENS])
_NONE = 255
_VALUE = np.full(256, _NONE, np.uint8)
_VALUE[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
_DIGIT = np.frombuffer(b"0123456789abcdef", np.uint8)
_AT_ONCE = 100_000


class Packed:
    """Some ids, packed: the halves of their 128 bits, and which of them are no UUIDs (`odd`).

    `order` sorts them by their upper half.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        found = _halves(ids)
        self.odd = np.zeros(len(ids), bool)
        if found is not None:
            self.high, self.low = found
        else:
            self._one_by_one(ids)
        self.order = np.argsort(self.high, kind="stable")

    def _one_by_one(self, ids: Sequence[str]) -> None:
        self.high, self.low = np.zeros(len(ids), np.uint64), np.zeros(len(ids), np.uint64)
        self.odd = np.array([_CANONICAL.fullmatch(i) is None for i in ids], bool)
        usual = np.flatnonzero(~self.odd)
        halves = _halves([ids[i] for i in usual.tolist()])
        assert halves is not None
        self.high[usual], self.low[usual] = halves


class IdSet(Set[str]):
    """A growing set of ids, numbered from 0 on in the order in which they came.

    An id costs 20 bytes, and one that is no UUID what a string costs.
    """

    def __init__(self) -> None:
        # Upper halves, ascending, no two alike; lower halves; numbers. Each at least twice the
        # next, so that what comes is merged with what is about as small.
        self._levels: list[tuple[U64, U64, I32]] = []
        # What is no UUID, and the few that share their upper half with another.
        self._strings: dict[str, int] = {}

    def add(self, ids: Sequence[str], packed: Packed) -> I64:
        """Take ids in; the number of each. Those that are new have the next numbers."""
        count = len(self)
        numbers, alone = self._look(packed)
        order = packed.order[((numbers < 0) & ~alone)[packed.order]]
        high, low = packed.high[order], packed.low[order]
        begins = np.ones(len(order), bool)
        begins[1:] = high[1:] != high[:-1]
        first = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
        same = low == low[first]
        alone[order[~same]] = True
        leaders, strings = order[begins], self._new_strings(ids, alone)
        fresh = np.sort(np.concatenate([leaders, np.array(list(strings.values()), np.int64)]))
        numbers[fresh] = np.arange(count, count + len(fresh))
        numbers[order[same]] = numbers[order[first[same]]]
        self._strings |= {text: int(numbers[i]) for text, i in strings.items()}
        for i in np.flatnonzero(alone).tolist():
            numbers[i] = self._strings[ids[i]]
        if len(leaders):
            self._push(high[begins], low[begins], numbers[leaders].astype(np.int32))
        return numbers

    def _new_strings(self, ids: Sequence[str], alone: Mask) -> dict[str, int]:
        """Where the strings that are not there come first."""
        found: dict[str, int] = {}
        for i in np.flatnonzero(alone).tolist():
            if ids[i] not in self._strings:
                found.setdefault(ids[i], i)
        return found

    def copy(self) -> IdSet:
        """The same ids, in a set that grows by itself."""
        other = IdSet()
        other._levels, other._strings = list(self._levels), dict(self._strings)
        return other

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of `ids` that are not in the set, in their order."""
        numbers, alone = self._look(Packed(ids))
        rest = np.flatnonzero((numbers < 0) | alone).tolist()
        return [ids[i] for i in rest if ids[i] not in self._strings]

    def _look(self, packed: Packed) -> tuple[I64, Mask]:
        """The numbers that levels tell, −1 where none does; and what only strings can tell."""
        numbers, alone = np.full(len(packed.high), -1), packed.odd.copy()
        order = packed.order  # to look ascending values up is twice as fast
        wanted_high, wanted_low = packed.high[order], packed.low[order]
        for high, low, number in self._levels:
            at = np.searchsorted(high, wanted_high)
            at[at == len(high)] = 0
            hits = np.flatnonzero(high[at] == wanted_high)
            hits = hits[~packed.odd[order[hits]]]
            same = low[at[hits]] == wanted_low[hits]
            numbers[order[hits[same]]] = number[at[hits[same]]]
            alone[order[hits[~same]]] = True
        return numbers, alone

    def _push(self, *level: Any) -> None:
        levels = self._levels
        levels.append(level)
        while len(levels) > 1 and len(levels[-2][0]) < 2 * len(levels[-1][0]):
            newer, older = levels.pop(), levels.pop()
            joined: Any = [np.concatenate(pair) for pair in zip(older, newer, strict=True)]  # type: ignore[arg-type]
            order = np.argsort(joined[0], kind="stable")
            levels.append((joined[0][order], joined[1][order], joined[2][order]))

    def __len__(self) -> int:
        return sum(len(level[0]) for level in self._levels) + len(self._strings)

    def __contains__(self, item: object) -> bool:
        return isinstance(item, str) and not self.missing([item])

    def __iter__(self) -> Iterator[str]:
        """In the order of their text."""
        strings = sorted(self._strings, reverse=True)
        for raw in self._texts():
            for i in range(0, len(raw), _LENGTH):
                text = raw[i : i + _LENGTH].decode()
                while strings and strings[-1] < text:
                    yield strings.pop()
                yield text
        yield from reversed(strings)

    def joined(self) -> Iterator[bytes]:
        """The texts of all ids in their order, run together, in parts."""
        if self._strings:
            yield from (text.encode("utf-8", "surrogatepass") for text in self)
        else:
            yield from self._texts()

    def _texts(self) -> Iterator[bytes]:
        if not self._levels:
            return
        high, low = (np.concatenate([level[i] for level in self._levels]) for i in (0, 1))
        order = np.argsort(high, kind="stable")
        for i in range(0, len(order), _AT_ONCE):
            part = order[i : i + _AT_ONCE]
            yield texts(high[part], low[part])

    @classmethod
    def _from_iterable(cls, it: object) -> frozenset[str]:  # type: ignore[override]
        return frozenset(it)  # type: ignore[call-overload]


def texts(high: U64, low: U64) -> bytes:
    """The texts of packed ids, run together, 36 bytes each."""
    raw = np.empty((len(high), 2), ">u8")
    raw[:, 0], raw[:, 1] = high, low
    octets = raw.view(np.uint8)
    digits = np.empty((len(high), 32), np.uint8)
    digits[:, 0::2], digits[:, 1::2] = octets >> 4, octets & 15
    out = np.full((len(high), _LENGTH), ord("-"), np.uint8)
    out[:, _DIGITS] = _DIGIT[digits]
    return out.tobytes()


def _halves(ids: Sequence[str]) -> tuple[U64, U64] | None:
    """Upper and lower 64 bits of each id; None unless each is a UUID in its usual text."""
    raw = "\n".join([*ids, ""]).encode("utf-8", "surrogatepass")
    if len(raw) != len(ids) * (_LENGTH + 1):
        return None
    # No UUID has a line's end: if all lines are UUIDs, the ends are those just put between.
    lines = np.frombuffer(raw, np.uint8).reshape(len(ids), _LENGTH + 1)
    digits = _VALUE[lines[:, _DIGITS]]
    if (digits == _NONE).any() or (lines[:, _HYPHENS] != ord("-")).any():
        return None
    if (lines[:, _LENGTH] != ord("\n")).any():
        return None
    octets = (digits[:, 0::2] << 4) | digits[:, 1::2]
    halves = np.ascontiguousarray(octets).view(">u8").astype(np.uint64)
    return halves[:, 0].copy(), halves[:, 1].copy()
