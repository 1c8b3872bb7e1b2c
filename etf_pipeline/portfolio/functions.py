"""Convex functions of the weights that objectives and limits are made of.

Weights w have shape (N,). Every function here is convex, knows its value, and gives a tangent: a
`Measure` that is nowhere above it and equal to it at one point.

Source: Boyd & Vandenberghe, "Convex Optimization" (2004), section 3.1.3 (a convex function is above
its tangents).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_NOTHING = 1e-15


@dataclass(frozen=True, eq=False)
class Kink:
    """rate · Σ|w − centre|: what changes hands, or a gross exposure. `rate` is not negative."""

    rate: float
    centre: Floats

    def value(self, weights: Floats) -> float:
        """Its value at weights (N,)."""
        return self.rate * float(np.abs(weights - self.centre).sum())


@dataclass(frozen=True, eq=False)
class Scenarios:
    """Returns of shape (T, N), and the level of the CVaR that is taken over them.

    CVaR is the mean loss of the worst 1 − level of the scenarios, the one at the border in part
    (Rockafellar & Uryasev, 2002, "Conditional value-at-risk for general loss distributions").
    `apart` (T,) is what every portfolio earns besides; nothing when None.
    """

    returns: Floats
    level: float
    apart: Floats | None = None

    def ordered(self, order: npt.NDArray[np.intp]) -> Scenarios:
        """The same with the assets in another order, `order` of shape (N,)."""
        return replace(self, returns=self.returns[:, order])

    def tail_weights(self, weights: Floats) -> Floats:
        """Probabilities (T,) of the worst scenarios, whose mean loss is the CVaR."""
        losses = -self.earned(weights)
        count = (1.0 - self.level) * len(losses)
        order = np.argsort(-losses, kind="stable")
        found = np.zeros(len(losses))
        taken = np.clip(count - np.arange(len(losses)), 0.0, 1.0)
        found[order] = taken / count
        return found

    def cvar(self, weights: Floats) -> float:
        """Mean loss of the tail, per period."""
        return -float(self.tail_weights(weights) @ self.earned(weights))

    def earned(self, weights: Floats) -> Floats:
        """What weights (N,) earn in each scenario, shape (T,)."""
        found = self.returns @ weights
        return found if self.apart is None else found + self.apart


@dataclass(frozen=True, eq=False)
class Measure:
    """slope'w + constant + kinks + tail · CVaR(w); `tail` is not negative.

    `slope` has shape (N,). A tangent of one with a CVaR needs weights of the scenarios, see
    `linear`.
    """

    slope: Floats
    constant: float = 0.0
    kinks: tuple[Kink, ...] = ()
    tail: float = 0.0

    def value(self, weights: Floats, scenarios: Scenarios | None = None) -> float:
        """Its value at weights (N,)."""
        found = float(self.slope @ weights) + self.constant
        found += sum(k.value(weights) for k in self.kinks)
        if self.tail:
            assert scenarios is not None
            found += self.tail * scenarios.cvar(weights)
        return found

    def linear(self, scenarios: Scenarios | None, probabilities: Floats | None) -> Measure:
        """Without the CVaR, for which stands the mean loss under `probabilities` (T,).

        Those are not negative, sum to 1, and none is above 1 / ((1 − level) T): of all such the
        CVaR is the greatest mean loss, so what is given back is nowhere above this.
        """
        if not self.tail:
            return self
        assert scenarios is not None
        assert probabilities is not None
        slope = self.slope - self.tail * (probabilities @ scenarios.returns)
        return replace(self, slope=slope, tail=0.0)

    def beyond(self, greatest: float) -> Measure:
        """How far this is beyond a limit: taken before a sum, as both may be large beside it."""
        return replace(self, constant=self.constant - greatest)

    def plus(self, other: Measure, times: float) -> Measure:
        """The sum of this and `times` ≥ 0 of another."""
        kinks = (*self.kinks, *(Kink(times * k.rate, k.centre) for k in other.kinks))
        return Measure(
            self.slope + times * other.slope,
            self.constant + times * other.constant,
            kinks,
            self.tail + times * other.tail,
        )


@dataclass(frozen=True, eq=False)
class Norm:
    """√(d'Sd − 2 l'd + c) with d = w − centre: a volatility or a tracking error.

    `matrix` S (N, N) is positive semidefinite, `linear` l and `centre` have shape (N,), and the
    whole is a variance, which is nowhere below 0.
    """

    matrix: Floats
    centre: Floats
    linear: Floats
    constant: float = 0.0

    @classmethod
    def of(cls, matrix: Floats, centre: Floats | None = None) -> Norm:
        """√(d'Sd), around the origin unless a centre (N,) is given."""
        nothing = np.zeros(len(matrix))
        return cls(matrix, nothing if centre is None else centre, nothing)

    def _varying(self, weights: Floats) -> tuple[float, Floats]:
        """Its square at weights (N,) without the constant, and half the gradient (N,) of that."""
        d = weights - self.centre
        along = self.matrix @ d
        return float(d @ along) - 2.0 * float(self.linear @ d), along - self.linear

    def square_and_half_gradient(self, weights: Floats) -> tuple[float, Floats]:
        """Its square at weights (N,), not below 0, and half the gradient of that, shape (N,)."""
        found, half = self._varying(weights)
        return max(found + self.constant, 0.0), half

    def squared(self, weights: Floats) -> float:
        """Its square at weights (N,), not below 0."""
        return self.square_and_half_gradient(weights)[0]

    def varying(self, weights: Floats) -> float:
        """Its square at weights (N,) without the constant."""
        return self._varying(weights)[0]

    def room(self, greatest: float) -> float:
        """What `varying` may be where the norm is `greatest` at most."""
        return greatest**2 - self.constant

    def unit(self, greatest: float) -> float:
        """What an error in `varying` is small against there."""
        return greatest**2

    def value(self, weights: Floats) -> float:
        """Its value at weights (N,)."""
        return math.sqrt(self.squared(weights))

    def gradient_of_half_square(self, weights: Floats) -> Floats:
        """S(w − centre) − l, shape (N,)."""
        return self.square_and_half_gradient(weights)[1]

    def tangent(self, weights: Floats) -> Measure:
        """At weights (N,); 0 where the value is, as the function is nowhere below."""
        square, half = self.square_and_half_gradient(weights)
        if square <= 0.0:
            return Measure(np.zeros(len(weights)))
        value = math.sqrt(square)
        slope = half / value
        return Measure(slope, value - float(slope @ weights))


@dataclass(frozen=True, eq=False)
class NearNorm(Norm):
    """A norm whose constant is nearly the square of its limit, with the difference of both."""

    left: float = 0.0

    def room(self, greatest: float) -> float:
        """The difference, which is not taken again."""
        del greatest
        return self.left

    def unit(self, greatest: float) -> float:
        """The same, as nothing else is small here."""
        return max(abs(self.left), _NOTHING * greatest**2)


@dataclass(frozen=True, eq=False)
class Row:
    """function(w) ≤ greatest, and the same in words."""

    function: Measure | Norm
    greatest: float
    label: str

    @property
    def size(self) -> float:
        """What an error in its limit is small against, in its own unit."""
        function = self.function
        if isinstance(function, Norm):
            return self.greatest
        spread = float(np.ptp(function.slope)) or float(np.abs(function.slope).max())
        tail = abs(self.greatest) if function.tail else 0.0
        return max([spread, tail, *(k.rate for k in function.kinks)]) or 1.0

    def value(self, weights: Floats, scenarios: Scenarios | None) -> float:
        """The function's at weights (N,)."""
        if isinstance(self.function, Norm):
            return self.function.value(weights)
        return self.function.value(weights, scenarios)
