"""The judges of the fuzz suite: their optimum is another library's, planted faults are found."""

import math
import warnings
from dataclasses import replace

import cvxpy
import numpy as np
import pytest

from etf_pipeline.errors import ReasonCode
from etf_pipeline.portfolio import Answer
from etf_pipeline_tests.property.fuzz import judges, kinds, truth
from etf_pipeline_tests.property.fuzz.asked import Asked, Group, Outside
from etf_pipeline_tests.property.fuzz.limits import broken, worst
from etf_pipeline_tests.property.fuzz.reproduce import smallest, snippet


def by_cvxpy(asked):
    """The optimum in the problem's units as cvxpy finds it; None where it cannot be said so."""
    w = cvxpy.Variable(asked.n)
    low, high = asked.net_exposure
    limits = [w >= asked.lower, w <= asked.upper, cvxpy.sum(w) >= low, cvxpy.sum(w) <= high]
    for group in asked.groups:
        total = cvxpy.sum(w[list(group.members)])
        limits += [total >= group.lower, total <= group.upper]
    traded = 0.0 if asked.holdings is None else cvxpy.norm1(w - asked.holdings)
    idle = 0.0 if asked.invested else asked.risk_free_rate * (1 - cvxpy.sum(w))
    net = (asked.means @ w + idle - asked.cost_rate * traded) / asked.return_unit
    if asked.max_turnover is not None:
        limits.append(traded <= 2 * asked.max_turnover)
    if asked.gross_exposure is not None:
        limits.append(cvxpy.norm1(w) <= asked.gross_exposure)
    if asked.target_return is not None:
        limits.append(net >= asked.target_return / asked.return_unit)
    vol = cvxpy.norm(root(asked.covariance) @ w) / asked.risk_unit
    if asked.risk_budget is not None:
        limits.append(vol <= asked.risk_budget / asked.risk_unit)
    tail = 0.0
    if asked.scenarios is not None:
        alpha, losses = cvxpy.Variable(), -(asked.scenarios / asked.loss_unit) @ w
        count = (1 - asked.cvar_level) * len(asked.scenarios)
        tail = alpha + cvxpy.sum(cvxpy.pos(losses - alpha)) / count
        if asked.cvar_budget is not None:
            limits.append(tail <= asked.cvar_budget / asked.loss_unit)
    away = vol
    if isinstance(asked.benchmark, Outside):
        c, v, _ = asked.benchmark_covariances()
        joint = np.block([[asked.covariance, c[:, None]], [c[None, :], np.array([[v]])]])
        away = cvxpy.norm(root(joint) @ cvxpy.hstack([w, -1])) / asked.risk_unit
    elif asked.benchmark is not None:
        away = cvxpy.norm(root(asked.covariance) @ (w - asked.benchmark)) / asked.risk_unit
        if asked.max_active_weight is not None:
            limits.append(cvxpy.abs(w - asked.benchmark) <= asked.max_active_weight)
    if asked.max_tracking_error is not None:
        limits.append(away <= asked.max_tracking_error / asked.risk_unit)
    if asked.beta is not None:
        c, v, _ = asked.benchmark_covariances()
        limits += [(c / v) @ w >= max(asked.beta[0], -1e3), (c / v) @ w <= min(asked.beta[1], 1e3)]
    goal = {
        "min_volatility": -vol,
        "target_return": -vol,
        "max_return": net,
        "min_cvar": -tail,
        "min_tracking_error": -away,
    }[asked.objective]
    stated = cvxpy.Problem(cvxpy.Maximize(goal), limits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # inaccurate ones are left out
        try:
            stated.solve(solver="CLARABEL")
        except cvxpy.SolverError:
            return None
    return stated.value if stated.status == "optimal" else None


def root(covariance):
    """Its square root, by another decomposition than the judges'."""
    _, values, right = np.linalg.svd(covariance)
    return np.sqrt(values)[:, None] * right


@pytest.mark.parametrize("kind", [k for k in kinds.KINDS if k not in kinds.SELDOM])
def test_the_optimum_is_that_of_cvxpy(kind):
    compared = 0
    for seed in range(500, 508):
        asked = kinds.draw(kind, seed)
        if asked.objective in ("max_sharpe", "max_utility"):
            continue
        theirs, ours = by_cvxpy(asked), truth.best(asked)
        if theirs is None or ours.exact is None:
            continue
        values = [
            truth.value(asked, w) / truth.unit(asked)
            for w in (ours.exact, ours.near)
            if w is not None
        ]
        # Just above the least risk, the last digits of a budget are worth many of the return.
        steep = asked.risk_budget is not None or asked.max_tracking_error is not None
        tolerance = (2e-4 if steep else 5e-6) * max(1.0, abs(theirs))
        assert max(values) == pytest.approx(theirs, abs=tolerance), seed
        compared += 1
    assert compared >= 2


def test_the_optimum_of_a_sharpe_ratio_and_of_a_utility_by_hand():
    """Σ⁻¹(μ − rf) = (8, 2); Σ⁻¹(μ − γ)/λ with Σ w = 1: (1 − γ' …) by elimination."""
    means, covariance = np.array([0.10, 0.20]), np.diag([0.01, 0.09])
    asked = Asked("by hand", means, covariance, "max_sharpe", np.zeros(2), np.ones(2), 0.02)
    assert truth.best(asked).exact == pytest.approx([0.8, 0.2], abs=1e-6)
    # d/dx [0.1 + 0.1 x − λ/2 (0.01 (1 − x)² + 0.09 x²)] = 0.1 − λ (0.1 x − 0.01) = 0, λ = 4
    asked = replace(asked, objective="max_utility", risk_aversion=4.0)
    assert truth.best(asked).exact == pytest.approx([0.65, 0.35], abs=1e-6)


# Two uncorrelated assets: least volatility at (0.9, 0.1), √0.009.
EASY = Asked(
    "planted",
    np.array([0.10, 0.20]),
    np.diag([0.01, 0.09]),
    lower=np.zeros(2),
    upper=np.ones(2),
    known=np.array([0.9, 0.1]),
)


def answered(asked, w, **changes):
    """An answer of these weights that says success, its figures being right."""
    vol, earned = asked.volatility(w), asked.earned(w)
    ratio = (earned - asked.risk_free_rate) / vol
    return replace(Answer(True, "optimal", w, earned, vol, ratio, 0.0), **changes)


def judged(monkeypatch, asked, answer):
    monkeypatch.setattr(judges, "asked_of_us", lambda _: answer)
    return {fault.what for fault in judges.faults(asked)}


BAD_CODE = ReasonCode.UNPROVEN
PLANTED = {
    "not optimal": (EASY, [0.88, 0.12], {}, "false success: not optimal"),
    "gap too small": (EASY, [0.9003, 0.0997], {"optimality_gap": 1e-12}, "gap below the truth"),
    "gap too large": (EASY, [0.9, 0.1], {"optimality_gap": 1e-3}, "success with a gap that pr"),
    "not whole": (EASY, [0.9, 0.1001], {}, "false success: net exposure above"),
    "a short": (EASY, [1.01, -0.01], {}, "false success: lower"),
    "group": (
        replace(EASY, groups=(Group("b", (1,), 0.2, 0.5),)),
        [0.9, 0.1],
        {},
        "false success: group b below",
    ),
    "target": (
        replace(EASY, objective="target_return", target_return=0.12),
        [0.9, 0.1],
        {},
        "false success: target return",
    ),
    "risk budget": (
        replace(EASY, objective="max_return", risk_budget=0.15),
        [0.5, 0.5],
        {},
        "false success: risk budget",
    ),
    "turnover": (
        replace(EASY, holdings=np.array([0.0, 1.0]), max_turnover=0.5),
        [0.9, 0.1],
        {},
        "false success: turnover",
    ),
    "gross": (
        replace(EASY, lower=np.full(2, -1.0), gross_exposure=1.0),
        [1.1, -0.1],
        {},
        "false success: gross exposure",
    ),
    "tracking error": (
        replace(EASY, benchmark=np.array([0.5, 0.5]), max_tracking_error=0.01),
        [0.9, 0.1],
        {},
        "false success: tracking error",
    ),
    "active weight": (
        replace(EASY, benchmark=np.array([0.5, 0.5]), max_active_weight=0.1),
        [0.9, 0.1],
        {},
        "false success: active weight",
    ),
    "beta": (
        replace(EASY, benchmark=np.array([0.0, 1.0]), beta=(0.5, 1.0)),
        [0.9, 0.1],
        {},
        "false success: beta below",
    ),
    "wrong return": (EASY, [0.9, 0.1], {"expected_return": 0.2}, "expected_return is not that"),
    "wrong volatility": (EASY, [0.9, 0.1], {"volatility": 0.2}, "volatility is not that"),
    "false failure": (
        EASY,
        [0.9, 0.1],
        {"success": False, "code": BAD_CODE, "message": "not proven"},
        "false failure",
    ),
    "refused": (
        EASY,
        None,
        {"success": False, "weights": None, "message": "Singular matrix", "code": BAD_CODE},
        "message",
    ),
}


@pytest.mark.parametrize(("asked", "w", "changes", "fault"), PLANTED.values(), ids=PLANTED)
def test_a_planted_fault_is_found(monkeypatch, asked, w, changes, fault):
    weights = np.array([0.9, 0.1] if w is None else w)
    found = judged(monkeypatch, asked, answered(asked, weights, **changes))
    assert any(what.startswith(fault) for what in found), found


def test_the_right_answer_has_no_fault(monkeypatch):
    right = answered(EASY, np.array([0.9, 0.1]))
    monkeypatch.setattr(judges, "_other_words", lambda *_: iter(()))
    assert judged(monkeypatch, EASY, right) == set()


def test_a_cvar_is_that_of_its_definition():
    """Ten scenarios at 0.85: the worst one whole, half of the next."""
    losses = np.array([5.0, 4.0, 1, 1, 1, 1, 1, 1, 1, 1])
    asked = replace(EASY, scenarios=-np.column_stack([losses, losses]), cvar_level=0.85)
    assert asked.cvar(np.array([0.5, 0.5])) == pytest.approx((5.0 + 0.5 * 4.0) / 1.5)


@pytest.mark.parametrize("kind", ["two limits", "anything", "exposures", "tracking error", "cvar"])
def test_other_words_say_the_same(kind):
    """The known portfolio, its figures and limits in another order and in other units."""
    rng = np.random.default_rng(0)
    for seed in range(8):
        asked = kinds.draw(kind, seed)
        w = asked.known if asked.known is not None else np.full(asked.n, 1.0 / asked.n)
        order = rng.permutation(asked.n)
        for other, v in (
            (asked.permuted(order), w[order]),
            (asked.in_units(1e-4), w),
            (asked.in_units(100.0, 100.0), w),
        ):
            # Values of the same sense, and as much beyond every limit (or as little).
            same = truth.value(other, v) / truth.unit(other)
            expected = truth.value(asked, w) / truth.unit(asked)
            if asked.objective == "max_sharpe":  # the ratio itself, which has no unit but time's
                scale = asked.risk_unit / asked.return_unit
                same = truth.value(other, v) * other.risk_unit / other.return_unit
                expected = truth.value(asked, w) * scale
            assert same == pytest.approx(expected, rel=1e-6, abs=1e-8)
            assert worst(other, v) == pytest.approx(worst(asked, w), rel=1e-6, abs=1e-8)


def test_a_failure_is_made_small_and_runs_as_it_is_printed():
    """What fails is the one group on the first asset: all else goes."""
    asked = kinds.draw("two limits", 2)
    group = Group("first", (0,), 0.0, 0.5)
    asked = replace(asked, groups=(*asked.groups, group))

    def fails(other):
        return any(g.name == "first" and 0 in g.members for g in other.groups)

    small = smallest(asked, fails)
    assert small.groups == (group,)
    assert small.n == 1
    assert small.max_turnover is None
    assert small.cost_rate == 0.0
    assert small.benchmark is None
    said = {}
    text = snippet(small).replace("print(optimise(", "said['problem'] = (").replace(")))", "))")
    exec(text, {"said": said})
    assert said["problem"].means == pytest.approx(small.means)
    assert [limit.upper for limit in said["problem"].limits] == [0.5]


def test_draws_are_the_same_for_the_same_seed():
    one, two = kinds.draw("anything", 7), kinds.draw("anything", 7)
    assert snippet(one) == snippet(two)
    assert snippet(one) != snippet(kinds.draw("anything", 8))
    assert math.isfinite(worst(one, np.full(one.n, 1.0 / one.n)))
    assert broken(EASY, np.array([0.9, 0.1])) == []
