"""Linear programs by HiGHS.

Source: Huangfu & Hall, "Parallelizing the dual revised simplex method" (2018).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.program import Duals, Program, standard

_TIGHT = 1e-10  # the least that HiGHS takes; its variables and rows are of size 1 here


def least_violations(program: Program) -> Floats | None:
    """By how much each row is broken where the rows are broken least in total; None for never.

    In the rows' own units, shape (M,); those of the structure hold.
    """
    import scipy.optimize
    from scipy import sparse

    form = standard(replace(program, measure=replace(program.measure, slope=0 * program.low)))
    own = [k for k in form.row_of if k >= 0]
    slack = sparse.csr_matrix(
        (-np.ones(len(own)), (own, np.arange(len(own)))), shape=(form.matrix.shape[0], len(own))
    )
    linprog: Any = scipy.optimize.linprog
    solution = linprog(
        np.r_[np.zeros(form.size), np.ones(len(own))],
        A_ub=sparse.hstack([form.matrix, slack], format="csr"),
        b_ub=form.limits,
        A_eq=None if form.equal is None else np.r_[form.equal, np.zeros(len(own))][None, :],
        b_eq=None if form.equal is None else [form.total],
        bounds=np.column_stack(
            [np.r_[form.low, np.zeros(len(own))], np.r_[form.high, np.full(len(own), np.inf)]]
        ),
        method="highs",
        options={"primal_feasibility_tolerance": _TIGHT},
    )
    if solution.x is None:
        return None
    return np.asarray(solution.x[form.size :]) * form.row_scale


def solve(
    program: Program, along: Floats | None = None, weights: Floats | None = None
) -> tuple[Floats, Duals] | None:
    """Weights (N,) of a linear program and its multipliers; None when nothing is allowed.

    `along` are directions (K, N) in which w must be where `weights` (N,) are.
    """
    import scipy.optimize  # slow to import

    form = standard(program)
    equal, right = [], []
    if form.equal is not None:
        equal, right = [form.equal[None, :]], [np.array([form.total])]
    if along is not None and weights is not None:
        equal.append(np.hstack([along, np.zeros((len(along), form.size - form.n))]))
        right.append(along @ weights)
    linprog: Any = scipy.optimize.linprog  # its stubs do not allow None for no rows
    solution = linprog(
        form.objective,
        A_ub=form.matrix if form.matrix.shape[0] else None,
        b_ub=form.limits if form.matrix.shape[0] else None,
        A_eq=np.vstack(equal) if equal else None,
        b_eq=np.concatenate(right) if right else None,
        bounds=np.column_stack([form.low, form.high]),
        method="highs",
        options={
            "primal_feasibility_tolerance": _TIGHT,
            "dual_feasibility_tolerance": _TIGHT,
            # which takes directions that are nearly parallel for a contradiction
            "presolve": along is None,
        },
    )
    if solution.x is None:
        return None
    y = -np.asarray(solution.ineqlin.marginals, dtype="float64")
    weights = np.asarray(solution.x[: form.n], dtype="float64")
    return weights, form.duals(y, np.zeros(0), None)
