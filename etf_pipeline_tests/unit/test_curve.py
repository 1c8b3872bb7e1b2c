"""The frontier as it is told: proven points, cash, and a reason where there is none."""

import itertools

import numpy as np
import pytest

from etf_pipeline.errors import EtfError, ReasonCode
from etf_pipeline.library.analysis import frontier_table
from etf_pipeline.library.currencies import told
from etf_pipeline.portfolio import GroupLimit, stated
from etf_pipeline.portfolio.curve import proven_curve
from etf_pipeline.risk.conversion import Together

NAMES = ("A", "B", "C", "D", "E", "F")
MEANS = np.array([0.02, 0.04, 0.05, 0.07, 0.08, 0.11])
LOADINGS = np.array([0.02, 0.05, 0.08, 0.10, 0.13, 0.16])
COVARIANCE = np.outer(LOADINGS, LOADINGS) + np.diag([0.002, 0.001, 0.004, 0.003, 0.006, 0.009])


def problem(**asked):
    return stated(MEANS, COVARIANCE, NAMES, "min_volatility", **asked)


def least_of_pairs(target):
    """Least volatility of two assets that earn a target, the exact minimum on every segment."""
    found = []
    for i, j in itertools.combinations(range(6), 2):
        s = COVARIANCE[np.ix_([i, j], [i, j])]
        step = MEANS[i] - MEANS[j]
        cut = (target - MEANS[j]) / step  # weight of i at which the pair earns the target
        low, high = (cut, 1.0) if step > 0 else (0.0, cut)
        low, high = max(low, 0.0), min(high, 1.0)
        if low <= high:
            best = (s[1, 1] - s[0, 1]) / (s[0, 0] + s[1, 1] - 2 * s[0, 1])
            w = np.array([min(max(best, low), high)])
            w = np.r_[w, 1 - w]
            found.append(np.sqrt(w @ s @ w))
    return min(found)


def test_a_point_without_a_proof_is_left_out_and_told():
    cut = proven_curve(problem(max_holdings=2, search_limit=1), 5)
    assert all(answer.success for _, answer in cut.points)
    missing = sorted(set(range(5)) - {i for i, _ in cut.points})
    assert missing
    assert f"{', '.join(map(str, missing))} " in cut.remarks[0]
    assert "not proven, and left out of the frontier" in cut.remarks[0]
    whole = proven_curve(problem(max_holdings=2), 5)
    assert [i for i, _ in whole.points] == list(range(5)) and not whole.remarks
    for _, answer in whole.points:
        assert answer.volatility == pytest.approx(
            least_of_pairs(answer.expected_return - 1e-9), rel=1e-6
        )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"benchmark": np.eye(6)[5], "max_tracking_error": 0.01, "upper": 0.5}, "least attainable"),
        ({"groups": (GroupLimit("g", ("A", "B"), 0.8, 1.0),), "upper": 0.3}, "group g at least"),
        ({"holdings": np.eye(6)[0], "max_turnover": 0.1, "upper": 0.5}, "turnover at most 0.1"),
    ],
)
def test_no_frontier_says_why(asked, said):
    with pytest.raises(EtfError, match=said) as caught:
        frontier_table(problem(**asked), 5)
    assert caught.value.code is ReasonCode.INFEASIBLE


def test_weights_and_cash_are_the_whole():
    table = frontier_table(problem(net_exposure=(0.4, 1.0), risk_free_rate=0.01), 5)
    weights = table[list(NAMES)].to_numpy()
    assert table["cash"].to_numpy() == pytest.approx(1 - weights.sum(axis=1), abs=1e-12)
    earned = weights @ MEANS + 0.01 * table["cash"].to_numpy()
    assert table["expected_return"].to_numpy() == pytest.approx(earned, abs=1e-12)
    assert table["cash"].max() == pytest.approx(0.6, abs=1e-6)
    assert "cash" not in frontier_table(problem(), 5).columns


def test_each_remark_is_told_once():
    together = Together([], "AUD", remarks=("rates are stale",))
    assert told(together, ["first", "rates are stale"])["remarks"] == ["first", "rates are stale"]
