"""Quadratic and second-order cone programs by clarabel.

Its own word for success is not trusted: the caller proves the answer with a certificate.

Source: Goulart & Chen, "Clarabel: An interior-point solver for conic programs with quadratic
objectives" (2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from etf_pipeline.portfolio.functions import Floats, Measure, Norm
from etf_pipeline.portfolio.program import Duals, Program, Standard, standard

_TOLERANCE = 1e-12
_WILD = 1e12  # variables are of size 1: what is that large is the direction of a contradiction


def solve(program: Program) -> tuple[Floats, Duals] | None:
    """Weights (N,) and multipliers; None when the limits are contradictory or numbers fail."""
    form = standard(program)
    cones = [_cone(norm, radius, form) for norm, radius in form.cones]
    found = _clarabel(form, cones)
    if found is None:
        return None
    x, y, z = found
    weights = x[: form.n]
    root = program.curvature.value(weights) if program.rooted and program.curvature else None
    return weights, form.duals(y, z, root)


def best_ratio(program: Program, excess: Measure, norm: Norm) -> tuple[Floats, Duals] | None:
    """Weights of greatest excess return over a norm, where some excess return is positive.

    `excess` is the excess return, negative; `program` has the rows and the bounds. Homogenised:
    x = (w, u)/κ with an excess return of 1, minimising the square of the norm (Schaible, 1974,
    "Parameter-free convex equivalent and dual programs of fractional programming problems").
    """
    from scipy import sparse

    form = standard(program)
    size = form.size + 1
    row = np.zeros(size)
    row[: form.n] = -excess.slope
    for kink in excess.kinks:
        row[form.place(kink.centre)] -= kink.rate
    unit = float(np.abs(row).max()) or 1.0
    row /= unit
    scale = float(np.mean(np.diag(norm.matrix))) or 1.0
    eye = sparse.eye(form.size, format="csr")
    column = sparse.csr_matrix
    finite = np.isfinite(form.high)
    blocks = [
        sparse.hstack([form.matrix, column(-form.limits[:, None])]),
        sparse.hstack([-eye, column(form.low[:, None])]),
        sparse.hstack([eye[finite], column(-form.high[finite][:, None])]),
        column(-np.eye(1, size, size - 1)),
    ]
    equal = [column(row[None, :])]
    right = [1.0]
    if form.equal is not None:
        equal.append(column(np.r_[form.equal, -form.total][None, :]))
        right.append(0.0)
    lower = sparse.vstack(blocks, format="csr")
    cones = []
    for ball, radius in form.cones:
        matrix, offset = _cone(ball, radius, form)
        cones.append((sparse.hstack([matrix, column(-offset[:, None])]), np.zeros(len(offset))))
    found = _solve(
        _padded(norm.matrix / scale, size),
        np.zeros(size),
        sparse.vstack(equal, format="csr"),
        np.array(right),
        lower,
        np.zeros(lower.shape[0]),
        cones,
    )
    if found is None or not found[0][form.size] > 0:
        return None
    x, duals, balls, theta = found
    weights = x[: form.n] / x[form.size]
    # theta is the multiplier of the excess return, of which the goal has one unit
    form.scale = unit / (abs(theta) or 1.0)
    return weights, form.duals(duals[: form.matrix.shape[0]], balls, None)


def _cone(norm: Norm, radius: float, form: Standard) -> tuple[Any, Floats]:
    """(G, h) with h − Gx in the second-order cone where the norm is at most its radius."""
    from scipy import sparse

    root = factor(norm.matrix)
    # ‖root·d − g‖² + rest is the square of the norm, where root'g = linear.
    g = np.linalg.lstsq(root.T, norm.linear, rcond=None)[0] if np.any(norm.linear) else 0.0
    shift = root @ norm.centre + g
    rest = max(norm.constant - float(np.sum(np.square(g))), 0.0)
    n = len(root)
    lines = 2 + n if rest else 1 + n
    matrix = sparse.lil_matrix((lines, form.size))
    matrix[1 : 1 + n, : form.n] = -root / radius
    offset = np.r_[1.0, -shift / radius, [np.sqrt(rest) / radius] if rest else []]
    return matrix.tocsc(), offset


def factor(covariance: Floats) -> Floats:
    """F with F'F = covariance, shape (N, N); triangular, but for singular matrices."""
    try:
        return np.ascontiguousarray(np.linalg.cholesky(covariance).T)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        return (vectors * np.sqrt(np.clip(values, 0.0, None))).T


def _padded(quadratic: Floats | None, size: int) -> Any:
    from scipy import sparse

    if quadratic is None:
        return sparse.csc_matrix((size, size))
    upper: Any = sparse.csc_matrix(np.triu(quadratic))
    upper.resize((size, size))
    return upper


def _clarabel(form: Standard, cones: list[tuple[Any, Floats]]) -> Any:
    from scipy import sparse

    eye = sparse.eye(form.size, format="csr")
    finite = np.isfinite(form.high)
    lower = sparse.vstack([form.matrix, -eye, eye[finite]], format="csr")
    limits = np.r_[form.limits, -form.low, form.high[finite]]
    if form.equal is None:
        equal, right = sparse.csr_matrix((0, form.size)), np.zeros(0)
    else:
        equal, right = sparse.csr_matrix(form.equal[None, :]), np.array([form.total])
    found = _solve(
        _padded(form.quadratic, form.size), form.objective, equal, right, lower, limits, cones
    )
    return None if found is None else found[:3]


def _solve(
    quadratic: Any,
    linear: Floats,
    equal: Any,
    right: Floats,
    lower: Any,
    limits: Floats,
    cones: list[tuple[Any, Floats]],
) -> tuple[Floats, Floats, Floats, float] | None:
    """x, duals of the inequalities, first entry of each cone's dual, dual of the first equality."""
    from scipy import sparse

    matrix = sparse.vstack([equal, lower, *(g for g, _ in cones)], format="csc")
    vector = np.concatenate([right, limits, *(h for _, h in cones)])
    sizes = [len(h) for _, h in cones]
    found = solution(quadratic, linear, matrix, vector, len(right), len(limits), sizes)
    if found is None:
        return None
    x, z = found
    first = len(right)
    starts = first + len(limits) + np.cumsum([0, *sizes])[: len(cones)]
    return x, z[first : first + len(limits)], z[starts], float(z[0]) if first else 0.0


def solution(
    quadratic: Any,
    linear: Floats,
    matrix: Any,
    vector: Floats,
    equal: int,
    limits: int,
    cones: Sequence[int],
    tolerance: float = _TOLERANCE,
) -> tuple[Floats, Floats] | None:
    """Least ½x'Px + linear'x with vector − matrix·x in a cone, and the cone's multipliers.

    P, of which `quadratic` is the upper triangle, and `matrix` are sparse by columns. Of the rows
    the first `equal` are equalities, `limits` are not negative, and the others are second-order
    cones of these sizes. None when they are contradictory or numbers fail.
    """
    import clarabel

    kinds: list[Any] = [
        clarabel.ZeroConeT(equal),
        clarabel.NonnegativeConeT(limits),
        *(clarabel.SecondOrderConeT(size) for size in cones),
    ]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tolerance
    found = clarabel.DefaultSolver(quadratic, linear, matrix, vector, kinds, settings).solve()
    status = clarabel.SolverStatus
    impossible = (
        status.PrimalInfeasible,
        status.AlmostPrimalInfeasible,
        status.DualInfeasible,
        status.AlmostDualInfeasible,
    )
    x = np.array(found.x, dtype="float64")
    z = np.array(found.z, dtype="float64")
    usable = np.isfinite(z).all() and np.abs(x).max() < _WILD  # False for what is not finite
    return (x, z) if usable and found.status not in impossible else None
