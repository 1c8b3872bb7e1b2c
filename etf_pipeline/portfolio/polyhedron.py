"""The set of allowed portfolios as linear constraints, and linear programs over it (HiGHS).

Variables are the weights w and, where trading is limited or costs, trades u ≥ |w − holdings|.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np

from etf_pipeline.portfolio.problem import Floats, Problem

_TIGHT = 1e-7


class Row(Enum):
    """What a row of the constraints is there for."""

    GROUP = auto()  # a limit on the total weight of a group
    TRADE = auto()  # u ≥ |w − holdings|: no limit of the problem's own
    TURNOVER = auto()  # the limit on Σ u


@dataclass(frozen=True)
class Polyhedron:
    """A x ≤ b over x = (w, u), Σ w = 1, and bounds.

    Attributes:
        matrix: A, shape (M, V), where V is N, or 2N when trades are variables too.
        limits: b, shape (M,).
        kinds: what each row is, M of them.
        labels: each row in words, empty for those that are no limit of the problem's own.
        low: least values, shape (V,).
        high: greatest values, shape (V,).
        n: N, the number of assets.
    """

    matrix: Floats
    limits: Floats
    kinds: tuple[Row, ...]
    labels: tuple[str, ...]
    low: Floats
    high: Floats
    n: int

    @property
    def size(self) -> int:
        """Number of variables."""
        return len(self.low)

    @property
    def budget(self) -> Floats:
        """The row of full investment."""
        return np.r_[np.ones(self.n), np.zeros(self.size - self.n)]


def polyhedron(problem: Problem) -> Polyhedron:
    """Constraints of a problem other than those that go with its objective."""
    n = len(problem.names)
    trading = problem.max_turnover is not None or problem.cost_rate > 0
    size = 2 * n if trading else n
    rows: list[Floats] = []
    limits: list[float] = []
    kinds: list[Row] = []
    labels: list[str] = []

    def add(kind: Row, row: Floats, limit: float, label: str = "") -> None:
        rows.append(np.r_[row, np.zeros(size - len(row))])
        limits.append(limit)
        kinds.append(kind)
        labels.append(label)

    for group in problem.groups:
        members = np.array([1.0 if name in group.members else 0.0 for name in problem.names])
        if group.upper < 1:
            label = f"group {group.name} at most {group.upper:.4g}"
            add(Row.GROUP, members, group.upper, label)
        if group.lower > 0:
            label = f"group {group.name} at least {group.lower:.4g}"
            add(Row.GROUP, -members, -group.lower, label)
    if trading:
        assert problem.holdings is not None
        eye = np.eye(n)
        for i in range(n):
            add(Row.TRADE, np.r_[eye[i], -eye[i]], float(problem.holdings[i]))
            add(Row.TRADE, np.r_[-eye[i], -eye[i]], -float(problem.holdings[i]))
        if problem.max_turnover is not None:
            label = f"turnover at most {problem.max_turnover:.4g}"
            add(Row.TURNOVER, np.r_[np.zeros(n), np.ones(n)], 2 * problem.max_turnover, label)
    return Polyhedron(
        np.array(rows).reshape(len(rows), size),
        np.array(limits),
        tuple(kinds),
        tuple(labels),
        np.r_[problem.lower, np.zeros(size - n)],
        np.r_[problem.upper, np.full(size - n, 2.0)],
        n,
    )


def maximise(problem: Problem, gradient: Floats, cost_weight: float = 1.0) -> Floats | None:
    """Allowed weights with the greatest gradient'w − cost_weight · cost_rate · Σ|w − holdings|.

    None when no weights are allowed.
    """
    space = polyhedron(problem)
    scale = float(np.abs(gradient).max()) or 1.0
    costs = np.full(space.size - space.n, cost_weight * problem.cost_rate)
    found = _linear_program(np.r_[-gradient, costs] / scale, space)
    return None if found is None else found[: space.n]


def _linear_program(
    objective: Floats, space: Polyhedron, zero: Floats | None = None
) -> Floats | None:
    """Least objective·x over a polyhedron, with zero·x = 0 if given; None when it is empty."""
    import scipy.optimize  # slow to import, and seldom needed

    equal = space.budget[None, :]
    if zero is not None:
        equal = np.vstack([equal, zero])
    linprog: Any = scipy.optimize.linprog  # its stubs do not allow None for no rows
    solution = linprog(
        objective,
        A_ub=space.matrix if len(space.matrix) else None,
        b_ub=space.limits if len(space.matrix) else None,
        A_eq=equal,
        b_eq=np.r_[1.0, np.zeros(len(equal) - 1)],
        bounds=np.column_stack([space.low, space.high]),
        method="highs",
    )
    return None if solution.x is None else np.asarray(solution.x, dtype="float64")


def riskless(problem: Problem, gradient: Floats) -> Floats | None:
    """Allowed weights without any variance, with the greatest gradient'w; None without such.

    Only a singular covariance has them. Found by a linear program on the null space, as solvers
    of the variance stop at about 1e-12, which is a volatility of 1e-6.
    """
    if not problem.singular:
        return None
    values, vectors = np.linalg.eigh(problem.covariance)
    risky = values > 1e-12 * max(float(values[-1]), 0.0)
    space = polyhedron(problem)
    rows = np.hstack([vectors[:, risky].T, np.zeros((int(risky.sum()), space.size - space.n))])
    costs = np.full(space.size - space.n, problem.cost_rate)
    found = _linear_program(np.r_[-gradient, costs], space, rows)
    return None if found is None else found[: space.n]


def conflict(problem: Problem) -> str | None:
    """Which constraints cannot all be met, in words, or None when they can.

    The least total violation shows which give way (an elastic program: Chinneck, 2008, "Feasibility
    and Infeasibility in Optimization").
    """
    space = polyhedron(problem)
    if _linear_program(np.zeros(space.size), space) is not None:
        return None
    named = [i for i, kind in enumerate(space.kinds) if kind is not Row.TRADE]
    slack = np.zeros((len(space.matrix), len(named)))
    slack[named, np.arange(len(named))] = -1.0
    elastic = Polyhedron(
        np.hstack([space.matrix, slack]),
        space.limits,
        space.kinds,
        space.labels,
        np.r_[space.low, np.zeros(len(named))],
        np.r_[space.high, np.full(len(named), 10.0)],
        space.n,
    )
    found = _linear_program(np.r_[np.zeros(space.size), np.ones(len(named))], elastic)
    if found is None:
        return "the bounds allow no full investment"
    over = found[space.size :]
    tight = [
        space.labels[named[k]] + f" (short by {over[k]:.4g})" for k in np.flatnonzero(over > 1e-9)
    ]
    return "no portfolio meets all limits at once: " + ", ".join(tight)


def _point(problem: Problem, space: Polyhedron, weights: Floats) -> Floats:
    """Weights, and their trades where the polyhedron has them, as its variables."""
    if space.size == space.n:
        return weights
    assert problem.holdings is not None
    return np.r_[weights, np.abs(weights - problem.holdings)]


def binding(problem: Problem, weights: Floats) -> list[str]:
    """Limits that `weights` (N,) press against, in words; plain 0-to-1 bounds are left out."""
    names = []
    for name, weight, low, high in zip(
        problem.names, weights, problem.lower, problem.upper, strict=True
    ):
        if low > 0 and weight <= low + _TIGHT:
            names.append(f"{name} at least {low:.4g}")
        if high < 1 and weight >= high - _TIGHT:
            names.append(f"{name} at most {high:.4g}")
    space = polyhedron(problem)
    x = _point(problem, space, weights)
    for row, limit, kind, label in zip(
        space.matrix, space.limits, space.kinds, space.labels, strict=True
    ):
        if kind is not Row.TRADE and float(row @ x) >= limit - _TIGHT:
            names.append(label)
    return names


def allowed(problem: Problem, weights: Floats, tolerance: float) -> bool:
    """Whether weights meet every limit within `tolerance`."""
    space = polyhedron(problem)
    x = _point(problem, space, weights)
    inside = not len(space.matrix) or bool(np.all(space.matrix @ x <= space.limits + tolerance))
    return bool(
        inside
        and abs(weights.sum() - 1.0) <= tolerance
        and np.all(weights >= problem.lower - tolerance)
        and np.all(weights <= problem.upper + tolerance)
    )
