"""Prices brought to one currency; every expected number is arithmetic."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import CurrencyError, ReasonCode
from etf_pipeline.risk.conversion import Conversion, Rates
from etf_pipeline.risk.converting import converted
from etf_pipeline.risk.prices import PriceSeries

NONE = np.array([], dtype="datetime64[D]")


def series(ticker, currency, prices, holes=(), exchange=None):
    """Prices by date, as text."""
    index = pd.DatetimeIndex(list(prices), name="date").astype("datetime64[s]")
    days = np.array(list(holes), dtype="datetime64[D]")
    values = pd.Series(list(prices.values()), index, dtype="float64")
    return PriceSeries(ticker, values, days, days, "files", currency, exchange)


def rate(pair, prices):
    return {pair: series(pair, pair[3:6], prices)}


SPY = {"2024-03-01": 500.0, "2024-03-04": 510.0, "2024-03-05": 505.0}
# USD per AUD; nothing on the 4th
AUD = rate("AUDUSD=X", {"2024-03-01": 0.65, "2024-03-05": 0.64})


def test_the_last_rate_on_or_before_the_session_counts():
    found = converted(series("SPY", "USD", SPY, ["2024-02-29"]), "AUD", AUD)
    assert found.prices.tolist() == pytest.approx([500 / 0.65, 510 / 0.65, 505 / 0.64], rel=1e-15)
    assert found.currency == "AUD"
    assert (found.ticker, found.source) == ("SPY", "files")
    assert found.holes.tolist() == found.excluded.tolist() == [dt.date(2024, 2, 29)]


def test_what_is_in_the_currency_already_is_as_it_was():
    one = series("VAS", "AUD", SPY)
    assert converted(one, "AUD", {}) is one
    together = Conversion(default="AUD").together([one])
    assert together.series[0] is one
    assert (together.currency, together.fx) == ("AUD", None)


@pytest.mark.parametrize(
    ("currency", "base", "factor"),
    [("GBp", "GBP", 1 / 100), ("GBX", "GBP", 1 / 100), ("ILA", "ILS", 0.01), ("KWF", "KWD", 0.001)],
)
def test_minor_units_need_no_rate(currency, base, factor):
    found = converted(series("X", currency, SPY), base, {})
    assert found.prices.tolist() == pytest.approx([p * factor for p in SPY.values()], rel=1e-15)


def test_pence_to_dollars_by_their_factor_and_the_rate_of_the_pound():
    pound = rate("GBPUSD=X", {"2024-03-01": 1.25, "2024-03-04": 1.26, "2024-03-05": 1.27})
    found = converted(series("ISF", "GBp", SPY), "USD", pound)
    expected = [500 * 1.25 / 100, 510 * 1.26 / 100, 505 * 1.27 / 100]
    assert found.prices.tolist() == pytest.approx(expected, rel=1e-15)


def test_two_currencies_through_the_dollar_or_by_their_own_pair():
    yen = rate("USDJPY=X", {"2024-03-01": 150.0, "2024-03-04": 151.0})
    one = series("1306", "JPY", SPY)
    expected = [500 / 150 / 0.65, 510 / 151 / 0.65, 505 / 151 / 0.64]
    assert converted(one, "AUD", AUD | yen).prices.tolist() == pytest.approx(expected, rel=1e-14)
    # the same rates as one pair
    own = rate(
        "AUDJPY=X",
        {"2024-03-01": 150 * 0.65, "2024-03-04": 151 * 0.65, "2024-03-05": 151 * 0.64},
    )
    assert converted(one, "AUD", own).prices.tolist() == pytest.approx(expected, rel=1e-14)


def test_an_inverse_pair_is_divided_by():
    inverse = rate("USDAUD=X", {"2024-03-01": 1.5, "2024-03-04": 1.6, "2024-03-05": 1.7})
    found = converted(series("SPY", "USD", SPY), "AUD", inverse)
    assert found.prices.tolist() == pytest.approx([750.0, 816.0, 858.5], rel=1e-15)


def refused(*args, **named):
    with pytest.raises(CurrencyError) as error:
        converted(*args, **named)
    return error.value


def test_without_a_rate_the_pair_and_the_command_are_named():
    error = refused(series("SPY", "USD", SPY), "AUD", {})
    assert error.code is ReasonCode.MISSING_FX
    assert "SPY is in USD, and there is no history of AUDUSD=X" in str(error)
    assert "run `etf run --tickers AUDUSD=X`" in str(error)


@pytest.mark.parametrize(("day", "good"), [("2024-03-06", True), ("2024-03-07", False)])
def test_a_rate_is_no_older_than_five_days(day, good):
    one, rates = (
        series("SPY", "USD", {"2024-03-01": 500.0, day: 510.0}),
        rate("AUDUSD=X", {"2024-03-01": 0.65}),
    )
    if good:
        assert converted(one, "AUD", rates).prices.iloc[-1] == pytest.approx(510 / 0.65, rel=1e-15)
        return
    error = refused(one, "AUD", rates)
    assert f"AUDUSD=X has no rate of {day}" in str(error)
    assert "(there are 2024-03-01 to 2024-03-01)" in str(error)
    assert error.code is ReasonCode.MISSING_FX


def daily(start, n, value=100.0, weekdays=True):
    days = pd.bdate_range(start, periods=n) if weekdays else pd.date_range(start, periods=n)
    return {f"{d:%Y-%m-%d}": value for d in days}


LONG = daily("2020-01-01", 1200)
YOUNG = rate("AUDUSD=X", daily("2022-01-03", 700, 0.7))


def test_what_is_before_the_first_rate_is_cut_off_where_no_window_needs_it():
    one = series("SPY", "USD", LONG, ["2021-05-05", "2023-05-05"])
    found = converted(one, "AUD", YOUNG)
    assert f"{found.prices.index[0]:%Y-%m-%d}" == "2022-01-03"
    assert found.holes.tolist() == found.excluded.tolist() == [dt.date(2023, 5, 5)]
    assert len(found.prices) == sum(day >= "2022-01-03" for day in LONG)


def test_a_window_that_the_rates_do_not_cover_is_refused():
    one = series("SPY", "USD", LONG)
    assert converted(one, "AUD", YOUNG, dt.date(2022, 6, 1)).covers(dt.date(2022, 6, 1))
    # as a history that begins ten days late covers a window still
    assert converted(one, "AUD", YOUNG, dt.date(2021, 12, 25)).covers(dt.date(2021, 12, 25))
    error = refused(one, "AUD", YOUNG, dt.date(2021, 12, 1))
    assert "has no rate of 2021-12-01" in str(error)
    assert "run `etf run --tickers AUDUSD=X --full`, or ask for fewer years" in str(error)
    # a ticker that is younger than the rates needs none before
    young = series("SPY", "USD", daily("2022-03-01", 200))
    assert len(converted(young, "AUD", YOUNG, dt.date(2020, 1, 1)).prices) == 200


def test_a_hole_in_the_rates_is_refused_in_the_window_and_nowhere_else():
    held = YOUNG["AUDUSD=X"].prices
    gap = held[(held.index < "2022-06-01") | (held.index > "2022-06-20")]
    rates = {"AUDUSD=X": series("AUDUSD=X", "USD", {f"{d:%Y-%m-%d}": v for d, v in gap.items()})}
    one = series("SPY", "USD", LONG)
    assert "has no rate of 2022-06-06" in str(refused(one, "AUD", rates))
    assert "has no rate of 2022-06-06" in str(refused(one, "AUD", rates, dt.date(2022, 2, 1)))
    found = converted(one, "AUD", rates, dt.date(2022, 7, 1))
    assert f"{found.prices.index[0]:%Y-%m-%d}" == "2022-06-21"


def test_rates_that_end_before_the_prices_do():
    error = refused(series("SPY", "USD", LONG), "AUD", rate("AUDUSD=X", daily("2019-12-30", 50)))
    assert "--full" not in str(error)
    assert "etf run --tickers AUDUSD=X`" in str(error)


VAS, VTS = series("VAS", "AUD", SPY), series("VTS", "USD", SPY)
RATES = Rates(AUD, {"AUDUSD=X": "0123456789abcdef" * 4})


def test_the_currency_that_is_asked_for_then_the_default_then_the_shared_one():
    assert Conversion(RATES, default="AUD").together([VAS, VTS], "USD").currency == "USD"
    assert Conversion(RATES, default="AUD").together([VAS, VTS]).currency == "AUD"
    assert Conversion(RATES, default="USD").together([VAS]).currency == "USD"
    found = Conversion(RATES).together([VTS])
    assert (found.currency, found.fx) == ("USD", None)
    assert found.series == [VTS]


def test_the_rates_that_were_used_are_named():
    assert Conversion(RATES).together([VAS, VTS], "AUD").fx == "AUDUSD=X:0123456789ab"
    assert Conversion(Rates(AUD)).together([VAS, VTS], "AUD").fx == "AUDUSD=X"


def test_several_currencies_without_a_base_are_refused():
    with pytest.raises(CurrencyError, match="VAS in AUD, VTS in USD") as error:
        Conversion(RATES).together([VAS, VTS])
    assert error.value.code is ReasonCode.MIXED_CURRENCIES
    for remedy in ("base_currency", "ETF_BASE_CURRENCY"):
        assert remedy in str(error.value)


def test_pence_and_pounds_share_a_currency():
    found = Conversion().together([series("ISF", "GBp", SPY), series("VUKE", "GBP", SPY)])
    assert found.currency == "GBP"
    assert found.series[0].prices.tolist() == pytest.approx([5.0, 5.1, 5.05], rel=1e-15)
    assert found.fx is None


def test_a_file_that_does_not_say_its_currency():
    mine, other = series("MINE", None, SPY), series("OTHER", None, SPY)
    # nothing says that they differ
    assert Conversion(default="AUD").together([mine, other]).currency is None
    # the universe knows
    found = Conversion(RATES, {"MINE": "USD"}).together([mine, VAS], "AUD")
    assert found.series[0].prices.iloc[0] == pytest.approx(500 / 0.65, rel=1e-15)
    for given, base in (([mine, VAS], None), ([mine, VAS], "AUD"), ([mine, other], "AUD")):
        with pytest.raises(CurrencyError, match=r"MINE.*universe\.csv"):
            Conversion(RATES).together(given, base)


def test_one_series_in_the_currency_of_another():
    found = Conversion(RATES).like(VTS, VAS)
    assert found.prices.iloc[0] == pytest.approx(500 / 0.65, rel=1e-15)
    assert Conversion().like(VAS, VAS) is VAS
    with pytest.raises(CurrencyError, match="AUDUSD=X"):
        Conversion().like(VTS, VAS)
    with pytest.raises(CurrencyError, match="MINE"):
        Conversion().like(VTS, series("MINE", None, SPY))


def test_a_hole_among_the_rates_needs_the_whole_history_again():
    held = YOUNG["AUDUSD=X"].prices
    gap = held[(held.index < "2022-06-01") | (held.index > "2022-06-20")]
    rates = {"AUDUSD=X": series("AUDUSD=X", "USD", {f"{d:%Y-%m-%d}": v for d, v in gap.items()})}
    assert str(refused(series("SPY", "USD", LONG), "AUD", rates)).endswith(
        "run `etf run --tickers AUDUSD=X --full`"
    )


def test_a_rate_that_cannot_be_read_is_told_as_that():
    conversion = Conversion(Rates(unreadable={"AUDUSD=X": "AUDUSD=X: row 7: two bars"}))
    with pytest.raises(CurrencyError, match="AUDUSD=X converts nothing: AUDUSD=X: row 7") as error:
        conversion.together([VAS, VTS], "AUD")
    assert error.value.code is ReasonCode.MISSING_FX
    # where another pair leads there, it is not needed
    inverse = rate("USDAUD=X", dict.fromkeys(SPY, 1.5))
    other = Conversion(Rates(inverse, unreadable={"AUDUSD=X": "two bars"}))
    assert other.together([VAS, VTS], "AUD").fx == "USDAUD=X"


def test_currencies_that_nothing_names_are_remarked_on():
    two = [series("A", None, SPY), series("B", None, SPY)]
    (said,) = Conversion().together(two).remarks
    assert "currency A, B are priced" in said
    assert Conversion().together(two[:1]).remarks == ()
    assert Conversion().together([VAS]).remarks == ()


def test_prices_that_begin_late_for_want_of_rates_are_remarked_on():
    one = series("SPY", "USD", LONG)
    (said,) = Conversion(Rates(YOUNG)).together([one], "AUD").remarks
    assert said.startswith("SPY begins on 2022-01-03, as its rates to AUD do")
    assert said.endswith("from 2020-01-01 on")
    assert Conversion(Rates(YOUNG)).together([one], "AUD", dt.date(2022, 6, 1)).remarks == ()


def test_a_jump_of_the_rate_is_remarked_on():
    held = YOUNG["AUDUSD=X"]
    day = held.days[500].item()
    prices = held.prices.where(held.days < held.days[500], 0.91)
    rates = Rates({"AUDUSD=X": replace(held, prices=prices, large_moves=(day,))})
    one = series("SPY", "USD", LONG)
    (said,) = Conversion(rates).together([one], "AUD", dt.date(2022, 6, 1)).remarks
    assert said.startswith("AUDUSD=X: ")
    assert str(day) in said
    assert "30.0" in said or "30 %" in said


EURO = rate("EURUSD=X", daily("2020-01-01", 1200, 1.1))
AUSSIE = rate("AUDUSD=X", daily("2020-01-01", 1200, 0.5))
EUR_AUD = 1.1 / 0.5
EEE = series("EEE", "EUR", LONG)


def taken(rates, since=None):
    """The one price there is, which rates it is by, and what is said of them."""
    together = Conversion(Rates(rates)).together([EEE], "AUD", since)
    (price,) = {round(p, 9) for p in together.series[0].prices}
    return price / 100.0, together.fx, together.remarks, len(together.series[0].prices)


def test_a_pair_that_begins_late_costs_no_years_where_a_cross_has_them():
    late = rate("EURAUD=X", daily("2023-06-01", 308, EUR_AUD * 1.01))
    for since in (None, dt.date(2021, 1, 1), dt.date(2023, 9, 1)):
        factor, fx, said, n = taken(EURO | AUSSIE | late, since)
        assert factor == pytest.approx(EUR_AUD, rel=1e-9)
        assert (fx, n) == ("AUDUSD=X,EURUSD=X", len(LONG))
        assert said == (
            "EEE is converted by EURUSD=X and AUDUSD=X, whose rates are more complete than those "
            "of EURAUD=X",
        )


def test_a_pair_that_is_as_complete_is_the_market_s_own():
    own = rate("EURAUD=X", daily("2020-01-01", 1200, EUR_AUD * 1.01))
    assert taken(EURO | AUSSIE | own) == (pytest.approx(EUR_AUD * 1.01), "EURAUD=X", (), len(LONG))
    # a few days are no reason to take another
    short = rate("EURAUD=X", daily("2020-01-01", 1198, EUR_AUD * 1.01))
    assert taken(EURO | AUSSIE | short)[1] == "EURAUD=X"


def test_a_pair_that_ended_is_not_preferred_to_its_inverse():
    ended = rate("AUDUSD=X", daily("2020-01-01", 900, 0.5))
    inverse = rate("USDAUD=X", daily("2021-01-01", 938, 2.0))
    together = Conversion(Rates(ended | inverse)).together(
        [series("SPY", "USD", LONG)], "AUD", dt.date(2022, 1, 3)
    )
    assert together.fx == "USDAUD=X"
    assert together.series[0].prices.iloc[-1] == pytest.approx(200.0)
    assert "converted by USDAUD=X" in together.remarks[0]


def test_a_window_that_one_way_does_not_cover_is_converted_by_the_next():
    """The pair has most days, but a hole in this window; the cross begins later and has none."""
    days = daily("2020-01-01", 1200, EUR_AUD)
    holed = {d: p for d, p in days.items() if not "2024-03-01" <= d <= "2024-03-20"}
    late = [rate(p, daily("2023-01-02", 417, v)) for p, v in (("EURUSD=X", 1.1), ("AUDUSD=X", 0.5))]
    rates = rate("EURAUD=X", holed) | late[0] | late[1]
    assert taken(rates, dt.date(2023, 6, 1))[1] == "AUDUSD=X,EURUSD=X"
    early = Conversion(Rates(rates)).together([series("E", "EUR", daily("2020-01-01", 900))], "AUD")
    assert early.fx == "EURAUD=X"


def test_rates_that_contradict_each_other_are_told_with_the_day():
    days = daily("2020-01-01", 1200, 0.5)
    other = dict.fromkeys(days, 2.0) | {"2022-05-04": 3.0}
    together = Conversion(Rates(rate("AUDUSD=X", days) | rate("USDAUD=X", other))).together(
        [series("SPY", "USD", LONG)], "AUD"
    )
    assert together.fx == "AUDUSD=X"
    assert together.remarks == (
        "AUDUSD=X and USDAUD=X contradict each other: one USD is 2 or 3 AUD on 2022-05-04; prices "
        "of SPY are by the former",
    )


def test_a_file_and_the_universe_that_name_two_currencies_are_told():
    known = {"VAS": "AUD", "SPY": "EUR"}
    conversion = Conversion(Rates(AUD), known)
    together = conversion.together([VAS, series("SPY", "USD", SPY)], "AUD")
    assert together.remarks == (
        "SPY: its file says USD, and universe.csv EUR; it is taken to be in USD: correct one of "
        "them",
    )
    assert together.series[1].prices.iloc[0] == pytest.approx(500 / 0.65, rel=1e-15)
