"""Resampled weights against regression, counts of their own draws, and their limits."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.errors import EtfError, ReasonCode
from etf_pipeline.portfolio.building import problem_from
from etf_pipeline.portfolio.limits import GroupLimit
from etf_pipeline.portfolio.uncertainty import FIGURES, QUANTILES, resampled
from etf_pipeline.risk.estimates import estimate
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.resampling import stationary_draws

NONE = np.array([], dtype="datetime64[D]")
DAYS = pd.bdate_range("2018-01-01", periods=900)


def series(ticker, returns, days=DAYS, exchange="XASX"):
    prices = pd.Series(100.0 * np.cumprod(1.0 + returns), days[-len(returns) :])
    return PriceSeries(ticker, prices, NONE, NONE, "files", "AUD", exchange)


def market(n=4, seed=0, unit=1.0, length=900, drift=0.0004):
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.006, (length, 1))
    each = rng.normal(drift, 0.008, (length, n)) * np.linspace(0.7, 1.6, n)
    return estimate([series(f"T{i}", unit * (shared + each)[:, i]) for i in range(n)], None)


def asking(n=4, objective="min_volatility", rate=0.0, **limits):
    names = [f"T{i}" for i in range(n)]

    def ask(estimates):
        also = {"scenarios": estimates.returns} if objective == "min_cvar" else {}
        return problem_from(estimates, names, objective, rate, **limits, **also)

    return ask


def test_the_spread_of_least_volatile_weights_is_that_of_a_regression():
    """Kempf & Memmel, 2006: they are coefficients of least squares, with their standard errors.

    The second weight of two is the slope of the first's returns on their difference; drawing days
    one by one is White's (1980) error of it.
    """
    estimates = market(2)
    x = estimates.returns
    difference = x[:, 0] - x[:, 1]
    centred = difference - difference.mean()
    slope = centred @ x[:, 0] / (centred @ centred)
    left = x[:, 0] - x[:, 0].mean() - slope * centred
    error = np.sqrt((centred**2) @ (left**2)) / (centred @ centred)
    found = resampled(estimates, asking(2), 1500, block_length=1.0)
    table = found.table()
    assert table.loc["T1", "weight"] == pytest.approx(slope, rel=1e-6)
    assert table.loc["T1", "mean"] == pytest.approx(slope, abs=4 * error / np.sqrt(1500))
    assert found.weights[:, 1].std() == pytest.approx(error, rel=0.08)
    assert table.loc["T1", "q95"] - table.loc["T1", "q05"] == pytest.approx(
        2 * 1.6449 * error, rel=0.1
    )


def test_what_the_chosen_weights_earn_is_spread_as_a_mean_is():
    estimates = market(3, seed=2, drift=0.0015)
    found = resampled(estimates, asking(3, "max_sharpe", 0.01), 1500, block_length=1.0)
    mine = estimates.returns @ found.chosen.weights
    annual = estimates.periods_per_year
    figures = found.figures()
    wanted = annual * mine.std(ddof=1) / np.sqrt(len(mine))
    spread = figures.loc[("chosen", "expected_return")]
    assert spread["estimate"] == pytest.approx(annual * mine.mean())
    assert spread["q95"] - spread["q05"] == pytest.approx(2 * 1.6449 * wanted, rel=0.1)
    # what an optimiser promises is more than what its weights hold, on each history
    ratio = FIGURES.index("sharpe_ratio")
    assert not found.failures
    assert np.all(found.optimal[:, ratio] >= found.kept[:, ratio] - 1e-6)
    means = figures["mean"]
    assert means["optimal", "sharpe_ratio"] > means["chosen", "sharpe_ratio"]


def test_resamples_without_an_answer_are_counted():
    """A target above every mean of a draw cannot be reached there; the draws are made again."""
    estimates = market(3, seed=4)
    sample, target = estimates.sample, float(np.sort(estimates.means)[-1]) * 0.98
    found = resampled(estimates, asking(3, "target_return", target_return=target), 200, 9, 3.0)
    draws = itertools.islice(stationary_draws(len(sample.days), 3.0, 9), 200)
    own = sample.own[0]
    tops = [own.annual * own.timed.returns[d].mean(axis=0).max() for d in draws]
    out_of_reach = sum(t < target for t in tops)
    assert 20 < out_of_reach < 180
    assert found.failures == {ReasonCode.INFEASIBLE: out_of_reach}
    assert found.weights.shape == (200 - out_of_reach, 3)
    assert found.kept.shape == (200, 3)
    assert found.remarks[0].startswith(f"{out_of_reach} of 200 resamples have no answer")
    held = np.abs(found.weights) > 1e-6
    assert found.table()["held"].to_numpy() == pytest.approx(held.mean(axis=0))


def test_a_table_has_the_quantiles_of_the_answers():
    found = resampled(market(), asking(max_weight=0.4), 60)
    table = found.table()
    assert list(table.columns) == ["weight", "mean", *QUANTILES, "held"]
    for name, level in QUANTILES.items():
        by_hand = [np.percentile(found.weights[:, i], 100 * level) for i in range(4)]
        assert table[name].to_numpy() == pytest.approx(by_hand)
    assert table["mean"].sum() == pytest.approx(1.0)
    assert table["mean"].to_numpy() == pytest.approx(found.average.weights)


def test_equal_seeds_give_equal_numbers_and_others_do_not():
    estimates, ask = market(), asking(objective="max_sharpe")
    one, two, other = (resampled(estimates, ask, 30, s) for s in (3, 3, 4))
    assert np.array_equal(one.weights, two.weights)
    assert (one.seed, one.block_length) == (3, two.block_length)
    assert not np.array_equal(one.weights, other.weights)


@given(
    st.integers(2, 6),
    st.integers(0, 1000),
    st.sampled_from(["min_volatility", "max_sharpe", "max_return", "min_cvar"]),
    st.floats(0.2, 0.8),
    st.booleans(),
)
@settings(max_examples=12)
def test_the_average_meets_bounds_and_groups(n, seed, objective, most, grouped):
    group = GroupLimit("odd", tuple(f"T{i}" for i in range(1, n, 2)), 0.15, 0.5)
    ask = asking(n, objective, max_weight=max(most, 1.2 / n), groups=(group,) if grouped else ())
    found = resampled(market(n, seed, length=200, drift=0.004), ask, 20)
    assert len(found.weights) > 0
    weights = found.average.weights
    assert found.average.allowed
    assert weights.sum() == pytest.approx(1)
    assert weights.min() >= -1e-12
    assert weights.max() <= max(most, 1.2 / n) + 1e-9
    if grouped:
        assert 0.15 - 1e-9 <= weights[1::2].sum() <= 0.5 + 1e-9


def test_the_average_says_when_it_misses_the_target_that_each_answer_reached():
    """Lucky histories reach it with less of the best ticker than the history itself needs."""
    estimates = market(3, seed=4)
    target = float(estimates.means.max()) * 0.95
    found = resampled(estimates, asking(3, "target_return", target_return=target), 60)
    assert found.weights.mean(axis=0) @ estimates.means < target
    assert not found.average.allowed
    assert any("misses the target return" in r for r in found.remarks)
    free = resampled(estimates, asking(3), 60)
    assert free.average.allowed
    assert not any("not the portfolio asked for" in r for r in free.remarks)


def test_an_average_of_few_holdings_may_hold_more():
    """Each answer holds one; which one changes with the history, so their mean holds more."""
    found = resampled(market(4, seed=1), asking(4, "max_return", max_holdings=1), 20)
    assert (np.count_nonzero(found.weights, axis=1) == 1).all()
    assert np.count_nonzero(found.weights.mean(axis=0)) > 1
    assert not found.average.allowed
    assert any("misses the number of holdings" in r for r in found.remarks)


@pytest.mark.parametrize("estimator", ["sample", "ledoit_wolf", "ewma"])
@pytest.mark.parametrize("exchange", ["XASX", "XNYS"])
def test_every_estimator_and_weekly_correlations(estimator, exchange):
    rng = np.random.default_rng(1)
    pair = [
        series("T0", rng.normal(0.0004, 0.01, 900)),
        series("T1", rng.normal(0.0004, 0.02, 700), exchange=exchange),
    ]
    estimates = estimate(pair, None, estimator, 60.0)
    found = resampled(estimates, asking(2), 40)
    table = found.table()
    assert not found.failures
    assert (table["q05"] < table["q95"]).all()
    # independent, with variances of 1 : 4
    assert abs(table.loc["T1", "q50"] - 0.2) < 0.15
    assert any("age" in r for r in found.remarks) == (estimator == "ewma")


@pytest.mark.parametrize("unit", [1e-4, 1.0])
def test_weights_do_not_depend_on_the_size_of_returns(unit):
    found = resampled(market(unit=unit), asking(max_weight=0.6), 40, block_length=5.0)
    usual = resampled(market(), asking(max_weight=0.6), 40, block_length=5.0)
    # prices compound, so that returns of a ten-thousandth are not exactly in proportion
    assert found.weights == pytest.approx(usual.weights, abs=2e-3)


def test_one_ticker_is_always_all():
    found = resampled(market(1), asking(1), 25)
    assert np.array_equal(found.weights, np.ones((25, 1)))
    assert found.table().loc["T0", "held"] == 1.0


def test_a_portfolio_without_an_answer_has_no_bands():
    with pytest.raises(EtfError, match="out of reach") as error:
        resampled(market(), asking(objective="target_return", target_return=4.0), 30)
    assert error.value.code is ReasonCode.INFEASIBLE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resamples": 19}, "ask for 20 or more"),
        ({"block_length": 0.5}, "must be from 1 to the 899 days"),
        ({"block_length": 900.0}, "must be from 1 to the 899 days"),
        ({"block_length": float("nan")}, "must be from 1"),
    ],
)
def test_what_cannot_be_asked_for(change, words):
    with pytest.raises(ValueError, match=words):
        resampled(market(), asking(), **{"resamples": 30, **change})


def test_estimates_without_their_returns_cannot_be_drawn_from():
    with pytest.raises(ValueError, match="no sample"):
        resampled(replace(market(), sample=None), asking(), 30)
