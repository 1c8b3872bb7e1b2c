"""What a portfolio may be asked for, and which limits go with it.

The rules stand here once; what reads a file and what solves a problem word them each in its way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

Objective = Literal[
    "min_volatility",
    "max_sharpe",
    "max_return",
    "target_return",
    "max_utility",
    "min_cvar",
    "min_tracking_error",
    "risk_parity",
    "hrp",
]
# By limit: the objectives that it goes with.
GOES_WITH: dict[str, tuple[Objective, ...]] = {
    "target_return": (
        "target_return",
        "max_sharpe",
        "max_utility",
        "min_cvar",
        "min_tracking_error",
    ),
    "risk_budget": (
        "max_return",
        "target_return",
        "max_sharpe",
        "max_utility",
        "min_cvar",
        "min_tracking_error",
    ),
    "cvar_budget": (
        "max_return",
        "min_volatility",
        "target_return",
        "max_sharpe",
        "max_utility",
        "min_tracking_error",
    ),
    "risk_aversion": ("max_utility",),
    "risk_budgets": ("risk_parity",),
}
# What there is no asking a frontier for: it goes through every return and every risk there is.
FRONTIER_HAS = (
    "objective",
    *(limit for limit, objectives in GOES_WITH.items() if "min_volatility" not in objectives),
)
# What an objective cannot do without, and in words.
NEEDS: dict[Objective, str] = {
    "target_return": "target_return",
    "max_utility": "risk_aversion",
    "min_tracking_error": "benchmark",
}
NEEDS_TARGET = {
    "target_return": "a target_return",
    "risk_aversion": "a risk_aversion",
    "benchmark": "a benchmark: a ticker, weights or a portfolio of the file",
}
# These take weights from risk alone, long only and whole, and few limits: see `against_rule`.
FROM_RISK_ALONE: frozenset[Objective] = frozenset({"risk_parity", "hrp"})
HRP_GROUPS = (
    "hrp takes no groups: it splits a tree of correlations, whose parts are not the groups, so "
    "that no split keeps a group's total; use bounds, or risk_parity, which takes groups"
)
NEEDS_HOLDINGS = (
    "max_turnover and cost_rate need holdings, the current weights, such as {VAS: 0.6, VAF: 0.4}"
)
HALFLIFE = 63.0  # of the exponentially weighted covariance, in bars; unless another is asked for
# Below one bar the newest return has more than half of all weight, and a variance is that of a
# return or two: such a number is years, which somebody took for bars.
LEAST_HALFLIFE, MOST_HALFLIFE = 1.0, 10_000.0
_ROUNDING = 1e-12


def implied(
    target_return: object | None, risk_budget: object | None, cvar_budget: object | None = None
) -> Objective:
    """What is asked for by naming a return, a ceiling on risk, both or neither."""
    if target_return is not None:
        return "target_return"
    return "max_sharpe" if risk_budget is None and cvar_budget is None else "max_return"


def misplaced(
    objective: Objective, given: Mapping[str, object]
) -> tuple[str, tuple[Objective, ...]] | None:
    """The first limit that does not go with the objective, and those that it goes with.

    Args:
        objective: what is asked for.
        given: values of the limits of `GOES_WITH`, by name; None when not asked for.
    """
    for name, objectives in GOES_WITH.items():
        if given.get(name) is not None and objective not in objectives:
            return name, objectives
    return None


def lacking(objective: Objective, given: Mapping[str, object], benchmark: bool) -> str | None:
    """What an objective needs and nobody gave, None when there is all.

    Args:
        objective: what is asked for.
        given: what was given, by name; None stands for nothing.
        benchmark: whether there is one.
    """
    name = NEEDS.get(objective)
    if name is None or given.get(name) is not None or (name == "benchmark" and benchmark):
        return None
    return name


def needs_scenarios(objective: Objective, cvar_budget: float | None) -> bool:
    """Whether the CVaR is asked for, which is computed over scenarios of returns."""
    return objective == "min_cvar" or cvar_budget is not None


def against_rule(objective: Objective, groups: bool, others: bool) -> str | None:
    """Why an objective that takes weights from risk alone cannot keep a limit, None when it can.

    Args:
        objective: what is asked for.
        groups: whether there are limits on groups.
        others: whether there is any other but bounds, such as on turnover.
    """
    if objective not in FROM_RISK_ALONE:
        return None
    if groups and objective == "hrp":
        return HRP_GROUPS
    if others:
        return (
            f"{objective} takes no holdings, turnover, costs, exposures, active limits or number "
            "of holdings"
        )
    return None


def lacks_holdings(max_turnover: float | None, cost_rate: float, held: bool) -> bool:
    """Whether trading is limited or costs, and nobody said what is held."""
    return (max_turnover is not None or bool(cost_rate)) and not held


def never_whole(
    least: float, most: float, net_exposure: tuple[float, float] = (1.0, 1.0)
) -> str | None:
    """Why weights cannot sum to what they must, given the sums of their bounds; None: they can."""
    low, high = net_exposure
    size = _ROUNDING * max(1.0, abs(low), abs(high))
    if least <= high + size and most >= low - size:
        return None
    to = "1" if low == high == 1 else f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return f"weights cannot sum to {to}: the bounds allow sums from {least:g} to {most:g}"


def weight_limits(
    ticker: str, bounds: Mapping[str, tuple[float, float]], least: float, most: float
) -> tuple[float, float]:
    """Least and greatest weight of one ticker: its own bounds, else those of every ticker."""
    return bounds.get(ticker, (least, most))


def wrong_halflife(bars: float) -> str | None:
    """Why so many bars are no half-life; None when they are."""
    if LEAST_HALFLIFE <= bars <= MOST_HALFLIFE:
        return None
    return (
        f"{bars:g}: must be from {LEAST_HALFLIFE:g} to {MOST_HALFLIFE:g} bars, not years: a "
        f"quarter of a year is {HALFLIFE:g}"
    )


def strangers(named: Iterable[str], tickers: Iterable[str]) -> list[str]:
    """Names in a limit that are not among the portfolio's tickers, sorted."""
    return sorted(set(named) - set(tickers))
