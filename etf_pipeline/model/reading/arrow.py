"""An Arrow table of any columns as a sheet; what pandas says of its index plays no part."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etf_pipeline.errors import UnreadableFileError
from etf_pipeline.model.reading.claims import merged
from etf_pipeline.model.reading.names import Names, understood
from etf_pipeline.model.reading.sheet import Cells, Numbers, Sheet, Stamps, Text, shown

_SECONDS = pa.timestamp("s")


def read_arrow(table: pa.Table, origin: str) -> Sheet:
    """The cells of a table.

    Raises:
        UnreadableFileError: it has no date or close, two columns of one meaning, or a column that
            holds neither numbers, text nor dates.
    """
    names = understood(table.column_names)
    names.check(origin)
    columns: dict[str, Cells] = {}
    written: dict[str, str] = {}
    for name, positions in names.at.items():
        found = [table.column(i) for i in positions]
        if any(not _same(found[0], other) for other in found[1:]):
            twice = " and ".join(shown(names.written[i]) for i in positions)
            raise UnreadableFileError(f"{origin}: columns {twice} are both {name!r}; keep one")
        written[name] = names.written[positions[0]]
        columns[name] = _cells(found[0], origin, written[name])
    return Sheet(
        origin,
        columns,
        written,
        np.arange(1, table.num_rows + 1),
        "row",
        currencies=names.currencies,
        claims=merged({"symbol": names.symbols}, _claims(table, names)),
    )


def _claims(table: pa.Table, names: Names) -> dict[str, set[str]]:
    """The distinct texts of columns that say whose prices these are, or in what."""
    found: dict[str, set[str]] = {}
    for kind, positions in names.claims.items():
        for i in positions:
            cells = table.column(i).unique().to_pylist()
            found.setdefault(kind, set()).update(c.strip() for c in cells if isinstance(c, str))
    return found


def _same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    return bool(one.type == other.type and one.equals(other))


def _cells(column: pa.ChunkedArray, origin: str, name: str) -> Cells:
    kind = column.type
    try:
        if pa.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
            kind = column.type
        if pa.types.is_null(kind):
            return Numbers(np.full(len(column), np.nan))
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or _is_view(kind):
            values = np.empty(len(column), dtype=object)
            values[:] = [
                "" if v is None else v.strip().replace("\n", " ").replace("\r", " ")
                for v in column.to_pylist()
            ]
            return Text(values)
        if pa.types.is_date(kind):
            return Stamps(_seconds(column))
        if pa.types.is_timestamp(kind):
            return _stamps(column, kind.tz)
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            numbers = column.cast(pa.float64(), safe=False)
            return Numbers(numbers.to_numpy().astype("float64"))
    except (pa.ArrowException, UnicodeDecodeError, ValueError) as error:
        detail = next(iter(str(error).splitlines()), type(error).__name__)
        raise UnreadableFileError(f"{origin}: column {shown(name)}: {detail}") from None
    raise UnreadableFileError(
        f"{origin}: column {shown(name)} is of type {kind}; numbers, text or dates are expected"
    )


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind))


def _seconds(column: pa.ChunkedArray) -> np.ndarray:
    naive = column.cast(pa.timestamp(getattr(column.type, "unit", "s")), safe=False)
    return np.asarray(naive.cast(_SECONDS, safe=False).to_numpy()).astype("datetime64[s]")


def _stamps(column: pa.ChunkedArray, zone: str | None) -> Stamps:
    if zone is None:
        return Stamps(_seconds(column))
    # the cast to a type without a zone keeps the instant; local_timestamp the wall clock
    return Stamps(_seconds(pc.local_timestamp(column)), _seconds(column))
