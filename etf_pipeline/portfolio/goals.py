"""Objectives as strategies: what is made least, in which unit, and its tangent at weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from etf_pipeline.model.objectives import Objective
from etf_pipeline.portfolio.functions import Floats, Kink, Measure, Norm
from etf_pipeline.portfolio.problem import Problem


class Goal(Protocol):
    """What is made least.

    `unit` is what a gap is small against. `tangent` is a measure that is nowhere above the value
    and equal to it at the weights (but for its CVaR, see `Measure.linear`).
    """

    @property
    def unit(self) -> float: ...  # noqa: D102

    def value(self, problem: Problem, weights: Floats) -> float: ...  # noqa: D102

    def tangent(self, weights: Floats) -> Measure: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Least:
    """Least value of a measure: loss, CVaR or turnover."""

    measure: Measure
    unit: float

    def value(self, problem: Problem, weights: Floats) -> float:
        """The measure's."""
        return self.measure.value(weights, problem.scenarios)

    def tangent(self, weights: Floats) -> Measure:
        """The measure itself."""
        del weights
        return self.measure


@dataclass(frozen=True, eq=False)
class LeastNorm:
    """Least volatility or tracking error."""

    norm: Norm
    unit: float

    def value(self, problem: Problem, weights: Floats) -> float:
        """The norm's."""
        del problem
        return self.norm.value(weights)

    def tangent(self, weights: Floats) -> Measure:
        """The norm's."""
        return self.norm.tangent(weights)


@dataclass(frozen=True, eq=False)
class Utility:
    """Greatest net return − (aversion/2) · variance (Markowitz, 1952)."""

    measure: Measure
    norm: Norm
    aversion: float
    unit: float

    def value(self, problem: Problem, weights: Floats) -> float:
        """The utility, negative."""
        variance = self.norm.squared(weights)
        return self.measure.value(weights, problem.scenarios) + self.aversion / 2.0 * variance

    def tangent(self, weights: Floats) -> Measure:
        """Of the variance; the loss is itself."""
        slope = self.aversion * self.norm.gradient_of_half_square(weights)
        constant = self.aversion / 2.0 * self.norm.squared(weights) - float(slope @ weights)
        return self.measure.plus(Measure(slope, constant), 1.0)


@dataclass(frozen=True, eq=False)
class Calmest(Utility):
    """The same for the least volatile of several that earn the most, by a slight aversion.

    Not read off the critical line, where names decide between equal means.
    """


@dataclass(frozen=True, eq=False)
class BestRatio:
    """Greatest net excess return over volatility (Sharpe, 1994).

    `measure` is the excess return, negative. What a tangent at w with the ratio r stands for is
    r · volatility − excess return: 0 at w, and nowhere below −gap when no portfolio has an excess
    return of more than r · its volatility + gap.
    """

    measure: Measure
    norm: Norm
    unit: float

    def ratio(self, weights: Floats) -> float:
        """The Sharpe ratio at weights (N,); infinite without risk."""
        risk = self.norm.value(weights)
        excess = -self.measure.value(weights)
        return excess / risk if risk > 0 else float("inf")

    def value(self, problem: Problem, weights: Floats) -> float:
        """0, as the tangent is measured from the weights themselves."""
        del problem, weights
        return 0.0

    def tangent(self, weights: Floats) -> Measure:
        """R · tangent of the volatility − excess return."""
        ratio = max(self.ratio(weights), 0.0)
        if not np.isfinite(ratio):
            return Measure(np.full(len(weights), np.nan))  # nothing is proven without risk
        return self.measure.plus(self.norm.tangent(weights), ratio)


def least_volatility(problem: Problem) -> Goal:
    """Of all that meet the limits."""
    return LeastNorm(problem.risk, problem.risk_unit)


def greatest_return(problem: Problem) -> Goal:
    """Net of costs."""
    return Least(problem.loss, problem.return_unit)


def greatest_utility(problem: Problem) -> Goal:
    """By the problem's risk aversion."""
    assert problem.risk_aversion is not None
    aversion = problem.risk_aversion
    unit = max(problem.return_unit, aversion / 2.0 * problem.risk_unit**2)
    return Utility(problem.loss, problem.risk, aversion, unit)


def best_sharpe(problem: Problem) -> Goal:
    """Over the problem's risk-free rate."""
    rate = problem.risk_free_rate
    # Σ w = 1 makes the rate a part of the slope, so that excess returns scale with the weights.
    excess = Measure(rate - problem.means, kinks=problem.loss.kinks)
    return BestRatio(excess, problem.risk, problem.return_unit)


def least_cvar(problem: Problem) -> Goal:
    """Over the problem's scenarios."""
    return Least(Measure(np.zeros(len(problem.names)), tail=1.0), problem.cvar_unit)


def least_tracking_error(problem: Problem) -> Goal:
    """To the problem's benchmark."""
    return LeastNorm(problem.active_risk, problem.risk_unit)


def least_turnover(problem: Problem) -> Least:
    """From the problem's holdings."""
    assert problem.holdings is not None
    kinks = (Kink(0.5, problem.holdings),)
    return Least(Measure(np.zeros(len(problem.names)), kinks=kinks), 1.0)


_GOALS: dict[Objective, Callable[[Problem], Goal]] = {
    "min_volatility": least_volatility,
    "target_return": least_volatility,
    "max_return": greatest_return,
    "max_sharpe": best_sharpe,
    "max_utility": greatest_utility,
    "min_cvar": least_cvar,
    "min_tracking_error": least_tracking_error,
}


def goal_of(problem: Problem) -> Goal:
    """The goal of the problem's objective, which is none of those by rule."""
    return _GOALS[problem.objective](problem)
