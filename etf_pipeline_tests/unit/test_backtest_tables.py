"""Backtests of the portfolios of a file, as tables."""

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import ReasonCode
from etf_pipeline.library.backtests import backtest_answer
from etf_pipeline.portfolio.backtest_tables import backtest_tables
from etf_pipeline.portfolio.backtest_tables import walked as walked_forward
from etf_pipeline.risk.conversion import Conversion
from etf_pipeline_tests.fx_support import BY_HAND, FX, IN_AUD, MIXED, NAMED, VGB, alike
from etf_pipeline_tests.portfolio_file import DAYS, SERIES, UNIVERSE, specs


def test_backtests_of_the_file(tmp_path):
    text = "    objective: min_volatility\n    trading_cost: 0.001\n    rebalance: monthly\n"
    tables = backtest_tables(
        specs(tmp_path, text), SERIES, 5, 0.0, UNIVERSE.columns(), SERIES["VAS"]
    )
    rows = tables.courses.to_pylist()
    assert tables.failures == {}
    # what is bought, and a thousandth of it, is 1
    assert rows[0]["wealth"] == pytest.approx(1 / 1.001, rel=1e-12)
    assert rows[0]["cost"] == pytest.approx(0.001 / 1.001)
    assert {r["cash"] for r in rows} == {0.0}
    assert {r["comparison_wealth"] for r in rows} == {None}
    last, first = rows[-1], rows[0]
    prices = SERIES["VAS"].prices
    expected = prices.loc[pd.Timestamp(last["date"])] / prices.loc[pd.Timestamp(first["date"])]
    assert last["benchmark_wealth"] == pytest.approx(expected)
    weights = tables.weights.to_pandas().groupby("date")["weight"].sum()
    assert np.allclose(weights, 1.0)
    assert set(tables.weights.column("decision").to_pylist()) == {"traded"}
    events = tables.events.to_pylist()
    traded = [e for e in events if e["event"] == "traded"]
    assert [e["traded_on"] for e in traded] == [r["date"] for r in rows if r["cost"] is not None]
    assert all(e["date"] < e["traded_on"] for e in traded)
    assert {e["subject"] for e in events if e["event"] == "entered"} == set(SERIES)
    assert {e["event"] for e in events} == {"traded", "entered"}


def test_drawdowns_and_metrics_begin_with_what_was_paid_in(tmp_path):
    """A total return is the last wealth less 1, of what is compared with too."""
    text = (
        "    objective: hrp\n    trading_cost: 0.02\n    rebalance: never\n    compare_with: VAS\n"
    )
    (asked,) = specs(tmp_path, text)
    late = SERIES["VGS"].since(DAYS[700].date())
    for series, compared in ((SERIES, SERIES["VAS"]), (SERIES | {"VGS": late}, late)):
        asked = asked.model_copy(update={"compare_with": compared.ticker})
        found = walked_forward(asked, series, 1, 0.0)
        answer, wealth = backtest_answer(found, 0.0), found.backtest.wealth
        total = wealth.iloc[-1] - 1.0
        assert answer["metrics"]["total_return"] == pytest.approx(total, rel=1e-12)
        paid = np.r_[1.0, wealth.to_numpy()[1:]]
        depths = paid / np.maximum.accumulate(paid) - 1.0
        assert answer["course"]["drawdown"].to_numpy() == pytest.approx(depths, abs=1e-15)
        assert answer["metrics"]["max_drawdown"] == pytest.approx(depths.min(), rel=1e-12)
        rows = backtest_tables([asked], series, 1, 0.0).courses.to_pylist()
        assert [r["drawdown"] for r in rows] == pytest.approx(depths.tolist(), abs=1e-15)
        other = found.backtest.comparison.dropna()
        grown = compared.prices.loc[other.index[-1]] / compared.prices.loc[other.index[0]]
        expected = grown / 1.02 - 1.0  # what is bought, and a fiftieth of it
        assert answer["comparison_metrics"]["total_return"] == pytest.approx(expected, rel=1e-12)


def test_members_that_come_and_go_are_in_the_tables(tmp_path):
    came, went = DAYS[100].date(), DAYS[700].date()
    series = SERIES | {"VAF": SERIES["VAF"].since(came), "VGB": SERIES["VGB"].until(went)}
    asked = specs(tmp_path, "    objective: min_volatility\n    rebalance: monthly\n")
    tables = backtest_tables(asked, series, 5, 0.02)
    events = tables.events.to_pylist()
    left = [e for e in events if e["event"] == "left"]
    assert [(e["subject"], e["date"], e["code"]) for e in left] == [("VGB", went, "member_left")]
    entered = {e["subject"]: e["date"] for e in events if e["event"] == "entered"}
    assert entered["VAS"] == entered["VGS"] == entered["VGB"] < entered["VAF"]
    rows = {r["date"]: r for r in tables.courses.to_pylist()}
    assert max(rows) == DAYS[-1].date()
    weights = tables.weights.to_pandas().set_index(["date", "ticker"])["weight"]
    last = max(d for d, _ in weights.index if d <= went)
    held = weights[last]["VGB"]
    assert held > 0
    after = DAYS[701].date()
    grown = series["VGB"].prices.iloc[-1] / series["VGB"].prices.loc[pd.Timestamp(last)]
    assert rows[after]["cash"] * rows[after]["wealth"] == pytest.approx(
        held * rows[last]["wealth"] * grown
    )


def test_the_nearest_is_flagged_in_the_tables(tmp_path):
    went = DAYS[700].date()
    series = SERIES | {"VGB": SERIES["VGB"].until(went)}
    text = (
        "    objective: min_volatility\n    rebalance: monthly\n    min_weight: 0.2\n"
        "    max_turnover: 0.05\n    holdings: {VAS: 1.0}\n"
    )
    tables = backtest_tables(specs(tmp_path, text), series, 5, 0.0)
    nearest = [e for e in tables.events.to_pylist() if e["event"] == "nearest"]
    assert nearest
    assert {e["code"] for e in nearest} == {"infeasible"}
    assert all("turnover" in e["reason"] for e in nearest)
    flagged = {r["date"]: r["decision"] for r in tables.weights.to_pylist()}
    traded_on = {e["traded_on"] for e in nearest}
    assert {day for day, decision in flagged.items() if decision == "nearest"} == traded_on
    assert min(traded_on) > went
    assert set(flagged.values()) == {"traded", "nearest"}


def test_a_comparison_is_in_the_tables_and_in_the_portfolios_currency(tmp_path):
    text = "    objective: min_volatility\n    rebalance: never\n    compare_with: {VGB: 1}\n"
    found = backtest_tables(specs(tmp_path, text), MIXED, 5, 0.0, None, None, IN_AUD)
    rows = found.courses.to_pylist()
    prices = BY_HAND["VGB"].prices
    first = prices.loc[pd.Timestamp(rows[0]["date"])]
    for row in rows:
        expected = prices.loc[pd.Timestamp(row["date"])] / first
        assert row["comparison_wealth"] == pytest.approx(expected)


def test_a_portfolio_that_no_decision_allows_says_why(tmp_path):
    text = "    objective: target_return\n    target_return: 4\n"
    found = backtest_tables(specs(tmp_path, text), SERIES, 5, 0.0)
    assert found.failures["p"].code is ReasonCode.INFEASIBLE
    assert "gave weights" in found.failures["p"].message
    assert "target return 4 is out of reach" in found.failures["p"].message
    assert found.courses.num_rows == found.events.num_rows == 0


def test_a_backtest_without_enough_history_says_so(tmp_path):
    short = {t: s.since(DAYS[-200].date()) for t, s in SERIES.items()}
    tables = backtest_tables(specs(tmp_path, "    objective: max_sharpe\n"), short, 5, 0.0)
    assert "enough history" in tables.failures["p"].message
    assert tables.failures["p"].code is ReasonCode.TOO_FEW_RETURNS
    assert tables.courses.num_rows == 0


def walked(tmp_path, series, benchmark, conversion):
    asked = specs(tmp_path, "    objective: min_volatility\n    rebalance: yearly\n")
    return backtest_tables(asked, series, 5, 0.0, None, benchmark, conversion)


def test_a_backtest_is_in_the_currency_of_the_portfolio_and_so_is_its_benchmark(tmp_path):
    found = walked(tmp_path, MIXED, MIXED["VGB"], IN_AUD)
    right = walked(tmp_path, BY_HAND, BY_HAND["VGB"], Conversion())
    assert found.courses.num_rows == right.courses.num_rows > 200
    assert alike(found.courses.to_pylist(), right.courses.to_pylist())
    assert (found.inputs["p"].currency, found.inputs["p"].fx) == ("AUD", NAMED)
    # the benchmark alone may be what needs a rate; the portfolio's currency is its members'
    alone = walked(tmp_path, SERIES, MIXED["VGB"], Conversion(FX))
    assert (alone.inputs["p"].currency, alone.inputs["p"].fx) == ("AUD", NAMED)
    wealth = [r["benchmark_wealth"] for r in found.courses.to_pylist()]
    assert [r["benchmark_wealth"] for r in alone.courses.to_pylist()] == pytest.approx(wealth)
    unconverted = walked(tmp_path, SERIES, VGB, Conversion()).courses.to_pylist()
    assert unconverted[-1]["benchmark_wealth"] != pytest.approx(wealth[-1], rel=1e-3)


def test_a_backtest_without_its_rates_says_so(tmp_path):
    for series, benchmark in ((MIXED, None), (SERIES, MIXED["VGB"])):
        failures = walked(tmp_path, series, benchmark, Conversion(default="AUD")).failures
        assert failures["p"].code is ReasonCode.MISSING_FX
        assert "AUDUSD=X" in failures["p"].message
