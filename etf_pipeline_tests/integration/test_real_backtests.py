"""Backtests of real ASX prices: a delisted fund, late listings, every course rebuilt by hand."""

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.model.backtesting import EventKind
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.portfolio.backtest import backtest_portfolio
from etf_pipeline.risk.prices import PriceSeries

pytestmark = pytest.mark.real_data
NONE = np.array([], dtype="datetime64[D]")


def load(real_data, ticker):
    frame = pd.read_parquet(real_data / "raw" / f"{ticker}.parquet")
    prices = frame.set_index(pd.DatetimeIndex(frame["Date"]).astype("datetime64[s]"))["Adj Close"]
    return PriceSeries(ticker, prices.dropna(), NONE, NONE, "user", "AUD", "XASX")


def rebuilt(found, series, rates, rate):
    """Wealth by session from the weights that were bought alone, with pandas."""
    frame = pd.concat({s.ticker: s.prices for s in series}, axis=1, sort=True)
    amounts, cash, wealth, before = None, 1.0, {}, None
    for day in found.wealth.index:
        if amounts is not None:
            cash *= (1 + rate) ** ((day - before).days / 365.25)
            for s in series:
                if amounts[s.ticker] and day > s.prices.index[-1]:
                    cash += amounts[s.ticker] * s.prices.iloc[-1] / s.prices.asof(before)
                    amounts[s.ticker] = 0.0
            amounts = (amounts * frame.loc[day] / frame.loc[before]).fillna(0.0)
        if day in found.weights.index:
            held = amounts if amounts is not None else pd.Series(0.0, frame.columns)
            total = left = held.sum() + cash
            for _ in range(100):
                moved = (found.weights.loc[day] * left - held).abs()
                left = total - float((rates * moved).sum())
            amounts = found.weights.loc[day] * left
            cash = left - amounts.sum()
        wealth[day] = amounts.sum() + cash
        before = day
    return pd.Series(wealth)


@pytest.mark.parametrize(
    ("tickers", "asked"),
    [
        (("VAS", "VGS", "VAF", "EINC"), {"objective": "min_volatility", "min_weight": 0.1}),
        (("VGS", "HACK", "NDQ"), {"objective": "max_sharpe", "max_weight": 0.6, "band": 0.05}),
        (("VAS", "VAF", "VGS"), {"objective": "max_return", "risk_budget": 0.09}),
        (("NDQ", "HETH", "EINC"), {"objective": "risk_parity", "rebalance": "monthly"}),
    ],
)
def test_a_course_is_what_its_weights_and_prices_make(real_data, tickers, asked):
    series = [load(real_data, t) for t in tickers]
    spread = {tickers[0]: 5.0, tickers[-1]: 30.0}
    spec = PortfolioSpec.model_validate(
        {"name": "p", "tickers": list(tickers), "lookback_years": 1, "trading_cost": 0.001}
        | {"half_spreads": spread}
        | asked
    )
    found = backtest_portfolio(spec, series, 5, 0.03)
    rates = pd.Series({t: 0.001 + spread.get(t, 0.0) / 1e4 for t in tickers})
    expected = rebuilt(found, series, rates, 0.03)
    assert found.wealth.to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-9)
    assert found.wealth.index[-1] == pd.Timestamp("2025-11-12")
    entered = [e.subject for e in found.events if e.kind is EventKind.ENTERED]
    assert sorted(entered) == sorted(tickers)
    left = [(e.subject, str(e.date)) for e in found.events if e.kind is EventKind.LEFT]
    assert left == ([("EINC", "2025-01-29")] if "EINC" in tickers else [])
