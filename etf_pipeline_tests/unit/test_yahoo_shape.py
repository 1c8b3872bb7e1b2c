"""Frames as yfinance writes them, in any of the shapes that it and its users do."""

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import StoreError
from etf_pipeline.model.schemas import VALUE_COLUMNS
from etf_pipeline.model.yahoo_shape import completed, session_dates
from etf_pipeline_tests.support import rows_of as normalised

DAYS = pd.DatetimeIndex(["2009-05-01", "2009-05-04", "2009-05-05"])


def frame(index=DAYS, **columns):
    return pd.DataFrame({"Close": [1.0, 2.0, 3.0]} | columns, index=index)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("Open", "open"),
        ("HIGH", "high"),
        (" low ", "low"),
        ("Adj Close", "adj_close"),
        ("adjclose", "adj_close"),
        ("Stock Splits", "stock_splits"),
        ("capital_gains", "capital_gains"),
        ("Volume", "volume"),
    ],
)
def test_names_in_any_spelling(name, ours):
    out = normalised(frame(**{name: [4, 5, 6]}), "x")
    assert out[ours].tolist() == [4.0, 5.0, 6.0]
    assert out["close"].tolist() == [1.0, 2.0, 3.0]
    assert (out.dtypes == "float64").all()


def test_other_columns_are_left_out():
    assert list(normalised(frame(Manager=["a", "b", "c"]), "x").columns) == ["close"]


@pytest.mark.parametrize("zone", [None, "Australia/Sydney", "America/New_York", "UTC"])
@pytest.mark.parametrize("hours", [0, 10])
def test_the_date_at_the_exchange_is_the_session(zone, hours):
    stamps = (DAYS + pd.Timedelta(hours=hours)).tz_localize(zone)
    assert list(session_dates(stamps)) == list(DAYS)
    assert list(normalised(frame(stamps.rename("Date")), "x").index) == list(DAYS)


@pytest.mark.parametrize("name", ["Date", "date", "Datetime"])
def test_the_date_may_be_a_column(name):
    given = frame(pd.RangeIndex(3)).assign(**{name: DAYS})
    assert list(normalised(given, "x").index) == list(DAYS)


def test_an_index_without_a_name_is_the_date():
    assert list(normalised(frame(), "x").index) == list(DAYS)


def test_dates_are_put_in_order():
    out = normalised(frame()[::-1], "x")
    assert list(out.index) == list(DAYS)
    assert out["close"].tolist() == [1.0, 2.0, 3.0]


def test_the_same_bar_twice_is_one_and_two_bars_are_refused():
    twice = pd.concat([frame(), frame()[:1]])
    assert len(normalised(twice, "x")) == 3
    with pytest.raises(StoreError, match=r"a\.csv row \d: two different bars for 2009-05-01"):
        normalised(pd.concat([frame(), frame()[:1] * 2]), "a.csv")


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (frame().drop(columns="Close").assign(Open=1.0), "close"),
        (frame(pd.RangeIndex(3)), "date"),
    ],
)
def test_what_must_be_there_is_named(given, missing):
    with pytest.raises(StoreError, match=f"a.csv has no '{missing}' column"):
        normalised(given, "a.csv")


def test_completed_rows_have_every_column():
    rows = completed(normalised(frame(Dividends=[0.1, 0, 0]), "x"))
    assert set(VALUE_COLUMNS) <= set(rows.columns)
    assert rows["dividends"].tolist() == [0.1, 0, 0]
    assert rows["stock_splits"].tolist() == [0, 0, 0]
    assert rows["open"].isna().all()
    assert rows["volume"].isna().all()


def test_no_rows():
    empty = normalised(frame()[:0], "x")
    assert len(empty) == 0
    assert empty.index.dtype == np.dtype("datetime64[s]")
