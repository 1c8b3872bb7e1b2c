"""Rows on their way to Arrow and back, with everything that may be missing."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.model.rows import (
    DOWNLOAD_COLUMNS,
    download_rows,
    empty_rows,
    framed,
    table_rows,
    to_arrow,
    to_frame,
)
from etf_pipeline.model.schemas import HISTORY, QUARANTINE, RAW, VALUE_COLUMNS

DAYS = np.array(["2024-02-28", "2024-02-29", "2024-03-01"], dtype="datetime64[s]")


def index(days=DAYS):
    return pd.DatetimeIndex(days, name="date")


def test_no_rows_have_the_shape_of_rows():
    rows = empty_rows()
    assert tuple(rows.columns) == VALUE_COLUMNS
    assert rows.index.name == "date"
    assert len(rows) == 0
    assert (rows.dtypes == "float64").all()


@given(
    st.lists(
        st.tuples(
            *[st.floats(allow_infinity=False, width=64)] * 4,
            st.integers(0, 2**53),
            *[st.floats(0, 1e6)] * 3,
        ),
        max_size=20,
    ),
    st.integers(0, 2**31),
)
def test_rows_come_back_as_they_were(values, seed):
    """Prices of any size, or none; volumes are whole or missing."""
    n = len(values)
    days = np.datetime64("2000-01-03", "s") + np.arange(n) * np.timedelta64(1, "D")
    array = np.array(values, dtype="float64").reshape(n, 8)
    array[np.random.default_rng(seed).random(n) < 0.3, 4] = np.nan
    rows = framed(array, index(days))
    columns = {name: rows[name].to_numpy() for name in VALUE_COLUMNS}
    flags = [None if i % 2 else "stale_run" for i in range(n)]
    table = to_arrow(days, columns | {"adj_close": np.ones(n), "flag": flags}, HISTORY.arrow)
    assert table.schema.equals(HISTORY.arrow)
    pd.testing.assert_frame_equal(table_rows(table), rows)
    found = to_frame(table)["flag"]
    assert [
        None if missing else text for text, missing in zip(found, found.isna(), strict=True)
    ] == flags


def test_what_is_missing_becomes_null():
    columns = dict.fromkeys(VALUE_COLUMNS, np.array([1.0, np.nan, 3.0]))
    columns |= {"rule": ["a", "b", "c"], "severity": ["x"] * 3, "evidence": ["e", "", "f"]}
    table = to_arrow(DAYS, columns, QUARANTINE.arrow)
    for name in ("close", "volume", "dividends"):
        assert table.column(name).to_pylist() == [1, None, 3]
    assert table.column("volume").type == pa.int64()
    assert [str(d) for d in table.column("date").to_pylist()] == [
        "2024-02-28",
        "2024-02-29",
        "2024-03-01",
    ]


def test_text_may_be_null_and_stays_text():
    columns = dict.fromkeys(VALUE_COLUMNS, np.ones(3)) | {"adj_close": np.ones(3)}
    table = to_arrow(DAYS, columns | {"flag": [None, "a", None]}, HISTORY.arrow)
    frame = to_frame(table)
    assert frame["flag"].isna().tolist() == [True, False, True]
    assert frame["flag"].iloc[1] == "a"
    assert frame["close"].tolist() == [1.0, 1.0, 1.0]
    assert list(frame.index) == list(index())
    assert frame.index.tz is None


def test_a_batch_has_the_sources_own_adjusted_close():
    columns = {name: np.full(3, float(i)) for i, name in enumerate(VALUE_COLUMNS)}
    columns |= {
        "adj_close_source": np.array([9.0, np.nan, 9.5]),
        "ticker": ["VAS"] * 3,
        "dividend_note": [None] * 3,
    }
    rows = download_rows(to_arrow(DAYS, columns, RAW.arrow))
    assert tuple(rows.columns) == DOWNLOAD_COLUMNS
    assert rows["adj_close_source"].tolist() == pytest.approx([9.0, np.nan, 9.5], nan_ok=True)
    assert rows.iloc[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 9.0]
