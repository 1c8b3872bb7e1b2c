"""Proof that weights share risk as asked, as far as limits allow, whatever solver made them.

Weights w have shape (N,), budgets b sum to 1. What is least is F(w) = ln σ(w) − Σ b_i ln w_i. Let
q = Σw/w'Σw and let c > 0 be any numbers with (c − q)'v ≤ 0 for every allowed portfolio v. Then
F(w) − F(v) ≤ Σ b_i ln(b_i/(w_i c_i)): by Cauchy and Schwarz σ(v)/σ(w) ≥ q'v ≥ c'v, and by Jensen
ln Σ c_i v_i ≥ Σ b_i ln(c_i v_i/b_i). Without limits c = q does, so that the bound is the sum of
b_i times the error of ln(contribution of i to risk).
"""

from __future__ import annotations

import numpy as np

from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.inside import Inside

_TRIES = 12
_FLAT = 1e-6
_NEAR = 1e-7  # of a limit's range
_ROUNDING = 1e-12


def gap(
    covariance: Floats,
    budgets: Floats,
    weights: Floats,
    allowed: Inside,
    rows: Floats,
    limits: Floats,
) -> float:
    """How far F is above its least value, at most; infinite where nothing is proven.

    0 where but one portfolio is allowed.

    For any prices ρ ≥ 0 of rows, c_i = q_i + γ + (ρ'rows)_i within [b_i/upper_i, b_i/lower_i],
    where γ is as great as (c − q)'v ≤ 0 allows: by weak duality that is at most
    γ + ρ'limits + Σ (upper_i e_i⁺ − lower_i e_i⁻) with e = c − q − γ − ρ'rows.

    Args:
        covariance: shape (N, N), any unit.
        budgets: b, shape (N,), of sum 1.
        weights: w, shape (N,), allowed.
        allowed: bounds, and which rows are met with equality by what they leave.
        rows: allowed portfolios have rows · v ≤ limits, shape (R, N).
        limits: shape (R,).
    """
    marginal = covariance @ weights
    variance = float(weights @ marginal)
    carrying = budgets > 0
    if variance <= 0 or np.any(weights[carrying] <= 0):
        return float("inf")
    q = marginal / variance
    if np.all(allowed.fixed):
        return 0.0
    # Prices may be any: those that suit great weights best, or those that suit small budgets.
    return min(
        _gap(budgets, weights, q, allowed, prices @ rows, float(prices @ limits))
        for prices in (
            _prices(budgets, weights, q, allowed, rows, limits, scale)
            for scale in (weights, weights / np.sqrt(np.where(carrying, budgets, 1.0)))
        )
    )


def _gap(
    budgets: Floats, weights: Floats, q: Floats, allowed: Inside, priced: Floats, paid: float
) -> float:
    """The bound for prices ρ that come to `priced`, ρ'rows, and `paid`, ρ'limits."""
    lower, upper, carrying, base = allowed.lower, allowed.upper, budgets > 0, q + priced
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.where(carrying, budgets / np.where(upper > 0, upper, np.inf), 0.0)
        most = np.where(carrying, budgets / lower, 0.0)
        asked = budgets / weights
    gamma, over = _greatest(base, paid, least, most, lower, upper)
    c = np.clip(base + gamma, least, most)
    # What is still above 0 is taken off c, of which each portfolio has `held` at least.
    held = _least(c, lower, upper) if over > 0 else 1.0
    if over >= held or np.any(c[carrying] <= 0):
        return float("inf")
    missed = float(budgets[carrying] @ np.log(asked[carrying] / c[carrying]))
    return missed - float(np.log1p(-over / held))


def _least(c: Floats, lower: Floats, upper: Floats) -> float:
    """Least c'v over full investment within bounds: the cheapest are filled first."""
    order = np.argsort(c)
    span = (upper - lower)[order]
    more = np.clip(1.0 - float(lower.sum()) - (np.cumsum(span) - span), 0.0, span)
    return float(c @ lower + c[order] @ more)


def _greatest(
    base: Floats, paid: float, least: Floats, most: Floats, lower: Floats, upper: Floats
) -> tuple[float, float]:
    """The greatest γ with γ + paid + Σ (upper_i e_i⁺ − lower_i e_i⁻) ≤ 0, and the sum if above 0.

    e = clip(base + γ, least, most) − base − γ. The sum is linear between corners, first falls in γ
    and then never again. Where it is above 0 everywhere, γ is where it is least.
    """

    def over(gamma: float) -> tuple[float, float]:
        """The sum, less what may be rounding of it, and that."""
        c = base + gamma
        edge = np.where(c < least, least - c, np.where(c > most, most - c, 0.0))
        worst = np.where(edge > 0, upper * edge, lower * edge)
        rounding = _ROUNDING * (abs(gamma) + abs(paid) + float(np.abs(worst).sum()))
        return gamma + paid + float(worst.sum()) - rounding, rounding

    corners = np.concatenate([least - base, most - base])
    finite = np.isfinite(corners)
    order = np.argsort(corners[finite], kind="stable")
    at = corners[finite][order]
    slopes = 1.0 - float(upper.sum()) + np.cumsum(np.concatenate([upper, -lower])[finite][order])
    sums = over(float(at[0]))[0] + np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(at))])
    met = np.flatnonzero(sums <= 0)
    last = int(met[-1]) if len(met) else int(np.argmin(sums))
    gamma = float(at[last])
    if slopes[last] > 0 and sums[last] < 0:
        gamma -= float(sums[last] / slopes[last])
    # The sums above were added up over all corners: what that rounded off is put right.
    best, least_above = gamma, np.inf
    for k in range(_TRIES):
        above, rounding = over(gamma)
        if above < least_above:
            best, least_above = gamma, above
        if above <= 0 or slopes[last] <= _FLAT:
            break
        gamma -= (above + 2.0**k * rounding / _TRIES) / float(slopes[last])
    return best, max(least_above, 0.0)


def _prices(
    budgets: Floats,
    weights: Floats,
    q: Floats,
    allowed: Inside,
    rows: Floats,
    limits: Floats,
    scale: Floats,
) -> Floats:
    """What a unit of each row is worth, shape (R,): not negative but for tight ones.

    By non-negative least squares of b_i/w_i − q_i = γ + (ρ'rows)_i + β_i − α_i, where only limits
    that are met closely have a price (Lawson & Hanson, 1974, "Solving Least Squares Problems",
    chapter 23), where an error of asset i counts by the square of scale_i.
    """
    from scipy.optimize import nnls

    lower, upper, tight = allowed.lower, allowed.upper, allowed.tight
    prices = np.zeros(len(rows))
    size = np.abs(rows).max(axis=1, initial=0.0)
    priced = np.flatnonzero(tight | (limits - rows @ weights <= _NEAR * size))
    if not len(priced):
        return prices
    range_ = upper - lower
    moving = (range_ > 0) & (budgets > 0)
    low = np.flatnonzero(moving & (weights - lower <= _NEAR * range_))
    high = np.flatnonzero(moving & (upper - weights <= _NEAR * range_))
    eye = np.eye(len(weights))
    free, signed = rows[tight].T, rows[priced[~tight[priced]]].T
    ones = np.ones((len(weights), 1))
    columns = np.hstack([signed, free, -free, ones, -ones, eye[:, high], -eye[:, low]])
    columns = columns[moving] * scale[moving, None]
    unit = np.linalg.norm(columns, axis=0)
    unit[unit == 0] = 1.0
    apart = budgets[moving] / weights[moving] - q[moving]
    found = nnls(columns / unit, apart * scale[moving])[0] / unit
    count, equal = signed.shape[1], free.shape[1]
    prices[priced[~tight[priced]]] = found[:count]
    prices[tight] = found[count : count + equal] - found[count + equal : count + 2 * equal]
    return prices
