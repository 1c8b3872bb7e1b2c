"""What is free of risk, through settings, the library and the steps: a rate, a ticker, a file."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from etf_pipeline import ETFDataProvider
from etf_pipeline.errors import InsufficientDataError, UnknownTickerError, UnreadableFileError
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import BACKTEST_EVENTS, RISK_METRICS, SUMMARY
from etf_pipeline.portfolio.cash import cash_of
from etf_pipeline.risk.risk_free import Course
from etf_pipeline.settings import load_settings
from etf_pipeline.steps.backtests import backtests
from etf_pipeline.steps.derived import Assumptions, read_histories
from etf_pipeline.steps.portfolios import optimised_portfolios
from etf_pipeline.steps.result import Run
from etf_pipeline.steps.risk_tables import risk_metrics
from etf_pipeline.store.reader import read_table
from etf_pipeline.store.store import Store
from etf_pipeline_tests.support import instrument

DAYS = pd.bdate_range("2020-01-01", "2023-12-29", name="Date")
RNG = np.random.default_rng(6)
RETURNS = {
    "AAA": RNG.normal(6e-4, 0.010, len(DAYS) - 1),
    "BBB": RNG.normal(4e-4, 0.006, len(DAYS) - 1),
    "BILL": np.abs(RNG.normal(1.2e-4, 3e-5, len(DAYS) - 1)),
}
UNIVERSE = Universe(tuple(instrument(t) for t in RETURNS))
RUN = Run("run-1", dt.datetime(2024, 1, 2, tzinfo=dt.UTC))
SPECS = [
    PortfolioSpec(name=o, tickers=["AAA", "BBB"], objective=o)
    for o in ("max_sharpe", "min_volatility")
]


def write(folder, ticker, days=DAYS, currency="AUD"):
    returns = RETURNS[ticker][: len(days) - 1]
    closes = 100 * np.cumprod(1 + np.r_[0.0, returns])
    folder.mkdir(exist_ok=True)
    path = folder / f"{ticker}.parquet"
    pd.DataFrame({"Close": closes, "Adj Close": closes}, days).to_parquet(path)
    path.with_name(path.name + ".json").write_text(f'{{"currency": "{currency}"}}')


@pytest.fixture
def root(tmp_path):
    for ticker in RETURNS:
        write(tmp_path / "historical", ticker)
    return tmp_path


@pytest.fixture
def rates(root):
    path = root / "f1.csv"
    path.write_text("date,cash rate (%)\n" + "".join(f"{d:%Y-%m-%d},3.5\n" for d in DAYS))
    return path


def sharpe(returns, free):
    a = len(returns) * 365.25 / (DAYS[-1] - DAYS[0]).days
    excess = returns - free
    return np.sqrt(a) * excess.mean() / excess.std(ddof=1)


def test_a_ticker_as_an_argument_and_as_the_default(root, monkeypatch):
    expected = sharpe(RETURNS["AAA"], RETURNS["BILL"])
    monkeypatch.setenv("ETF_RISK_FREE_RATE", "BILL")
    for found in (
        ETFDataProvider(root).calculate_risk_metrics("AAA", 0, risk_free_rate="BILL"),
        ETFDataProvider(root, risk_free_rate="BILL").calculate_risk_metrics("AAA", 0),
        ETFDataProvider(root).calculate_risk_metrics("AAA", 0),
        ETFDataProvider(root, 0.5).calculate_risk_metrics("AAA", 0, risk_free_rate="ticker:BILL"),
    ):
        assert found["sharpe_ratio"] == pytest.approx(expected, rel=1e-9)
        assert found["risk_free"] == "BILL"


def test_a_file_of_one_rate_is_nearly_the_constant(root, rates):
    provider = ETFDataProvider(root)
    found = provider.calculate_risk_metrics("AAA", 0, risk_free_rate=rates)
    same = provider.calculate_risk_metrics("AAA", 0, risk_free_rate=str(rates))
    constant = provider.calculate_risk_metrics("AAA", 0, risk_free_rate=0.035)
    assert found == same
    assert (found["risk_free"], constant["risk_free"]) == ("f1.csv", None)
    assert found["risk_free_rate"] == pytest.approx(0.035, rel=1e-12)
    # by the day: three of them from a Friday to a Monday
    gaps = np.diff(DAYS.to_numpy()).astype("timedelta64[D]").astype(int)
    assert found["sharpe_ratio"] == pytest.approx(
        sharpe(RETURNS["AAA"], 1.035 ** (gaps / 365.25) - 1), rel=1e-9
    )
    assert found["sharpe_ratio"] == pytest.approx(constant["sharpe_ratio"], rel=1e-3)


@pytest.mark.parametrize("free", ["BILL", "file"])
def test_an_optimum_takes_the_rate_over_its_own_window(root, rates, free):
    asked = rates if free == "file" else free
    found = ETFDataProvider(root).optimize_portfolio(
        ["AAA", "BBB"], "max_sharpe", lookback_years=2, risk_free_rate=asked
    )
    start, end = pd.Timestamp(found["start"]), pd.Timestamp(found["end"])
    wealth = (1 + pd.Series(np.r_[0.0, RETURNS["BILL"]], DAYS)).cumprod()
    cash = (wealth[end] / wealth[start]) ** (365.25 / (end - start).days) - 1
    rate = 0.035 if free == "file" else cash
    same = ETFDataProvider(root).optimize_portfolio(
        ["AAA", "BBB"], "max_sharpe", lookback_years=2, risk_free_rate=float(rate)
    )
    assert found["optimal_weights"] == pytest.approx(same["optimal_weights"], abs=1e-9)
    assert found["sharpe_ratio"] == pytest.approx(
        (found["expected_return"] - rate) / found["volatility"], rel=1e-9
    )


def test_what_is_not_there_is_refused_by_name(root):
    provider = ETFDataProvider(root)
    with pytest.raises(UnknownTickerError, match=r"BILLS.*did you mean BILL"):
        provider.calculate_risk_metrics("AAA", 0, risk_free_rate="BILLS")
    with pytest.raises(UnreadableFileError, match=r"rba\.csv cannot be read"):
        provider.calculate_risk_metrics("AAA", 0, risk_free_rate="rba.csv")


def test_rates_that_end_early_leave_ratios_null_and_refuse_portfolios(root):
    write(root / "historical", "BILL", DAYS[:-30])
    provider, ended = ETFDataProvider(root), f"after {DAYS[-31]:%Y-%m-%d}"
    found = provider.calculate_risk_metrics("AAA", 0, risk_free_rate="BILL")
    assert (found["sharpe_ratio"], found["volatility"] is None) == (None, False)
    assert ended in found["reason"]
    with pytest.raises(InsufficientDataError, match=ended):
        provider.optimize_portfolio(["AAA", "BBB"], "max_sharpe", risk_free_rate="BILL")


def assumed(free, monkeypatch):
    monkeypatch.setenv("ETF_RISK_FREE_RATE", str(free))
    monkeypatch.setenv("ETF_LOOKBACK_YEARS", "1")
    return Assumptions.of(load_settings())


@pytest.mark.parametrize("free", ["BILL", "file", "0.035"])
def test_the_tables_say_what_was_free_of_risk(root, rates, free, monkeypatch):
    chosen = assumed(rates if free == "file" else free, monkeypatch)
    store = Store.at(root, 10)
    histories = read_histories(store, RETURNS)
    risk_metrics(store, RUN, histories, UNIVERSE, chosen)
    optimised_portfolios(store, RUN, histories, SPECS, UNIVERSE, chosen)
    name = {"BILL": "BILL", "file": "f1.csv", "0.035": None}[free]
    for table in (RISK_METRICS, SUMMARY):
        rows = read_table(store.layout.of(table, histories.as_of)).to_pylist()
        assert {r["risk_free"] for r in rows} == {name}
    assert all(r["success"] for r in rows)
    if free != "BILL":
        assert [r["risk_free_rate"] for r in rows] == pytest.approx([0.035, 0.035], rel=1e-12)


def test_a_step_fails_a_portfolio_whose_window_has_no_rate(root, monkeypatch):
    write(root / "historical", "BILL", DAYS[:-30])
    store, chosen = Store.at(root, 10), assumed("BILL", monkeypatch)
    histories = read_histories(store, ["AAA", "BBB"])
    result = optimised_portfolios(store, RUN, histories, SPECS, UNIVERSE, chosen)
    for outcome in result.outcomes:
        assert not outcome.good
        assert f"BILL has no risk-free price after {DAYS[-31]:%Y-%m-%d}" in outcome.reason
    rows = read_table(store.layout.of(SUMMARY, histories.as_of)).to_pylist()
    assert [(r["risk_free"], r["risk_free_rate"]) for r in rows] == [("BILL", None)] * 2


def walked(root, chosen, specs=SPECS):
    histories = read_histories(store := Store.at(root, 10), ["AAA", "BBB"])
    result = backtests(store, RUN, histories, specs, UNIVERSE, chosen)
    events = read_table(store.layout.of(BACKTEST_EVENTS, histories.as_of)).to_pylist()
    return {o.subject: o for o in result.outcomes}, events


def test_backtests_need_what_cash_earns_only_while_there_is_any(root, monkeypatch):
    """A fund that ends early is in nobody's way where everything is invested."""
    write(root / "historical", "BILL", DAYS[:-30])
    chosen, ended = assumed("BILL", monkeypatch), f"after {DAYS[-31]:%Y-%m-%d}"
    outcomes, events = walked(root, chosen)
    assert all(o.good for o in outcomes.values())
    assert all(ended in e["reason"] for e in events if e["event"] == "skipped")
    write(root / "historical", "BBB", DAYS[:-90])
    outcomes, _ = walked(root, chosen)
    assert all(o.good for o in outcomes.values())  # what it brought is invested by then
    kept = SPECS[0].model_copy(update={"rebalance": "never", "min_weight": 0.2})
    outcomes, _ = walked(root, chosen, [kept])
    assert not outcomes[kept.name].good
    assert f"BILL has no risk-free price {ended}" in outcomes[kept.name].reason


def test_decisions_need_the_rate_before_them_only_where_the_objective_does(root, monkeypatch):
    late = DAYS[DAYS >= "2020-07-01"]
    write(root / "historical", "BILL", late)
    outcomes, events = walked(root, assumed("BILL", monkeypatch))
    assert all(o.good for o in outcomes.values())
    skipped = [e for e in events if e["event"] == "skipped"]
    assert {e["portfolio"] for e in skipped} == {"max_sharpe"}
    for event in skipped:
        assert event["date"] < dt.date(2021, 7, 1)
        assert "risk-free returns of BILL begin on 2020-07-01" in event["reason"]


def test_cash_of_a_backtest_earns_what_the_fund_does():
    days = DAYS.to_numpy().astype("datetime64[D]")
    fund = 100 * np.cumprod(1 + np.r_[0.0, RETURNS["BILL"]])
    known = np.r_[50:200, 230 : len(days)]  # a launch, and a hole of six weeks
    cash = cash_of(days, Course.of_prices("BILL", fund[known], days[known]))
    assert cash.index[:51].tolist() == [1.0] * 51
    assert cash.index[50:200] == pytest.approx(fund[50:200] / fund[50], rel=1e-12)
    after = cash.index[230:] / cash.index[230]
    assert after == pytest.approx(fund[230:] / fund[230], rel=1e-12)
    assert cash.unknown[:51].tolist() == [False] + [True] * 50
    late = days > days[199] + np.timedelta64(5, "D")
    assert cash.unknown[200:231].tolist() == [*late[200:230], True]
    held = np.zeros(len(days))
    held[[55, 150, 240]] = 0.3
    cash.check(0, held)
    for at, words in ((49, f"begin on {days[50]}"), (215, f"between {days[199]} and {days[230]}")):
        with pytest.raises(InsufficientDataError, match=words):
            cash.check(10, np.where(np.arange(len(days)) == at, 0.3, held)[10:])


def test_a_portfolio_in_another_currency_is_refused(root, monkeypatch):
    write(root / "historical", "BILL", currency="USD")
    store, chosen = Store.at(root, 10), assumed("BILL", monkeypatch)
    histories = read_histories(store, ["AAA", "BBB"])
    result = optimised_portfolios(store, RUN, histories, SPECS, UNIVERSE, chosen)
    assert {o.reason for o in result.outcomes} == {
        "the risk-free returns of BILL are in USD, not in AUD"
    }
