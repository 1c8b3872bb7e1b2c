"""What is asked of an optimiser: estimates, bounds and an objective, checked once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from etf_pipeline.model.instruments import repeated
from etf_pipeline.model.objectives import (
    NEEDS_HOLDINGS,
    Objective,
    lacks_holdings,
    lacks_target,
    misplaced,
    needs_scenarios,
    never_whole,
    takes_no_limits,
)

Floats = npt.NDArray[np.float64]
_PSD = 1e-10
_NULL = 1e-12


@dataclass(frozen=True)
class GroupLimit:
    """Least and greatest total weight of some assets, for example of one asset class."""

    name: str
    members: tuple[str, ...]
    lower: float = 0.0
    upper: float = 1.0


@dataclass(frozen=True)
class Problem:
    """A long-only (or box-bounded), fully invested mean-variance problem of N assets.

    Attributes:
        means: expected returns, shape (N,), any unit of time.
        covariance: shape (N, N), the same unit.
        names: N distinct names.
        objective: `min_volatility`, `max_sharpe`, `max_return` (under `risk_budget` or
            `cvar_budget`, if given), `target_return` (least volatility that reaches it),
            `min_cvar`, `risk_parity` (equal risk contributions) or `hrp` (hierarchical risk
            parity). The last two take no bounds, groups or turnover.
        risk_budget: ceiling on volatility, for `max_return` and `target_return`.
        target_return: floor on expected return, for `target_return` and `min_cvar`.
        lower: least weights, shape (N,); 0 by default.
        upper: greatest weights, shape (N,); 1 by default.
        risk_free_rate: in the unit of `means`, for `max_sharpe` and the Sharpe ratio.
        groups: limits on total weights of groups.
        holdings: current weights, shape (N,), for `max_turnover` and `cost_rate`.
        max_turnover: ceiling on Σ|w − holdings|/2, the part of the portfolio that changes hands.
        cost_rate: cost of trading one unit of weight; expected returns are net of
            cost_rate · Σ|w − holdings|.
        scenarios: returns of shape (T, N), for `min_cvar` and `cvar_budget`.
        cvar_level: of the CVaR, 0.95 by default.
        singular: set here; whether some combination of assets has no variance at all.
        cvar_budget: ceiling on the scenarios' CVaR (a loss per period), for `max_return`.

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
    groups: tuple[GroupLimit, ...] = ()
    holdings: Floats | None = None
    max_turnover: float | None = None
    cost_rate: float = 0.0
    scenarios: Floats | None = None
    cvar_level: float = 0.95
    cvar_budget: float | None = None
    singular: bool = field(init=False, default=False)

    @property
    def simple(self) -> bool:
        """Whether bounds and full investment are the only constraints, and trading is free."""
        return not self.groups and self.max_turnover is None and self.cost_rate == 0.0

    def trades(self, weights: Floats) -> float:
        """Σ|w − holdings|, 0 without holdings."""
        return 0.0 if self.holdings is None else float(np.abs(weights - self.holdings).sum())

    def net_return(self, weights: Floats) -> float:
        """Expected return of `weights` after the cost of getting there."""
        return float(self.means @ weights) - self.cost_rate * self.trades(weights)

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
        self._check_objective()
        self._check_trading()

    def _check_objective(self) -> None:
        if lacks_target(self.objective, self.target_return):
            raise ValueError("the objective target_return needs a target_return")
        if found := misplaced(self.objective, vars(self)):
            raise ValueError(f"{found[0]} goes with the objective {' or '.join(found[1])}")
        if needs_scenarios(self.objective, self.cvar_budget):
            self._check_scenarios()
        bounded = bool(np.any(self.lower > 0) or np.any(self.upper < 1))
        if takes_no_limits(self.objective, bounded or not self.simple):
            raise ValueError(f"{self.objective} takes no bounds, groups, turnover or costs")

    def _check_scenarios(self) -> None:
        if self.scenarios is None:
            raise ValueError("CVaR needs scenarios: returns of shape (T, N)")
        scenarios = np.asarray(self.scenarios, dtype="float64")
        if scenarios.ndim != 2 or scenarios.shape[1] != len(self.names) or not len(scenarios):
            raise ValueError(f"scenarios need shape (T, {len(self.names)})")
        if not np.all(np.isfinite(scenarios)) or not 0 < self.cvar_level < 1:
            raise ValueError("scenarios must be finite and cvar_level between 0 and 1")
        object.__setattr__(self, "scenarios", scenarios)

    def _check_trading(self) -> None:
        known = set(self.names)
        for group in self.groups:
            unknown = [m for m in group.members if m not in known]
            if unknown:
                raise ValueError(f"group {group.name}: {', '.join(unknown)} is not in the names")
            if not group.members or not 0 <= group.lower <= group.upper:
                raise ValueError(f"group {group.name}: needs members and 0 ≤ lower ≤ upper")
        if self.max_turnover is None and self.cost_rate == 0.0:
            return
        if lacks_holdings(self.max_turnover, self.cost_rate, self.holdings is not None):
            raise ValueError(NEEDS_HOLDINGS)
        holdings = np.asarray(self.holdings, dtype="float64")
        if holdings.shape != (len(self.names),) or not np.all(np.isfinite(holdings)):
            raise ValueError(f"holdings need shape ({len(self.names)},) and finite values")
        object.__setattr__(self, "holdings", holdings)
        if self.cost_rate < 0 or (self.max_turnover is not None and self.max_turnover < 0):
            raise ValueError("max_turnover and cost_rate must not be negative")

    def _check_shapes(self, n: int) -> None:
        if twice := repeated(self.names):
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
        # One Cholesky tells the usual case, all eigenvalues well above 0, in a tenth of the time.
        margin = _NULL * float(np.trace(self.covariance))
        try:
            np.linalg.cholesky(self.covariance - margin * np.eye(len(self.covariance)))
        except np.linalg.LinAlgError:
            self._check_eigenvalues(scale)

    def _check_eigenvalues(self, scale: float) -> None:
        values = np.linalg.eigvalsh(self.covariance)
        least = float(values[0])
        object.__setattr__(self, "singular", least <= _NULL * float(values[-1]))
        if least < -_PSD * scale:
            raise ValueError(
                f"covariance is not positive semidefinite: its least eigenvalue is {least:.7g}; "
                "repair it first if that is what you want"
            )

    def _check_bounds(self) -> None:
        crossed = [
            n for n, lo, hi in zip(self.names, self.lower, self.upper, strict=True) if lo > hi
        ]
        if crossed:
            raise ValueError(f"least weight above greatest weight for {', '.join(crossed)}")
        if problem := never_whole(float(self.lower.sum()), float(self.upper.sum())):
            raise ValueError(problem)
