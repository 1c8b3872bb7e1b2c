"""Risk metrics of one price series. A value that cannot be computed is None, with a reason.

Throughout, P_0 … P_T are adjusted closes in date order, NaN where a session has no usable price;
r are simple returns between consecutive usable prices, n of them; A is periods per year, stated by
the caller: `annual.Span` has the ones that there were.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from etf_pipeline.risk.returns import FLAT, Fall, drawdowns, fall_to, simple_returns

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
_ONE_RETURN = "volatility needs two returns"


@dataclass(frozen=True)
class Metrics:
    """Metrics of one series; `reasons` says why a field is None."""

    n_obs: int
    start: dt.date | None
    end: dt.date | None
    total_return: float | None = None
    mean_return: float | None = None
    cagr: float | None = None
    volatility: float | None = None
    sharpe_ratio: float | None = None
    sortino_ratio: float | None = None
    max_drawdown: float | None = None
    drawdown_peak: dt.date | None = None
    drawdown_trough: dt.date | None = None
    drawdown_recovery: dt.date | None = None
    calmar_ratio: float | None = None
    var_95: float | None = None
    cvar_95: float | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Relative:
    """Metrics against a benchmark, on the dates common to the pair."""

    n_obs: int
    beta: float | None = None
    tracking_error: float | None = None
    information_ratio: float | None = None
    reasons: tuple[str, ...] = ()


def compute_metrics(
    prices: Floats, dates: Days, periods_per_year: float, risk_free_rate: float = 0.0
) -> Metrics:
    """Every metric of one series.

    Args:
        prices: shape (T+1,), positive, NaN where a session has no usable price.
        dates: shape (T+1,), ascending.
        periods_per_year: A.
        risk_free_rate: annual effective rate, a fraction.

    Raises:
        ValueError: a price is zero, negative or infinite.
    """
    missing = np.isnan(prices)
    steps = len(prices) - 1
    p, d = prices, dates
    if missing.any():
        held = np.flatnonzero(~missing)
        p, d = prices[held], dates[held]
        steps = int(held[-1] - held[0]) if len(held) else 0
    if len(p) and not (p.min() > 0 and p.max() < math.inf):
        raise ValueError("prices must be positive and finite")
    if len(p) < 2:
        day = _day(d[0]) if len(p) else None
        return Metrics(0, day, day, reasons=("fewer than two prices",))
    r = simple_returns(p)
    drawdown, peak, trough, recovery = max_drawdown(p)
    var_95, cvar_95 = tail_losses(r, 0.95)
    found = Metrics(
        n_obs=len(r),
        start=_day(d[0]),
        end=_day(d[-1]),
        total_return=float(p[-1] / p[0] - 1.0),
        cagr=cagr(p[-1] / p[0], steps, periods_per_year),
        max_drawdown=drawdown,
        drawdown_peak=_day(d[peak]) if drawdown < 0 else None,
        drawdown_trough=_day(d[trough]) if drawdown < 0 else None,
        drawdown_recovery=_day(d[recovery]) if recovery is not None else None,
        var_95=var_95,
        cvar_95=cvar_95,
    )
    return _with_ratios(found, r, periods_per_year, risk_free_rate)


def _with_ratios(
    found: Metrics, r: Floats, periods_per_year: float, risk_free_rate: float
) -> Metrics:
    """The same with means, deviations and ratios, and why some are None."""
    reasons: list[str] = []
    moments = _moments(r)
    growth, drawdown = found.cagr or 0.0, found.max_drawdown or 0.0
    return replace(
        found,
        mean_return=periods_per_year * moments.mean,
        volatility=_keep(_volatility(moments, periods_per_year), _ONE_RETURN, reasons),
        sharpe_ratio=_keep(
            _sharpe_ratio(moments, periods_per_year, risk_free_rate), "returns do not vary", reasons
        ),
        sortino_ratio=_keep(
            sortino_ratio(r, periods_per_year, risk_free_rate),
            "no return is below the target",
            reasons,
        ),
        calmar_ratio=_keep(
            growth / abs(drawdown) if drawdown < 0 else None, "there is no drawdown", reasons
        ),
        reasons=tuple(reasons),
    )


def without_annual_returns(found: Metrics, why: str) -> Metrics:
    """The same without returns a year and without what is made of them; `why` is the reason."""
    return replace(
        found,
        mean_return=None,
        cagr=None,
        sharpe_ratio=None,
        sortino_ratio=None,
        calmar_ratio=None,
        reasons=(why, *(r for r in found.reasons if r == _ONE_RETURN)),
    )


def cagr(total_growth: float, steps: int, periods_per_year: float) -> float:
    """Compound annual growth rate, (P_T/P_0)^(A/steps) − 1, fraction a year.

    Where A is the returns a year that there were, n · 365.25 / days, `steps` is n, and the power is
    365.25 / days. Where A is a convention, `steps` counts sessions from the first price to the
    last, those without a usable price too, so that a hole does not speed time up.
    """
    return float(total_growth ** (periods_per_year / steps) - 1.0)


@dataclass(frozen=True)
class _Moments:
    """Mean and deviation (ddof 1; None for fewer than two) of returns, and whether they vary."""

    mean: float
    deviation: float | None
    varies: bool


def _moments(returns: Floats) -> _Moments:
    n = len(returns)
    return _Moments(
        float(returns.mean()) if n else 0.0,
        float(returns.std(ddof=1)) if n > 1 else None,
        n > 1 and float(np.ptp(returns)) > FLAT,
    )


def volatility(returns: Floats, periods_per_year: float) -> float | None:
    """√A · std(r, ddof=1), fraction a year; None for fewer than two returns."""
    return _volatility(_moments(returns), periods_per_year)


def _volatility(moments: _Moments, periods_per_year: float) -> float | None:
    if moments.deviation is None:
        return None
    return math.sqrt(periods_per_year) * moments.deviation


def periodic_rate(annual_rate: float, periods_per_year: float) -> float:
    """Annual effective rate as a rate per period, (1 + rf)^(1/A) − 1."""
    return float((1.0 + annual_rate) ** (1.0 / periods_per_year) - 1.0)


def sharpe_ratio(
    returns: Floats, periods_per_year: float, risk_free_rate: float = 0.0
) -> float | None:
    """√A · mean(r − rf_d) / std(r − rf_d, ddof=1) (Sharpe, 1994, "The Sharpe Ratio").

    None when the returns do not vary (a spread of at most 1e-12) or there are fewer than two.
    """
    return _sharpe_ratio(_moments(returns), periods_per_year, risk_free_rate)


def _sharpe_ratio(
    moments: _Moments, periods_per_year: float, risk_free_rate: float = 0.0
) -> float | None:
    if not moments.varies or not moments.deviation:
        return None
    # the rate is a constant, so the deviation of the excess is that of the returns
    excess = moments.mean - periodic_rate(risk_free_rate, periods_per_year)
    return math.sqrt(periods_per_year) * excess / moments.deviation


def sortino_ratio(returns: Floats, periods_per_year: float, target: float = 0.0) -> float | None:
    """√A · mean(r − t_d) / √(Σ min(r − t_d, 0)² / n), over all n observations.

    Sortino & Price, 1994, "Performance Measurement in a Downside Risk Framework". `target` is an
    annual effective rate. None when no return is below it.
    """
    if len(returns) == 0:
        return None
    excess = returns - periodic_rate(target, periods_per_year)
    downside = math.sqrt(float(np.mean(np.minimum(excess, 0.0) ** 2)))
    if downside <= FLAT:
        return None
    return float(math.sqrt(periods_per_year) * excess.mean() / downside)


def max_drawdown(prices: Floats) -> Fall:
    """Worst fall from a running peak, min over t of P_t / max_{s≤t} P_s − 1 (P_0 included).

    The first of several that are equally deep.
    """
    depths = drawdowns(prices)
    return fall_to(int(np.argmin(depths)), prices, depths)


def _tail_size(n: int, level: float) -> float:
    """(1 − level) · n observations, free of the rounding of 1 − level."""
    return round((1.0 - level) * n, 9)


def tail_losses(returns: Floats, level: float) -> tuple[float | None, float | None]:
    """Value at risk and conditional value at risk, in one pass; positive loss fractions.

    Historical, of one period. The first is the upper quantile of the discrete distribution: the
    smallest loss exceeded with probability below 1 − level. The second is the mean of the worst
    (1 − level) of the distribution, which splits the observation at the quantile (Rockafellar &
    Uryasev, 2002, "Conditional value-at-risk for general loss distributions", Prop. 8).
    """
    n = len(returns)
    if n == 0:
        return None, None
    tail = _tail_size(n, level)
    count = max(1, math.ceil(tail))
    # The `count` lowest returns, the highest of them first: no full sort is needed.
    lowest = np.partition(returns, count - 1)[:count]
    at_quantile = float(lowest[count - 1])
    beyond = float(lowest.sum()) - at_quantile
    cvar = -(beyond + (tail - (count - 1)) * at_quantile) / tail
    return -at_quantile, cvar


def conditional_value_at_risk(returns: Floats, level: float) -> float | None:
    """The second of `tail_losses`."""
    return tail_losses(returns, level)[1]


def relative_metrics(returns: Floats, benchmark: Floats, periods_per_year: float) -> Relative:
    """Beta, tracking error and information ratio (Grinold & Kahn, "Active Portfolio Management").

    beta = cov(r, b) / var(b); the tracking error is the volatility of the active returns r − b, the
    information ratio their Sharpe ratio. Both series are on the same dates, shape (n,).
    """
    n = len(returns)
    if n < 2:
        return Relative(n, reasons=("fewer than two returns in common with the benchmark",))
    if np.ptp(benchmark) <= FLAT:
        return Relative(n, reasons=("the benchmark does not vary",))
    beta = float(np.cov(returns, benchmark, ddof=1)[0, 1] / benchmark.var(ddof=1))
    active = returns - benchmark
    if np.ptp(active) <= FLAT:
        return Relative(n, beta, 0.0, reasons=("it does not differ from the benchmark",))
    moments = _moments(active)
    error = _volatility(moments, periods_per_year)
    return Relative(n, beta, error, _sharpe_ratio(moments, periods_per_year))


def _keep(value: float | None, reason: str, reasons: list[str]) -> float | None:
    if value is None or not math.isfinite(value):
        reasons.append(reason)
        return None
    return value


def _day(value: np.datetime64) -> dt.date:
    return value.astype("datetime64[D]").item()
