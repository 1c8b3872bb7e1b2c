"""Annualised estimates that portfolios are made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.objectives import HALFLIFE
from etf_pipeline.risk.covariance import covariance
from etf_pipeline.risk.prices import PriceSeries, common_prices, window_start
from etf_pipeline.risk.returns import simple_returns

Floats = npt.NDArray[np.float64]
_FEWEST_RETURNS = 60


@dataclass(frozen=True)
class Estimates:
    """Estimates over common dates, annualised.

    `means` is A · mean(r), shape (N,); `covariance` is A · the estimator's, shape (N, N)
    (Markowitz, 1952). `returns` are the simple returns behind them, shape (T, N).
    """

    prices: pd.DataFrame
    returns: Floats
    means: Floats
    covariance: Floats
    periods_per_year: int

    @property
    def n_obs(self) -> int:
        """Number of common returns."""
        return len(self.returns)


def estimate(
    series: list[PriceSeries],
    lookback_years: int | None,
    estimator: str = "sample",
    halflife: float = HALFLIFE,
    fewest: int = _FEWEST_RETURNS,
) -> Estimates:
    """Means and covariance over the last `lookback_years` common to all `series`.

    The window ends at the last common date; a shorter common history is used as it is and shows
    in its first date. `lookback_years` None means all of it.

    Raises:
        InsufficientDataError: fewer than `fewest` common returns, or bars of different spacing.
    """
    periods = {s.periods_per_year for s in series}
    if len(periods) > 1:
        raise InsufficientDataError("the tickers' bars are spaced differently (daily, weekly …)")
    annual = periods.pop()
    end = min(s.end for s in series)
    prices = common_prices(series, window_start(end, lookback_years))
    needed = min(fewest, annual)  # a year of monthly bars is twelve
    if len(prices) - 1 < needed:
        raise InsufficientDataError(
            f"{len(prices) - 1} common returns of {', '.join(s.ticker for s in series)} are fewer "
            f"than {needed}"
        )
    returns = simple_returns(prices.to_numpy())
    matrix = covariance(returns, estimator, halflife) * annual
    return Estimates(prices, returns, returns.mean(axis=0) * annual, matrix, annual)
