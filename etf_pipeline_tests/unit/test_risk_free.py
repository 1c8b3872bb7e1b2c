"""What is free of risk: a constant, the returns of a cash fund, published rates; gaps by date."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import CurrencyError, InsufficientDataError
from etf_pipeline.model.risk_free import Cash, Published, asked
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.risk_free import Constant, Course, periodic_rate, risk_free
from etf_pipeline.risk.tables import metrics_row

NONE = np.array([], dtype="datetime64[D]")
DAYS = pd.bdate_range("2021-01-01", "2023-12-29")
D = DAYS.to_numpy().astype("datetime64[D]")
RNG = np.random.default_rng(4)
RETURNS = RNG.normal(4e-4, 0.01, len(D) - 1)
CASH = np.abs(RNG.normal(1.2e-4, 4e-5, len(D) - 1))  # a rate that changes from day to day


def wealth(returns):
    return 100 * np.cumprod(1 + np.r_[0.0, returns])


def series(prices, days=DAYS, ticker="A", currency="AUD"):
    return PriceSeries(ticker, pd.Series(prices, days), NONE, NONE, "files", currency)


def cash_fund(days=D, returns=CASH, currency="AUD"):
    return Course.of_prices("BILL", wealth(returns), days, currency)


def day(text):
    return dt.date.fromisoformat(text)


def test_a_constant_is_the_same_for_every_period():
    one = risk_free(0.04)
    assert one == Constant(0.04)
    assert one.returns(D, 252) == periodic_rate(0.04, 252) == 1.04 ** (1 / 252) - 1
    assert one.over(day("2021-01-01"), day("2022-06-30")) == 0.04
    assert (one.name, one.said, one.like("USD")) == (None, 0.04, one)


def test_a_cash_fund_has_its_own_returns_on_the_same_dates():
    assert cash_fund().returns(D, 252) == pytest.approx(CASH, rel=1e-9)
    weekly = D[::5]
    expected = (1 + pd.Series(np.r_[0.0, CASH])).cumprod().to_numpy()[::5]
    assert cash_fund().returns(weekly, 52) == pytest.approx(
        expected[1:] / expected[:-1] - 1, rel=1e-9
    )


def test_the_rate_over_a_window_is_what_it_grew_by_a_year():
    growth = np.prod(1 + CASH)
    years = (DAYS[-1] - DAYS[0]).days / 365.25
    found = cash_fund().over(DAYS[0].date(), DAYS[-1].date())
    assert found == pytest.approx(growth ** (1 / years) - 1, rel=1e-9)


def test_published_rates_accrue_by_the_day():
    """Friday to Monday is three days; a new rate counts from its date on."""
    days = np.array(["2024-01-05", "2024-01-08", "2024-01-09"], dtype="datetime64[D]")
    found = Course.of_rates("rba.csv", np.array([0.04, 0.05, 0.05]), days).returns(days, 252)
    assert found == pytest.approx([1.04 ** (3 / 365.25) - 1, 1.05 ** (1 / 365.25) - 1], rel=1e-12)


def test_rates_that_never_change_are_the_constant_over_any_window():
    rates = Course.of_rates("x.csv", np.full(len(D), 0.035), D)
    assert rates.over(day("2021-02-03"), day("2023-08-09")) == pytest.approx(0.035, rel=1e-12)
    annual = (len(D) - 1) * 365.25 / int((D[-1] - D[0]).astype(int))
    mean = np.log1p(rates.returns(D, annual)).mean()
    assert mean == pytest.approx(np.log1p(periodic_rate(0.035, annual)), rel=1e-12)


@given(st.integers(1, 700), st.integers(1, 700), st.floats(-0.5, 0.9))
def test_growth_over_two_windows_is_that_over_both(a, b, rate):
    rates = Course.of_rates("x.csv", np.linspace(rate, rate / 2, len(D)), D)
    first, middle, last = DAYS[0].date(), DAYS[min(a, b)].date(), DAYS[min(a + b, 778)].date()
    if not first < middle < last:
        return
    grown = [
        (1 + rates.over(s, e)) ** ((e - s).days / 365.25)
        for s, e in ((first, middle), (middle, last), (first, last))
    ]
    assert grown[0] * grown[1] == pytest.approx(grown[2], rel=1e-9)


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (np.datetime64("2021-02-01") <= D, "begin on 2021-02-01, after 2021-01-01"),
        (np.datetime64("2023-11-30") >= D, "after 2023-11-30"),
        (
            (np.datetime64("2022-03-01") > D) | (np.datetime64("2022-03-20") < D),
            "between 2022-02-28 and 2022-03-21",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["price", "rate"])
def test_a_gap_is_refused_by_name_and_date(held, words, kind):
    days = D[held]
    free = (
        Course.of_rates("rba.csv", np.full(len(days), 0.04), days)
        if kind == "rate"
        else Course.of_prices("BILL", np.linspace(100, 110, len(days)), days)
    )
    with pytest.raises(InsufficientDataError, match=words) as caught:
        free.returns(D, 252)
    assert ("rba.csv" if kind == "rate" else "BILL") in str(caught.value)
    if kind == "rate" or "between" not in words:
        # rates must be there all the way; of prices both ends are enough
        with pytest.raises(InsufficientDataError, match=words):
            free.over(DAYS[0].date(), DAYS[-1].date())


def test_a_rate_counts_for_ten_days_and_monthly_ones_for_a_month_and_a_quarter():
    days = np.array(["2024-01-05", "2024-01-08", "2024-01-09"], dtype="datetime64[D]")
    daily = Course.of_rates("x.csv", np.full(3, 0.04), days)
    daily.over(day("2024-01-05"), day("2024-01-19"))
    with pytest.raises(InsufficientDataError, match="one counts for 10 days"):
        daily.over(day("2024-01-05"), day("2024-01-20"))
    months = pd.date_range("2020-01-01", periods=13, freq="MS").to_numpy().astype("datetime64[D]")
    monthly = Course.of_rates("x.csv", np.full(13, 0.04), months)
    monthly.over(day("2020-01-01"), day("2021-02-07"))  # 1.25 times 31 days
    with pytest.raises(InsufficientDataError, match="one counts for 38 days"):
        monthly.over(day("2020-01-01"), day("2021-02-09"))
    with pytest.raises(InsufficientDataError, match="between 2020-04-01 and 2020-06-01"):
        Course.of_rates("x.csv", np.full(12, 0.04), np.delete(months, 4)).over(
            day("2020-01-01"), day("2020-12-31")
        )


@pytest.mark.parametrize(("step", "words"), [(3, "further apart"), (5, "one counts for 5 days")])
def test_coarser_prices_tell_no_daily_returns(step, words):
    days = D[::step]
    with pytest.raises(InsufficientDataError, match=words):
        Course.of_prices("BILL", np.linspace(100, 110, len(days)), days).returns(D[:-3], 252)


def test_returns_of_another_currency_are_refused():
    other = cash_fund(currency="USD").like("AUD")
    for ask in (lambda: other.returns(D, 252), lambda: other.over(D[0].item(), D[9].item())):
        with pytest.raises(CurrencyError, match="BILL are in USD, not in AUD"):
            ask()
    pence = cash_fund(currency="GBP")
    assert pence.like("GBp") is pence
    assert cash_fund(currency=None).like("AUD").name == "BILL"


def test_ratios_and_alpha_of_a_table_are_over_the_cash_fund():
    other = RNG.normal(3e-4, 0.01, len(D) - 1)
    own = 0.6 * other + RETURNS
    row = metrics_row(series(wealth(own)), None, cash_fund(), series(wealth(other), ticker="B"))
    annual = (len(D) - 1) * 365.25 / int((D[-1] - D[0]).astype(int))
    excess = own - CASH
    assert row["sharpe_ratio"] == pytest.approx(
        np.sqrt(annual) * excess.mean() / excess.std(ddof=1), rel=1e-9
    )
    downside = np.sqrt((np.minimum(excess, 0) ** 2).mean())
    assert row["sortino_ratio"] == pytest.approx(
        np.sqrt(annual) * excess.mean() / downside, rel=1e-9
    )
    slope, intercept = np.polyfit(other - CASH, excess, 1)
    assert row["alpha"] == pytest.approx(annual * intercept, rel=1e-8)
    assert row["beta"] != pytest.approx(slope, rel=1e-9)  # which is of the returns themselves
    assert row["risk_free"] == "BILL"
    assert row["risk_free_rate"] == pytest.approx(
        np.prod(1 + CASH) ** (365.25 / (DAYS[-1] - DAYS[0]).days) - 1, rel=1e-9
    )


def test_where_it_is_not_known_the_ratios_are_null_and_the_rest_is_not():
    late = cash_fund(D[100:], CASH[100:])
    row = metrics_row(series(wealth(RETURNS)), None, late, series(wealth(CASH), ticker="B"))
    names = ("sharpe_ratio", "sortino_ratio", "alpha", "risk_free_rate")
    assert [row[n] for n in names] == [None] * 4
    assert None not in (row["volatility"], row["calmar_ratio"], row["beta"], row["r_squared"])
    assert f"risk-free returns of BILL begin on {D[100]}, after {D[0]}" in row["reason"]
    later = metrics_row(series(wealth(RETURNS)), 1, late)
    assert later["sharpe_ratio"] is not None


def test_a_cash_fund_beside_itself_has_no_sharpe_ratio():
    row = metrics_row(series(wealth(CASH), ticker="BILL"), None, cash_fund())
    assert row["sharpe_ratio"] is None
    assert "returns over the risk-free do not vary" in row["reason"]


def test_another_currency_leaves_the_ratios_null_and_says_so():
    row = metrics_row(series(wealth(RETURNS), currency="USD"), None, cash_fund())
    assert (row["sharpe_ratio"], row["risk_free_rate"]) == (None, None)
    assert "in AUD, not in USD" in row["reason"]


def test_a_hole_in_the_fund_is_spanned_by_both():
    hole = (np.datetime64("2022-03-01") < D) & (np.datetime64("2022-03-20") > D)
    at = np.flatnonzero(~hole)
    prices, rates = wealth(RETURNS)[at], wealth(CASH)[at]
    row = metrics_row(series(prices, DAYS[at]), None, cash_fund())
    excess = prices[1:] / prices[:-1] - rates[1:] / rates[:-1]
    annual = len(excess) * 365.25 / (DAYS[-1] - DAYS[0]).days
    assert row["sharpe_ratio"] == pytest.approx(
        np.sqrt(annual) * excess.mean() / excess.std(ddof=1), rel=1e-9
    )


def test_what_a_fund_does_not_have_in_its_returns_is_told_with_every_number():
    held = PriceSeries(
        *("BILL", pd.Series(wealth(CASH), DAYS), NONE, NONE, "files", None),
        withheld=(day("2021-06-30"), day("2022-06-30")),
        unseen=(day("2022-09-30"),),
        large_moves=(day("2022-12-30"),),
    )
    fund = Course.of_fund(held, "AUD")
    assert (fund.currency, fund.name) == ("AUD", "BILL")
    told = fund.remarks(day("2022-01-03"), day("2023-01-03"))
    assert len(told) == 3
    assert all(t.startswith("BILL, as free of risk: ") for t in told)
    assert ["2022-06-30" in told[0], "2021-06-30" in told[0]] == [True, False]
    assert fund.remarks(day("2023-01-03"), day("2023-06-30")) == []
    row = metrics_row(series(wealth(RETURNS)), None, fund)
    assert "BILL, as free of risk: " in row["reason"]
    assert risk_free(0.04).remarks(day("2022-01-03"), day("2023-01-03")) == []


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("0.04", 0.04),
        (" -0.005 ", -0.005),
        ("4e-2", 0.04),
        ("BILL", Cash("BILL")),
        ("NAN", Cash("NAN")),
        ("ticker:2800", Cash("2800")),
        ("ticker:rates.csv", Cash("rates.csv")),
        ("data/f1.CSV", Published),
        ("file:data/rates", Published),
    ],
)
def test_what_a_setting_asks_for(text, means):
    found = asked(text)
    assert isinstance(found, means) if means is Published else found == means


@pytest.mark.parametrize("text", ["4", "-1", "1", "4%", "0,04", "1 000", "", " ", "file:", "2800"])
def test_a_number_that_is_no_rate_is_refused_and_never_a_ticker(text):
    with pytest.raises(ValueError, match="must be"):
        asked(text)


def test_a_list_of_changes_years_apart_is_no_series_of_rates():
    """The gaps are usual for the file, and yet nobody said that the rate stood all the time."""
    days = np.array(["2014-06-02", "2015-07-27", "2020-03-02", "2023-08-14"], "datetime64[D]")
    listed = Course.of_rates("changes.csv", np.array([0.005, 0.01, 0.02, 0.04]), days)
    with pytest.raises(InsufficientDataError, match="between 2020-03-02 and 2023-08-14"):
        listed.over(dt.date(2021, 12, 31), dt.date(2023, 12, 29))
    with pytest.raises(InsufficientDataError, match="after 2023-08-14; one counts for 115 days"):
        listed.over(dt.date(2023, 9, 1), dt.date(2024, 12, 31))
    quarters = np.arange("2020-01", "2024-01", 3, dtype="datetime64[M]").astype("datetime64[D]")
    rates = Course.of_rates("quarterly.csv", np.full(len(quarters), 0.03), quarters)
    assert rates.over(dt.date(2020, 2, 1), dt.date(2024, 1, 20)) == pytest.approx(0.03)
