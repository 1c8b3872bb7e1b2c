"""Whatever a file holds, the outcome is its ticker's, and the other tickers never notice."""

import datetime as dt
import io
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etf_pipeline.errors import ReasonCode
from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.sources.files import FilesSource
from etf_pipeline.settings import Settings
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.result import Run
from etf_pipeline.store.store import Store
from etf_pipeline_tests.support import asx_days, bars, instrument, walk, yahoo_rows

# A price beyond all sense is a finding, and nothing is reckoned on it.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
NOW = dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC)
DAYS = asx_days("2025-09-01", 40)
GOOD = yahoo_rows(bars(DAYS, walk(40))).to_csv()
NAMES = st.sampled_from(
    [
        *("Date", "date", "Close", "close", "Open", "High", "Low", "Volume", "Adj Close"),
        *("Dividends", "Stock Splits", "Capital Gains", "Price", "", "Ticker"),
        *("Close (USD)", "('Close', 'X')"),
    ]
)
CELLS = st.one_of(
    st.sampled_from(
        [
            *("2024-01-02", "03/04/2024", "13/04/2024", "20240102", "1700524800", "45252"),
            *("4,677.00", "4.677,00", "4,677", "$46.59", "68.18K", "2:1", "1:0", "", "-"),
            *("1e308", "-1e308", "1e999", "inf", "0", "-5", "null", "NaN", '"', "'", "#"),
            *("2024-01-02T00:00:00+11:00", "Jan 19, 2018", "2024-02-30", "24:61", "Total"),
            *("0001-01-01", "9999-12-31", "9" * 20, "2024-01-02 25:00", "\x00", "€"),
            *("2024-01-02 10:00 +99:99", "9" * 400, "1:" + "9" * 400),
        ]
    ),
    st.text(max_size=8),
    st.floats().map(str),
    st.dates().map(str),
    st.datetimes().map(str),
)


@st.composite
def texts(draw):
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    width = draw(st.integers(1, 6))
    header = draw(st.lists(NAMES, min_size=width, max_size=width))
    if draw(st.booleans()):  # else few would be read any further than this
        header = ["Date", "Close", *header]
    rows = draw(st.lists(st.lists(CELLS, min_size=1, max_size=7), max_size=6))
    text = "\n".join(delimiter.join(r) for r in [header, *rows])
    return text.encode(draw(st.sampled_from(["utf-8", "utf-16", "utf-8-sig"])), "replace")


def _sound(text):
    return text.encode("utf-8", "replace").decode()


COLUMNS = st.one_of(
    st.lists(st.none() | st.floats(), min_size=3, max_size=3).map(pa.array),
    st.lists(st.none() | st.floats(width=16), min_size=3, max_size=3).map(
        lambda v: pa.array([None if x is None else np.float16(x) for x in v], pa.float16())
    ),
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3).map(
        lambda v: pa.array(v, pa.int64())
    ),
    st.lists(st.integers(0, 2**64 - 1), min_size=3, max_size=3).map(
        lambda v: pa.array(v, pa.uint64())
    ),
    st.lists(st.none() | CELLS, min_size=3, max_size=3).map(
        lambda v: pa.array([None if x is None else _sound(x) for x in v], pa.string())
    ),
    st.lists(CELLS, min_size=3, max_size=3).map(
        lambda v: pa.array([_sound(x) for x in v]).dictionary_encode()
    ),
    st.lists(st.booleans(), min_size=3, max_size=3).map(pa.array),
    st.lists(st.binary(max_size=3), min_size=3, max_size=3).map(pa.array),
    st.lists(st.none() | st.dates(), min_size=3, max_size=3).map(
        lambda v: pa.array(v, pa.date32())
    ),
    st.builds(
        lambda v, unit, zone: pa.array(v, pa.int64()).cast(pa.timestamp(unit, zone)),
        st.lists(st.none() | st.integers(-(2**53), 2**53), min_size=3, max_size=3),
        st.sampled_from(["s", "ms", "us", "ns"]),
        st.sampled_from([None, "UTC", "Australia/Sydney", "America/New_York"]),
    ),
    st.just(pa.nulls(3)),
    st.just(pa.array([[1], [2], [3]])),
    st.just(pa.array([{"a": 1}] * 3)),
    st.lists(st.decimals(-(10**9), 10**9, places=4), min_size=3, max_size=3).map(
        lambda v: pa.array(v, pa.decimal128(30, 4))
    ),
    st.just(pa.array([dt.timedelta(1)] * 3)),
    st.just(pa.array([dt.time(1)] * 3)),
)


@st.composite
def tables(draw):
    width = draw(st.integers(0, 6))
    names = draw(st.lists(NAMES, min_size=width, max_size=width))
    if draw(st.booleans()):
        names = ["Date", "Close", *names]
    columns = [draw(COLUMNS) for _ in names]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, names), out)
    content = out.getvalue()
    return content[: draw(st.sampled_from([len(content), len(content) // 2, 4]))]


def outcomes(content, extension):
    """What becomes of three tickers, the middle one's file being `content`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for ticker in ("A", "C"):
            (folder / f"{ticker}.csv").write_text(GOOD)
        (folder / f"B{extension}").write_bytes(content)
        store = Store.at(folder / "store", 5.0)
        source = FilesSource(folder, lambda: NOW)
        asked = [instrument(t) for t in "ABC"]
        run = Run("run00001", NOW, "XASX")
        terms = Terms.of(Settings(), True)
        first = download(store, run, source, asked, terms, clock=lambda: NOW).outcomes
        second = update_histories(store, run, asked).outcomes
        return first, second


def check(content, extension):
    first, second = outcomes(content, extension)
    assert [o.subject for o in first] == ["A", "B", "C"]
    assert [o.outcome for o in first][::2] == ["collected", "collected"]
    assert {o.subject: o.rows_added for o in first if o.subject != "B"} == {"A": 40, "C": 40}
    bad = first[1]
    if not bad.good:
        assert bad.outcome == "rejected", bad
        assert not bad.reason_code.transient
        assert bad.reason
    others = [o for o in second if o.subject != "B"]
    assert [o.good for o in others] == [True, True]
    for outcome in (*first, *second):
        assert outcome.reason_code is not ReasonCode.OUR_MISTAKE, outcome


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=300))
@example(b"")
@example(b"\xff\xfe")
@example(b"PAR1PAR1")
def test_any_bytes(content):
    check(content, ".csv")
    check(content, ".parquet")


@settings(max_examples=70, deadline=None)
@given(texts())
@example(b"Date,Close\n2024-01-02,1e308\n2024-01-03,1e-308\n2024-01-04,1e308\n")
@example(b"Date,Close,Adj Close\n2024-01-02,1e308,1e-308\n2024-01-03,1,1\n")
@example(b"Date,Close,Dividends\n2024-01-02,1,0\n2024-01-03,1,1e308\n2024-01-04,1,0\n")
def test_any_text(content):
    check(content, ".csv")


@settings(max_examples=70, deadline=None)
@given(tables())
def test_any_table(content):
    check(content, ".parquet")


@settings(max_examples=30, deadline=None)
@given(
    cell=CELLS,
    row=st.integers(0, 39),
    column=st.sampled_from(["Open", "Close", "Volume", "Dividends", "Stock Splits", "Adj Close"]),
)
def test_any_one_cell_of_a_good_file(cell, row, column):
    frame = yahoo_rows(bars(DAYS, walk(40))).astype(object)
    frame.loc[frame.index[row], column] = cell
    check(frame.to_csv().encode("utf-8", "replace"), ".csv")
