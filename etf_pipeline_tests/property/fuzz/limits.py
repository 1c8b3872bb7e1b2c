"""Every limit of a problem checked on weights, from its definition and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from etf_pipeline_tests.property.fuzz.asked import Asked, Floats


@dataclass(frozen=True)
class Limit:
    """By how much weights go beyond a limit (negative: room), in the limit's own unit."""

    label: str
    excess: float
    limit: float
    unit: float
    noise: float = 0.0  # what rounding alone may make of the figure
    least: float = 1e-12  # of the unit, that no limit is closer met than by

    @property
    def relative(self) -> float:
        """The excess against the unit, beyond what rounding makes."""
        return (self.excess - self.noise) / self.unit

    @property
    def met(self) -> bool:
        """Within 1e-8 of the unit and within 1e-6 of the limit's own size."""
        allowed = min(1e-8 * self.unit, 1e-6 * abs(self.limit)) + self.least * self.unit
        return self.excess <= allowed + self.noise


def checked(asked: Asked, w: Floats) -> list[Limit]:
    """Every limit of a problem, with what `w` (N,) makes of it."""
    return [*_weights(asked, w), *_exposures(asked, w), *_figures(asked, w), *_active(asked, w)]


def broken(asked: Asked, w: Floats) -> list[Limit]:
    """The limits that `w` does not meet."""
    return [one for one in checked(asked, w) if not one.met]


def worst(asked: Asked, w: Floats) -> float:
    """The greatest excess over any limit, relative to its unit; at most 0 where all are met."""
    return max(one.relative for one in checked(asked, w))


def _weights(asked: Asked, w: Floats) -> Iterator[Limit]:
    lower, upper = np.broadcast_to(asked.lower, w.shape), np.broadcast_to(asked.upper, w.shape)
    below, above = lower - w, w - upper
    i, j = int(np.argmax(below)), int(np.argmax(above))
    yield Limit(f"lower {asked.names[i]}", float(below[i]), 1.0, 1.0)
    yield Limit(f"upper {asked.names[j]}", float(above[j]), 1.0, 1.0)
    for group in asked.groups:
        total = math.fsum(w[list(group.members)])
        yield Limit(f"group {group.name} below", group.lower - total, 1.0, 1.0)
        yield Limit(f"group {group.name} above", total - group.upper, 1.0, 1.0)
    held = w[w != 0]
    if asked.max_holdings is not None:
        yield Limit("number of holdings", float(len(held) - asked.max_holdings), 1.0, 1.0)
    if asked.min_position is not None and len(held):
        yield Limit("least position", asked.min_position - float(held.min()), 1.0, 1.0)


def _exposures(asked: Asked, w: Floats) -> Iterator[Limit]:
    net = math.fsum(w)
    low, high = asked.net_exposure
    rounding = 1e-15 * len(w)
    yield Limit("net exposure below", low - net, 1.0, 1.0, rounding)
    yield Limit("net exposure above", net - high, 1.0, 1.0, rounding)
    if asked.gross_exposure is not None:
        gross = math.fsum(np.abs(w))
        yield Limit("gross exposure", gross - asked.gross_exposure, 1.0, 1.0, rounding)
    if asked.max_turnover is not None:
        moved = asked.traded(w) / 2
        yield Limit("turnover", moved - asked.max_turnover, 1.0, 1.0, rounding)


def _figures(asked: Asked, w: Floats) -> Iterator[Limit]:
    if (target := asked.target_return) is not None:
        size = 1e-15 * float(np.abs(asked.means).max())
        short = target - asked.earned(w)
        # a target may be next to 0, which is no size
        yield Limit("target return", short, target, asked.return_unit, size, 1e-9)
    if (budget := asked.risk_budget) is not None:
        excess = asked.volatility(w) - budget
        noise = _rounding_of_risk(asked, budget)
        yield Limit("risk budget", excess, budget, asked.risk_unit, noise)
    if (budget := asked.cvar_budget) is not None:
        yield Limit("CVaR budget", asked.cvar(w) - budget, budget, asked.loss_unit)


def _active(asked: Asked, w: Floats) -> Iterator[Limit]:
    if (most := asked.max_tracking_error) is not None:
        excess = asked.tracking_error(w) - most
        noise = _rounding_of_risk(asked, most)
        yield Limit("tracking error", excess, most, asked.risk_unit, noise)
    if (most := asked.max_active_weight) is not None:
        yield Limit("active weight", float(np.abs(w - asked.benchmark).max()) - most, 1.0, 1.0)
    if asked.beta is not None:
        beta, (low, high) = asked.portfolio_beta(w), asked.beta
        yield Limit("beta below", low - beta, max(abs(low), 1.0), 1.0, 1e-14)
        yield Limit("beta above", beta - high, max(abs(high), 1.0), 1.0, 1e-14)


def _rounding_of_risk(asked: Asked, at: float) -> float:
    """What rounding of w'Σw makes of its root: large where that is near 0."""
    variance = 2e-15 * asked.n * asked.risk_unit**2
    return variance / max(at, math.sqrt(variance))
