"""The problems as cone programs for clarabel. Scaled so that units do not matter.

Clarabel's own status is not trusted here: the caller proves the answer with a certificate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio.problem import Floats, Problem


def factor(covariance: Floats) -> Floats:
    """F with F'F = covariance; works for singular matrices."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0.0, None))).T


def min_variance(problem: Problem, floor_return: float | None = None) -> Floats | None:
    """Weights of least variance, with an expected return of at least `floor_return`."""
    n = len(problem.names)
    scale = _scale(problem.covariance)
    rows, rhs = _box(problem)
    if floor_return is not None:
        spread = float(np.ptp(problem.means)) or 1.0
        rows.append(-problem.means[None, :] / spread)
        rhs.append(np.array([-floor_return / spread]))
    return _solve(problem.covariance / scale, np.zeros(n), rows, rhs, n)


def max_return(problem: Problem, budget: float) -> Floats | None:
    """Weights of greatest expected return with a volatility of at most `budget`."""
    n = len(problem.names)
    spread = float(np.ptp(problem.means)) or 1.0
    rows, rhs = _box(problem)
    cone = np.vstack([np.zeros(n), -factor(problem.covariance) / budget])
    offset = np.r_[1.0, np.zeros(n)]
    centred = (problem.means - problem.means.mean()) / spread
    return _solve(np.zeros((n, n)), -centred, rows, rhs, n, (cone, offset))


def max_sharpe(problem: Problem) -> Floats | None:
    """Weights of greatest Sharpe ratio, for a problem in which some excess return is positive.

    The usual homogenisation: y = w/κ with (μ − rf)'y = 1, minimising y'Σy.
    """
    n = len(problem.names)
    excess = problem.means - problem.risk_free_rate
    excess = excess / np.abs(excess).max()
    scale = _scale(problem.covariance)
    quadratic = np.zeros((n + 1, n + 1))
    quadratic[:n, :n] = problem.covariance / scale
    eye = np.eye(n)
    rows = [
        np.r_[excess, 0.0][None, :],
        np.r_[np.ones(n), -1.0][None, :],
        np.hstack([-eye, problem.lower[:, None]]),
        np.hstack([eye, -problem.upper[:, None]]),
        np.r_[np.zeros(n), -1.0][None, :],
    ]
    rhs = [np.array([1.0]), np.array([0.0]), np.zeros(n), np.zeros(n), np.array([0.0])]
    found = _solve(quadratic, np.zeros(n + 1), rows, rhs, n + 1, equalities=2)
    if found is None or found[n] <= 0:
        return None
    return found[:n] / found[n]


def _scale(covariance: Floats) -> float:
    return float(np.mean(np.diag(covariance))) or 1.0


def _box(problem: Problem) -> tuple[list[Floats], list[Floats]]:
    """Full investment, then lower and upper bounds, as A x + s = b."""
    n = len(problem.names)
    eye = np.eye(n)
    return [np.ones((1, n)), -eye, eye], [np.array([1.0]), -problem.lower, problem.upper]


def _solve(
    quadratic: Floats,
    linear: Floats,
    rows: list[Floats],
    rhs: list[Floats],
    n: int,
    cone: tuple[Floats, Floats] | None = None,
    equalities: int = 1,
) -> Floats | None:
    import clarabel
    from scipy import sparse

    matrix, vector = np.vstack(rows), np.concatenate(rhs)
    cones: list[Any] = [
        clarabel.ZeroConeT(equalities),
        clarabel.NonnegativeConeT(len(vector) - equalities),
    ]
    if cone is not None:
        matrix, vector = np.vstack([matrix, cone[0]]), np.r_[vector, cone[1]]
        cones.append(clarabel.SecondOrderConeT(n + 1))
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    solution = clarabel.DefaultSolver(
        sparse.csc_matrix(np.triu(quadratic)), linear, sparse.csc_matrix(matrix), vector, cones,
        settings,
    ).solve()  # fmt: skip
    answer: npt.NDArray[np.float64] = np.array(solution.x, dtype="float64")
    return answer if np.all(np.isfinite(answer)) and "Infeasible" not in str(solution.status) \
        else None  # fmt: skip
