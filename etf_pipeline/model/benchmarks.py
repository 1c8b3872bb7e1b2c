"""What active risk is measured against, as a portfolio asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# What only means something beside a benchmark, and the objective that does.
ACTIVE_LIMITS = ("max_tracking_error", "max_active_weight", "beta")
ACTIVE_OBJECTIVE = "min_tracking_error"
_WIDEST = 10.0  # of a beta


def wrong_benchmark(
    objective: str,
    given: Mapping[str, object],
    weights: Mapping[str, float],
    tickers: Sequence[str],
    of: str = "",
) -> str | None:
    """Why a benchmark and what is asked about it make no sense; None when they do.

    Args:
        objective: what is asked for.
        given: values of `ACTIVE_LIMITS`, by name; None when not asked for.
        weights: of the benchmark by ticker; none without one.
        tickers: of the portfolio.
        of: the portfolio that the benchmark is, if it is one; then `weights` has what it may hold.
    """
    asked = [name for name in ACTIVE_LIMITS if given.get(name) is not None]
    if not weights:
        if not asked:
            return None
        return f"{asked[0]} needs a benchmark: a ticker, weights or a portfolio of the file"
    if not asked and objective != ACTIVE_OBJECTIVE:
        return (
            f"benchmark goes with objective: {ACTIVE_OBJECTIVE}, {', '.join(ACTIVE_LIMITS)}; to "
            "put one beside a backtest, give compare_with"
        )
    others = [t for t in weights if t not in tickers]
    if others and "max_active_weight" in asked:
        holds = f", which {of} may hold," if of else ""
        return (
            f"max_active_weight needs a benchmark of the portfolio's own tickers, and "
            f"{', '.join(others)}{holds} is not in tickers: add it there, or ask for "
            "max_tracking_error"
        )
    return None


def wrong_beta(beta: tuple[float, float] | None) -> str | None:
    """Why a range of betas cannot be asked for; None when it can, or is not."""
    if beta is None:
        return None
    low, high = beta
    if low > high:
        return f"beta: the least, {low:g}, is above the greatest, {high:g}"
    if not -_WIDEST <= low <= high <= _WIDEST:
        return f"beta: {low:g} to {high:g} is not within {-_WIDEST:g} to {_WIDEST:g}"
    return None
