"""Courses of several strategies over the same sessions, judged side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.risk.annual import Span
from etf_pipeline.risk.metrics import cagr, max_drawdown, volatility
from etf_pipeline.risk.risk_free import RiskFree, risk_free
from etf_pipeline.risk.significance import (
    expected_maximum,
    influence,
    probability_above,
    standard_error,
)

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
NUMBERS = (
    "cagr",
    "volatility",
    "sharpe_ratio",
    "sharpe_error",
    "over_equal",
    "over_equal_error",
    "deflated_sharpe",
    "max_drawdown",
    "turnover",
    "cost",
)
_SURE = 2.0  # standard errors that are no accident


@dataclass(frozen=True)
class Tried:
    """One strategy.

    Attributes:
        label: what it is, by dimension.
        wealth: from the first trade on, shape (n + 1,); None when no decision had an answer.
        turnover: Σ|w − held|/2 a year, the first purchase aside.
        cost: of trading, fraction of wealth a year, the first purchase aside.
        unanswered: decisions without an answer.
        reason: why the first of those had none.
    """

    label: Mapping[str, Any]
    wealth: Floats | None
    turnover: float = 0.0
    cost: float = 0.0
    unanswered: int = 0
    reason: str | None = None

    @property
    def name(self) -> str:
        """What it is, in words."""
        return ", ".join(
            f"lookback {v}" if k == "lookback_years" else str(v) for k, v in self.label.items()
        )

    @property
    def returns(self) -> Floats | None:
        """Simple returns, shape (n,)."""
        return None if self.wealth is None else self.wealth[1:] / self.wealth[:-1] - 1.0


@dataclass(frozen=True)
class Judged:
    """A row per strategy, and what the rows say together.

    `by_chance` is the Sharpe ratio a year that the best of the strategies would show on average if
    none had any skill.
    """

    table: pd.DataFrame
    by_chance: float
    remarks: tuple[str, ...]


def judged(
    baseline: Tried,
    tried: Sequence[Tried],
    days: Days,
    risk_free_rate: RiskFree | float,
    periods_per_year: float | None = None,
) -> Judged:
    """Growth, risk, and how sure the Sharpe ratios are.

    `sharpe_error` is the standard error, `over_equal` the Sharpe ratio less the baseline's and
    `over_equal_error` its standard error, which counts that the two go together. `deflated_sharpe`
    is how probable it is that the true ratio is above what the best of the trials shows by chance
    (see `risk.significance`). All a year, for returns that do not hang on those before.

    Args:
        baseline: of equal weights; no trial.
        tried: the strategies.
        days: of every wealth, shape (n + 1,).
        risk_free_rate: annual effective rate, or returns without risk.
        periods_per_year: A, fixed by convention; by default what there was.
    """
    annual = Span.of(days).periods_per_year(periods_per_year) or 1.0
    rate = risk_free(risk_free_rate).returns(days, annual)
    excess = [None if t.returns is None else t.returns - rate for t in (baseline, *tried)]
    known = [_ratio(x) for x in excess[1:] if x is not None and influence(x) is not None]
    trials = len(known)
    chance = expected_maximum(float(np.var(known, ddof=1)), trials) if trials > 1 else 0.0
    rows = [
        dict(one.label) | _row(one, x, excess[0], annual, chance)
        for one, x in zip((baseline, *tried), excess, strict=True)
    ]
    rows[0] |= dict.fromkeys(("over_equal", "over_equal_error", "deflated_sharpe"), math.nan)
    labels = dict.fromkeys(k for one in (baseline, *tried) for k in one.label)
    table = pd.DataFrame(rows, columns=[*labels, *NUMBERS, "unanswered", "reason"])
    yearly = math.sqrt(annual) * chance
    names = [one.name for one in (baseline, *tried)]
    return Judged(table, yearly, tuple(_said(names, table, trials, yearly)))


def _row(
    one: Tried, excess: Floats | None, other: Floats | None, annual: float, chance: float
) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(NUMBERS, math.nan)
    row |= {"unanswered": one.unanswered, "reason": one.reason}
    if one.wealth is None or one.returns is None or excess is None:
        return row
    row |= {
        "cagr": cagr(float(one.wealth[-1] / one.wealth[0]), len(excess), annual),
        "volatility": volatility(one.returns, annual),
        "max_drawdown": max_drawdown(one.wealth).depth,
        "turnover": one.turnover,
        "cost": one.cost,
    }
    psi, base = influence(excess), None if other is None else influence(other)
    if psi is None:
        return row
    root, ratio, error = math.sqrt(annual), _ratio(excess), standard_error(psi)
    row |= {
        "sharpe_ratio": root * ratio,
        "sharpe_error": root * error,
        "deflated_sharpe": probability_above(ratio, error, chance),
    }
    if other is not None and base is not None:
        row |= {
            "over_equal": root * (ratio - _ratio(other)),
            "over_equal_error": root * standard_error(psi - base),
        }
    return row


def _ratio(excess: Floats) -> float:
    return float(excess.mean() / excess.std(ddof=1))


def _said(names: Sequence[str], table: pd.DataFrame, trials: int, by_chance: float) -> list[str]:
    """What the rows say together; names are of the rows."""
    sure = table["over_equal"].abs() > _SURE * table["over_equal_error"]
    better = [n for n, yes in zip(names, sure & (table["over_equal"] > 0), strict=True) if yes]
    worse = [n for n, yes in zip(names, sure & (table["over_equal"] < 0), strict=True) if yes]
    said = [
        f"Sharpe ratios above that of equal weights by two standard errors: "
        f"{'; '.join(better) or 'none'}; below it by as much: {'; '.join(worse) or 'none'}"
    ]
    if trials > 1:
        said.append(
            f"of {trials} combinations without any skill, the best would show a Sharpe ratio of "
            f"{by_chance:.2f} by chance"
        )
    columns = (table[name] for name in ("unanswered", "reason", "cagr"))
    for name, n, why, growth in zip(names, *columns, strict=True):
        if not n and math.isnan(growth):
            said.append(f"{name} has no course: {why}")
        elif n:
            said.append(
                f"{name}: {n} decisions had no answer and kept what was held, or equal weights "
                f"before the first answer ({why})"
            )
    return said
