"""Random problems, hard ones too: an answer is proven, or says that it is not."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.portfolio import optimise, stated
from etf_pipeline.portfolio.check import allowed


@st.composite
def problems(draw):
    n = draw(st.integers(2, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    t = draw(st.integers(n + 2, 250))
    returns = rng.normal(0.0003, 0.01, (t, n)) + rng.normal(0, 0.008, (t, 1))
    upper = np.full(n, draw(st.sampled_from([1.0, 0.6])))
    return returns.mean(0) * 252, np.cov(returns, rowvar=False) * 252, upper


@settings(max_examples=120)
@given(problems(), st.floats(0.02, 0.98))
def test_no_feasible_portfolio_beats_the_answer(estimates, share):
    means, covariance, upper = estimates
    n = len(means)
    names = tuple(f"A{i}" for i in range(n))

    def ask(**changes):
        return optimise(stated(means, covariance, names, upper=upper, **changes))

    lowest = ask()
    assert lowest.success
    top = max(math.sqrt(covariance[i, i]) for i in range(n))
    budget = lowest.volatility + share * (top - lowest.volatility)
    best = ask(objective="max_return", risk_budget=budget)
    assert best.success
    assert best.volatility <= budget * (1 + 1e-8)
    rng = np.random.default_rng(0)
    # near the answers there is always one within the budget
    near = [best.weights, lowest.weights, (best.weights + lowest.weights) / 2]
    for w in [*near, *rng.dirichlet(np.full(n, 0.5), 200)]:
        if np.any(w > upper + 1e-12):
            continue
        vol = math.sqrt(w @ covariance @ w)
        assert vol >= lowest.volatility - 1e-9
        if vol <= budget:
            assert means @ w <= best.expected_return + 1e-7


@settings(max_examples=60)
@given(problems(), st.sampled_from([1 / 252, 1e4]))
def test_units_do_not_matter(estimates, scale):
    means, covariance, upper = estimates
    names = tuple(f"A{i}" for i in range(len(means)))
    one = optimise(stated(means, covariance, names, upper=upper))
    two = optimise(stated(means * scale, covariance * scale, names, upper=upper))
    assert two.weights == pytest.approx(one.weights, abs=1e-5)


@settings(max_examples=60)
@given(problems(), st.randoms(use_true_random=False))
def test_order_does_not_matter(estimates, random):
    means, covariance, upper = estimates
    order = list(range(len(means)))
    random.shuffle(order)
    names = tuple(f"A{i}" for i in order)
    plain = tuple(f"A{i}" for i in range(len(means)))
    one = optimise(stated(means, covariance, plain, upper=upper))
    two = optimise(stated(means[order], covariance[np.ix_(order, order)], names, upper=upper))
    assert two.weights == pytest.approx(one.weights[order], abs=1e-5)
    assert allowed(stated(means, covariance, plain, upper=upper), one.weights)
