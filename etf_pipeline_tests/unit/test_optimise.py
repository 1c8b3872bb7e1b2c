"""Golden cases with the derivation in the comment."""

import itertools
import math
import re
from fractions import Fraction

import numpy as np
import pytest

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio import GroupLimit, efficient_frontier, optimise, stated
from etf_pipeline.portfolio.answer import settled

DIAGONAL = np.diag([0.01, 0.09])
MEANS = np.array([0.10, 0.20])


def problem(means=MEANS, covariance=DIAGONAL, **changes):
    names = tuple("abcdefgh"[: len(means)])
    return stated(np.asarray(means), np.asarray(covariance), names, **changes)


@pytest.mark.parametrize("scale", [1e4, 1.0, 1 / 252, 1 / 3024])
def test_least_volatility_is_inverse_variance_whatever_the_unit(scale):
    answer = optimise(problem(covariance=DIAGONAL * scale))
    assert answer.success
    assert answer.weights == pytest.approx([0.9, 0.1], abs=1e-7)
    assert answer.volatility == pytest.approx(0.0948683298 * math.sqrt(scale), rel=1e-7)


def test_a_binding_budget():
    """w² 0.01 + (1 − w)² 0.09 = 0.15², the larger root of the return."""
    answer = optimise(problem(objective="max_return", risk_budget=0.15))
    assert answer.success
    assert answer.risk_budget_binding
    assert answer.weights == pytest.approx([0.532577, 0.467423], abs=1e-6)
    assert answer.expected_return == pytest.approx(0.1467423461, abs=1e-9)
    assert answer.volatility == pytest.approx(0.15, abs=1e-9)


def test_a_slack_budget():
    answer = optimise(problem(objective="max_return", risk_budget=0.50))
    assert answer.success
    assert answer.risk_budget_binding is False
    assert answer.weights == pytest.approx([0, 1])
    assert answer.volatility == pytest.approx(0.30)


def test_the_best_sharpe_ratio():
    """Σ⁻¹(μ − rf) = (8, 2), normalised."""
    answer = optimise(problem(objective="max_sharpe", risk_free_rate=0.02))
    assert answer.success
    assert answer.weights == pytest.approx([0.8, 0.2], abs=1e-7)
    assert answer.sharpe_ratio == pytest.approx(1.0, abs=1e-9)


def test_a_budget_below_the_attainable_quotes_the_long_only_minimum():
    """[1, 0] has 0.20; 0.1763 would need a short position."""
    answer = optimise(
        problem(
            [0.05, 0.08], [[0.04, 0.054], [0.054, 0.09]], objective="max_return", risk_budget=0.19
        )
    )
    assert not answer.success
    assert answer.weights is None
    assert "0.2 " in answer.message
    assert "0.1763" not in answer.message


NEGATIVE = [-0.654099, -1.011251, -1.016013]
NEGATIVE_COV = [
    [0.447307, 0.467077, 0.487518],
    [0.467077, 0.756588, 0.623595],
    [0.487518, 0.623595, 0.803425],
]


def test_no_mean_above_the_risk_free_rate():
    answer = optimise(problem(NEGATIVE, NEGATIVE_COV, objective="max_sharpe"))
    assert not answer.success
    assert "risk-free rate" in answer.message
    lowest = optimise(problem(NEGATIVE, NEGATIVE_COV))
    assert lowest.weights == pytest.approx([1, 0, 0], abs=1e-7)
    assert lowest.volatility == pytest.approx(0.6688101375, abs=1e-9)


def test_an_unreachable_target_quotes_what_is_reachable():
    answer = optimise(problem(objective="target_return", target_return=0.25))
    assert not answer.success
    assert "at most 0.2" in answer.message


def test_a_target_below_the_least_risky_return_does_not_bind():
    answer = optimise(problem(objective="target_return", target_return=0.05))
    assert answer.weights == pytest.approx([0.9, 0.1], abs=1e-7)


def test_the_frontier_rises_and_each_point_is_proven():
    rng = np.random.default_rng(5)
    returns = rng.normal(0.0004, 0.01, (500, 6))
    points = efficient_frontier(
        problem(returns.mean(0) * 252, np.cov(returns, rowvar=False) * 252), 15
    )
    assert len(points) == 15
    assert all(p.success for p in points)
    for a, b in itertools.pairwise(points):
        assert a.volatility <= b.volatility + 1e-9
        assert a.expected_return < b.expected_return


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("groups", [(), (GroupLimit("ab", ("a", "b"), 0.0, 1.0),)])
@pytest.mark.parametrize(
    ("means", "weights"),
    [([0.05, 0.05, 0.05], [1 / 7, 4 / 7, 2 / 7]), ([0.05, 0.05, 0.03], [0.2, 0.8, 0.0])],
)
def test_a_budget_of_risk_is_not_spent_for_nothing(unit, groups, means, weights):
    """Several earn the most alike, as funds of one asset class are expected to: 1/σ² of those."""
    problem = stated(
        np.array(means) * unit,
        np.diag([0.04, 0.01, 0.02]) * unit**2,
        ("a", "b", "c"),
        "max_return",
        risk_budget=0.15 * unit,
        groups=groups,
    )
    answer = optimise(problem)
    assert answer.success
    assert answer.weights == pytest.approx(weights, abs=1e-6)
    assert answer.risk_budget_binding is False


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_means_that_differ_in_their_thirteenth_digit(order):
    """The multiplier of the floor is some 1e12, which finds every digit that is lost on the way.

    With both Σ w and the return given, the conditions of optimality are five equations.
    """
    order = list(order)
    means = np.array([0.1, 0.1 + 1e-13, 0.1 + 3e-13])[order]
    covariance = np.diag([0.01, 0.04, 0.09])[np.ix_(order, order)]
    target = 0.1 + 1.5e-13
    apart = np.array([float(Fraction(m) - Fraction(0.1)) for m in means])
    rows = np.array([np.ones(3), apart * 1e13])
    system = np.block([[covariance, rows.T], [rows, np.zeros((2, 2))]])
    right = [0, 0, 0, 1, float(Fraction(target) - Fraction(0.1)) * 1e13]
    exact = np.linalg.solve(system, right)[:3]
    assert exact.min() > 0.1
    answer = optimise(problem(means, covariance, objective="target_return", target_return=target))
    assert answer.success, answer.message
    assert answer.weights == pytest.approx(exact, abs=2e-3)  # an ulp is 1e-4 of the spread


def test_cash_is_told_from_assets_that_earn_the_same():
    """Two alike: 0.2² · 2x² = 0.15²; each unit invested earns 0.1, against 0 of cash."""
    answer = optimise(
        problem(
            [0.1, 0.1],
            np.diag([0.04, 0.04]),
            objective="max_return",
            risk_budget=0.15,
            net_exposure=(0.9, 1.1),
        )
    )
    assert answer.success, answer.message
    assert answer.weights == pytest.approx([0.5303300859] * 2, abs=1e-8)


def test_of_portfolios_without_risk_the_best_earning_is_the_least_risky():
    """No risk where w1 + w3 = w2 = 1/2; of these the third earns more than the first."""
    along = np.array([1.0, -1.0, 1.0])
    answer = optimise(problem([0.02, 0.10, 0.06], np.outer(along, along)))
    assert answer.success
    assert answer.weights == pytest.approx([0.0, 0.5, 0.5], abs=1e-9)


def test_a_frontier_begins_where_no_more_is_earned_for_the_same_risk():
    """Of two funds with the same returns but for a fee, the cheap one."""
    covariance = np.array([[0.01, 0.01, 0.0], [0.01, 0.01, 0.0], [0.0, 0.0, 0.09]])
    first, *_ = efficient_frontier(problem([0.04, 0.05, 0.10], covariance), 3)
    assert first.weights == pytest.approx([0.0, 0.9, 0.1], abs=1e-9)


def test_a_benchmark_that_may_be_held_is_held():
    """Every portfolio moves as any other does: only one of them needs no trade."""
    benchmark = np.array([0.2, 0.3, 0.5])
    answer = optimise(
        problem(
            [0.02, 0.10, 0.06], np.ones((3, 3)), objective="min_tracking_error", benchmark=benchmark
        )
    )
    assert answer.success
    assert answer.weights == pytest.approx(benchmark, abs=1e-15)


def test_of_equal_losses_the_least_volatile():
    """Both lose 0.1 in the worse half; the second gains more in the better one."""
    scenarios = np.array([[-0.1, -0.1], [0.1, 0.3]])
    answer = optimise(
        problem(
            [0.0, 0.1],
            np.cov(scenarios.T),
            objective="min_cvar",
            scenarios=scenarios,
            cvar_level=0.5,
        )
    )
    assert answer.success
    assert answer.weights == pytest.approx([1.0, 0.0], abs=1e-9)


def test_a_budget_is_quoted_at_which_a_ratio_is_positive():
    """To earn 0.03 takes a third of the first: √(0.3²/9 + 0.1²·4/9) = 0.1201850."""
    asked = {"objective": "max_sharpe", "risk_free_rate": 0.03}
    answer = optimise(problem([0.05, 0.02], np.diag([0.09, 0.01]), risk_budget=0.05, **asked))
    assert not answer.success
    quoted = float(re.search(r"least attainable volatility ([\d.]+\d)", answer.message)[1])
    assert quoted == pytest.approx(math.sqrt(0.3**2 / 9 + 0.1**2 * 4 / 9), abs=2e-6)
    again = optimise(problem([0.05, 0.02], np.diag([0.09, 0.01]), risk_budget=quoted, **asked))
    assert again.success, again.message


def test_nothing_is_quoted_for_a_ratio_where_nothing_beats_the_rate():
    asked = {"objective": "max_sharpe", "risk_free_rate": 0.06, "risk_budget": 0.05}
    answer = optimise(problem([0.05, 0.02], np.diag([0.09, 0.01]), **asked))
    assert "more than the risk-free rate: at most 0.05, against 0.06" in answer.message


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_what_rounding_earns_beyond_the_rate_is_nothing(order):
    """All earn the rate; sums of such means differ from it in their last digit, in some order."""
    chosen = list(order)
    covariance = np.diag([0.01, 0.02, 0.05])[np.ix_(chosen, chosen)]
    rate = 0.1 + 0.2
    answer = optimise(problem([rate] * 3, covariance, objective="max_sharpe", risk_free_rate=0.3))
    assert not answer.success
    assert "more than the risk-free rate" in answer.message


def test_nothing_is_told_as_nothing():
    answer = optimise(problem([0.0, 0.0], DIAGONAL, objective="target_return", target_return=1e-3))
    assert "at most 0 " in answer.message


def test_beside_cash_at_the_rate_all_is_invested():
    """Every mixture has the ratio 0.3: that without cash is the one to hold, not one of dust."""
    answer = optimise(
        problem([0.04, 0.10], np.diag([0.0, 0.04]), objective="max_sharpe", risk_free_rate=0.04)
    )
    assert answer.weights == pytest.approx([0.0, 1.0], abs=1e-9)


def test_what_has_no_risk_is_found_beside_cash_of_hardly_any():
    """The last two cancel, two to one; the first moves by a millionth, along with them."""
    along = np.array([1e-6, 0.2, -0.1])
    answer = optimise(problem([0.01, 0.08, 0.05], np.outer(along, along), objective="max_sharpe"))
    assert answer.code is ReasonCode.BAD_PROBLEM
    assert "without risk earns more" in answer.message


def test_what_ends_at_a_bound_leaves_the_rest_to_others():
    """0.4e-9 lack, of which the second takes 0.1e-9 and no more."""
    asked = problem([0.1, 0.2, 0.3], np.eye(3), upper=[0.5, 0.31, 0.3])
    found = settled(asked, np.array([0.5, 0.31 - 1e-10, 0.19 - 3e-10]), sweep=False)
    assert found.sum() == pytest.approx(1.0, abs=1e-15)
    assert found == pytest.approx([0.5, 0.31, 0.19], abs=1e-15)
