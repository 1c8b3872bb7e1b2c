"""A problem as plain values: what is asked, its figures for given weights, and its other units."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio import Benchmark, GroupLimit, Problem, stated

Floats = npt.NDArray[np.float64]
Limits = tuple[float, float]
_BY_NAME = ("means", "lower", "upper", "holdings")


@dataclass(frozen=True)
class Group:
    """Limits on the total weight of some assets, by index."""

    name: str
    members: tuple[int, ...]
    lower: float = 0.0
    upper: float = 1.0


@dataclass(frozen=True)
class Outside:
    """A benchmark that is none of the assets: its covariance with each, its variance and mean."""

    covariances: Floats
    variance: float
    mean: float


@dataclass(frozen=True)
class Asked:
    """The arguments of `stated`, N assets.

    Attributes:
        kind: what sort of problem it is, for reports.
        known: weights that meet every limit by construction, exactly but for rounding.
    """

    kind: str
    means: Floats
    covariance: Floats
    objective: str = "min_volatility"
    lower: Floats = field(default_factory=lambda: np.zeros(1))
    upper: Floats = field(default_factory=lambda: np.ones(1))
    risk_free_rate: float = 0.0
    risk_aversion: float | None = None
    target_return: float | None = None
    risk_budget: float | None = None
    cvar_budget: float | None = None
    cvar_level: float = 0.95
    scenarios: Floats | None = None
    groups: tuple[Group, ...] = ()
    holdings: Floats | None = None
    max_turnover: float | None = None
    cost_rate: float = 0.0
    benchmark: Floats | Outside | None = None
    max_tracking_error: float | None = None
    max_active_weight: float | None = None
    beta: Limits | None = None
    net_exposure: Limits = (1.0, 1.0)
    gross_exposure: float | None = None
    max_holdings: int | None = None
    min_position: float | None = None
    known: Floats | None = None

    @property
    def n(self) -> int:
        return len(self.means)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"A{i:03d}" for i in range(self.n))

    @property
    def invested(self) -> bool:
        """Whether weights sum to 1."""
        return self.net_exposure == (1.0, 1.0)

    # What a difference is small against: the problem's own units.

    @property
    def return_unit(self) -> float:
        """The spread of means, and of the rate of cash; a millionth of their size at least."""
        earned = self.means if self.invested else np.append(self.means, self.risk_free_rate)
        return max(float(np.ptp(earned)), 1e-6 * float(np.abs(earned).max())) or 1.0

    @property
    def risk_unit(self) -> float:
        """A typical asset's volatility."""
        return math.sqrt(float(np.mean(np.diag(self.covariance)))) or 1.0

    @property
    def loss_unit(self) -> float:
        """A typical scenario's size."""
        assert self.scenarios is not None
        size, spread = float(np.abs(self.scenarios).max()), float(self.scenarios.std())
        return spread if spread > 1e-12 * size else size or 1.0

    # Figures of given weights.

    def traded(self, w: Floats) -> float:
        return 0.0 if self.holdings is None else float(np.abs(w - self.holdings).sum())

    def earned(self, w: Floats) -> float:
        """Expected return net of trading costs; what is not invested earns the risk-free rate."""
        idle = 0.0 if self.invested else self.risk_free_rate * (1.0 - math.fsum(w))
        return math.fsum(self.means * w) + idle - self.cost_rate * self.traded(w)

    def volatility(self, w: Floats) -> float:
        return math.sqrt(max(float(w @ self.covariance @ w), 0.0))

    def cvar(self, w: Floats) -> float:
        """Mean of the worst (1 − level) of the losses, splitting the one at the quantile."""
        assert self.scenarios is not None
        losses = np.sort(-(self.scenarios @ w))[::-1]
        tail = (1.0 - self.cvar_level) * len(losses)
        whole = min(math.floor(tail + 1e-9), len(losses))
        rest = tail - whole
        total = math.fsum(losses[:whole])
        if rest > 1e-9 and whole < len(losses):
            total += rest * float(losses[whole])
        return total / tail

    def benchmark_covariances(self) -> tuple[Floats, float, float]:
        """Covariance of every asset with the benchmark, its variance and its mean."""
        if isinstance(self.benchmark, Outside):
            return self.benchmark.covariances, self.benchmark.variance, self.benchmark.mean
        assert self.benchmark is not None
        with_it = self.covariance @ self.benchmark
        return with_it, float(self.benchmark @ with_it), float(self.means @ self.benchmark)

    def tracking_error(self, w: Floats) -> float:
        if not isinstance(self.benchmark, Outside):
            return self.volatility(w - self.benchmark)
        c, v, _ = self.benchmark_covariances()
        return math.sqrt(max(float(w @ self.covariance @ w - 2 * c @ w + v), 0.0))

    def portfolio_beta(self, w: Floats) -> float:
        c, v, _ = self.benchmark_covariances()
        return float(c @ w) / v

    # The same problem, said otherwise.

    def permuted(self, order: Any) -> Asked:
        """The assets in another order; the asset `order[k]` comes k-th."""
        order = np.asarray(order)
        where = np.empty_like(order)
        where[order] = np.arange(len(order))
        given: dict[str, Any] = {
            name: value[order]
            for name in (*_BY_NAME, "known")
            if (value := getattr(self, name)) is not None
        }
        given["covariance"] = self.covariance[np.ix_(order, order)]
        if self.scenarios is not None:
            given["scenarios"] = self.scenarios[:, order]
        given["groups"] = tuple(
            replace(g, members=tuple(sorted(int(where[m]) for m in g.members))) for g in self.groups
        )
        if isinstance(self.benchmark, Outside):
            given["benchmark"] = replace(
                self.benchmark, covariances=self.benchmark.covariances[order]
            )
        elif self.benchmark is not None:
            given["benchmark"] = self.benchmark[order]
        return replace(self, **given)

    def in_units(self, by: float, of_risk: float | None = None) -> Asked:
        """Returns `by` times as large and risks `of_risk` times: √by for another period.

        With `of_risk` = `by`, the currency or percentages change; √by (the default) is another
        length of time. Scenarios and what they limit are returns.
        """
        of_risk = math.sqrt(by) if of_risk is None else of_risk
        given: dict[str, Any] = {
            "means": self.means * by,
            "covariance": self.covariance * of_risk**2,
        }
        for name in ("risk_free_rate", "cost_rate", "target_return", "cvar_budget"):
            if (value := getattr(self, name)) is not None:
                given[name] = value * by
        for name in ("risk_budget", "max_tracking_error"):
            if (value := getattr(self, name)) is not None:
                given[name] = value * of_risk
        if self.scenarios is not None:
            given["scenarios"] = self.scenarios * by
        if self.risk_aversion is not None:
            given["risk_aversion"] = self.risk_aversion * by / of_risk**2
        if isinstance(self.benchmark, Outside):
            given["benchmark"] = Outside(
                self.benchmark.covariances * of_risk**2,
                self.benchmark.variance * of_risk**2,
                self.benchmark.mean * by,
            )
        return replace(self, **given)

    def without(self, i: int) -> Asked:
        """The problem without one asset."""
        keep = np.array([k for k in range(self.n) if k != i])
        shorter = self.permuted(np.r_[keep, i])
        last = self.n - 1
        given: dict[str, Any] = {
            name: value[:-1] for name in _BY_NAME if (value := getattr(shorter, name)) is not None
        }
        given["covariance"] = shorter.covariance[:-1, :-1]
        given["known"] = None
        if shorter.scenarios is not None:
            given["scenarios"] = shorter.scenarios[:, :-1]
        groups = (
            replace(g, members=tuple(m for m in g.members if m != last)) for g in shorter.groups
        )
        given["groups"] = tuple(g for g in groups if g.members)
        if isinstance(shorter.benchmark, Outside):
            given["benchmark"] = replace(
                shorter.benchmark, covariances=shorter.benchmark.covariances[:-1]
            )
        elif shorter.benchmark is not None:
            given["benchmark"] = shorter.benchmark[:-1]
        return replace(shorter, **given)

    # As ours.

    def problem(self) -> Problem:
        """As the package states it."""
        given = self.given()
        return stated(self.means, self.covariance, self.names, self.objective, **given)

    def given(self) -> dict[str, Any]:
        """Arguments of `stated` that are not at their default."""
        given: dict[str, Any] = {}
        for one in fields(self)[4:]:
            value = getattr(self, one.name)
            if one.name == "known" or value is None:
                continue
            if one.name == "cvar_level" and self.scenarios is None:
                continue
            if one.name in ("lower", "upper"):
                given[one.name] = value
            elif one.name == "groups":
                if value:
                    given["groups"] = tuple(
                        GroupLimit(
                            g.name, tuple(self.names[m] for m in g.members), g.lower, g.upper
                        )
                        for g in value
                    )
            elif isinstance(value, Outside):
                given["benchmark"] = Benchmark(value.covariances, value.variance, value.mean)
            elif isinstance(value, np.ndarray) or value != one.default:
                given[one.name] = value
        return given
