"""Black & Litterman's model against the tables of the papers, peers, and its own definition."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypfopt import black_litterman as pypfopt
from skfolio.datasets import load_sp500_dataset
from skfolio.preprocessing import prices_to_returns
from skfolio.prior import BlackLitterman

from etf_pipeline.risk.black_litterman import (
    ContradictionError,
    black_litterman,
    equilibrium,
    idzorek,
    market_risk_aversion,
)

# He & Litterman, 1999, "The Intuition Behind Black–Litterman Model Portfolios", tables 1 and 2:
# Australia, Canada, France, Germany, Japan, United Kingdom, United States; per cent.
VOLATILITY = np.array([16.0, 20.3, 24.8, 27.1, 21.0, 20.0, 18.7])
CAPITALISATION = np.array([1.6, 2.2, 5.2, 5.5, 11.6, 12.4, 61.5]) / 100
CORRELATION = np.array(
    [
        [1.000, 0.488, 0.478, 0.515, 0.439, 0.512, 0.491],
        [0.488, 1.000, 0.664, 0.655, 0.310, 0.608, 0.779],
        [0.478, 0.664, 1.000, 0.861, 0.355, 0.783, 0.668],
        [0.515, 0.655, 0.861, 1.000, 0.354, 0.777, 0.653],
        [0.439, 0.310, 0.355, 0.354, 1.000, 0.405, 0.306],
        [0.512, 0.608, 0.783, 0.777, 0.405, 1.000, 0.652],
        [0.491, 0.779, 0.668, 0.653, 0.306, 0.652, 1.000],
    ]
)
SEVEN = CORRELATION * np.outer(VOLATILITY, VOLATILITY) / 1e4
# Germany over France and the United Kingdom, by their capitalisation, by 5 %;
# Canada over the United States by 3 %.
PICKS = np.array([[0, 0, -0.295, 1, 0, -0.705, 0], [0, 1, 0, 0, 0, 0, -1]])
BY = np.array([0.05, 0.03])

# Idzorek, 2005, "A Step-by-Step Guide to the Black–Litterman Model", tables 1, 2, 5 and 6: US and
# international bonds; US large growth and value, small growth and value; developed, emerging.
EIGHT = np.array(
    [
        [0.001005, 0.001328, -0.000579, -0.000675, 0.000121, 0.000128, -0.000445, -0.000437],
        [0.001328, 0.007277, -0.001307, -0.000610, -0.002237, -0.000989, 0.001442, -0.001535],
        [-0.000579, -0.001307, 0.059852, 0.027588, 0.063497, 0.023036, 0.032967, 0.048039],
        [-0.000675, -0.000610, 0.027588, 0.029609, 0.026572, 0.021465, 0.020697, 0.029854],
        [0.000121, -0.002237, 0.063497, 0.026572, 0.102488, 0.042744, 0.039943, 0.065994],
        [0.000128, -0.000989, 0.023036, 0.021465, 0.042744, 0.032056, 0.019881, 0.032235],
        [-0.000445, 0.001442, 0.032967, 0.020697, 0.039943, 0.019881, 0.028355, 0.035064],
        [-0.000437, -0.001535, 0.048039, 0.029854, 0.065994, 0.032235, 0.035064, 0.079958],
    ]
)
CAPS = np.array([19.34, 26.13, 12.09, 12.09, 1.34, 1.34, 24.18, 3.49]) / 100
VIEWS = np.array(
    [[0, 0, 0, 0, 0, 0, 1, 0], [-1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0.9, -0.9, 0.1, -0.1, 0, 0]]
)
EXPECTED = np.array([0.0525, 0.0025, 0.02])


def test_equilibrium_returns_of_seven_countries():
    found = equilibrium(SEVEN, CAPITALISATION, 2.5, 0.0) * 100
    assert found.round(1).tolist() == [3.9, 6.9, 8.4, 9.0, 4.3, 6.8, 7.6]


@pytest.mark.parametrize(
    ("k", "means", "weights", "tilts"),
    [
        (
            1,
            [4.3, 7.6, 9.3, 11.0, 4.5, 7.0, 8.1],
            [1.5, 2.1, -4.0, 35.4, 11.0, -9.5, 58.6],
            [0.0, 0.0, -8.9, 30.2, 0.0, -21.3, 0.0],
        ),
        (
            2,
            [4.4, 8.7, 9.5, 11.2, 4.6, 7.0, 7.5],
            [1.5, 41.9, -3.4, 33.6, 11.0, -8.2, 18.8],
            [0.0, 39.8, -8.4, 28.4, 0.0, -20.0, -39.8],
        ),
    ],
)
def test_the_tables_of_he_and_litterman(k, means, weights, tilts):
    """Tables 4 and 5: unconstrained weights μ/δ(Σ + M), and what of them views add."""
    prior = equilibrium(SEVEN, CAPITALISATION, 2.5, 0.0)
    variances = idzorek(PICKS[:k], SEVEN, 0.05, np.full(k, 0.5))
    assert (variances / 0.05).round(3).tolist() == [0.021, 0.017][:k]
    found = black_litterman(prior, SEVEN, 0.05, PICKS[:k], BY[:k], variances)
    assert found.means * 100 == pytest.approx(means, abs=0.051)
    best = np.linalg.solve(2.5 * (SEVEN + found.uncertainty), found.means)
    assert best * 100 == pytest.approx(weights, abs=0.06)
    assert (best - CAPITALISATION / 1.05) * 100 == pytest.approx(tilts, abs=0.06)


def test_the_tables_of_idzorek():
    """Within what the paper's rounded weights, covariances and δ leave open."""
    prior = equilibrium(EIGHT, CAPS, 3.07, 0.0)
    assert prior * 100 == pytest.approx([0.08, 0.67, 6.41, 4.08, 7.43, 3.70, 4.80, 6.60], abs=0.016)
    variances = idzorek(VIEWS, EIGHT, 0.025, np.full(3, 0.5))
    assert variances == pytest.approx([0.000709, 0.000141, 0.000866], abs=5.1e-7)
    found = black_litterman(prior, EIGHT, 0.025, VIEWS, EXPECTED, variances)
    means = [0.07, 0.50, 6.50, 4.32, 7.59, 3.94, 4.93, 6.84]
    assert found.means * 100 == pytest.approx(means, abs=0.011)
    weights = [29.88, 15.59, 9.35, 14.82, 1.04, 1.65, 27.81, 3.49]
    best = np.linalg.solve(3.07 * EIGHT, found.means)
    assert best * 100 == pytest.approx(weights, abs=0.05)


@pytest.mark.parametrize("view", [0, 1, 2])
@pytest.mark.parametrize("confidence", [0.0, 0.01, 0.25, 0.5, 0.65, 0.99, 1.0])
@pytest.mark.parametrize("tau", [0.001, 0.025, 1.0])
def test_a_confidence_is_the_part_of_the_way_that_weights_go(view, confidence, tau):
    """Idzorek's definition: w = w₀ + c·(w₁ − w₀), w₁ being the weights of a certain view."""
    prior = equilibrium(EIGHT, CAPS, 3.07, 0.0)
    one, by = VIEWS[view : view + 1], EXPECTED[view : view + 1]

    def weights(c):
        variances = idzorek(one, EIGHT, tau, np.array([c]))
        means = black_litterman(prior, EIGHT, tau, one, by, variances).means
        return np.linalg.solve(3.07 * EIGHT, means)

    sure = weights(1.0)
    assert np.abs(sure - CAPS).max() > 0.03
    assert weights(confidence) == pytest.approx(CAPS + confidence * (sure - CAPS), abs=1e-9)


def problem(seed, unit=1.0):
    """Random markets and views: covariance, weights, picks, returns, confidences, tau."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 9)), int(rng.integers(1, 5))
    factor = rng.normal(0, 0.1, (n, n + 2))
    picks = np.zeros((k, n))
    for row in picks:
        row[rng.integers(n)] = 1.0
        if n > 1 and rng.random() < 0.6:
            row[rng.choice(np.flatnonzero(row == 0))] = -1.0
    return (
        factor @ factor.T * unit,
        rng.dirichlet(np.ones(n)),
        picks,
        rng.normal(0.05, 0.05, k) * unit,
        rng.uniform(0.05, 0.95, k),
        float(rng.uniform(0.01, 1.0)),
    )


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=200)
def test_it_is_what_pypfopt_computes(seed):
    covariance, market, picks, returns, sure, tau = problem(seed)
    prior = equilibrium(covariance, market, 2.5, 0.03)
    variances = idzorek(picks, covariance, tau, sure)
    peer = pypfopt.BlackLittermanModel(
        covariance,
        pi=prior,
        P=picks,
        Q=returns,
        omega="idzorek",
        view_confidences=sure,
        tau=tau,
    )
    assert variances == pytest.approx(np.diag(peer.omega), rel=1e-9)
    found = black_litterman(prior, covariance, tau, picks, returns, variances)
    assert found.means == pytest.approx(peer.bl_returns().to_numpy(), rel=1e-6, abs=1e-9)
    assert covariance + found.uncertainty == pytest.approx(
        peer.bl_cov().to_numpy(), rel=1e-5, abs=1e-9
    )


@pytest.mark.parametrize("sure", [None, [0.3, 0.8, 1.0]])
def test_the_example_of_skfolio(sure):
    """ "Black & Litterman" of its gallery: twenty shares, equal market weights, three views."""
    returns = prices_to_returns(load_sp500_dataset())
    views = ["AAPL - BBY == 0.0003", "CVX - KO == 0.0004", "MSFT == 0.0006"]
    peer = BlackLitterman(views=views, view_confidences=sure).fit(returns)
    covariance = np.cov(returns.to_numpy(), rowvar=False)
    names, n = list(returns.columns), returns.shape[1]
    picks = np.zeros((3, n))
    for k, (long, short) in enumerate([("AAPL", "BBY"), ("CVX", "KO"), ("MSFT", None)]):
        picks[k, names.index(long)] = 1.0
        if short is not None:
            picks[k, names.index(short)] = -1.0
    by = np.array([0.0003, 0.0004, 0.0006])
    prior = equilibrium(covariance, np.full(n, 1 / n), 1.0, 0.0)
    variances = idzorek(
        picks, covariance, 0.05, np.full(3, 0.5) if sure is None else np.array(sure)
    )
    found = black_litterman(prior, covariance, 0.05, picks, by, variances)
    assert found.means == pytest.approx(peer.return_distribution_.mu, rel=1e-9)
    assert covariance + found.uncertainty == pytest.approx(
        peer.return_distribution_.covariance, rel=1e-9
    )


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-8, 1e-4, 1 / 252, 1e4]))
@settings(deadline=None, max_examples=100)
def test_units_do_not_matter(seed, unit):
    """Means and covariances of a day, a year or in other units: answers in the same, no other."""
    covariance, market, picks, returns, sure, tau = problem(seed)

    def posterior(c):
        variances = idzorek(picks, covariance * c, tau, sure)
        prior = equilibrium(covariance * c, market, 2.5, 0.03 * c)
        return black_litterman(prior, covariance * c, tau, picks, returns * c, variances)

    year, other = posterior(1.0), posterior(unit)
    assert other.means == pytest.approx(year.means * unit, rel=1e-7, abs=1e-10 * unit)
    assert other.uncertainty == pytest.approx(
        year.uncertainty * unit, rel=1e-7, abs=1e-10 * unit * covariance.max()
    )


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=200)
def test_certain_views_hold_exactly_and_silent_ones_change_nothing(seed):
    covariance, market, picks, returns, sure, tau = problem(seed)
    prior = equilibrium(covariance, market, 2.5, 0.03)
    sure[0] = 1.0
    sure[1:] = 0.0
    variances = idzorek(picks, covariance, tau, sure)
    assert variances[0] == 0.0
    assert np.isinf(variances[1:]).all()
    found = black_litterman(prior, covariance, tau, picks, returns, variances)
    assert picks[0] @ found.means == pytest.approx(returns[0], abs=1e-12)
    assert picks[0] @ found.uncertainty @ picks[0] == pytest.approx(
        0.0, abs=1e-12 * covariance.max()
    )
    none = black_litterman(prior, covariance, tau, picks, returns, np.full(len(picks), np.inf))
    assert none.means.tolist() == prior.tolist()
    assert none.uncertainty.tolist() == (tau * covariance).tolist()


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e4])
def test_certain_views_that_disagree_are_named(unit):
    prior, covariance = np.array([0.05, 0.06, 0.04]) * unit, np.diag([0.04, 0.09, 0.01]) * unit
    picks = np.array([[0, 0, 1.0], [1, 0, 0], [1, -1, 0], [0, 1, 0]])

    def sure(*returns):
        by = np.array(returns) * unit
        return black_litterman(prior, covariance, 0.05, picks, by, np.zeros(4))

    # A = 7 %, A − B = 2 %, B = 4 %, and one on C beside them
    with pytest.raises(ContradictionError) as told:
        sure(0.03, 0.07, 0.02, 0.04)
    assert (told.value.views, told.value.riskless) == ([1, 2, 3], False)
    agreed = sure(0.03, 0.07, 0.02, 0.05)
    assert agreed.means == pytest.approx(np.array([0.07, 0.05, 0.03]) * unit, rel=1e-12)
    assert agreed.uncertainty == pytest.approx(np.zeros((3, 3)), abs=1e-12 * unit)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=300)
def test_it_is_generalised_least_squares(seed):
    """Prior and views are observations of the means with errors: (X'V⁻¹X)⁻¹X'V⁻¹y (Theil, 1963)."""
    covariance, market, picks, returns, sure, tau = problem(seed)
    n = len(covariance)
    prior = equilibrium(covariance, market, 2.5, 0.03)
    variances = idzorek(picks, covariance, tau, sure)
    observed, told = np.vstack([np.eye(n), picks]), np.r_[prior, returns]
    errors = np.zeros((n + len(picks),) * 2)
    errors[:n, :n], errors[n:, n:] = tau * covariance, np.diag(variances)
    precise = np.linalg.solve(errors, observed)
    best = np.linalg.solve(observed.T @ precise, precise.T @ told)
    found = black_litterman(prior, covariance, tau, picks, returns, variances)
    assert found.means == pytest.approx(best, rel=1e-6, abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-8, 1.0, 1e4]))
@settings(deadline=None, max_examples=300)
def test_certain_views_that_agree_hold_though_the_covariance_is_singular(seed, unit):
    """And one more that says otherwise is refused, as it is on what is known by then."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 9)), int(rng.integers(1, 6))
    factor = rng.normal(0, 0.1, (n, int(rng.integers(1, n + 1)))) * 10 ** rng.uniform(-2, 0, (n, 1))
    covariance = factor @ factor.T * unit
    picks = np.where(rng.random((k, n)) < 0.5, rng.integers(-1, 2, (k, n)), 0.0)
    picks[:, 0] += ~picks.any(axis=1)
    prior = (0.03 + rng.normal(0, 0.05, n)) * unit
    returns = picks @ (prior + covariance @ rng.normal(size=n))
    found = black_litterman(prior, covariance, 0.05, picks, returns, np.zeros(k))
    size = np.abs(picks) @ np.abs(prior) + np.abs(returns)
    assert (np.abs(picks @ found.means - returns) <= 1e-8 * size).all()
    least = np.linalg.eigvalsh(found.uncertainty).min()
    assert least >= -1e-12 * covariance.max()
    with pytest.raises(ContradictionError):
        black_litterman(
            prior,
            covariance,
            0.05,
            np.vstack([picks, picks[0]]),
            np.append(returns, returns[0] + 0.01 * unit),
            np.zeros(k + 1),
        )


def test_views_that_disagree_without_being_certain_are_weighed():
    """Two of one ticker are one of their mean with half the variance (inverse variances add)."""
    prior, covariance = np.array([0.05]), np.array([[0.04]])
    twice = black_litterman(
        prior, covariance, 0.05, np.ones((2, 1)), np.array([0.08, 0.02]), np.full(2, 0.002)
    )
    # precisions: prior 1/(τσ²) = 500 each view 500
    assert twice.means == pytest.approx([(500 * 0.05 + 500 * 0.08 + 500 * 0.02) / 1500])
    assert twice.uncertainty == pytest.approx(np.array([[1 / 1500]]))
    # a certain one leaves nothing to an uncertain one
    mixed = black_litterman(
        prior, covariance, 0.05, np.ones((2, 1)), np.array([0.08, 0.02]), np.array([0.0, 0.002])
    )
    assert mixed.means == pytest.approx([0.08], rel=1e-12)


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e4])
def test_a_view_on_what_has_no_risk_must_say_what_it_earns(unit):
    """Of cash nothing is uncertain, nor of the difference of twins."""
    covariance = np.array([[0.0, 0, 0], [0, 0.04, 0.04], [0, 0.04, 0.04]]) * unit
    prior = np.array([0.03, 0.06, 0.06]) * unit
    for k, pick in enumerate(np.array([[1.0, 0, 0], [0, 1, -1]])):
        picks = pick[None, :]
        variances = idzorek(picks, covariance, 0.05, np.array([0.5]))
        right = black_litterman(
            prior, covariance, 0.05, picks, np.array([[0.03, 0.0][k]]) * unit, variances
        )
        assert right.means.tolist() == prior.tolist()
        with pytest.raises(ContradictionError) as told:
            black_litterman(prior, covariance, 0.05, picks, np.array([0.05]) * unit, variances)
        assert (told.value.views, told.value.riskless) == ([0], True)
    # a view on one of the twins is one on both
    picks = np.array([[0, 1.0, 0]])
    one = black_litterman(prior, covariance, 0.05, picks, np.array([0.10]) * unit, np.zeros(1))
    assert one.means == pytest.approx(np.array([0.03, 0.10, 0.10]) * unit, rel=1e-12)


def test_one_ticker_alone():
    prior = equilibrium(np.array([[0.04]]), np.ones(1), 2.5, 0.02)
    assert prior == pytest.approx([0.12])
    variances = idzorek(np.ones((1, 1)), np.array([[0.04]]), 0.05, np.array([0.25]))
    assert variances == pytest.approx([0.05 * 0.04 * 3])
    found = black_litterman(
        prior, np.array([[0.04]]), 0.05, np.ones((1, 1)), np.array([0.08]), variances
    )
    assert found.means == pytest.approx([0.12 + 0.25 * (0.08 - 0.12)])


def test_it_is_the_market_of_pypfopt():
    """Risk aversion from a market's prices, and returns implied by capitalisations."""
    rng = np.random.default_rng(3)
    days = pd.bdate_range("2022-01-03", periods=501)
    daily = rng.normal(0.0006, 0.01, 500)
    prices = pd.Series(100 * np.r_[1, np.cumprod(1 + daily)], days)
    mean, variance = daily.mean() * 252, np.var(daily, ddof=1) * 252
    found = market_risk_aversion(np.array([mean]), np.array([[variance]]), np.ones(1), 0.02)
    assert found == pytest.approx(
        pypfopt.market_implied_risk_aversion(prices, frequency=252, risk_free_rate=0.02)
    )
    caps = dict(zip("ABCDEFG", CAPITALISATION * 7e12, strict=True))
    frame = pd.DataFrame(SEVEN, index=list(caps), columns=list(caps))
    peer = pypfopt.market_implied_prior_returns(caps, found, frame, risk_free_rate=0.02)
    ours = equilibrium(SEVEN, CAPITALISATION / CAPITALISATION.sum(), found, 0.02)
    assert ours == pytest.approx(peer.to_numpy())


def test_the_markets_own_risk_aversion():
    """A Sharpe ratio of (8 % − 2 %)/15 % over a volatility of 15 %."""
    found = market_risk_aversion(np.array([0.08]), np.array([[0.0225]]), np.ones(1), 0.02)
    assert found == pytest.approx(0.06 / 0.15 / 0.15)
    with pytest.raises(ValueError, match=r"earned -1\.00% a year over the risk-free rate"):
        market_risk_aversion(np.array([0.01]), np.array([[0.0225]]), np.ones(1), 0.02)
    with pytest.raises(ValueError, match=r"volatility of 0\.00%"):
        market_risk_aversion(np.array([0.08]), np.zeros((1, 1)), np.ones(1), 0.02)
