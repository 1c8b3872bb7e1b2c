"""What money earns without risk: a constant rate, published rates, or the prices of a cash fund."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import CurrencyError, EtfError, InsufficientDataError
from etf_pipeline.model.currencies import unit_of
from etf_pipeline.model.outcomes import moves_in_words, unseen_in_words, withheld_in_words
from etf_pipeline.model.spacing import DAYS_PER_YEAR
from etf_pipeline.risk.prices import PriceSeries

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
_PRICE_HELD = 5  # days that a price of a cash fund counts for, as beside a benchmark
_RATE_HELD = 10  # days that a published rate counts for, or
_USUAL = 1.25  # times the usual gap between them, where that is longer
_QUARTER = 92  # days between rates, at most: further apart it is their changes that are listed
_COARSER = 1.5  # times fewer prices than returns make a cash fund too coarse for them
_A_FEW = 5  # prices fewer that holidays explain


class RiskFree(Protocol):
    """Returns without risk, over any dates."""

    @property
    def name(self) -> str | None:
        """Ticker or file that they are of; None for a constant rate."""

    @property
    def said(self) -> float | str:
        """What was asked for, as a record of it has it."""

    def like(self, currency: str | None) -> RiskFree:
        """The same for returns in a currency; one that refuses where it is of another."""

    def returns(self, days: Days, periods_per_year: float) -> float | Floats:
        """The simple return from each date to the next, shape (n,), or one for all of them.

        Args:
            days: ascending, shape (n + 1,).
            periods_per_year: A, which a constant rate is divided by.

        Raises:
            InsufficientDataError: it is not known on all of the dates; names the gap.
            CurrencyError: it is of another currency.
        """

    def remarks(self, start: dt.date, end: dt.date) -> list[str]:
        """What a reader of numbers over a window must know of it."""

    def over(self, start: dt.date, end: dt.date) -> float:
        """The annual effective rate that it came to from one date to another, a fraction.

        Raises:
            InsufficientDataError: it is not known on all the way; names the gap.
            CurrencyError: it is of another currency.
        """


def periodic_rate(annual_rate: float, periods_per_year: float) -> float:
    """Annual effective rate as a rate per period, (1 + rf)^(1/A) − 1."""
    return float((1.0 + annual_rate) ** (1.0 / periods_per_year) - 1.0)


def risk_free(rate: RiskFree | float) -> RiskFree:
    """A number as a constant annual effective rate."""
    return Constant(float(rate)) if isinstance(rate, int | float) else rate


@dataclass(frozen=True)
class Constant:
    """One annual effective rate, the same for every period."""

    rate: float
    name: None = None

    @property
    def said(self) -> float:
        """The rate."""
        return self.rate

    def like(self, currency: str | None) -> RiskFree:
        """Itself: a number is of no currency."""
        return self

    def returns(self, days: Days, periods_per_year: float) -> float:
        """The rate of one period, (1 + rf)^(1/A) − 1."""
        return periodic_rate(self.rate, periods_per_year)

    def remarks(self, start: dt.date, end: dt.date) -> list[str]:
        """None."""
        return []

    def over(self, start: dt.date, end: dt.date) -> float:
        """The rate."""
        return self.rate


@dataclass(frozen=True)
class Unknown:
    """Returns that cannot be told, and the error that says why."""

    name: str
    error: EtfError

    @property
    def said(self) -> str:
        """The name."""
        return self.name

    def like(self, currency: str | None) -> RiskFree:
        """Itself."""
        return self

    def returns(self, days: Days, periods_per_year: float) -> float:
        """Refused."""
        raise self.error

    def remarks(self, start: dt.date, end: dt.date) -> list[str]:
        """None."""
        return []

    def over(self, start: dt.date, end: dt.date) -> float:
        """Refused."""
        raise self.error


@dataclass(frozen=True)
class Course:
    """Returns that differ from day to day.

    Attributes:
        name: ticker or file.
        days: ascending dates on which something is known, shape (n,).
        growth: log of what 1 had grown to on each, shape (n,).
        slope: log growth a day from each date on, until the next; None where growth is of prices,
            which stand still in between.
        held: days after a date for which it counts.
        currency: that it is of; None when nothing says it.
        fund: the cash fund; None for rates.
    """

    name: str
    days: Days
    growth: Floats
    slope: Floats | None
    held: int
    currency: str | None = None
    fund: PriceSeries | None = None

    @property
    def said(self) -> str:
        """The name."""
        return self.name

    @classmethod
    def of_prices(
        cls, name: str, prices: Floats, days: Days, currency: str | None = None
    ) -> Course:
        """The total returns of a cash fund.

        Args:
            name: its ticker.
            prices: adjusted closes, positive, shape (n,).
            days: their dates, ascending.
            currency: of the prices.
        """
        return cls(name, days.astype("datetime64[D]"), np.log(prices), None, _PRICE_HELD, currency)

    @classmethod
    def of_fund(cls, fund: PriceSeries, currency: str | None = None) -> Course:
        """The total returns of a cash fund, in a currency where its prices say none."""
        values, money = fund.prices.to_numpy(dtype="float64"), fund.currency or currency
        return replace(cls.of_prices(fund.ticker, values, fund.days, money), fund=fund)

    @classmethod
    def of_rates(cls, name: str, rates: Floats, days: Days, currency: str | None = None) -> Course:
        """Annual effective rates, each from its date up to the next, by the days that pass.

        Args:
            name: the file's.
            rates: fractions above −1, shape (n,).
            days: the dates from which they count, ascending.
            currency: that they are rates of.
        """
        dates = days.astype("datetime64[D]")
        gaps = np.diff(dates).astype("int64")
        slope = np.log1p(rates) / DAYS_PER_YEAR
        growth = np.r_[0.0, np.cumsum(slope[:-1] * gaps)]
        usual = _USUAL * min(float(np.median(gaps)), _QUARTER) if len(gaps) else 0.0
        return cls(name, dates, growth, slope, max(_RATE_HELD, math.floor(usual)), currency)

    def like(self, currency: str | None) -> RiskFree:
        """Itself for returns in its own currency, or where one of the two is not known."""
        if currency is None or self.currency is None:
            return self
        if unit_of(currency).major == unit_of(self.currency).major:
            return self
        why = f"the risk-free returns of {self.name} are in {self.currency}, not in {currency}"
        return Unknown(self.name, CurrencyError(why))

    def returns(self, days: Days, periods_per_year: float) -> Floats:
        """What it grew by from each date to the next, whatever the number of periods a year.

        Raises:
            InsufficientDataError: it is not known on all of the dates, or prices are far apart.
        """
        dates = days.astype("datetime64[D]")
        at = self._at(dates)
        n = len(dates) - 1
        if self.slope is None and n > _COARSER * int(at[-1] - at[0]) + _A_FEW:
            raise InsufficientDataError(
                f"the prices of {self.name} are further apart than the returns, which have no "
                "risk-free return each"
            )
        return np.expm1(np.diff(self._growth(dates, at)))

    def remarks(self, start: dt.date, end: dt.date) -> list[str]:
        """Distributions that are not in a fund's returns, and moves that may be no market's."""
        if self.fund is None:
            return []
        part = self.fund.since(start).until(end)
        withheld = [day for day in self.fund.withheld if start < day <= end]
        words = [withheld_in_words(withheld)] if withheld else []
        unseen = [day for day in self.fund.unseen if start < day <= end]
        words += [unseen_in_words(unseen)] if unseen else []
        words += moves_in_words(part.doubtful_moves())
        return [f"{self.name}, as free of risk: {text}" for text in words]

    def over(self, start: dt.date, end: dt.date) -> float:
        """The annual effective rate that it came to between two dates."""
        dates = np.array([start, end], dtype="datetime64[D]")
        first, last = self._growth(dates, self._at(dates))
        days = int((dates[1] - dates[0]).astype("int64"))
        if days < 1:
            raise InsufficientDataError(f"{self.name}: no time passes from {start} to {end}")
        return math.expm1(float(last - first) * DAYS_PER_YEAR / days)

    def _growth(self, dates: Days, at: npt.NDArray[np.intp]) -> Floats:
        grown = self.growth[at]
        if self.slope is None:
            return grown
        since = (dates - self.days[at]).astype("int64")
        return np.asarray(grown + self.slope[at] * since)

    def _at(self, dates: Days) -> npt.NDArray[np.intp]:
        """Positions of what counts on each of the dates.

        Raises:
            InsufficientDataError: nothing does on one of them, or a rate is missing in between.
        """
        what = "price" if self.slope is None else "rate"
        if self.days[0] > dates[0]:
            raise InsufficientDataError(
                f"risk-free returns of {self.name} begin on {self.days[0]}, after {dates[0]}"
            )
        at = np.searchsorted(self.days, dates, side="right") - 1
        reach = self.days[at] + np.timedelta64(self.held, "D")
        late = dates > reach
        if self.slope is not None:  # a rate must be there on the way, too
            ends = np.flatnonzero(np.diff(self.days).astype("int64") > self.held)
            inside = (self.days[ends + 1] > dates[0]) & (ends < at[-1])
            gap = int(ends[inside][0]) if inside.any() else None
        else:
            gap = None
        if gap is None and late.any():
            gap = int(at[np.argmax(late)])
        if gap is None:
            return at
        until = f" and {self.days[gap + 1]}" if gap + 1 < len(self.days) else None
        where = f"between {self.days[gap]}{until}" if until else f"after {self.days[gap]}"
        raise InsufficientDataError(
            f"{self.name} has no risk-free {what} {where}; one counts for {self.held} days"
        )
