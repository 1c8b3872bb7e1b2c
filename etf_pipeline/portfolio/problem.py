"""What is asked of an optimiser: estimates, bounds and an objective, checked once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Objective = Literal["min_volatility", "max_sharpe", "max_return", "target_return"]
_PSD = 1e-10


@dataclass(frozen=True)
class Problem:
    """A long-only (or box-bounded), fully invested mean-variance problem of N assets.

    Attributes:
        means: expected returns, shape (N,), any unit of time.
        covariance: shape (N, N), the same unit.
        names: N distinct names.
        objective: `min_volatility`, `max_sharpe`, `max_return` (under `risk_budget`, if given) or
            `target_return` (least volatility that reaches it).
        risk_budget: ceiling on volatility, for `max_return`.
        target_return: floor on expected return, for `target_return`.
        lower: least weights, shape (N,); 0 by default.
        upper: greatest weights, shape (N,); 1 by default.
        risk_free_rate: in the unit of `means`, for `max_sharpe` and the Sharpe ratio.

    Raises:
        ValueError: names twice, shapes that do not fit, values that are not finite, a covariance
            that is not positive semidefinite, or bounds that no full investment can meet.
    """

    means: Floats
    covariance: Floats
    names: tuple[str, ...]
    objective: Objective = "min_volatility"
    risk_budget: float | None = None
    target_return: float | None = None
    lower: Floats = field(default_factory=lambda: np.empty(0))
    upper: Floats = field(default_factory=lambda: np.empty(0))
    risk_free_rate: float = 0.0

    def __post_init__(self) -> None:
        n = len(self.names)
        put = object.__setattr__
        put(self, "means", np.asarray(self.means, dtype="float64"))
        put(self, "covariance", np.asarray(self.covariance, dtype="float64"))
        for name, value in (("lower", 0.0), ("upper", 1.0)):
            given = getattr(self, name)
            bound = np.full(n, value) if np.size(given) == 0 else np.asarray(given, "float64")
            put(self, name, bound)
        self._check_shapes(n)
        self._check_covariance()
        self._check_bounds()
        if (self.objective == "target_return") != (self.target_return is not None):
            raise ValueError("target_return is the objective's level: give both or neither")
        if self.risk_budget is not None and self.objective != "max_return":
            raise ValueError("risk_budget goes with the objective max_return")

    def _check_shapes(self, n: int) -> None:
        twice = sorted(name for name, count in Counter(self.names).items() if count > 1)
        if twice:
            raise ValueError(f"asked for twice: {', '.join(twice)}")
        if n == 0 or self.means.shape != (n,) or self.covariance.shape != (n, n):
            raise ValueError(
                f"{n} names need means of shape ({n},) and a covariance of ({n}, {n}), not "
                f"{self.means.shape} and {self.covariance.shape}"
            )
        if self.lower.shape != (n,) or self.upper.shape != (n,):
            raise ValueError(f"bounds need shape ({n},)")
        for what in ("means", "covariance", "lower", "upper"):
            if not np.all(np.isfinite(getattr(self, what))):
                raise ValueError(f"{what} has values that are not finite")

    def _check_covariance(self) -> None:
        scale = float(np.abs(self.covariance).max()) or 1.0
        if np.abs(self.covariance - self.covariance.T).max() > _PSD * scale:
            raise ValueError("covariance is not symmetric")
        least = float(np.linalg.eigvalsh(self.covariance)[0])
        if least < -_PSD * scale:
            raise ValueError(
                f"covariance is not positive semidefinite: its least eigenvalue is {least:.7g}; "
                "repair it first if that is what you want"
            )

    def _check_bounds(self) -> None:
        crossed = [n for n, lo, hi in zip(self.names, self.lower, self.upper, strict=True)
                   if lo > hi]  # fmt: skip
        if crossed:
            raise ValueError(f"least weight above greatest weight for {', '.join(crossed)}")
        low, high = float(self.lower.sum()), float(self.upper.sum())
        if low > 1 + 1e-12 or high < 1 - 1e-12:
            raise ValueError(
                f"weights cannot sum to 1: the bounds allow sums from {low:.6g} to {high:.6g}"
            )
