"""The audit trail: a line for every event, held in columns and made into objects when asked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from etf_pipeline.events.model.envelope import from_micros
from etf_pipeline.events.model.ids import I64, U64, Mask, texts

_AT_ONCE = 10_000
_LENGTH = 36


class AuditEntry(NamedTuple):
    """One line of the audit trail."""

    time: dt.datetime
    recorded: dt.datetime
    type: str
    subject: str
    id: str


class Rows(NamedTuple):
    """Events in columns: times and record times in microseconds, ids packed, kinds numbered.

    With `grown`, columns are longer than there are events.
    """

    time: I64
    recorded: I64
    high: U64
    low: U64
    kind: npt.NDArray[np.int32]

    @classmethod
    def none(cls) -> Rows:
        """No events."""
        whole, half = np.empty(0, np.int64), np.empty(0, np.uint64)
        return cls(whole, whole, half, half, np.empty(0, np.int32))

    def take(self, rows: I64 | Mask | slice) -> Rows:
        """Some rows."""
        columns: Any = (column[rows] for column in self)
        return Rows(*columns)

    def grown(self, held: int, wanted: int) -> Rows:
        """Room for `wanted` events, of which the first `held` are these."""
        if wanted <= len(self.time):
            return self
        columns: Any = [np.empty(max(wanted, 2 * held), c.dtype) for c in self]
        room = Rows(*columns)
        room.put(0, self.take(slice(held)))
        return room

    def put(self, at: int, rows: Rows) -> None:
        """Set the events from `at` on."""
        pairs: Any = zip(self, rows, strict=True)
        for column, values in pairs:
            column[at : at + len(values)] = values


class AuditTrail(Sequence[AuditEntry]):
    """Every event in order of time, then of id. Equal to any sequence of the same entries.

    Args:
        rows: the events.
        kinds: type and subject by number.
        odd: by row, the ids that are no UUIDs.
    """

    def __init__(self, rows: Rows, kinds: Sequence[tuple[str, str]], odd: dict[int, str]) -> None:
        self._rows, self._kinds, self._odd = rows, kinds, odd
        if odd:
            keys = [(t, self._id(i)) for i, t in enumerate(rows.time.tolist())]
            self._order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
        else:
            self._order = np.lexsort((rows.low, rows.high, rows.time))

    def _id(self, row: int) -> str:
        found = self._odd.get(row)
        one = slice(row, row + 1)
        return texts(self._rows.high[one], self._rows.low[one]).decode() if found is None else found

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[AuditEntry]:
        for i in range(0, len(self._order), _AT_ONCE):
            yield from self._entries(self._order[i : i + _AT_ONCE])

    @overload
    def __getitem__(self, index: int) -> AuditEntry: ...
    @overload
    def __getitem__(self, index: slice) -> list[AuditEntry]: ...
    def __getitem__(self, index: int | slice) -> AuditEntry | list[AuditEntry]:
        if isinstance(index, slice):
            return list(self._entries(self._order[index]))
        (entry,) = self._entries(np.atleast_1d(self._order[index]))
        return entry

    def _entries(self, rows: I64) -> Iterator[AuditEntry]:
        part = self._rows.take(rows)
        ids = texts(part.high, part.low).decode()
        columns: Any = (part.time.tolist(), part.recorded.tolist(), part.kind.tolist())
        for i, (row, time, recorded, kind) in enumerate(zip(rows.tolist(), *columns, strict=True)):
            name = self._odd.get(row, ids[i * _LENGTH : (i + 1) * _LENGTH])
            what, subject = self._kinds[kind]
            yield AuditEntry(from_micros(time), from_micros(recorded), what, subject, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<audit trail of {len(self)} events>"
