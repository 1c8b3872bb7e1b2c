"""Series of prices with their holes, and the dates that several have in common."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import InsufficientDataError, ReasonCode
from etf_pipeline.risk.prices import (
    PriceSeries,
    common_prices,
    first_window_end,
    newest_session,
    sources,
    window_start,
    years_before,
)

NONE = np.array([], dtype="datetime64[D]")


def days(*dates):
    return np.array(dates, dtype="datetime64[D]")


def series(ticker="VAS", dates=None, values=None, holes=NONE, excluded=NONE):
    dates = pd.bdate_range("2024-01-01", periods=10) if dates is None else dates
    values = np.arange(1.0, len(dates) + 1) if values is None else values
    prices = pd.Series(values, pd.DatetimeIndex(dates), dtype="float64")
    return PriceSeries(ticker, prices, holes, excluded, "files", "AUD", "XASX")


def test_holes_between_the_first_and_the_last_price_are_nan():
    holed = series(
        dates=["2024-01-01", "2024-01-03", "2024-01-05"],
        holes=days("2023-12-29", "2024-01-02", "2024-01-04", "2024-01-08"),
    )
    values, dates = holed.with_holes()
    assert values == pytest.approx([1, np.nan, 2, np.nan, 3], nan_ok=True)
    assert [str(d)[-2:] for d in dates] == ["01", "02", "03", "04", "05"]


def test_without_holes_nothing_is_added():
    values, dates = series().with_holes()
    assert values.tolist() == list(range(1, 11))
    assert len(dates) == 10
    nothing, none = series(dates=[], holes=days("2024-01-01")).with_holes()
    assert (len(nothing), len(none)) == (0, 0)


def test_the_part_from_a_day_on_takes_its_holes_along():
    whole = series(holes=days("2024-01-06", "2024-01-13"), excluded=days("2024-01-06"))
    part = whole.since(dt.date(2024, 1, 8))
    assert part.prices.index[0] == pd.Timestamp("2024-01-08")
    assert part.holes.tolist() == [dt.date(2024, 1, 13)]
    assert len(part.excluded) == 0
    assert (part.ticker, part.source, part.currency) == ("VAS", "files", "AUD")
    assert part.exchange == "XASX"
    assert part.end == whole.end == dt.date(2024, 1, 12)
    assert whole.since(None) is whole
    # a price on the very day is part of it, as a hole is
    assert whole.since(dt.date(2024, 1, 6)).holes.tolist()[0] == dt.date(2024, 1, 6)


@pytest.mark.parametrize(
    ("dates", "start", "first"),
    [
        # the last price on or before the anniversary, over a weekend and over ten days of holidays
        (["2022-11-10", "2022-11-11", "2022-11-14"], "2022-11-12", "2022-11-11"),
        (["2022-11-10", "2022-11-11", "2022-11-14"], "2022-11-14", "2022-11-14"),
        (["2022-11-01", "2022-11-02", "2022-11-14"], "2022-11-12", "2022-11-02"),
        # older than that is a hole: the first price after
        (["2022-10-31", "2022-11-01", "2022-11-14"], "2022-11-12", "2022-11-14"),
        # but not between month-ends or quarter-ends
        (["2022-08-31", "2022-09-30", "2022-10-31", "2022-11-30"], "2022-11-29", "2022-10-31"),
        (["2022-03-31", "2022-06-30", "2022-09-30", "2022-12-31"], "2022-12-30", "2022-09-30"),
        # nothing before
        (["2022-11-14", "2022-11-15", "2022-11-16"], "2022-11-12", "2022-11-14"),
        (["2022-11-01"], "2022-11-12", None),
        ([], "2022-11-12", None),
    ],
)
def test_a_window_begins_with_the_last_price_on_or_before_its_start(dates, start, first):
    part = series(dates=dates).since(dt.date.fromisoformat(start))
    assert [str(d) for d in part.days[:1]] == ([first] if first else [])


def test_a_window_may_begin_in_the_monthly_part_of_a_history_that_is_daily_now():
    months = pd.date_range("2005-01-31", "2012-12-31", freq="ME")
    held = series(dates=months.append(pd.bdate_range("2013-01-01", periods=1300)))
    assert held.covers(dt.date(2010, 6, 20))
    assert str(held.since(dt.date(2010, 6, 20)).days[0]) == "2010-05-31"


def test_what_is_common_begins_with_the_last_common_date_on_or_before_the_start():
    one = series("A", ["2022-11-09", "2022-11-10", "2022-11-11", "2022-11-14", "2022-11-15"])
    two = series("B", ["2022-11-09", "2022-11-10", "2022-11-14", "2022-11-15"])
    assert [str(d.date()) for d in common_prices([one, two], dt.date(2022, 11, 12)).index] == [
        "2022-11-10",
        "2022-11-14",
        "2022-11-15",
    ]


def test_a_hole_where_a_window_starts_is_named():
    held = series(dates=[*pd.bdate_range("2022-01-03", periods=80), "2022-12-01", "2022-12-02"])
    start = dt.date(2022, 11, 12)
    assert not held.covers(start)
    with pytest.raises(InsufficientDataError, match="between 2022-04-22 and 2022-12-01"):
        held.check_covers(start, 1)
    # the first price within ten days after the start will do
    held.check_covers(dt.date(2022, 11, 21), 1)
    assert str(held.since(dt.date(2022, 11, 21)).days[0]) == "2022-12-01"


def test_the_part_up_to_a_day_takes_its_holes_along():
    whole = series(holes=days("2024-01-06", "2024-01-13"), excluded=days("2024-01-06"))
    part = whole.until(dt.date(2024, 1, 7))
    assert (str(part.days[0]), str(part.days[-1])) == ("2024-01-01", "2024-01-05")
    assert part.holes.tolist() == part.excluded.tolist() == [dt.date(2024, 1, 6)]
    assert whole.until(dt.date(2024, 1, 12)) is whole


def test_common_prices_are_those_of_dates_that_all_have():
    one = series("A", ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"])
    two = series("B", ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"])
    found = common_prices([one, two])
    assert list(found.columns) == ["A", "B"]
    assert found["A"].tolist() == [2, 3, 4]
    assert found["B"].tolist() == [1, 2, 3]


def test_too_few_common_dates_name_the_ranges():
    one, two = series("A"), series("B", pd.bdate_range("2024-01-11", periods=5))
    with pytest.raises(InsufficientDataError) as caught:
        common_prices([one, two])
    assert str(caught.value) == (
        "2 common dates are too few (A 2024-01-01 to 2024-01-12; B 2024-01-11 to 2024-01-17)"
    )
    with pytest.raises(InsufficientDataError, match=r"0 common dates .*B nothing"):
        common_prices([one, two], dt.date(2024, 2, 1))


def test_one_series_has_its_own_dates_in_common():
    assert common_prices([series()])["VAS"].tolist() == list(range(1, 11))


@given(st.lists(st.sets(st.integers(0, 25), min_size=3), min_size=1, max_size=4))
def test_listwise_is_the_intersection(held):
    dates = pd.date_range("2024-01-01", periods=26)
    many = [series(f"T{i}", dates[sorted(days_)]) for i, days_ in enumerate(held)]
    common = set.intersection(*held)
    if len(common) < 3:
        with pytest.raises(InsufficientDataError):
            common_prices(many)
    else:
        assert list(common_prices(many).index) == list(dates[sorted(common)])


@pytest.mark.parametrize(
    ("day", "years", "before"),
    [
        ("2025-11-12", 1, "2024-11-12"),
        ("2024-02-29", 1, "2023-02-28"),
        ("2024-02-29", 4, "2020-02-29"),
        ("2025-11-12", 10, "2015-11-12"),
    ],
)
def test_years_before(day, years, before):
    assert str(years_before(dt.date.fromisoformat(day), years)) == before


def test_a_window_without_years_has_no_start():
    assert window_start(dt.date(2024, 2, 29), 1) == dt.date(2023, 2, 28)
    assert window_start(dt.date(2024, 2, 29), None) is None
    for none in (0, -1):
        with pytest.raises(ValueError, match="must be 1 or more, or None"):
            window_start(dt.date(2024, 2, 29), none)


def test_the_newest_session_of_several_series():
    days = pd.DatetimeIndex(["2024-01-02", "2024-01-03", "2024-01-04"])
    none = np.array([], dtype="datetime64[D]")
    several = [
        PriceSeries(t, pd.Series(1.0, days[:n]), none, none, source, None)
        for t, n, source in (("A", 2, "files"), ("B", 3, "yahoo"), ("C", 1, "files"))
    ]
    assert newest_session(several) == dt.date(2024, 1, 4)
    assert sources(several) == "files,yahoo"
    with pytest.raises(InsufficientDataError, match="etf run") as caught:
        newest_session([])
    assert caught.value.code is ReasonCode.NO_HISTORY


@pytest.mark.parametrize(("day", "reaches"), [(1, False), (2, True), (12, True), (30, True)])
def test_a_history_covers_a_window_that_begins_up_to_ten_days_before_it(day, reaches):
    one = series(dates=days("2024-01-12", "2024-02-12", "2024-03-12"))
    assert one.covers(dt.date(2024, 1, day)) == reaches
    assert (first_window_end(dt.date(2024, 1, 12), 2) <= dt.date(2026, 1, day)) == reaches


@pytest.mark.parametrize(("day", "trades"), [(1, True), (12, True), (22, True), (23, False)])
def test_a_ticker_trades_until_ten_days_after_its_last_session(day, trades):
    one = series(dates=days("2024-01-12", "2024-02-12", "2024-03-12"))
    assert one.trades_on(dt.date(2024, 3, day)) == trades


def test_the_first_window_of_a_leap_day_ends_in_february():
    assert first_window_end(dt.date(2024, 2, 29), 1) == dt.date(2025, 2, 18)
