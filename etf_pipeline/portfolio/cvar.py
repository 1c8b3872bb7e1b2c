"""Conditional value at risk over scenarios, exactly, as linear programs (HiGHS).

Rockafellar & Uryasev, 2000, "Optimization of conditional value-at-risk": with losses −R w,
CVaR_β(w) = min over α of α + Σ max(loss_t − α, 0) / ((1 − β) T).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from etf_pipeline.portfolio.polyhedron import polyhedron
from etf_pipeline.portfolio.problem import Floats, Problem
from etf_pipeline.risk.metrics import conditional_value_at_risk


def portfolio_cvar(problem: Problem, weights: Floats) -> float:
    """CVaR of the scenarios under `weights`, a loss per period (positive)."""
    assert problem.scenarios is not None
    value = conditional_value_at_risk(problem.scenarios @ weights, problem.cvar_level)
    assert value is not None
    return value


def min_cvar(problem: Problem) -> tuple[Floats, float] | None:
    """Weights of least CVaR (reaching `target_return`, if given), and a proven lower bound.

    None when no weights are allowed.
    """
    program = _Program(problem)
    if problem.target_return is not None:
        program.limit(-program.net, -problem.target_return)
    return program.minimise(program.cvar)


def max_return(problem: Problem) -> tuple[Floats, float] | None:
    """Weights of greatest net return with a CVaR of at most `cvar_budget`, and a proven bound."""
    assert problem.cvar_budget is not None
    program = _Program(problem)
    program.limit(program.cvar, problem.cvar_budget)
    found = program.minimise(-program.net)
    return None if found is None else (found[0], -found[1])


class _Program:
    """Variables: (w, u) of the polyhedron, α, and excess losses z_t ≥ loss_t − α, z_t ≥ 0."""

    def __init__(self, problem: Problem) -> None:
        import scipy.sparse

        sparse: Any = scipy.sparse  # its stubs want to know each matrix's kind
        assert problem.scenarios is not None
        self._space = space = polyhedron(problem)
        r, t = problem.scenarios, len(problem.scenarios)
        extra = 1 + t
        worst = float(np.abs(r).max()) * max(1.0, float(np.abs(space.high[: space.n]).sum()))
        self.low = np.r_[space.low, -worst, np.zeros(t)]
        self.high = np.r_[space.high, worst, np.full(t, 2 * worst)]
        tail = (1.0 - problem.cvar_level) * t
        self.cvar = np.r_[np.zeros(space.size), 1.0, np.full(t, 1.0 / tail)]
        costs = np.full(space.size - space.n, -problem.cost_rate)
        self.net = np.r_[problem.means, costs, np.zeros(extra)]
        losses = sparse.hstack(
            [-r, np.zeros((t, space.size - space.n)), -np.ones((t, 1)), -sparse.eye(t)]
        )
        limits = sparse.hstack([space.matrix, sparse.csr_matrix((len(space.matrix), extra))])
        self._rows: list[Any] = [losses, limits] if len(space.matrix) else [losses]
        self._rhs = [np.zeros(t), space.limits] if len(space.matrix) else [np.zeros(t)]

    def limit(self, row: Floats, at_most: float) -> None:
        """Add a constraint row·x ≤ at_most."""
        from scipy import sparse

        self._rows.append(sparse.csr_matrix(row[None, :]))
        self._rhs.append(np.array([at_most]))

    def minimise(self, objective: Floats) -> tuple[Floats, float] | None:
        """Solve, and bound the optimum from below by the duals, whatever their quality.

        For any y ≤ 0 of the inequalities and v of the budget, weak duality gives
        b'y + v + Σ min over the bounds of (c − A'y − v·1)_i x_i.
        """
        from scipy import optimize, sparse

        linprog: Any = optimize.linprog  # its stubs do not know sparse matrices
        matrix = sparse.vstack(self._rows).tocsr()
        rhs = np.concatenate(self._rhs)
        budget = np.r_[self._space.budget, np.zeros(len(objective) - self._space.size)]
        solution: Any = linprog(
            objective,
            A_ub=matrix,
            b_ub=rhs,
            A_eq=budget[None, :],
            b_eq=[1.0],
            bounds=np.column_stack([self.low, self.high]),
            method="highs",
        )
        if solution.x is None:
            return None
        y = np.minimum(np.asarray(solution.ineqlin.marginals), 0.0)
        v = float(solution.eqlin.marginals[0])
        reduced = objective - matrix.T @ y - v * budget
        least = np.where(reduced > 0, self.low, self.high) * reduced
        bound = float(rhs @ y + v + least.sum())
        return np.asarray(solution.x[: self._space.n], dtype="float64"), bound
