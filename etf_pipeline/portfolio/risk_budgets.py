"""Risk budgeting: weights whose parts of the risk are as asked, as far as limits allow.

Least F(w) = ln σ(w) − Σ b_i ln w_i over the allowed portfolios: without limits, or where none
binds, asset i contributes the part b_i of the variance (Bruder & Roncalli, 2012, "Managing Risk
Exposures Using the Risk Budgeting Approach"; Spinu, 2013). With limits this is the portfolio of
Richard & Roncalli, 2019, "Constrained Risk Budgeting Portfolios", for limits in proportion to the
whole, so that it does not depend on a scale. It is unique, also for a singular covariance.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np

from etf_pipeline.portfolio import budget_proof
from etf_pipeline.portfolio.budget_solver import Cone, solved
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.hrp import without_variance
from etf_pipeline.portfolio.inside import Inside, Mask, inside, whole

# A budget of 0 has no logarithm: what carries no risk is held as what carries nearly none.
LEAST_BUDGET = 1e-12
# A portfolio with a smaller part of its assets' own variance is without risk but for rounding.
_CANCELLED = 1e-10
_SAYS_NOTHING = 1e-12
_SAME = 1e-10
_AT_BOUND = 1e-11
_UNFELT = 1e-8


def risk_budgeting(
    covariance: Floats,
    budgets: Floats,
    lower: Floats | None = None,
    upper: Floats | None = None,
    rows: Floats | None = None,
    limits: Floats | None = None,
    names: Sequence[str] | None = None,
) -> tuple[Floats, float]:
    """Long-only weights that share the risk by budgets, and how far they are from that at most.

    Args:
        covariance: shape (N, N), any unit, each asset with a variance.
        budgets: parts of the risk, shape (N,), not negative, some positive; relative to their sum.
            Those under 1e-12 of it count as that.
        lower: least weights, shape (N,); None for 0.
        upper: greatest weights, shape (N,); None for 1.
        rows: further limits, rows · w ≤ limits, shape (R, N).
        limits: shape (R,).
        names: of the assets, for messages; None for their numbers.

    Returns:
        Weights of shape (N,), and an upper bound of F(w) less its minimum, see `budget_proof`: a
        number without a unit; without limits the sum of b_i times the relative error of the
        contribution of i. Infinite where nothing could be proven.

    Raises:
        ValueError: an asset has no variance, no portfolio meets the limits, or none that holds all
            that carries risk, or assets cancel out each other's risk wholly.
    """
    n = len(budgets)
    known = tuple(names) if names else tuple(f"number {i + 1}" for i in range(n))
    if flat := without_variance(covariance, known):
        raise ValueError(f"an asset without variance carries no risk; leave out {flat}")
    rows = np.zeros((0, n)) if rows is None else np.asarray(rows, dtype="float64")
    limits = np.zeros(0) if limits is None else np.asarray(limits, dtype="float64")
    low = np.zeros(n) if lower is None else np.asarray(lower, dtype="float64")
    high = np.ones(n) if upper is None else np.asarray(upper, dtype="float64")
    allowed = inside(low, high, rows, limits)
    given = budgets / budgets.sum()
    nothing = allowed.upper <= 0
    if np.any(nothing & (given > 0)):
        said = ", ".join(known[i] for i in np.flatnonzero(nothing & (given > 0)))
        raise ValueError(
            f"the limits leave no weight to {said}, so no risk can be carried there; leave it out, "
            "allow it some weight or give it a risk budget of 0"
        )
    shares = np.where(nothing, 0.0, np.maximum(given, LEAST_BUDGET))
    weights, gap = _best(covariance, shares / shares.sum(), allowed, allowed, rows, limits)
    idle = (given == 0) & (weights > 0) & (allowed.lower == 0) & _unfelt(covariance, weights)
    if idle.any():
        # What is held for its least budget alone is not held at all, unless limits need it.
        with contextlib.suppress(ValueError):
            fewer = inside(low, np.where(idle, 0.0, high), rows, limits)
            shares = np.where(idle, 0.0, shares)
            found = _best(covariance, shares / shares.sum(), fewer, allowed, rows, limits)
            if found[1] <= max(gap, _SAME):
                return found
    return weights, gap


def _best(
    covariance: Floats,
    shares: Floats,
    start: Inside,
    allowed: Inside,
    rows: Floats,
    limits: Floats,
) -> tuple[Floats, float]:
    """Weights (N,) for budgets of sum 1 within `start`, and their gap among all that is allowed."""
    weights = _within(covariance, shares, start, rows, limits)
    if _cancelled(covariance, weights):
        raise ValueError(
            "assets cancel out each other's risk, so that none is left to share; shrink the "
            "covariance (fewer returns than tickers?) or leave one of them out"
        )
    found = [
        (w, max(budget_proof.gap(covariance, shares, w, allowed, rows, limits), 0.0))
        for w in (_on_bounds(weights, start), weights)
    ]
    return found[0] if found[0][1] <= max(found[1][1], _AT_BOUND) else found[1]


def _within(
    covariance: Floats, shares: Floats, start: Inside, rows: Floats, limits: Floats
) -> Floats:
    """Weights (N,): what is fixed is put in, the rest is solved for.

    Of x, with a part m of the whole fixed at weights f, the free x make up 1 − m: so the fixed are
    f/(1 − m) times the sum of the free, and there remain as many unknowns as are free.
    """
    free = ~start.fixed
    if not free.any():
        return start.weights
    kept = np.where(free, 0.0, start.lower)
    part = 1.0 - float(kept.sum())
    mixed = np.eye(len(shares))[:, free] + kept[:, None] / part
    left = (limits - rows @ kept) / part
    homogeneous = left[:, None] - rows[:, free]
    size = np.abs(homogeneous).max(axis=1, initial=0.0)
    # A row that says but that weights sum to 1, such as one on all assets, limits nothing.
    real = size > _SAYS_NOTHING * np.abs(rows[:, free]).max(axis=1, initial=0.0)
    loose, tight = np.flatnonzero(~start.tight & real), np.flatnonzero(start.tight & real)
    equal = _independent(homogeneous[tight] / size[tight, None])
    found = solved(
        mixed.T @ covariance @ mixed,
        shares[free],
        float(shares[~free].sum()),
        Cone(
            start.lower[free] / part,
            start.upper[free] / part,
            homogeneous[loose] / size[loose, None],
            equal,
        ),
        start.weights[free] / part,
    )
    weights = kept.copy()
    weights[free] = found * part
    return whole(weights, start.lower, start.upper)


def _on_bounds(weights: Floats, start: Inside) -> Floats:
    """Weights in which what is at a bound but for rounding is there exactly."""
    for bound in (start.lower, start.upper):
        weights = np.where(np.abs(weights - bound) <= _AT_BOUND * weights, bound, weights)
    return whole(weights, start.lower, start.upper)


def _independent(rows: Floats) -> Floats:
    """Orthonormal rows that say the same, shape (K, N)."""
    _, sizes, right = np.linalg.svd(rows, full_matrices=False)
    return right[sizes > _SAME * float(sizes.max(initial=0.0))]


def _cancelled(covariance: Floats, weights: Floats) -> bool:
    """Whether nothing but rounding is left of the assets' own risk."""
    alone = float(weights @ np.sqrt(np.diag(covariance)))
    return float(weights @ covariance @ weights) <= _CANCELLED * alone**2


def _unfelt(covariance: Floats, weights: Floats) -> Mask:
    """Assets that would be no part of the risk to speak of even by themselves, shape (N,)."""
    whole_risk = float(weights @ covariance @ weights)
    return weights**2 * np.diag(covariance) <= _UNFELT * whole_risk
