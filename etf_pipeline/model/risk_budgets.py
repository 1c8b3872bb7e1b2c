"""Shares of the risk by ticker, as somebody asks for them, and what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from etf_pipeline.model.objectives import strangers

_WHOLE = 0.02  # how far from 1 shares may sum that somebody rounded: seven of 0.14 make 0.98
_ROUNDING = 1e-12


def wrong_budgets(budgets: Mapping[str, float] | None, tickers: Sequence[str]) -> str | None:
    """Why these are no shares of the risk of these tickers, None when they are."""
    if budgets is None:
        return None
    if unknown := strangers(budgets, tickers):
        return f"risk_budgets name {', '.join(unknown)}, which is not in tickers"
    if missing := [t for t in tickers if t not in budgets]:
        return (
            f"risk_budgets say nothing of {', '.join(missing)}: give each ticker its share of the "
            "risk, 0 for none"
        )
    return wrong_shares(tickers, [budgets[t] for t in tickers])


def wrong_shares(names: Iterable[str], shares: Sequence[float]) -> str | None:
    """Why numbers are no shares of the risk, None when they are: not negative, of sum 1."""
    for name, share in zip(names, shares, strict=True):
        if not 0 <= share < math.inf:
            return f"risk_budgets: {name} at {share:g}; a share of the risk is 0 to 1"
    total = sum(shares)
    if abs(total - 1.0) > _WHOLE + _ROUNDING:
        remedy = f"; divide each by {total:.6g}" if total > 0 else ""
        return f"risk_budgets sum to {total:.6g}, not to 1{remedy}"
    return None


def budgets_among(
    budgets: Mapping[str, float] | None, tickers: Iterable[str]
) -> dict[str, float] | None:
    """Shares of some of the tickers, in the same proportions; equal ones where all are 0."""
    if budgets is None:
        return None
    kept = {t: budgets[t] for t in tickers}
    total = sum(kept.values())
    return {t: share / total if total > 0 else 1.0 / len(kept) for t, share in kept.items()}
