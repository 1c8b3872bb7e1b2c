"""How much time a run of prices spans, which every annual number rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etf_pipeline.model.spacing import DAYS_PER_YEAR, periods_per_year

Days = npt.NDArray[np.datetime64]
_YEAR = 365  # days; a span from a day to the same day of the next year has no fewer


@dataclass(frozen=True)
class Span:
    """The `n` returns between usable prices, and the `days` from the first price to the last."""

    n: int
    days: int

    @classmethod
    def of(cls, dates: Days) -> Span:
        """That of prices on ascending `dates`, shape (n + 1,)."""
        if len(dates) < 2:
            return cls(0, 0)
        return cls(len(dates) - 1, int((dates[-1] - dates[0]).astype("timedelta64[D]").astype(int)))

    @property
    def years(self) -> float:
        """Time from the first price to the last."""
        return self.days / DAYS_PER_YEAR

    def periods_per_year(self, fixed: float | None = None) -> float | None:
        """A: the returns a year that there were, or what is `fixed`; None without a return."""
        if self.n == 0:
            return None
        return periods_per_year(self.n, self.days) if fixed is None else fixed

    @property
    def too_short(self) -> str | None:
        """Why no return is annualised over it; None for a year and more.

        That is a rule of the GIPS standards: it would claim the same again for the rest of the
        year. A volatility claims nothing about the time that is missing.
        """
        if self.days >= _YEAR:
            return None
        return f"{self.days} days are under a year: returns are not annualised"
