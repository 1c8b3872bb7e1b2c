"""The problems as cone programs for clarabel. Scaled so that units do not matter.

Weights have shape (N,), None when the solver finds none: the limits are contradictory, or its
numbers are not finite. Clarabel's own word for success is not trusted: the caller proves the answer
with a certificate.

Source: Goulart & Chen, "Clarabel: An interior-point solver for conic programs with quadratic
objectives" (2024).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio.polyhedron import Polyhedron, polyhedron
from etf_pipeline.portfolio.problem import Floats, Problem

_BISECTIONS = 60


def factor(covariance: Floats) -> Floats:
    """F with F'F = covariance, shape (N, N); works for singular matrices, unlike Cholesky's."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0.0, None))).T


def min_variance(problem: Problem, floor_return: float | None = None) -> Floats | None:
    """Weights of least variance, with a net expected return of at least `floor_return`."""
    space = polyhedron(problem)
    rows, rhs = [], []
    if floor_return is not None:
        spread = float(np.ptp(problem.means)) or 1.0
        rows = [-_net(problem, space) / spread]
        rhs = [-floor_return / spread]
    quadratic = _padded(problem.covariance / _scale(problem.covariance), space)
    return _solve(space, quadratic, np.zeros(space.size), rows, rhs)


def max_utility(problem: Problem, aversion: float) -> Floats | None:
    """Weights of greatest net return − (aversion/2) · variance (Markowitz, 1952).

    `aversion` is positive, in units of return over variance.
    """
    space = polyhedron(problem)
    scale = max(aversion * _scale(problem.covariance), float(np.ptp(problem.means)), 1e-300)
    quadratic = _padded(problem.covariance * (aversion / scale), space)
    return _solve(space, quadratic, -_centred(problem, space) / scale, [], [])


def max_return(problem: Problem, budget: float) -> Floats | None:
    """Weights of greatest net return with a volatility of at most `budget`, a second-order cone."""
    space = polyhedron(problem)
    spread = float(np.ptp(problem.means)) or 1.0
    root = factor(problem.covariance) / budget
    cone = np.vstack(
        [np.zeros(space.size), np.hstack([-root, np.zeros((len(root), space.size - space.n))])]
    )
    offset = np.r_[1.0, np.zeros(len(root))]
    zero = np.zeros((space.size, space.size))
    return _solve(space, zero, -_centred(problem, space) / spread, [], [], (cone, offset))


def max_return_by_bisection(problem: Problem, budget: float) -> Floats | None:
    """The same by a search for the risk aversion that spends the budget: slower, more exact."""
    spread = float(np.ptp(problem.means)) or 1.0
    variance = _scale(problem.covariance)
    low, high = 1e-6 * spread / variance, 1e8 * spread / variance
    best: Floats | None = None
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)
        weights = max_utility(problem, middle)
        if weights is None:
            return best
        if float(weights @ problem.covariance @ weights) <= budget**2:
            best, high = weights, middle
        else:
            low = middle
    return best


def max_sharpe(problem: Problem) -> Floats | None:
    """Weights of greatest net Sharpe ratio, where some net excess return is positive.

    Homogenised: x = (w, u)/κ with net excess return 1, minimising variance (Schaible, 1974,
    "Parameter-free convex equivalent and dual programs of fractional programming problems").
    """
    space = polyhedron(problem)
    excess = _net(problem, space)
    excess[: space.n] -= problem.risk_free_rate
    excess = excess / np.abs(excess).max()
    size = space.size
    quadratic = np.zeros((size + 1, size + 1))
    quadratic[:size, :size] = _padded(problem.covariance / _scale(problem.covariance), space)
    finite = np.isfinite(space.high)
    eye = np.eye(size)
    equalities = [np.r_[excess, 0.0], np.r_[space.budget, -1.0]]
    inequalities = [
        np.hstack([-eye, space.low[:, None]]),
        np.hstack([eye[finite], -space.high[finite][:, None]]),
        np.r_[np.zeros(size), -1.0][None, :],
    ]
    if len(space.matrix):
        inequalities.append(np.hstack([space.matrix, -space.limits[:, None]]))
    lower = np.vstack(inequalities)
    found = _clarabel(
        quadratic,
        np.zeros(size + 1),
        np.vstack(equalities),
        np.array([1.0, 0.0]),
        lower,
        np.zeros(len(lower)),
    )
    if found is None or found[size] <= 0:
        return None
    return found[: space.n] / found[size]


def _net(problem: Problem, space: Polyhedron) -> Floats:
    """Net expected return as a row over (w, u)."""
    return np.r_[problem.means, np.full(space.size - space.n, -problem.cost_rate)]


def _centred(problem: Problem, space: Polyhedron) -> Floats:
    """The same up to a constant: Σ w = 1, so a shift of the means changes nothing."""
    row = _net(problem, space)
    row[: space.n] -= problem.means.mean()
    return row


def _padded(covariance: Floats, space: Polyhedron) -> Floats:
    padded = np.zeros((space.size, space.size))
    padded[: space.n, : space.n] = covariance
    return padded


def _scale(covariance: Floats) -> float:
    return float(np.mean(np.diag(covariance))) or 1.0


def _solve(
    space: Polyhedron,
    quadratic: Floats,
    linear: Floats,
    rows: list[Floats],
    rhs: list[float],
    cone: tuple[Floats, Floats] | None = None,
) -> Floats | None:
    """Weights of least x'Qx/2 + c'x over a polyhedron with more rows, and with Gx + h in a cone."""
    eye = np.eye(space.size)
    lower = np.vstack([-eye, eye, space.matrix, *[r[None, :] for r in rows]])
    limits = np.r_[-space.low, space.high, space.limits, np.array(rhs)]
    found = _clarabel(
        quadratic, linear, space.budget[None, :], np.array([1.0]), lower, limits, cone
    )
    return None if found is None else found[: space.n]


def _clarabel(
    quadratic: Floats,
    linear: Floats,
    equal: Floats,
    equal_rhs: Floats,
    lower: Floats,
    limits: Floats,
    cone: tuple[Floats, Floats] | None = None,
) -> Floats | None:
    """Least x'Qx/2 + c'x with Ex = e, Ax ≤ b and, if given, the second-order cone (G, h)."""
    import clarabel
    from scipy import sparse

    matrix, vector = np.vstack([equal, lower]), np.r_[equal_rhs, limits]
    cones: list[Any] = [
        clarabel.ZeroConeT(len(equal_rhs)),
        clarabel.NonnegativeConeT(len(limits)),
    ]
    if cone is not None:
        matrix, vector = np.vstack([matrix, cone[0]]), np.r_[vector, cone[1]]
        cones.append(clarabel.SecondOrderConeT(len(cone[1])))
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    solution = clarabel.DefaultSolver(
        sparse.csc_matrix(np.triu(quadratic)),
        linear,
        sparse.csc_matrix(matrix),
        vector,
        cones,
        settings,
    ).solve()
    status = clarabel.SolverStatus
    infeasible = (
        status.PrimalInfeasible,
        status.AlmostPrimalInfeasible,
        status.DualInfeasible,
        status.AlmostDualInfeasible,
    )
    answer: npt.NDArray[np.float64] = np.array(solution.x, dtype="float64")
    usable = np.all(np.isfinite(answer)) and solution.status not in infeasible
    return answer if usable else None
