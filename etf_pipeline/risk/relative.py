"""Metrics of a series beside a benchmark. What cannot be computed is None, with a reason."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import CurrencyError, InsufficientDataError
from etf_pipeline.model.spacing import is_long, long_gaps
from etf_pipeline.risk.annual import Span
from etf_pipeline.risk.conversion import Conversion
from etf_pipeline.risk.metrics import volatility_and_ratio
from etf_pipeline.risk.months import whole_months
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.returns import FLAT
from etf_pipeline.risk.risk_free import RiskFree
from etf_pipeline.risk.together import Beside, Regular, beside

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Relative:
    """Metrics against a benchmark, on the dates common to the pair."""

    n_obs: int
    beta: float | None = None
    alpha: float | None = None
    r_squared: float | None = None
    tracking_error: float | None = None
    information_ratio: float | None = None
    up_capture: float | None = None
    down_capture: float | None = None
    reasons: tuple[str, ...] = ()


def against(
    series: PriceSeries,
    benchmark: PriceSeries,
    start: dt.date | None,
    conversion: Conversion,
    fixed: float | None,
    risk_free: RiskFree,
) -> Relative:
    """A series against its benchmark, over the window that begins at `start`.

    `fixed` is A by convention, which is one of the bars, not of what is resampled.
    """
    try:
        if series.ticker == benchmark.ticker:
            part = series.since(start)
            prices = part.prices.to_numpy(dtype="float64")
            found = Beside(np.column_stack([prices, prices]), part.days, None)
        else:
            found = beside(series, conversion.like(benchmark, series, start), start)
    except (CurrencyError, InsufficientDataError) as error:
        return Relative(0, reasons=(str(error),))
    used, span = Regular.of(found.prices, found.days), Span.of(found.days)
    annual = used.periods_per_year if fixed is None or found.resampled is not None else fixed
    relative = relative_metrics(used.returns[:, 0], used.returns[:, 1], annual)
    if series.ticker == benchmark.ticker:
        relative = replace(relative, beta=1.0, r_squared=1.0, reasons=("it is the benchmark",))
    said = list(relative.reasons)
    relative = _with_alpha(relative, used.returns, found, annual, risk_free, said)
    if span.too_short and (relative.information_ratio, relative.alpha) != (None, None):
        relative = replace(relative, information_ratio=None, alpha=None)
        said.append(
            f"{span.days} days in common with the benchmark make no information ratio and no alpha"
        )
    relative = _with_captures(relative, found, said)
    said += [] if found.resampled is None else [found.resampled]
    said += [f"beside the benchmark, {gap}: left out" for gap in long_gaps(found.days)]
    return replace(relative, reasons=tuple(said))


def relative_metrics(returns: Floats, benchmark: Floats, periods_per_year: float) -> Relative:
    """Beta, R², tracking error and information ratio, of returns on the same dates, shape (n,).

    beta = cov(r, b) / var(b), R² the square of their correlation; the tracking error is the
    volatility of the active returns r − b, the information ratio their Sharpe ratio (Grinold &
    Kahn, "Active Portfolio Management").
    """
    n = len(returns)
    if n < 2:
        return Relative(n, reasons=("fewer than two returns in common with the benchmark",))
    if np.ptp(benchmark) <= FLAT:
        return Relative(n, reasons=("the benchmark does not vary",))
    (own, both), (_, other) = np.cov(returns, benchmark, ddof=1)
    beta = float(both / benchmark.var(ddof=1))
    varies = np.ptp(returns) > FLAT
    r_squared = min(float(both / own * (both / other)), 1.0) if varies else None
    active = returns - benchmark
    reasons = () if varies else ("returns beside the benchmark do not vary",)
    if np.ptp(active) <= FLAT:
        reasons = (*reasons, "it does not differ from the benchmark")
        return Relative(n, beta, None, r_squared, 0.0, reasons=reasons)
    error, ratio = volatility_and_ratio(active, periods_per_year)
    return Relative(n, beta, None, r_squared, error, ratio, reasons=reasons)


def alpha(excess: Floats, benchmark: Floats, periods_per_year: float) -> float | None:
    """A · (mean(e) − β · mean(e_b)), fraction a year (Jensen, 1968).

    "The Performance of Mutual Funds in the Period 1945–1964": the intercept of the regression of
    returns over the risk-free ones on the benchmark's over these. None for fewer than two, or
    where the benchmark's do not vary.

    Args:
        excess: returns over the risk-free, shape (n,).
        benchmark: the benchmark's over the same.
        periods_per_year: A.
    """
    if len(excess) < 2 or np.ptp(benchmark) <= FLAT:
        return None
    own, its = excess.mean(), benchmark.mean()
    off = benchmark - its
    beta = ((excess - own) @ off) / (off @ off)
    return float(periods_per_year * (own - beta * its))


def captures(returns: Floats, benchmark: Floats) -> tuple[float | None, float | None]:
    """Up and down capture, 1 for all of it (Morningstar's definition).

    The geometric mean of the returns in the months in which the benchmark rose, over the
    benchmark's in these; and the same where it fell. A month in which it did neither is in none.
    None where there is no such month.

    Args:
        returns: of whole months, above −1, shape (m,).
        benchmark: its returns in the same months.
    """
    mine, its = np.log1p(returns), np.log1p(benchmark)
    return _capture(mine, its, benchmark > 0), _capture(mine, its, benchmark < 0)


def _capture(mine: Floats, its: Floats, months: npt.NDArray[np.bool_]) -> float | None:
    n = int(np.count_nonzero(months))
    if n == 0:
        return None
    own, other = (math.expm1(float(logs[months].sum()) / n) for logs in (mine, its))
    return own / other


def _with_alpha(
    relative: Relative,
    returns: Floats,
    found: Beside,
    annual: float,
    risk_free: RiskFree,
    said: list[str],
) -> Relative:
    """The same with alpha; adds to `said` why there is none."""
    if relative.beta is None:
        return relative
    try:
        free = risk_free.returns(found.days, annual)
    except (CurrencyError, InsufficientDataError) as error:
        said.append(f"no alpha: {error}")
        return relative
    if not isinstance(free, float):
        free = free[~is_long(found.days)]
    value = alpha(returns[:, 0] - free, returns[:, 1] - free, annual)
    if value is None:
        said.append("the benchmark's returns over the risk-free do not vary")
    return replace(relative, alpha=value)


def _with_captures(relative: Relative, found: Beside, said: list[str]) -> Relative:
    """The same with captures; adds to `said` why there is none."""
    months = whole_months(found.prices, found.days).returns
    up, down = captures(months[:, 0], months[:, 1])
    for value, way in ((up, "rose"), (down, "fell")):
        if value is None:
            said.append(f"the benchmark {way} in no whole calendar month")
    return replace(relative, up_capture=up, down_capture=down)
