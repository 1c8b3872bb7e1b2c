"""From a benchmark's weights by ticker to what a problem measures active risk against."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.objectives import strangers
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.problem import Benchmark
from etf_pipeline.risk.estimates import Estimates
from etf_pipeline.risk.prices import GRACE


@dataclass(frozen=True)
class Followed:
    """A portfolio walked forward, as a benchmark of others: what it was on a day, known by then.

    Attributes:
        name: of the portfolio.
        decided: a row per decision that was traded, by its day; columns are tickers.
        traded: the session of each of those trades.
        held: a row per session from the first trade on, after trading.
    """

    name: str
    decided: pd.DataFrame
    traded: pd.DatetimeIndex
    held: pd.DataFrame

    @property
    def tickers(self) -> list[str]:
        """What it ever decided to hold."""
        return [t for t in self.decided.columns if self.decided[t].any()]

    @property
    def said(self) -> str:
        """What a reader of courses beside it must know."""
        return f"measured against {self.name} as it was on the day of each decision, walked forward"

    def on(self, day: dt.date) -> dict[str, float]:
        """Weights by ticker on a day: what is decided and to be traded next, else what is held.

        Raises:
            InsufficientDataError: it holds nothing yet, or its course ended before.
        """
        now = pd.Timestamp(day)
        known = int(self.decided.index.searchsorted(now, side="right"))
        if known == 0:
            raise InsufficientDataError(
                f"benchmark: {self.name} holds nothing yet: its first decision that was traded is "
                f"of {self.decided.index[0].date()}"
            )
        if self.traded[known - 1] > now:
            row = self.decided.iloc[known - 1]
        else:
            row = self.held.iloc[int(self.held.index.searchsorted(now, side="right")) - 1]
            if day > (end := self.held.index[-1].date()) + GRACE:
                raise InsufficientDataError(f"benchmark: the course of {self.name} ends on {end}")
        return {str(ticker): float(weight) for ticker, weight in row.items() if weight}


def benchmark_of(
    weights: Mapping[str, float], tickers: Sequence[str], estimates: Estimates
) -> Floats | Benchmark | None:
    """A vector over the tickers, or covariances with a benchmark that holds others too.

    Args:
        weights: by ticker; none stand for no benchmark.
        tickers: the portfolio's, N of them.
        estimates: over the tickers in their order, with the benchmark's others beside them.

    Raises:
        ValueError: nothing was estimated of a ticker that the benchmark holds.
    """
    if not weights:
        return None
    beside = estimates.beside
    others = () if beside is None else beside.tickers
    if unknown := strangers((t for t, w in weights.items() if w), (*tickers, *others)):
        raise ValueError(f"benchmark: there are no estimates of {', '.join(unknown)}")
    inside = np.array([weights.get(t, 0.0) for t in tickers])
    if beside is None or not any(weights.get(t) for t in others):
        return inside
    held = np.concatenate([inside, [weights.get(t, 0.0) for t in others]])
    means, covariance = beside.joint(estimates.means, estimates.covariance)
    along, n = covariance @ held, len(tickers)
    return Benchmark(along[:n], float(held @ along), float(means @ held))
