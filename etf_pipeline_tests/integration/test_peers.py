"""Differential tests against other libraries; where definitions differ, the test says how."""

import empyrical
import numpy as np
import pandas as pd
import pytest
import quantstats.stats as qs
from pypfopt import EfficientFrontier, risk_models
from pypfopt.hierarchical_portfolio import HRPOpt
from skfolio.optimization import RiskBudgeting

from etf_pipeline.portfolio import optimise, stated
from etf_pipeline.risk import metrics as m
from etf_pipeline.risk.covariance import ledoit_wolf
from etf_pipeline.risk.months import whole_months
from etf_pipeline.risk.relative import alpha, captures, relative_metrics

RNG = np.random.default_rng(2)
RETURNS = RNG.normal(0.0004, 0.01, (1000, 8)) + RNG.normal(0, 0.007, (1000, 1))
NAMES = tuple(f"T{i}" for i in range(8))
MEANS, COVARIANCE = RETURNS.mean(0) * 252, np.cov(RETURNS, rowvar=False) * 252
ONE, BENCHMARK = RETURNS[:, 0], RETURNS[:, 1]


def frontier():
    return EfficientFrontier(pd.Series(MEANS, NAMES), pd.DataFrame(COVARIANCE, NAMES, NAMES))


def weights(cleaned):
    return np.array([cleaned[n] for n in NAMES])


def test_empyrical_agrees_on_what_it_defines_alike():
    prices = np.r_[1.0, np.cumprod(1 + ONE)]
    assert m.volatility(ONE, 252) == pytest.approx(empyrical.annual_volatility(ONE))
    assert m.sharpe_ratio(ONE, 252) == pytest.approx(empyrical.sharpe_ratio(ONE))
    assert m.sortino_ratio(ONE, 252) == pytest.approx(empyrical.sortino_ratio(ONE))
    assert m.max_drawdown(prices)[0] == pytest.approx(empyrical.max_drawdown(ONE))
    assert m.cagr(prices[-1], len(ONE), 252) == pytest.approx(empyrical.annual_return(ONE))
    assert relative_metrics(ONE, BENCHMARK, 252).beta == pytest.approx(
        empyrical.beta(pd.Series(ONE), pd.Series(BENCHMARK))
    )


def test_empyrical_takes_the_risk_free_rate_per_period():
    """quantopian/empyrical#108: an annual rate passed there is subtracted from each day."""
    daily = m.periodic_rate(0.04, 252)
    assert m.sharpe_ratio(ONE, 252, 0.04) == pytest.approx(empyrical.sharpe_ratio(ONE, daily))
    assert abs(empyrical.sharpe_ratio(ONE, 0.04)) > 10


def test_empyrical_interpolates_its_quantile():
    """Its VaR is numpy's interpolated percentile; ours is an observed loss, never smaller."""
    ours, _ = m.tail_losses(ONE, 0.95)
    theirs = -empyrical.value_at_risk(ONE, 0.05)
    assert ours in -ONE
    assert ours == pytest.approx(theirs, rel=0.05)


def test_empyrical_compounds_alpha():
    """Ours is A · the mean, as mean_return is; theirs is the mean compounded over the year."""
    free = m.periodic_rate(0.04, 252)
    ours = alpha(ONE - free, BENCHMARK - free, 252)
    theirs = empyrical.alpha(pd.Series(ONE), pd.Series(BENCHMARK), free, annualization=252)
    assert (1 + ours / 252) ** 252 - 1 == pytest.approx(theirs, rel=1e-9)


def test_empyrical_and_quantstats_agree_on_captures_and_the_rest_where_defined_alike():
    """empyrical's captures are of returns a year, and of any periods: of 12 months, as ours."""
    own, other = (pd.Series(x[:24] * s) for x, s in ((ONE, 3), (BENCHMARK, 2)))
    up, down = captures(own.to_numpy(), other.to_numpy())
    for part, ours, theirs in (
        (other > 0, up, empyrical.up_capture(own, other, period="monthly")),
        (other < 0, down, empyrical.down_capture(own, other, period="monthly")),
    ):
        # a year of such months, where ours has one of them
        mine, its = ((1 + x[part]).prod() ** (12 / part.sum()) - 1 for x in (own, other))
        assert theirs == pytest.approx(mine / its)
        one_mine, one_its = ((1 + x) ** (1 / 12) - 1 for x in (mine, its))
        assert ours == pytest.approx(one_mine / one_its)
    days = pd.bdate_range("2020-01-01", periods=1000)
    returns = pd.Series(ONE, days)
    assert m.shape(ONE) == pytest.approx((qs.skew(returns), qs.kurtosis(returns)))
    found = relative_metrics(ONE, BENCHMARK, 252)
    assert found.r_squared == pytest.approx(qs.r_squared(returns, pd.Series(BENCHMARK, days)))


def test_quantstats_divides_the_ulcer_index_by_one_less():
    """It leaves the wealth before the first return out, and divides by n − 1; Martin by all."""
    returns = pd.Series(ONE, pd.bdate_range("2020-01-01", periods=1000))
    prices = np.r_[1.0, np.cumprod(1 + ONE)]
    ours = m.ulcer_index(prices) * np.sqrt(1001 / 999)
    assert ours == pytest.approx(qs.ulcer_index(returns), rel=1e-9)


def test_quantstats_counts_unfinished_months():
    days = pd.bdate_range("2020-01-15", periods=1000)
    returns = pd.Series(np.r_[0.5, ONE[1:]], days)
    prices = np.r_[1.0, np.cumprod(1 + returns)]
    dates = days.insert(0, days[0] - pd.Timedelta(days=1))
    months = whole_months(prices, dates.to_numpy()).returns
    assert qs.best(returns, aggregate="ME") > 0.4 > months.max()
    whole = returns["2020-02-01":"2023-10-31"]
    assert months.max() == pytest.approx(qs.best(whole, aggregate="ME"))
    assert months.min() == pytest.approx(qs.worst(whole, aggregate="ME"))


def test_pyportfolioopt_agrees_on_least_volatility_and_best_sharpe_ratio():
    theirs = frontier()
    found = weights(theirs.min_volatility())
    ours = optimise(stated(MEANS, COVARIANCE, NAMES))
    assert ours.weights == pytest.approx(found, abs=1e-4)
    theirs = frontier()
    found = weights(theirs.max_sharpe(risk_free_rate=0.02))
    ours = optimise(stated(MEANS, COVARIANCE, NAMES, "max_sharpe", risk_free_rate=0.02))
    their_ratio = (MEANS @ found - 0.02) / np.sqrt(found @ COVARIANCE @ found)
    assert ours.sharpe_ratio >= their_ratio - 1e-9
    assert ours.sharpe_ratio == pytest.approx(their_ratio, rel=1e-5)


def test_pyportfolioopt_agrees_on_a_risk_budget():
    theirs = frontier()
    found = weights(theirs.efficient_risk(0.16))
    ours = optimise(stated(MEANS, COVARIANCE, NAMES, "max_return", risk_budget=0.16))
    assert ours.expected_return == pytest.approx(MEANS @ found, rel=1e-5)


def test_pyportfolioopt_quotes_a_minimum_that_needs_short_positions():
    """PyPortfolioOpt#569: its message quotes the unconstrained 0.176; long only it is 0.20."""
    means, covariance = [0.05, 0.08], np.array([[0.04, 0.054], [0.054, 0.09]])
    theirs = EfficientFrontier(np.array(means), covariance)
    with pytest.raises(ValueError, match=r"0\.17"):
        theirs.efficient_risk(0.15)
    ours = optimise(stated(means, covariance, ("a", "b"), "max_return", risk_budget=0.15))
    assert "0.2 " in ours.message


def test_pyportfolioopts_ledoit_wolf_has_the_scale_of_its_estimator():
    """It annualises scikit-learn's 1/T estimate; ours is T/(T − 1) times it."""
    prices = pd.DataFrame(np.vstack([np.ones(8), np.cumprod(1 + RETURNS, axis=0)]))
    theirs = risk_models.CovarianceShrinkage(prices).ledoit_wolf().to_numpy()
    assert ledoit_wolf(RETURNS) * 252 == pytest.approx(theirs * 1000 / 999, rel=1e-6)


def test_skfolio_agrees_on_risk_parity():
    theirs = RiskBudgeting().fit(RETURNS).weights_
    ours = optimise(stated(MEANS, COVARIANCE, NAMES, "risk_parity"))
    assert ours.weights == pytest.approx(theirs, abs=1e-4)


def test_pyportfolioopts_hrp_skips_the_papers_distance_of_distances():
    """It clusters on √((1 − ρ)/2) itself; the paper (and ours) on Euclidean distances between
    the columns of that matrix. With two assets the two are the same."""
    two = pd.DataFrame(RETURNS[:, :2], columns=["a", "b"])
    theirs = HRPOpt(two).optimize()
    covariance = np.cov(RETURNS[:, :2], rowvar=False)
    ours = optimise(stated([0.1, 0.1], covariance, ("a", "b"), "hrp"))
    assert ours.weights == pytest.approx([theirs["a"], theirs["b"]], rel=1e-9)
