"""Risk metrics of one price series. A value that cannot be computed is None, with a reason.

Throughout, P_0 … P_T are adjusted closes in date order, NaN where a session has no usable price;
r are simple returns between consecutive usable prices, n of them; A is periods per year, stated by
the caller: `annual.Span` has the ones that there were.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import CurrencyError, InsufficientDataError
from etf_pipeline.risk.moments import FOR_KURTOSIS, Moments, moments_of
from etf_pipeline.risk.months import whole_months
from etf_pipeline.risk.returns import FLAT, Fall, drawdowns, fall_to, simple_returns
from etf_pipeline.risk.risk_free import RiskFree, periodic_rate, risk_free

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
_ONE_RETURN = "volatility needs two returns"


@dataclass(frozen=True)
class Metrics:
    """Metrics of one series; `reasons` says why a field is None.

    `lasting` are those of them that are not about returns a year.
    """

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
    ulcer_index: float | None = None
    var_95: float | None = None
    cvar_95: float | None = None
    skewness: float | None = None
    excess_kurtosis: float | None = None
    best_month: float | None = None
    worst_month: float | None = None
    positive_months: float | None = None
    n_months: int = 0
    reasons: tuple[str, ...] = ()
    lasting: tuple[str, ...] = ()


def compute_metrics(
    prices: Floats,
    dates: Days,
    periods_per_year: float,
    risk_free_rate: RiskFree | float = 0.0,
) -> Metrics:
    """Every metric of one series.

    Args:
        prices: shape (T+1,), positive, NaN where a session has no usable price.
        dates: shape (T+1,), ascending.
        periods_per_year: A.
        risk_free_rate: annual effective rate, a fraction, or returns over the same dates.

    Raises:
        ValueError: a price is zero, negative or infinite.
    """
    p, d, steps = _usable(prices, dates)
    if len(p) < 2:
        day = _day(d[0]) if len(p) else None
        return Metrics(0, day, day, reasons=("fewer than two prices",))
    r = simple_returns(p)
    moments, growth = moments_of(r), cagr(p[-1] / p[0], steps, periods_per_year)
    depths = drawdowns(p)
    fall = _worst(p, depths)
    lasting, about_rates = list[str](), list[str]()
    free = _free(risk_free_rate, d, periods_per_year, about_rates)
    values = {
        "mean_return": periods_per_year * moments.mean,
        "volatility": _keep(_volatility(moments, periods_per_year), _ONE_RETURN, lasting),
        **_ratios(r, moments, periods_per_year, free, about_rates),
        "calmar_ratio": _keep(
            growth / abs(fall.depth) if fall.depth < 0 else None,
            "there is no drawdown",
            about_rates,
        ),
        **_shape(moments, lasting),
        **_months(p, d, lasting),
    }
    peak, trough, recovery = (_when(d, i) if fall.depth < 0 else None for i in fall[1:])
    var_95, cvar_95 = tail_losses(r, 0.95)
    return Metrics(
        n_obs=len(r),
        start=_day(d[0]),
        end=_day(d[-1]),
        total_return=float(p[-1] / p[0] - 1.0),
        cagr=growth,
        max_drawdown=fall.depth,
        drawdown_peak=peak,
        drawdown_trough=trough,
        drawdown_recovery=recovery,
        ulcer_index=_root_mean_square(depths),
        var_95=var_95,
        cvar_95=cvar_95,
        reasons=tuple(dict.fromkeys([*lasting, *about_rates])),
        lasting=tuple(lasting),
        **values,
    )


def _free(
    rate: RiskFree | float, d: Days, periods_per_year: float, reasons: list[str]
) -> float | Floats | None:
    """Risk-free returns between the dates; None, and why in `reasons`, where they are not known."""
    try:
        return risk_free(rate).returns(d, periods_per_year)
    except (InsufficientDataError, CurrencyError) as error:
        reasons.append(str(error))
        return None


def _usable(prices: Floats, dates: Days) -> tuple[Floats, Days, int]:
    """The prices that there are, their dates, and the steps from the first of them to the last."""
    missing = np.isnan(prices)
    steps = len(prices) - 1
    if missing.any():
        held = np.flatnonzero(~missing)
        prices, dates = prices[held], dates[held]
        steps = int(held[-1] - held[0]) if len(held) else 0
    if len(prices) and not (prices.min() > 0 and prices.max() < math.inf):
        raise ValueError("prices must be positive and finite")
    return prices, dates, steps


def _ratios(
    r: Floats,
    moments: Moments,
    periods_per_year: float,
    free: float | Floats | None,
    reasons: list[str],
) -> dict[str, Any]:
    """Ratios of returns over the risk-free; adds to `reasons` why one is None.

    `free` is the risk-free return of each period, or of every one; None where it is not known.
    """
    if free is None:
        return {}
    excess = r - free
    if isinstance(free, float):  # the deviation of the excess is that of the returns
        over, why = replace(moments, mean=moments.mean - free), "returns do not vary"
    else:
        over, why = moments_of(excess), "returns over the risk-free do not vary"
    return {
        "sharpe_ratio": _keep(_sharpe(over, periods_per_year), why, reasons),
        "sortino_ratio": _keep(
            _sortino(excess, periods_per_year), "no return is below the target", reasons
        ),
    }


def _shape(moments: Moments, reasons: list[str]) -> dict[str, Any]:
    """The shape of the distribution; adds to `reasons` why it is not told."""
    if moments.n < FOR_KURTOSIS:
        reasons.append("skewness needs three returns, kurtosis four")
    if not moments.varies and moments.n > 1:
        reasons.append("returns do not vary")
    skewness, kurtosis = moments.shape()
    return {"skewness": skewness, "excess_kurtosis": kurtosis}


def _months(p: Floats, d: Days, reasons: list[str]) -> dict[str, Any]:
    """What whole months returned; adds to `reasons` what is not among them."""
    months = whole_months(p, d)
    if months.left_out:
        reasons.append(f"{months.left_out} calendar months without a price near an end left out")
    n = len(months.returns)
    if n == 0:
        reasons.append("there is no whole calendar month")
        return {}
    return {
        "best_month": float(months.returns.max()),
        "worst_month": float(months.returns.min()),
        "positive_months": int(np.count_nonzero(months.returns > 0)) / n,
        "n_months": n,
    }


def without_annual_returns(found: Metrics, why: str) -> Metrics:
    """The same without returns a year and without what is made of them; `why` is the reason."""
    return replace(
        found,
        mean_return=None,
        cagr=None,
        sharpe_ratio=None,
        sortino_ratio=None,
        calmar_ratio=None,
        reasons=(why, *found.lasting),
    )


def cagr(total_growth: float, steps: int, periods_per_year: float) -> float:
    """Compound annual growth rate, (P_T/P_0)^(A/steps) − 1, fraction a year.

    Where A is the returns a year that there were, n · 365.25 / days, `steps` is n, and the power is
    365.25 / days. Where A is a convention, `steps` counts sessions from the first price to the
    last, those without a usable price too, so that a hole does not speed time up.
    """
    return float(total_growth ** (periods_per_year / steps) - 1.0)


def volatility(returns: Floats, periods_per_year: float) -> float | None:
    """√A · std(r, ddof=1), fraction a year; None for fewer than two returns."""
    return _volatility(moments_of(returns), periods_per_year)


def _volatility(moments: Moments, periods_per_year: float) -> float | None:
    if moments.deviation is None:
        return None
    return math.sqrt(periods_per_year) * moments.deviation


def sharpe_ratio(
    returns: Floats, periods_per_year: float, risk_free_rate: float = 0.0
) -> float | None:
    """√A · mean(r − rf_d) / std(r − rf_d, ddof=1) (Sharpe, 1994, "The Sharpe Ratio").

    None when the returns do not vary (a spread of at most 1e-12) or there are fewer than two.
    """
    # the rate is a constant, so the deviation of the excess is that of the returns
    moments = moments_of(returns)
    excess = moments.mean - periodic_rate(risk_free_rate, periods_per_year)
    return _sharpe(replace(moments, mean=excess), periods_per_year)


def volatility_and_ratio(
    excess: Floats, periods_per_year: float
) -> tuple[float | None, float | None]:
    """`volatility` and `sharpe_ratio` of returns that are over something already, in one pass."""
    moments = moments_of(excess)
    return _volatility(moments, periods_per_year), _sharpe(moments, periods_per_year)


def _sharpe(excess: Moments, periods_per_year: float) -> float | None:
    if not excess.varies or not excess.deviation:
        return None
    return math.sqrt(periods_per_year) * excess.mean / excess.deviation


def sortino_ratio(returns: Floats, periods_per_year: float, target: float = 0.0) -> float | None:
    """√A · mean(r − t_d) / √(Σ min(r − t_d, 0)² / n), over all n observations.

    Sortino & Price, 1994, "Performance Measurement in a Downside Risk Framework". `target` is an
    annual effective rate. None when no return is below it.
    """
    if len(returns) == 0:
        return None
    return _sortino(returns - periodic_rate(target, periods_per_year), periods_per_year)


def _sortino(excess: Floats, periods_per_year: float) -> float | None:
    downside = math.sqrt(float(np.mean(np.minimum(excess, 0.0) ** 2)))
    if downside <= FLAT:
        return None
    return float(math.sqrt(periods_per_year) * excess.mean() / downside)


def shape(returns: Floats) -> tuple[float | None, float | None]:
    """Skewness and excess kurtosis of returns, corrected for bias.

    The adjusted Fisher–Pearson estimators G₁ and G₂ (Joanes & Gill, 1998, "Comparing measures of
    sample skewness and kurtosis"), which pandas, quantstats and spreadsheets have too. None where
    returns do not vary, the first of fewer than three returns, the second of fewer than four.
    """
    return moments_of(returns).shape()


def ulcer_index(prices: Floats) -> float:
    """Root mean square of the drawdowns on all dates, a fraction (Martin & McCann, 1989).

    "The Investor's Guide to Fidelity Funds", in per cent there. P_0, whose drawdown is 0, counts.
    """
    return _root_mean_square(drawdowns(prices))


def _root_mean_square(values: Floats) -> float:
    return math.sqrt(float(values @ values) / len(values))


def max_drawdown(prices: Floats) -> Fall:
    """Worst fall from a running peak, min over t of P_t / max_{s≤t} P_s − 1 (P_0 included).

    The first of several that are equally deep.
    """
    return _worst(prices, drawdowns(prices))


def _worst(prices: Floats, depths: Floats) -> Fall:
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


def _keep(value: float | None, reason: str, reasons: list[str]) -> float | None:
    if value is None or not math.isfinite(value):
        reasons.append(reason)
        return None
    return value


def _when(dates: Days, at: int | None) -> dt.date | None:
    return None if at is None else _day(dates[at])


def _day(value: np.datetime64) -> dt.date:
    return value.astype("datetime64[D]").item()
