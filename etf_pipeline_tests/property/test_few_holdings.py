"""Few holdings against every choice of them in closed form, and against mixed-integer programs."""

import itertools
import re

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio import optimise, stated
from etf_pipeline.portfolio.problem import Benchmark
from etf_pipeline_tests.portfolios_support import tracking_all

TOLERANCE = 2e-6  # of the goal's unit, as a success promises 1e-6


def covariance_like(shape, n, rng):
    """Of returns of a few factors, of assets that come twice, or of fewer returns than assets."""
    many = max(n // 2, 2) if shape == "singular" else 250
    returns = rng.normal(0, 0.008, (many, 3)) @ rng.normal(0.3, 0.6, (3, n))
    returns += rng.normal(0, 1, (many, n)) * rng.uniform(0.001, 0.01, n)
    if shape == "twins":
        returns[:, n // 2 :] = returns[:, : n - n // 2]
    found = np.atleast_2d(np.cov(returns.T))
    return found if shape != "alike" else np.full((n, n), 1e-5) + 1e-4 * np.eye(n)


def supports(n, most):
    for size in range(1, most + 1):
        yield from itertools.combinations(range(n), size)


def least_of_few(matrix, slope, most):
    """Least ½w'Qw + slope'w of full investment in `most` assets: the best has some support, on
    which it is where the gradient is the same for each asset, with weights above 0."""
    best, n = np.inf, len(slope)
    for held in supports(n, most):
        at, k = list(held), len(held)
        system = np.block(
            [[matrix[np.ix_(at, at)], np.ones((k, 1))], [np.ones((1, k)), np.zeros((1, 1))]]
        )
        unit = np.abs(matrix).max()
        system[:k, :k] /= unit
        w = np.linalg.lstsq(system, np.r_[-slope[at] / unit, 1.0], rcond=1e-13)[0][:k]
        if np.all(w >= -1e-12) and abs(w.sum() - 1) < 1e-9:
            best = min(best, w @ matrix[np.ix_(at, at)] @ w / 2 + slope[at] @ w)
    return best


def best_ratio_of_few(excess, covariance, most):
    """The greatest Sharpe ratio: on its support the best portfolio is in proportion to S⁻¹e."""
    best = -np.inf
    for held in supports(len(excess), most):
        inside = covariance[np.ix_(held, held)]
        if np.linalg.cond(inside) > 1e10:
            continue  # of assets that move as one some support without one is as good
        w = np.linalg.solve(inside, excess[list(held)])
        if np.all(w >= 0) and w.sum() > 0:
            best = max(best, np.sqrt(w @ excess[list(held)]))
    return best


def least_by_integers(costs, scenarios, most, least, level=0.95):
    """Least costs'w + CVaR of scenarios (T, N) by HiGHS over (w, held, border, excess losses)."""
    n, many = len(costs), 0 if scenarios is None else len(scenarios)
    tail = [] if scenarios is None else [1.0, *[1.0 / ((1 - level) * many)] * many]
    objective = np.r_[costs, np.zeros(n), tail]
    eye, nothing = np.eye(n), np.zeros((n, len(tail)))
    rows = [
        (np.r_[np.ones(n), np.zeros(n + len(tail))][None, :], 1, 1),
        (np.r_[np.zeros(n), np.ones(n), np.zeros(len(tail))][None, :], 0, most),
        (np.hstack([eye, -eye, nothing]), -np.inf, 0),
        (np.hstack([eye, -least * eye, nothing]), 0, np.inf),
    ]
    if many:
        losses = np.hstack([scenarios, np.zeros((many, n)), np.ones((many, 1)), np.eye(many)])
        rows.append((losses, 0, np.inf))
    found = scipy.optimize.milp(
        objective,
        integrality=np.r_[np.zeros(n), np.ones(n), np.zeros(len(tail))],
        bounds=scipy.optimize.Bounds(
            np.r_[np.zeros(2 * n), [-np.inf][: len(tail)], np.zeros(many)],
            np.r_[np.ones(2 * n), np.full(len(tail), np.inf)],
        ),
        constraints=[scipy.optimize.LinearConstraint(*row) for row in rows],
        options={"mip_rel_gap": 1e-9},
    )
    return found.fun


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 10),
    most=st.integers(1, 4),
    shape=st.sampled_from(["factors", "twins", "singular", "alike"]),
    benchmark=st.sampled_from(["equal", "one", "beside"]),
    unit=st.sampled_from([1e-8, 1.0, 252.0, 1e4]),
    seed=st.integers(0, 2**31),
)
def test_no_choice_tracks_better(n, most, shape, benchmark, unit, seed):
    rng = np.random.default_rng(seed)
    covariance = covariance_like(shape, n + 1, rng) * unit
    weights = np.full(n, 1 / n) if benchmark == "equal" else np.eye(n)[rng.integers(n)]
    inside = covariance[:n, :n]
    along, variance = inside @ weights, weights @ inside @ weights
    if benchmark == "beside":
        along, variance = covariance[:n, n], covariance[n, n]
    index = Benchmark(along, variance, 0.0) if benchmark == "beside" else weights
    answer = optimise(
        stated(
            np.zeros(n),
            inside,
            "abcdefghijkl"[:n],
            "min_tracking_error",
            benchmark=index,
            max_holdings=most,
        )
    )
    best = np.sqrt(max(2 * least_of_few(inside, -along, most) + variance, 0.0))
    assert answer.success, answer.message
    assert np.count_nonzero(answer.weights) <= most
    unit = np.sqrt(np.mean(np.diag(inside)))
    assert answer.tracking_error == pytest.approx(best, abs=TOLERANCE * unit)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 9),
    most=st.integers(1, 4),
    shape=st.sampled_from(["factors", "twins", "singular", "alike"]),
    aversion=st.sampled_from([0.5, 5.0, 500.0]),
    seed=st.integers(0, 2**31),
)
def test_no_choice_has_a_higher_utility(n, most, shape, aversion, seed):
    rng = np.random.default_rng(seed)
    covariance = covariance_like(shape, n, rng) * 252
    means = rng.normal(0.03, 0.05, n)
    answer = optimise(
        stated(
            means,
            covariance,
            "abcdefghi"[:n],
            "max_utility",
            risk_aversion=aversion,
            max_holdings=most,
        )
    )
    best = -least_of_few(aversion * covariance, -means, most)
    assert answer.success, answer.message
    utility = answer.expected_return - aversion / 2 * answer.volatility**2
    unit = np.ptp(means) + aversion * np.mean(np.diag(covariance))
    assert utility == pytest.approx(best, abs=TOLERANCE * unit or 1e-9)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    n=st.integers(2, 10),
    most=st.integers(1, 4),
    shape=st.sampled_from(["factors", "twins", "alike"]),
    tilt=st.sampled_from([0.0, 0.1, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_no_choice_has_a_better_ratio_where_a_market_of_all_has_the_best(
    n, most, shape, tilt, seed
):
    """Means in equilibrium make holding all of them the best: the hardest to choose few of."""
    rng = np.random.default_rng(seed)
    covariance = covariance_like(shape, n, rng) * 252
    excess = 3 * covariance @ rng.dirichlet(np.ones(n) * 3)
    noise = rng.normal(0, tilt, n) * excess.mean()
    noise[n // 2 :] = noise[: n - n // 2] if shape == "twins" else noise[n // 2 :]
    excess = np.abs(excess + noise)
    answer = optimise(
        stated(
            0.02 + excess,
            covariance,
            "abcdefghij"[:n],
            "max_sharpe",
            risk_free_rate=0.02,
            max_holdings=most,
        )
    )
    assert answer.success, answer.message
    best = best_ratio_of_few(excess, covariance, most)
    unit = max(np.ptp(excess), 1e-6 * (0.02 + excess.max()))
    # the proof is of the excess return that a volatility earns
    assert (best - answer.sharpe_ratio) * answer.volatility <= TOLERANCE * unit
    assert answer.sharpe_ratio <= best * (1 + 1e-7)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    n=st.integers(2, 8),
    most=st.integers(1, 3),
    least=st.sampled_from([0.0, 0.15, 0.3]),
    level=st.sampled_from([0.8, 0.95]),
    seed=st.integers(0, 2**31),
)
def test_no_choice_has_a_smaller_tail(n, most, least, level, seed):
    rng = np.random.default_rng(seed)
    scenarios = rng.normal(0.0003, 0.01, (50, 1)) + rng.standard_t(3, (50, n)) * 0.005
    answer = optimise(
        stated(
            scenarios.mean(0),
            np.cov(scenarios.T),
            "abcdefgh"[:n],
            "min_cvar",
            scenarios=scenarios,
            cvar_level=level,
            max_holdings=most,
            **({"min_position": least} if least else {}),
        )
    )
    best = least_by_integers(np.zeros(n), scenarios, most, least, level)
    assert answer.success, answer.message
    assert answer.cvar == pytest.approx(best, abs=TOLERANCE * scenarios.std())


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    n=st.integers(3, 8),
    most=st.integers(1, 2),
    least=st.sampled_from([0.0, 0.25]),
    share=st.floats(0.0, 1.0),
    seed=st.integers(0, 2**31),
)
def test_a_ceiling_is_refused_where_no_choice_meets_it_and_its_quote_is_met(
    n, most, least, share, seed
):
    rng = np.random.default_rng(seed)
    covariance = covariance_like("factors", n, rng)
    weights = rng.dirichlet(np.ones(n))
    along, variance = covariance @ weights, weights @ covariance @ weights
    without = np.sqrt(max(2 * least_of_few(covariance, -along, most) + variance, 0.0))
    means = rng.normal(0, 0.001, n)

    def answered(ceiling):
        return optimise(
            stated(
                means,
                covariance,
                "abcdefgh"[:n],
                "max_return",
                benchmark=weights,
                max_tracking_error=ceiling,
                max_holdings=most,
                **({"min_position": least} if least else {}),
            )
        )

    # nearly half are below what any choice can, even without a least position
    answer = answered(without * (0.5 + share))
    if share < 0.499:
        assert answer.code is ReasonCode.INFEASIBLE
    if answer.success:
        assert answer.tracking_error <= without * (0.5 + share) * (1 + 1e-8)
        return
    assert answer.code is ReasonCode.INFEASIBLE
    quoted = float(re.search(r"least attainable tracking error ([\d.e-]+)", answer.message)[1])
    assert answered(quoted).success, answered(quoted).message
    assert quoted >= without * (1 - 1e-6)


def test_a_search_that_ends_before_it_finds_any_does_not_say_that_there_is_none():
    rng = np.random.default_rng(0)
    covariance = covariance_like("factors", 8, rng)
    weights, means = rng.dirichlet(np.ones(8)), rng.normal(0, 0.001, 8)
    variance = weights @ covariance @ weights
    least = np.sqrt(2 * least_of_few(covariance, -covariance @ weights, 2) + variance)
    asked = {"benchmark": weights, "max_tracking_error": least * 1.02, "max_holdings": 2}

    def answered(limit):
        given = stated(means, covariance, "abcdefgh", "max_return", search_limit=limit, **asked)
        return optimise(given)

    cut = answered(1)
    assert cut.weights is None
    assert cut.code is ReasonCode.UNPROVEN
    assert "a search_limit above 1 tries more" in cut.message
    assert answered(2_000).success


@pytest.mark.parametrize("many", [3, 12])
def test_assets_that_are_alike_are_not_searched_one_by_one(many):
    """Of 36 assets of three kinds one of each kind is enough; uncounted, choices were millions."""
    rng = np.random.default_rng(5)
    covariance = np.kron(np.cov(rng.normal(0, 0.01, (100, 3)).T), np.ones((many, many)))
    for most, error in ((2, None), (3, 0.0)):
        answer = optimise(tracking_all(covariance, max_holdings=most, search_limit=20))
        assert answer.success, answer.message
        if error is not None:
            assert answer.tracking_error == pytest.approx(error, abs=1e-8)
