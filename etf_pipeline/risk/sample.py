"""The returns that estimates are made of, and what is estimated from them.

Means and deviations come from each ticker's own returns, correlations from common ones, so that
Σ = D·R·D. Whoever draws other returns (see `risk.resampling`) estimates from them by the same code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.objectives import HALFLIFE
from etf_pipeline.risk.covariance import by_asset, correlation_of, covariance, variances

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Timed:
    """Simple returns of several tickers, shape (n, k), and the day that each row ends on, (n,)."""

    returns: Floats
    days: Days

    def taken(self, at: Positions) -> Timed:
        """Rows at these positions, in that order; −1 is none."""
        at = at[at >= 0]
        return Timed(self.returns[at], self.days[at])


@dataclass(frozen=True)
class Own:
    """The own returns of tickers that have theirs on the same days.

    `columns` are their positions among all N, shape (k,); A, the returns a year, is `annual`.
    """

    timed: Timed
    columns: Positions
    annual: float


@dataclass(frozen=True)
class Sample:
    """What N tickers' means and covariance are estimated from.

    Attributes:
        own: each ticker's own returns, by the days they are of.
        common: simple returns between common dates, but for those over holes, shape (T, N).
        weekly: those of weeks, where correlations are of them; None for the common ones.
        estimator: as in `covariance`. Its value of one ticker alone is the variance.
        halflife: of `ewma`, in bars of `common`.
        ratio: bars of `weekly` for one of `common`, which the halflife is converted by.
    """

    own: tuple[Own, ...]
    common: Timed
    weekly: Timed | None = None
    estimator: str = "sample"
    halflife: float = HALFLIFE
    ratio: float = 1.0

    @property
    def n(self) -> int:
        """N, the number of tickers."""
        return int(self.common.returns.shape[1])

    def means(self) -> Floats:
        """A · mean(r) of each ticker, shape (N,).

        Raises:
            InsufficientDataError: a ticker has no return.
        """
        found = np.empty(self.n)
        for own in self.own:
            if not len(own.timed.returns):
                raise InsufficientDataError("a ticker has no return")
            found[own.columns] = own.annual * by_asset(own.timed.returns).mean(axis=1)
        return found

    def covariance(self) -> Floats:
        """Σ = D·R·D a year, shape (N, N).

        Raises:
            InsufficientDataError: fewer than two returns.
            ValueError: no such estimator.
        """
        found = np.empty(self.n)
        for own in self.own:
            returns = own.timed.returns
            found[own.columns] = own.annual * variances(returns, self.estimator, self.halflife)
        deviations = np.sqrt(found)
        return deviations[:, None] * self.correlation() * deviations

    def correlation(self) -> Floats:
        """R, shape (N, N), by the estimator; a ticker that does not move goes with none."""
        if self.weekly is None:
            return _correlation(self.common.returns, self.estimator, self.halflife)
        return _correlation(self.weekly.returns, self.estimator, self.halflife * self.ratio)

    @cached_property
    def days(self) -> Days:
        """Every day that some return ends on, ascending."""
        return np.unique(np.concatenate([t.days for t in self._parts()]))

    def drawn(self, draws: Positions) -> Sample:
        """The sample that days drawn from its own make, in the order in which they are drawn.

        A day brings every return that ends on it, of each ticker and of all of them, so that what
        happened at once stays together. Every day once, in order, is the sample itself.

        Args:
            draws: positions in `days`, any number of them, any of them several times.
        """
        parts = [part.taken(at[draws]) for part, at in zip(self._parts(), self._at, strict=True)]
        n = len(self.own)
        return replace(
            self,
            own=tuple(replace(o, timed=p) for o, p in zip(self.own, parts[:n], strict=True)),
            common=parts[n],
            weekly=parts[n + 1] if self.weekly is not None else None,
        )

    @cached_property
    def _at(self) -> list[Positions]:
        """By part: the position of its return that ends on each of `days`; −1 for none."""
        found = []
        for part in self._parts():
            at = np.full(len(self.days), -1, dtype=np.intp)
            at[np.searchsorted(self.days, part.days)] = np.arange(len(part.days))
            found.append(at)
        return found

    def _parts(self) -> list[Timed]:
        weekly = [] if self.weekly is None else [self.weekly]
        return [*(o.timed for o in self.own), self.common, *weekly]


def _correlation(returns: Floats, estimator: str, halflife: float) -> Floats:
    """R, shape (N, N).

    `ledoit_wolf` is applied to returns of equal variance: shrunk towards the identity, by an
    intensity that a ticker's volatility or unit has no say in.
    """
    if estimator == "ledoit_wolf":
        spread = returns.std(axis=0, ddof=1)
        returns = np.divide(returns, spread, out=np.zeros_like(returns), where=spread > 0)
    found = correlation_of(covariance(returns, estimator, halflife))
    np.fill_diagonal(found, 1.0)
    return found
