"""Strategies side by side, against empyrical and by hand."""

import math
from statistics import NormalDist

import empyrical
import numpy as np
import pandas as pd
import pytest

from etf_pipeline.portfolio.judging import NUMBERS, Tried, judged
from etf_pipeline.risk.risk_free import Course

DAYS = pd.bdate_range("2015-01-02", periods=1001).to_numpy().astype("datetime64[D]")
ANNUAL = 252.0
RATE = 0.02
DAILY = 1.02 ** (1 / 252) - 1


def tried(name, seed, mean=0.0004, **more):
    rng = np.random.default_rng(seed)
    returns = rng.standard_t(6, 1000) * 0.008 + mean
    return Tried({"objective": name}, np.r_[1.0, np.cumprod(1 + returns)], **more)


BASE = tried("equal_weights", 1)
OTHERS = [tried(f"s{i}", i, 0.0001 * i, turnover=0.1 * i, cost=0.001 * i) for i in range(2, 8)]
FOUND = judged(BASE, OTHERS, DAYS, RATE, ANNUAL)


@pytest.mark.parametrize("at", range(7))
def test_numbers_are_those_of_empyrical(at):
    one, row = (BASE, *OTHERS)[at], FOUND.table.iloc[at]
    r = pd.Series(one.returns)
    assert row["cagr"] == pytest.approx(empyrical.cagr(r, annualization=252))
    assert row["volatility"] == pytest.approx(empyrical.annual_volatility(r, annualization=252))
    assert row["max_drawdown"] == pytest.approx(empyrical.max_drawdown(r))
    ratio = empyrical.sharpe_ratio(r, risk_free=DAILY, annualization=252)
    assert row["sharpe_ratio"] == pytest.approx(ratio)
    assert (row["turnover"], row["cost"]) == (one.turnover, one.cost)


def test_ratios_are_over_a_cash_fund_of_its_own_returns():
    cash = np.abs(np.random.default_rng(9).normal(1e-4, 3e-5, 1000))
    fund = Course.of_prices("BILL", np.r_[1.0, np.cumprod(1 + cash)], DAYS)
    table = judged(BASE, OTHERS, DAYS, fund, ANNUAL).table
    for one, found in zip((BASE, *OTHERS), table["sharpe_ratio"], strict=True):
        assert found == pytest.approx(empyrical.sharpe_ratio(one.returns - cash, annualization=252))
    for one, found in zip((BASE, *OTHERS), table["volatility"], strict=True):
        assert found == pytest.approx(empyrical.annual_volatility(one.returns, annualization=252))


def ratio(x):
    return x.mean() / x.std(ddof=1)


def test_a_difference_to_equal_weights_and_its_error_by_the_delta_method():
    """Jobson & Korkie, 1981, as corrected by Memmel, 2003, for normal returns that are alike."""
    rng = np.random.default_rng(3)
    shared = rng.normal(0.0004, 0.01, 40_000)
    other = 0.8 * shared + rng.normal(0.0001, 0.004, 40_000)
    days = np.arange(np.datetime64("1900-01-01"), np.datetime64("1900-01-01") + 40_001)
    pair = [
        Tried({"objective": n}, np.r_[1, np.cumprod(1 + x)])
        for n, x in (("equal_weights", shared), ("s", other))
    ]
    row = judged(pair[0], pair[1:], days, 0.0, 252.0).table.iloc[1]
    a, b, rho, n = ratio(other), ratio(shared), np.corrcoef(other, shared)[0, 1], 40_000
    variance = (2 - 2 * rho + (a**2 + b**2 - 2 * a * b * rho**2) / 2) / n
    assert row["over_equal"] == pytest.approx(math.sqrt(252) * (a - b))
    assert row["over_equal_error"] == pytest.approx(math.sqrt(252 * variance), rel=0.02)


def test_the_deflated_ratio_counts_the_trials():
    excess = [t.returns - DAILY for t in OTHERS]
    ratios = [ratio(x) for x in excess]
    normal, n = NormalDist(), len(ratios)
    chance = np.std(ratios, ddof=1) * (
        (1 - np.euler_gamma) * normal.inv_cdf(1 - 1 / n)
        + np.euler_gamma * normal.inv_cdf(1 - 1 / (n * math.e))
    )
    assert FOUND.by_chance == pytest.approx(math.sqrt(252) * chance)
    for at, mine in enumerate(ratios, 1):
        row = FOUND.table.iloc[at]
        z = (math.sqrt(252) * (mine - chance)) / row["sharpe_error"]
        assert row["deflated_sharpe"] == pytest.approx(normal.cdf(z))
    alone = judged(BASE, OTHERS[:1], DAYS, RATE, ANNUAL)
    assert alone.by_chance == 0.0
    assert not any("by chance" in r for r in alone.remarks)


def test_the_baseline_is_compared_with_nothing():
    row = FOUND.table.iloc[0]
    assert row[["over_equal", "over_equal_error", "deflated_sharpe"]].isna().all()
    assert np.isfinite(row["sharpe_error"])


def test_remarks_name_who_is_surely_better_or_worse():
    better = tried("better", 1, 0.004)
    worse = tried("worse", 1, -0.004)
    found = judged(BASE, [better, worse, OTHERS[0]], DAYS, RATE, ANNUAL)
    assert found.remarks[0] == (
        "Sharpe ratios above that of equal weights by two standard errors: better; "
        "below it by as much: worse"
    )


def test_a_strategy_without_an_answer_has_no_number_and_is_no_trial():
    none = Tried({"objective": "n"}, None, unanswered=9, reason="out of reach")
    found = judged(BASE, [none, *OTHERS], DAYS, RATE, ANNUAL)
    row = found.table.iloc[1]
    assert row[list(NUMBERS)].isna().all()
    assert (row["unanswered"], row["reason"]) == (9, "out of reach")
    assert found.by_chance == FOUND.by_chance
    assert any(r.startswith("n: 9 decisions had no answer") for r in found.remarks)


def test_wealth_that_never_moves_has_no_ratio():
    flat = Tried({"objective": "cash"}, np.ones(1001))
    found = judged(BASE, [flat], DAYS, RATE, ANNUAL).table.iloc[1]
    assert found["cagr"] == found["volatility"] == found["max_drawdown"] == 0
    assert found[["sharpe_ratio", "sharpe_error", "over_equal", "deflated_sharpe"]].isna().all()
