"""Limits of a portfolio as objects.

Each says what it is in words, gives its rows to the solvers, and measures final weights by its
definition, which the solvers have no part in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from etf_pipeline.portfolio.functions import Floats, Kink, Measure, Row
from etf_pipeline.portfolio.problem import Problem

_IMPLIED = 1e-12  # a sum of bounds within this of a limit says the same as the limit
_ALIKE = 1e-14  # of their size: means that differ by that are equal but for rounding
_ENOUGH = 1e-9  # of the spread of the means, as in `check`
_ROOM = 2e-11  # of its size: what a limit of a risk is given beyond it
_COUNTED = 1e-3
_SMALL = 1e-2  # of a problem's own unit: below, a limit's tolerance shrinks no further


def _with_room(greatest: float, unit: float) -> float:
    """A limit of a risk for the solvers, and for the proof.

    Where it is at the least that can be had it would leave no inside, and rounding would decide how
    far from one portfolio others are allowed; with a fiftieth of the tolerance of `check`, that is
    the same in every order and unit.
    """
    return greatest + _ROOM * max(abs(greatest), _SMALL * unit)


class _Rows:
    """A limit that leaves the bounds as they are, and has no rows unless it says which."""

    bounds_only = False

    def rows(self, problem: Problem) -> list[Row]:
        """None."""
        del problem
        return []

    def narrowed(self, problem: Problem, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """The bounds (N,) as they are."""
        del problem
        return low, high


@dataclass(frozen=True)
class GroupLimit(_Rows):
    """Least and greatest total weight of some assets, for example of one asset class."""

    name: str
    members: tuple[str, ...]
    lower: float = 0.0
    upper: float = 1.0

    noun = "weight"

    def rows(self, problem: Problem) -> list[Row]:
        """One a side, unless bounds and full investment say as much."""
        own = frozenset(self.members)  # asked for every asset, several times a solution
        inside = np.array([name in own for name in problem.names])
        members = inside.astype("float64")
        low, high = problem.box
        least, most = problem.net_exposure
        above = min(high[inside].sum(), most - low[~inside].sum())
        below = max(low[inside].sum(), least - high[~inside].sum())
        rows = []
        if above > self.upper + _IMPLIED:
            label = f"group {self.name} at most {self.upper:.6g}"
            rows.append(Row(Measure(members), self.upper, label))
        if below < self.lower - _IMPLIED:
            label = f"group {self.name} at least {self.lower:.6g}"
            rows.append(Row(Measure(-members), -self.lower, label))
        return rows

    def excess(self, problem: Problem, weights: Floats) -> float:
        """In weight."""
        at = {name: i for i, name in enumerate(problem.names)}
        total = float(sum(weights[at[m]] for m in self.members))
        return max(total - self.upper, self.lower - total) / max(1.0, abs(total))


@dataclass(frozen=True)
class ReturnFloor(_Rows):
    """Least expected return, net of the costs of trading."""

    least: float
    name = "target return"
    noun = "return"

    def rows(self, problem: Problem) -> list[Row]:
        """One, unless every portfolio earns the same, which is enough."""
        loss = problem.loss
        alike = float(np.ptp(problem.means)) <= _ALIKE * float(np.abs(problem.means).max())
        short = (self.least - float(problem.means.max())) / problem.return_unit
        if alike and short <= _ENOUGH and problem.invested and not loss.kinks:
            return []
        # means that hardly differ leave little between what is asked and what rounding makes of it
        greatest = problem.return_rounding - self.least
        return [Row(loss, greatest, f"return at least {self.least:.6g}")]

    def excess(self, problem: Problem, weights: Floats) -> float:
        """Relative to the spread of the means, beyond what rounding makes of a return."""
        short = self.least - problem.net_return(weights) - problem.return_rounding
        return short / problem.return_unit


@dataclass(frozen=True)
class AboveTheRate(ReturnFloor):
    """More than the risk-free rate, as a ratio to risk asks for."""

    name = "return above the risk-free rate"

    def rows(self, problem: Problem) -> list[Row]:
        """That of the floor."""
        label = f"return above the risk-free rate {problem.risk_free_rate:.6g}"
        return [replace(row, label=label) for row in super().rows(problem)]


@dataclass(frozen=True)
class VolatilityCeiling(_Rows):
    """Greatest volatility, the risk budget."""

    greatest: float
    name = "risk budget"
    noun = "volatility"

    def rows(self, problem: Problem) -> list[Row]:
        """One."""
        label = f"volatility at most {self.greatest:.6g}"
        return [Row(problem.risk, _with_room(self.greatest, problem.risk_unit), label)]

    def excess(self, problem: Problem, weights: Floats) -> float:
        """Relative to the budget."""
        variance = float(weights @ problem.covariance @ weights)
        over = float(np.sqrt(max(variance, 0.0))) - self.greatest
        return over / max(self.greatest, _SMALL * problem.risk_unit)


@dataclass(frozen=True)
class TrackingErrorCeiling(_Rows):
    """Greatest volatility of the difference to the problem's benchmark."""

    greatest: float
    name = "tracking-error ceiling"
    noun = "tracking error"

    def rows(self, problem: Problem) -> list[Row]:
        """One."""
        label = f"tracking error at most {self.greatest:.6g}"
        return [Row(problem.active_risk, _with_room(self.greatest, problem.risk_unit), label)]

    def excess(self, problem: Problem, weights: Floats) -> float:
        """Relative to the ceiling."""
        over = problem.tracking_error(weights) - self.greatest
        return over / max(self.greatest, _SMALL * problem.risk_unit)


@dataclass(frozen=True)
class CvarCeiling(_Rows):
    """Greatest CVaR of the problem's scenarios, a loss per period; negative means a gain."""

    greatest: float
    name = "CVaR budget"
    noun = "CVaR"

    def rows(self, problem: Problem) -> list[Row]:
        """One."""
        nothing = np.zeros(len(problem.names))
        label = f"CVaR at most {self.greatest:.6g}"
        greatest = _with_room(self.greatest, problem.cvar_unit)
        return [Row(Measure(nothing, tail=1.0), greatest, label)]

    def excess(self, problem: Problem, weights: Floats) -> float:
        """Relative to the budget."""
        over = problem.cvar(weights) - self.greatest
        return over / max(abs(self.greatest), _SMALL * problem.cvar_unit)


@dataclass(frozen=True)
class TurnoverCeiling(_Rows):
    """Greatest Σ|w − holdings|/2, the part of the portfolio that changes hands."""

    greatest: float
    name = "turnover"
    noun = "turnover"

    def narrowed(self, problem: Problem, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """No weight changes by more than all that may change."""
        assert problem.holdings is not None
        most = 2.0 * self.greatest
        return np.maximum(low, problem.holdings - most), np.minimum(high, problem.holdings + most)

    def rows(self, problem: Problem) -> list[Row]:
        """One."""
        assert problem.holdings is not None
        nothing = np.zeros(len(problem.names))
        moved = Measure(nothing, kinks=(Kink(0.5, problem.holdings),))
        return [Row(moved, self.greatest, f"turnover at most {self.greatest:.6g}")]

    def excess(self, problem: Problem, weights: Floats) -> float:
        """In weight."""
        return (problem.trades(weights) / 2.0 - self.greatest) / max(1.0, self.greatest)


@dataclass(frozen=True)
class GrossExposure(_Rows):
    """Greatest Σ|w|: 1.6 is 130/30."""

    greatest: float
    name = "gross exposure"
    noun = "gross exposure"

    def narrowed(self, problem: Problem, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """What is short, and what is long, follows from gross and net exposure together."""
        least, most = problem.net_exposure
        short, long = (self.greatest - least) / 2.0, (self.greatest + most) / 2.0
        return np.maximum(low, -max(short, 0.0)), np.minimum(high, long)

    def rows(self, problem: Problem) -> list[Row]:
        """One, unless the bounds allow no more."""
        low, high = problem.lower, problem.upper
        if np.maximum(np.abs(low), np.abs(high)).sum() <= self.greatest + _IMPLIED:
            return []
        if np.all(low >= 0) and problem.net_exposure[1] <= self.greatest + _IMPLIED:
            return []
        nothing = np.zeros(len(problem.names))
        measure = Measure(nothing, kinks=(Kink(1.0, nothing),))
        return [Row(measure, self.greatest, f"gross exposure at most {self.greatest:.6g}")]

    def excess(self, problem: Problem, weights: Floats) -> float:
        """In weight."""
        del problem
        return (float(np.abs(weights).sum()) - self.greatest) / max(1.0, self.greatest)


@dataclass(frozen=True)
class BetaRange(_Rows):
    """Least and greatest beta to the problem's benchmark: Σ w_i cov(i, benchmark) / variance."""

    lower: float
    upper: float
    name = "beta"
    noun = "beta"

    def rows(self, problem: Problem) -> list[Row]:
        """One a side that is finite."""
        betas = problem.betas
        rows = [
            Row(Measure(betas), self.upper, f"beta at most {self.upper:.6g}"),
            Row(Measure(-betas), -self.lower, f"beta at least {self.lower:.6g}"),
        ]
        return [row for row in rows if np.isfinite(row.greatest)]

    def excess(self, problem: Problem, weights: Floats) -> float:
        """In beta, relative to the largest one of an asset where that is above 1."""
        beta = float(problem.betas @ weights)
        size = max(1.0, float(np.abs(problem.betas).max()))
        return max(beta - self.upper, self.lower - beta) / size


@dataclass(frozen=True)
class ActiveWeights(_Rows):
    """Greatest |w_i − benchmark_i| of every asset: bounds around the benchmark's weights."""

    greatest: float
    name = "active weight"
    noun = "active weight"
    bounds_only = True

    def narrowed(self, problem: Problem, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """The bounds (N,) within the greatest active weight."""
        around = problem.benchmark_weights
        return np.maximum(low, around - self.greatest), np.minimum(high, around + self.greatest)

    def excess(self, problem: Problem, weights: Floats) -> float:
        """In weight."""
        return float(np.abs(weights - problem.benchmark_weights).max()) - self.greatest


@dataclass(frozen=True)
class FewHoldings(_Rows):
    """Greatest number of assets whose weight is not 0: no convex row; `fewest` chooses them."""

    greatest: int
    name = "number of holdings"
    noun = "number of holdings"

    @property
    def words(self) -> str:
        """The limit, after its name."""
        return f"at most {self.greatest}"

    def excess(self, problem: Problem, weights: Floats) -> float:
        """In holdings."""
        del problem
        return float(np.count_nonzero(weights) - self.greatest)


@dataclass(frozen=True)
class LeastPosition(_Rows):
    """Least weight of an asset that is held at all: no convex row; `fewest` chooses them."""

    least: float
    name = "least position"
    noun = "least position"

    @property
    def words(self) -> str:
        """The limit, after its name."""
        return f"{self.least:.6g}"

    def excess(self, problem: Problem, weights: Floats) -> float:
        """In weight."""
        del problem
        held = weights[weights != 0]
        return float((self.least - held).max()) if len(held) else 0.0


@dataclass(frozen=True)
class CountOfOpen(_Rows):
    """Σ w_i / upper_i ≤ how many may still be held, over the assets (by place) that may or not."""

    places: tuple[int, ...]
    greatest: int
    name = "number of holdings"
    noun = "number of holdings"

    def rows(self, problem: Problem) -> list[Row]:
        """One."""
        return [Row(Measure(self._shares(problem)), self.greatest, "number of holdings")]

    def excess(self, problem: Problem, weights: Floats) -> float:
        """In holdings."""
        return float(self._shares(problem) @ weights) - self.greatest

    def _shares(self, problem: Problem) -> Floats:
        found = np.zeros(len(problem.names))
        at = np.array(self.places)
        # of less than a thousandth less is counted, as no row may have coefficients of all sizes
        found[at] = 1.0 / np.maximum(problem.upper[at], _COUNTED)
        return found
