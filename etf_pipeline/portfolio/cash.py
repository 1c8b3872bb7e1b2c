"""What cash of an account earns, as far as it is known. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.spacing import DAYS_PER_YEAR
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.membership import Days
from etf_pipeline.risk.risk_free import Constant, RiskFree, Unknown, risk_free


@dataclass(frozen=True)
class Cash:
    """The value of a unit of cash on each of `days`, `index` (T,), 1 on the first.

    It stands still over the steps that end where `unknown` (T,) says so: nothing tells what it
    earns there, and `check` refuses to have held any.
    """

    days: Days
    index: Floats
    unknown: npt.NDArray[np.bool_]
    free: RiskFree

    def check(self, first: int, held: Floats) -> None:
        """Nothing, where none was held while its returns are not known.

        Args:
            first: position of the first session of `held`.
            held: the amount at the end of each session, shape (S,).

        Raises:
            InsufficientDataError: some was; names the dates.
            CurrencyError: some was, and what is free of risk is in another currency.
        """
        missing = np.flatnonzero((held[:-1] != 0.0) & self.unknown[first + 1 : first + len(held)])
        if len(missing):
            at = first + int(missing[0])
            self.free.returns(self.days[at : at + 2], 1.0)  # refuses


def cash_of(days: Days, rate: RiskFree | float) -> Cash:
    """Cash that earns what is free of risk: a constant rate by the day, other returns as they are.

    Args:
        days: ascending, shape (T,).
        rate: annual effective rate, or returns without risk.
    """
    free = risk_free(rate)
    if isinstance(free, Constant):
        elapsed = (days - days[0]).astype("timedelta64[D]").astype("float64")
        index = (1.0 + free.rate) ** (elapsed / DAYS_PER_YEAR)
        return Cash(days, index, np.zeros(len(days), dtype="bool"), free)
    returns = np.r_[0.0, _known(days, free)]
    return Cash(days, np.cumprod(1.0 + np.nan_to_num(returns)), np.isnan(returns), free)


def _known(days: Days, free: RiskFree) -> Floats:
    """The risk-free return from each date to the next, shape (T − 1,); NaN where not known."""
    if len(days) < 2 or isinstance(free, Unknown):
        return np.full(max(len(days) - 1, 0), np.nan)
    try:
        return np.broadcast_to(free.returns(days, 1.0), (len(days) - 1,))
    except InsufficientDataError:
        if len(days) == 2:
            return np.array([np.nan])
    half = len(days) // 2
    return np.r_[_known(days[: half + 1], free), _known(days[half:], free)]
