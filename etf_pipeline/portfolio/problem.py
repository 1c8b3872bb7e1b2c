"""What is asked of an optimiser: estimates, an objective and limits, checked once."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from etf_pipeline.model.instruments import repeated
from etf_pipeline.model.objectives import Objective, never_whole
from etf_pipeline.portfolio.functions import Floats, Kink, Measure, Norm, Row, Scenarios

_PSD = 1e-10
_NULL = 1e-12
_JOINT = 1e-8
_EQUAL = 1e-6
_ROUNDING = 4.0 * float(np.finfo(float).eps)
_OF_LOSS = frozenset({"means", "cost_rate", "holdings", "net_exposure", "risk_free_rate"})


class Limit(Protocol):
    """What every limit can do.

    `rows` is for solvers, and `narrowed` what it makes of the bounds; `bounds_only` says that it
    does no more. `excess` is how far weights (N,) are beyond the limit, by its definition
    and relative to its size; 0 or less within. `name` and `noun` are for messages: the limit, and
    what it limits.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def noun(self) -> str: ...  # noqa: D102

    @property
    def bounds_only(self) -> bool: ...  # noqa: D102

    def narrowed(  # noqa: D102
        self, problem: Problem, low: Floats, high: Floats
    ) -> tuple[Floats, Floats]: ...

    def rows(self, problem: Problem) -> list[Row]: ...  # noqa: D102

    def excess(self, problem: Problem, weights: Floats) -> float: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Benchmark:
    """What active risk is measured against.

    `weights` (N,) over the problem's assets, None for a benchmark that holds others too;
    `covariances` (N,) of the assets' returns with the benchmark's, `variance` and `mean` of its
    own, all in the unit of the problem.
    """

    covariances: Floats
    variance: float
    mean: float
    weights: Floats | None = None

    @classmethod
    def of_weights(cls, weights: Floats, means: Floats, covariance: Floats) -> Benchmark:
        """A benchmark made of the problem's own assets."""
        along = covariance @ weights
        return cls(along, float(weights @ along), float(means @ weights), weights)

    def ordered(self, order: npt.NDArray[np.intp]) -> Benchmark:
        """The same with the assets in another order, `order` of shape (N,)."""
        weights = None if self.weights is None else self.weights[order]
        return replace(self, covariances=self.covariances[order], weights=weights)

    def check(self, covariance: Floats) -> None:
        """That there may be such a benchmark beside assets of this covariance (N, N).

        Raises:
            ValueError: shapes, values that are not finite, a variance that is not above 0, or
                covariances that are too large for it.
        """
        if self.covariances.shape != (len(covariance),):
            raise ValueError(f"the benchmark's covariances need shape ({len(covariance)},)")
        if not (np.all(np.isfinite(self.covariances)) and math.isfinite(self.mean)):
            raise ValueError("the benchmark's covariances and mean must be finite")
        if self.weights is not None:
            return
        if not 0 < self.variance < math.inf:
            raise ValueError(f"the benchmark's variance must be above 0, not {self.variance:g}")
        explained = np.linalg.lstsq(covariance, self.covariances, rcond=_NULL)[0]
        left = self.variance - float(explained @ self.covariances)
        beside = float(np.abs(covariance @ explained - self.covariances).max())
        if max(-left, beside) > _JOINT * max(self.variance, float(np.abs(covariance).max())):
            raise ValueError(
                "the benchmark's covariances are too large for its variance beside this "
                "covariance: they are not of the same returns"
            )

    def distance(self, covariance: Floats) -> Norm:
        """The tracking error as a function of the weights."""
        nothing = np.zeros(len(covariance))
        if self.weights is not None:
            return Norm(covariance, self.weights, nothing)
        return Norm(covariance, nothing, self.covariances, self.variance)


@dataclass(frozen=True, eq=False)
class Problem:
    """A portfolio problem of N assets in one period; `building.stated` makes one.

    Attributes:
        means: expected returns, shape (N,), any unit of time.
        covariance: shape (N, N), the same unit.
        names: N distinct names.
        objective: see `model.objectives`.
        limits: beyond bounds and net exposure.
        lower: least weights, shape (N,).
        upper: greatest weights, shape (N,).
        net_exposure: least and greatest Σ w; what is not invested earns `risk_free_rate`.
        risk_free_rate: in the unit of `means`.
        risk_aversion: of `max_utility`.
        holdings: current weights, shape (N,).
        cost_rate: cost of trading one unit of weight; expected returns are net of
            cost_rate · Σ|w − holdings|.
        scenarios: returns of shape (T, N) and the level of the CVaR.
        benchmark: for tracking error, beta and active weights.
        risk_budgets: shares of the risk, shape (N,), of `risk_parity`; equal ones when None.
        max_holdings: how many weights may differ from 0.
        min_position: least weight of an asset that is held.
        search_limit: how many choices a search for few holdings may look at.
        singular: set here; whether some combination of assets has no variance at all.

    Raises:
        ValueError: names twice, shapes that do not fit, values that are not finite, a covariance
            that is not positive semidefinite, or bounds that no full investment can meet.
    """

    means: Floats
    covariance: Floats
    names: tuple[str, ...]
    objective: Objective
    limits: tuple[Limit, ...]
    lower: Floats
    upper: Floats
    net_exposure: tuple[float, float] = (1.0, 1.0)
    risk_free_rate: float = 0.0
    risk_aversion: float | None = None
    holdings: Floats | None = None
    cost_rate: float = 0.0
    scenarios: Scenarios | None = None
    benchmark: Benchmark | None = None
    risk_budgets: Floats | None = None
    max_holdings: int | None = None
    min_position: float | None = None
    search_limit: int = 2_000
    singular: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._check_shapes(len(self.names))
        self._check_covariance()
        self._check_bounds()
        if self.benchmark is not None:
            self.benchmark.check(self.covariance)

    @property
    def simple(self) -> bool:
        """Whether bounds and full investment are the only constraints, and trading is free."""
        return all(x.bounds_only for x in self.limits) and self.invested and self.cost_rate == 0.0

    @property
    def invested(self) -> bool:
        """Whether the weights must sum to 1."""
        return self.net_exposure == (1.0, 1.0)

    @cached_property
    def box(self) -> tuple[Floats, Floats]:
        """Least and greatest weights (N,), narrowed by what the limits say of single ones."""
        low, high = self.lower, self.upper
        for limit in self.limits:
            low, high = limit.narrowed(self, low, high)
        return low, high

    @cached_property
    def plain_box(self) -> tuple[Floats, Floats]:
        """Least and greatest weights (N,), narrowed by limits that are nothing else."""
        low, high = self.lower, self.upper
        for limit in self.limits:
            if limit.bounds_only:
                low, high = limit.narrowed(self, low, high)
        return low, high

    @cached_property
    def rows_by_limit(self) -> list[list[Row]]:
        """The rows of each limit, for solvers."""
        return [limit.rows(self) for limit in self.limits]

    @cached_property
    def traced(self) -> dict[tuple[bool, bytes, bytes], Any]:
        """Corner portfolios by bounds, shared with what `changed` makes of this."""
        return {}

    @property
    def benchmark_weights(self) -> Floats:
        """The benchmark's weights (N,), which must be of the problem's assets."""
        assert self.benchmark is not None
        assert self.benchmark.weights is not None
        return self.benchmark.weights

    @cached_property
    def betas(self) -> Floats:
        """cov(i, benchmark) / variance of the benchmark, shape (N,)."""
        assert self.benchmark is not None
        return self.benchmark.covariances / self.benchmark.variance

    @cached_property
    def risk(self) -> Norm:
        """Volatility as a function of the weights."""
        return Norm.of(self.covariance)

    @cached_property
    def active_risk(self) -> Norm:
        """Tracking error as a function of the weights."""
        assert self.benchmark is not None
        return self.benchmark.distance(self.covariance)

    @cached_property
    def loss(self) -> Measure:
        """The expected return, net of costs and negative, as a function of the weights."""
        kinks: tuple[Kink, ...] = ()
        if self.cost_rate:
            assert self.holdings is not None
            kinks = (Kink(self.cost_rate, self.holdings),)
        if self.invested:  # Σ w = 1: of means that hardly differ, the differences are exact
            middle = float(self.means.min() + self.means.max()) / 2.0
            return Measure(middle - self.means, -middle, kinks)
        rate = self.risk_free_rate
        return Measure(rate - self.means, -rate, kinks)

    def changed(self, **changes: Any) -> Problem:
        """The same with other limits, bounds or objective; what was checked stays checked."""
        _ = self.traced  # made before it is copied
        new = copy.copy(self)
        for kept in ("box", "plain_box", "rows_by_limit"):
            new.__dict__.pop(kept, None)
        if not _OF_LOSS.isdisjoint(changes):
            for kept in ("loss", "return_unit", "return_rounding"):
                new.__dict__.pop(kept, None)
        for name, value in changes.items():
            object.__setattr__(new, name, value)
        return new

    def ordered(self, order: npt.NDArray[np.intp]) -> Problem:
        """The same with its assets in another order, `order` of shape (N,)."""
        new = self.changed(
            means=self.means[order],
            covariance=self.covariance[np.ix_(order, order)],
            names=tuple(self.names[i] for i in order),
            lower=self.lower[order],
            upper=self.upper[order],
            holdings=None if self.holdings is None else self.holdings[order],
            risk_budgets=None if self.risk_budgets is None else self.risk_budgets[order],
            scenarios=None if self.scenarios is None else self.scenarios.ordered(order),
            benchmark=None if self.benchmark is None else self.benchmark.ordered(order),
        )
        for kept in ("risk", "active_risk", "betas", "traced"):
            new.__dict__.pop(kept, None)
        return new

    def trades(self, weights: Floats) -> float:
        """Σ|w − holdings|, 0 without holdings."""
        return 0.0 if self.holdings is None else float(np.abs(weights - self.holdings).sum())

    def net_return(self, weights: Floats) -> float:
        """Expected return of `weights` after the cost of getting there."""
        earned = float(self.means @ weights) - self.cost_rate * self.trades(weights)
        idle = 0.0 if self.invested else 1.0 - float(weights.sum())
        return earned + self.risk_free_rate * idle

    def volatility(self, weights: Floats) -> float:
        """√(w'Σw), in the unit of time of the problem."""
        return math.sqrt(max(float(weights @ self.covariance @ weights), 0.0))

    def tracking_error(self, weights: Floats) -> float:
        """Volatility of the difference to the benchmark."""
        return self.active_risk.value(weights)

    def cvar(self, weights: Floats) -> float:
        """Conditional value at risk over the scenarios: a loss per period."""
        assert self.scenarios is not None
        return self.scenarios.cvar(weights)

    @cached_property
    def return_unit(self) -> float:
        """The spread of what can be earned, what an error in returns is measured against.

        That is of the means, and of the risk-free rate where cash may be held. Means that are equal
        but for rounding have none: a millionth of their size stands for it.
        """
        earned = self.means if self.invested else np.append(self.means, self.risk_free_rate)
        return max(float(np.ptp(earned)), _EQUAL * float(np.abs(earned).max())) or 1.0

    @cached_property
    def return_rounding(self) -> float:
        """What rounding alone may make of an expected return."""
        return _ROUNDING * max(float(np.abs(self.means).max()), abs(self.risk_free_rate))

    @cached_property
    def risk_unit(self) -> float:
        """A typical asset's volatility, what an error in volatility is measured against."""
        return math.sqrt(float(np.mean(np.diag(self.covariance)))) or 1.0

    @cached_property
    def cvar_unit(self) -> float:
        """A typical scenario's size, what an error in CVaR is measured against."""
        return 1.0 if self.scenarios is None else float(self.scenarios.returns.std()) or 1.0

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
        if why := never_whole(float(self.lower.sum()), float(self.upper.sum()), self.net_exposure):
            raise ValueError(why)
