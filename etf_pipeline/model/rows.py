"""One ticker's rows as a frame, and on their way to Arrow and back.

A frame of rows is indexed by naive session date (`datetime64[s]`, named `date`) and has the float64
columns of `schemas.VALUE_COLUMNS`: prices and distributions in currency per unit, volume in units.
A row without a price (an event only) has a null close.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from etf_pipeline.model.schemas import VALUE_COLUMNS

Floats = npt.NDArray[np.float64]
DOWNLOAD_COLUMNS = (*VALUE_COLUMNS, "adj_close_source")
_COLUMNS, _DOWNLOADED = pd.Index(VALUE_COLUMNS), pd.Index(DOWNLOAD_COLUMNS)
_EMPTY = pd.DataFrame(
    np.empty((0, len(VALUE_COLUMNS))),
    index=pd.DatetimeIndex(np.array([], dtype="datetime64[s]"), name="date"),
    columns=_COLUMNS,
)


def empty_rows() -> pd.DataFrame:
    """No rows, with the columns and index that rows have."""
    return _EMPTY


def framed(values: Floats, index: pd.Index) -> pd.DataFrame:
    """Values of shape (n, len(VALUE_COLUMNS)) as rows."""
    return pd.DataFrame(values, index=index, columns=_COLUMNS, copy=False)


def values_of(rows: pd.DataFrame, names: tuple[str, ...] = VALUE_COLUMNS) -> Floats:
    """The values of some columns, in their order, shape (n, len(names)); not to be written to.

    Rows as they are made here hold their values in one block, of which this is a part.
    """
    ours = rows.columns.is_(_COLUMNS) or rows.columns.is_(_DOWNLOADED)
    if (ours and names is VALUE_COLUMNS) or tuple(rows.columns)[: len(names)] == names:
        values: Floats = rows.to_numpy()
        if values.dtype == np.float64:
            return values[:, : len(names)]
    return np.column_stack([rows[name].to_numpy(dtype="float64") for name in names])


def positions_of(rows: pd.DataFrame, days: npt.NDArray[np.datetime64]) -> npt.NDArray[np.intp]:
    """The position of each day among rows of ascending, unique days; -1 where it is none."""
    have = rows.index.to_numpy()
    if len(have) == 0:
        return np.full(len(days), -1, np.intp)
    at = np.minimum(np.searchsorted(have, days), len(have) - 1)
    return np.where(have[at] == days, at, -1)


def table_rows(table: pa.Table) -> pd.DataFrame:
    """A table with `date` and `VALUE_COLUMNS` as rows; other columns are left out."""
    return framed(_values(table, VALUE_COLUMNS), _index(table))


def download_rows(table: pa.Table) -> pd.DataFrame:
    """The same with `adj_close_source`, the source's own adjusted close: what a batch holds."""
    values = _values(table, DOWNLOAD_COLUMNS)
    return pd.DataFrame(values, _index(table), _DOWNLOADED, copy=False)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Any table with a `date` column as a frame indexed by naive session date; text stays text."""
    data = {
        name: table.column(name).to_numpy()
        if not pa.types.is_string(table.schema.field(name).type)
        else np.array(table.column(name).to_pylist(), dtype=object)
        for name in table.schema.names
        if name != "date"
    }
    return pd.DataFrame(data, index=_index(table))


def to_arrow(dates: Any, columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """Columns as an Arrow table of `schema`; NaN and None become null.

    Args:
        dates: datetime64 array of the `date` column, shape (n,).
        columns: by name; float arrays, sequences of text for text columns, or Arrow arrays.
        schema: of the result.
    """
    arrays: list[Any] = []
    for field in schema:
        if field.name == "date":
            arrays.append(pa.array(dates.astype("datetime64[D]")))
            continue
        values = columns[field.name]
        if isinstance(values, pa.Array):
            arrays.append(values)
        elif pa.types.is_string(field.type):
            arrays.append(pa.array(values, pa.string()))
        elif pa.types.is_integer(field.type):
            missing = np.isnan(values)
            clean = np.where(missing, 0, values).astype("int64")
            arrays.append(pa.array(clean, mask=missing))
        else:
            some = bool(np.isnan(values).any())
            arrays.append(pa.array(np.ascontiguousarray(values), field.type, from_pandas=some))
    return pa.table(arrays, schema=schema)


def _index(table: pa.Table) -> pd.DatetimeIndex:
    dates = table.column("date").to_numpy().astype("datetime64[s]")
    return pd.DatetimeIndex(dates, name="date", copy=False)


def _values(table: pa.Table, names: tuple[str, ...]) -> Floats:
    values = np.empty((len(names), table.num_rows))  # a column at a time, as pandas has them too
    for i, name in enumerate(names):
        values[i] = table.column(name).to_numpy()
    return values.T
