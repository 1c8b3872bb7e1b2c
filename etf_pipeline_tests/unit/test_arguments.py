"""What arguments of the library mean: one thing, or one error that names them and the remedy."""

import contextlib
import datetime as dt
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from etf_pipeline.errors import ArgumentError, EtfError, ReasonCode
from etf_pipeline.library import arguments
from etf_pipeline.library.arguments import (
    correlation_period_of,
    currency_of,
    folder_of,
    halflife_of,
    instant_of,
    number,
    one_of,
    periods_of,
    rate_of,
    risk_free_of,
    span_of,
    ticker_of,
    tickers_of,
    weights_of,
    whole,
    years_of,
)
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.risk_free import Cash, Published
from etf_pipeline.settings import Settings

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=3)
    | st.dates()
    | st.datetimes()
    | st.decimals()
    | st.complex_numbers()
    | st.builds(object),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
ONE_VALUE = {
    "ticker": ticker_of,
    "folder": folder_of,
    "tickers": tickers_of,
    "years": years_of,
    "rate": rate_of,
    "periods": periods_of,
    "period": correlation_period_of,
    "currency": currency_of,
    "instant": instant_of,
    "weights": weights_of,
    "number": lambda v: number("x", v),
    "whole": lambda v: whole("n", v, 2, 10),
    "halflife": lambda v: halflife_of(v, "ewma"),
    "word": lambda v: one_of("word", v, ("a", "b")),
    "start": lambda v: span_of(v, None),
    "end": lambda v: span_of(None, v),
}


@pytest.mark.parametrize("name", ONE_VALUE)
@given(value=ANYTHING)
def test_whatever_is_given_means_something_or_is_refused(name, value):
    """And never ends in another error."""
    with contextlib.suppress(ArgumentError):
        ONE_VALUE[name](value)


def test_a_refusal_is_ours_and_a_value_error():
    assert issubclass(ArgumentError, EtfError)
    assert issubclass(ArgumentError, ValueError)
    assert ArgumentError("words").code is ReasonCode.BAD_ARGUMENT


@pytest.mark.parametrize(
    "value",
    [
        ["VAS", "VGS"],
        ("VAS", "VGS"),
        (t for t in ("VAS", "VGS")),
        iter(["VAS", "VGS"]),
        dict.fromkeys(["VAS", "VGS"]).keys(),
        {"VGS", "VAS"},
        frozenset({"VGS", "VAS"}),
        np.array(["VAS", "VGS"]),
        pd.Index(["VAS", "VGS"]),
        pd.Series(["VAS", "VGS"]),
    ],
    ids=lambda v: type(v).__name__,
)
def test_tickers_are_any_iterable(value):
    assert tickers_of(value) == ["VAS", "VGS"]


def test_a_string_is_one_ticker():
    assert tickers_of("VAS") == ["VAS"]
    assert tickers_of(np.str_("VAS")) == ["VAS"]
    assert type(tickers_of(np.array(["VAS"]))[0]) is str


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "no ticker given"),
        (iter([]), "no ticker given"),
        (["VAS", "VGS", "VAS"], "asked for twice: VAS$"),
        (["VAS", 5], "ticker 5: is no ticker"),
        (["VAS", ["VGS"]], "give one ticker"),
        ([" "], "is no ticker"),
        (None, r"give a ticker or several, such as \['VAS', 'VGS'\]"),
        (b"VAS", "give a ticker or several"),
        ({"VAS": 0.5}, "a mapping is no list of tickers"),
    ],
)
def test_what_is_no_ticker(value, words):
    with pytest.raises(ArgumentError, match=words):
        tickers_of(value)


@pytest.mark.parametrize(
    ("value", "years"),
    [(None, None), (0, None), (0.0, None), (1, 1), (5.0, 5), (np.int64(3), 3), (100, 100)],
)
def test_years(value, years):
    assert years_of(value) == years


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.5, "must be whole years; get_returns takes any start and end"),
        ("3", "lookback_years '3': is text"),
        (-1, r"from 1 to 100, or 0 \(or None\) for all history"),
        (101, "from 1 to 100"),
        (True, "True: is no number"),
        (np.True_, "is no number"),
        (float("nan"), "must be a finite number"),
        (float("inf"), "must be a finite number"),
        ([3], "is no number"),
        (np.array([3]), "is no number"),
    ],
)
def test_what_is_no_number_of_years(value, words):
    with pytest.raises(ArgumentError, match=words):
        years_of(value)


def test_a_rate_of_more_than_one_is_per_cent():
    assert rate_of(None) is None
    for value in (0.04, Decimal("0.04"), Fraction(1, 25), np.float64(0.04)):
        assert rate_of(value) == 0.04
    with pytest.raises(ArgumentError, match=r"4: is 400 % a year; .*: 4 % is 0.04$"):
        rate_of(4)
    with pytest.raises(ArgumentError, match=r"200: is 20000 % a year; .*between -1 and 1$"):
        rate_of(200)
    with pytest.raises(ArgumentError, match="is text"):
        rate_of("0.04")


def test_what_is_free_of_risk_is_a_number_a_ticker_or_a_path():
    assert risk_free_of(None) is None
    assert risk_free_of(0.04) == 0.04
    assert risk_free_of("BILL") == Cash("BILL")
    assert risk_free_of("f1.csv") == risk_free_of(Path("f1.csv")) == Published(Path("f1.csv"))
    for bad in ("0.04", "2800", "4%", "", True, [0.04]):
        with pytest.raises(ArgumentError, match="risk_free_rate"):
            risk_free_of(bad)


def test_ranges_are_those_of_the_settings_and_of_the_file():
    """Stated again in the module, as reading either takes a tenth of a second."""

    def limits(field):
        found = {}
        for one in field.metadata:
            found |= {k: getattr(one, k) for k in ("gt", "ge", "lt", "le") if hasattr(one, k)}
        return found

    for rate in arguments.RATES:
        for outside in (rate, np.nextafter(rate, np.inf * rate)):
            with pytest.raises(ValidationError):
                Settings(risk_free_rate=outside)
        inside = float(np.nextafter(rate, 0))
        assert Settings(risk_free_rate=inside).risk_free_rate == rate_of(inside) == inside
    assert limits(Settings.model_fields["periods_per_year"]) == {
        "gt": 0,
        "le": arguments.MOST_PERIODS,
    }
    assert limits(Settings.model_fields["lookback_years"])["le"] == arguments.MOST_YEARS
    schema = PortfolioSpec.model_json_schema()["properties"]
    assert tuple(schema["estimator"]["enum"]) == arguments.ESTIMATORS


@pytest.mark.parametrize("wrong", [0, -1, np.inf, np.nan, 1001, "252"])
def test_a_convention_is_a_positive_number(wrong):
    with pytest.raises(ArgumentError, match="periods_per_year"):
        periods_of(wrong)
    assert periods_of(252) == 252.0


def test_a_folder_is_named():
    assert folder_of("data/etf") == folder_of(Path("data/etf")) == Path("data/etf")
    for wrong in ("", " ", 5, b"data", ["data"]):
        with pytest.raises(ArgumentError, match=r"data_dir .*: is no folder"):
            folder_of(wrong)


def test_a_halflife_goes_with_ewma():
    assert halflife_of(None, "sample") == 63.0
    assert halflife_of(20, "ewma") == 20.0
    with pytest.raises(ArgumentError, match="goes with estimator='ewma', not with 'sample'"):
        halflife_of(63, "sample")
    assert halflife_of(1, "ewma") == 1.0
    with pytest.raises(ArgumentError, match=r"^halflife 0\.5: must be from 1 to 10000 bars"):
        halflife_of(0.5, "ewma")


def test_words_name_the_nearest():
    with pytest.raises(ArgumentError, match="must be one of daily, weekly; did you mean daily"):
        correlation_period_of("Daily")
    with pytest.raises(ArgumentError, match=r"\['a'\]: must be one of a, b$"):
        one_of("word", ["a"], ("a", "b"))


JUNE = dt.date(2025, 6, 1)


@pytest.mark.parametrize(
    "value",
    [
        JUNE,
        dt.datetime.combine(JUNE, dt.time()),
        pd.Timestamp("2025-06-01"),
        np.datetime64("2025-06-01"),
        np.datetime64("2025-06-01T00:00:00.000000000"),
        "2025-06-01",
        "2025-06-01T00:00:00",
        " 2025-06-01 ",
    ],
    ids=repr,
)
def test_a_session_is_a_date(value):
    assert span_of(value, value) == (JUNE, JUNE)


def test_a_month_or_a_year_is_all_of_it():
    assert span_of("2025-02", "2025-02") == (dt.date(2025, 2, 1), dt.date(2025, 2, 28))
    assert span_of("2024", "2024") == (dt.date(2024, 1, 1), dt.date(2024, 12, 31))
    assert span_of(np.datetime64("2024-02"), np.datetime64("2024-02"))[1] == dt.date(2024, 2, 29)
    assert span_of("2024-12", "2024-12")[1] == dt.date(2024, 12, 31)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (dt.datetime(2025, 6, 1, tzinfo=dt.UTC), "has a time zone; .*give the date alone, such as"),
        ("2025-06-01T00:00:00+10:00", "has a time zone"),
        (pd.Timestamp("2025-06-01", tz="Australia/Sydney"), "such as 2025-06-01"),
        (dt.datetime.combine(JUNE, dt.time(16)), "has a time of day; a session is a date"),
        (20250601, "is no date"),
        ("01/06/2025", "'01/06/2025': is no date; write 2025-06-30"),
        ("20250601", "is no date"),
        ("2025-06-31", "is no date"),
        ("2025-W05", "is no date"),
        ("", "is no date"),
        (pd.NaT, "NaT: is no date"),
        (np.datetime64("NaT"), "is no date"),
        ("0001-01-01", "from the years 1700"),
    ],
    ids=repr,
)
def test_what_is_no_date(value, words):
    with pytest.raises(ArgumentError, match=words):
        span_of(value, None)
    with pytest.raises(ArgumentError, match="end"):
        span_of(None, value)


def test_a_start_after_the_end_is_refused():
    with pytest.raises(ArgumentError, match="start 2025-06-30 is after end 2025-01-31"):
        span_of("2025-06-30", "2025-01")


def test_weights_are_a_whole():
    held = {"VAS": 0.6, "VAF": np.float64(0.4), "VGS": 0}
    assert weights_of(held) == weights_of(pd.Series(held)) == {"VAS": 0.6, "VAF": 0.4}
    assert weights_of({"VAS": 1.3, "VAF": -0.3}) == {"VAS": 1.3, "VAF": -0.3}
    for wrong in ({"VAS": 60, "VAF": 40}, {"VAS": 0.6, "VAF": 0.3}, {"VAS": 0.0}):
        with pytest.raises(ArgumentError, match=r"weights sum to .*, not to 1: divide each"):
            weights_of(wrong)
    for wrong in (["VAS"], "VAS", pd.DataFrame({"VAS": [1.0]})):
        with pytest.raises(ArgumentError, match="give them by ticker"):
            weights_of(wrong)
    with pytest.raises(ArgumentError, match="asked for twice: VAS"):
        weights_of(pd.Series([0.5, 0.5], ["VAS", "VAS"]))
    with pytest.raises(ArgumentError, match="weights of VAS '1': is text"):
        weights_of({"VAS": "1"})
