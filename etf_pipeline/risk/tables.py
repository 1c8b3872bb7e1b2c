"""The risk table: metrics per ticker and window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from etf_pipeline.errors import CurrencyError, InsufficientDataError
from etf_pipeline.model.outcomes import moves_in_words, unseen_in_words, withheld_in_words
from etf_pipeline.model.schemas import RISK_METRICS
from etf_pipeline.model.spacing import spacing_remarks
from etf_pipeline.risk.annual import Span
from etf_pipeline.risk.conversion import OWN_CURRENCY, Conversion
from etf_pipeline.risk.metrics import Metrics, compute_metrics, without_annual_returns
from etf_pipeline.risk.prices import PriceSeries, window_start
from etf_pipeline.risk.relative import Relative, against
from etf_pipeline.risk.risk_free import Constant, RiskFree, risk_free

_AT_ONCE = 2_000  # rows that are Python's at a time: as Arrow has them they take a tenth
_NAMES = frozenset(RISK_METRICS.names)
WINDOWS: dict[str, int | None] = {"1y": 1, "3y": 3, "5y": 5, "10y": 10, "max": None}


def risk_table(
    series: Iterable[PriceSeries],
    risk_free_rate: RiskFree | float = 0.0,
    benchmark: PriceSeries | None = None,
    conversion: Conversion = OWN_CURRENCY,
    periods_per_year: float | None = None,
) -> pa.Table:
    """One row per ticker and window, by ticker. A ticker's row does not depend on the others.

    The series are gone through once, and none is kept.

    A window that a history does not cover has null metrics and says how much there is; it is
    never filled with a shorter one. Each row is in its ticker's own currency, and so is the
    benchmark that it is compared with.
    """
    parts, rows = [RISK_METRICS.arrow.empty_table()], list[dict[str, Any]]()
    for one in series:
        for window, years in WINDOWS.items():
            row = metrics_row(one, years, risk_free_rate, benchmark, conversion, periods_per_year)
            rows.append(row | {"window": window})
        if len(rows) >= _AT_ONCE:
            parts.append(pa.Table.from_pylist(rows, schema=RISK_METRICS.arrow))
            rows = []
    parts.append(pa.Table.from_pylist(rows, schema=RISK_METRICS.arrow))
    table = pa.concat_tables(parts).combine_chunks()
    tickers = np.array(table.column("ticker").to_pylist(), dtype=object)
    return table.take(pa.array(np.argsort(tickers, kind="stable")))


def metrics_row(
    series: PriceSeries,
    years: int | None,
    risk_free_rate: RiskFree | float = 0.0,
    benchmark: PriceSeries | None = None,
    conversion: Conversion = OWN_CURRENCY,
    periods_per_year: float | None = None,
) -> dict[str, Any]:
    """One ticker's metrics over the last `years` (None: all), by the table's column names.

    `periods_per_year` fixes A by convention; by default it is the returns a year that there were.
    """
    start = window_start(series.end, years)
    part = series.since(start)
    currency = conversion.currency_of(series)
    free = risk_free(risk_free_rate).like(currency)
    span, reasons = Span.of(part.days), list[str]()
    metrics, relative, annual = Metrics(0, None, None), Relative(0), None
    try:
        if start is not None and years is not None:
            series.check_covers(start, years)
        annual = span.periods_per_year(periods_per_year)
        metrics = _metrics(part, span, periods_per_year, free)
        reasons += [*metrics.reasons, *spacing_remarks(part.days)]
    except InsufficientDataError as error:
        reasons.append(str(error))
    if benchmark is not None and metrics.n_obs:
        relative = against(series, benchmark, start, conversion, periods_per_year, free)
        reasons += relative.reasons
    first = series.days[0]
    n_excluded = int((part.excluded >= first).sum()) if years else len(series.excluded)
    if n_excluded:
        reasons.append(f"{n_excluded} quarantined sessions left out")
    # The first price of a window is before any return of it.
    first_price, end = part.days[0].item(), part.end
    withheld = [day for day in series.withheld if first_price < day <= end]
    if withheld:
        reasons.append(withheld_in_words(withheld))
    unseen = [day for day in series.unseen if first_price < day <= end]
    if unseen:
        reasons.append(unseen_in_words(unseen))
    reasons += moves_in_words(part.doubtful_moves())
    reasons += free.remarks(first_price, end)
    row = {k: v for k, v in vars(metrics).items() if k in _NAMES}
    row |= {k: v for k, v in vars(relative).items() if k in _NAMES and k != "n_obs"}
    return row | {
        "ticker": series.ticker,
        "currency": currency,
        "n_excluded": n_excluded,
        "periods_per_year": annual,
        "benchmark": benchmark.ticker if benchmark is not None else None,
        "risk_free": free.name,
        "risk_free_rate": _rate(free, metrics),
        "reason": "; ".join(dict.fromkeys(reasons)) or None,
        "source": series.source,
    }


def _rate(free: RiskFree, metrics: Metrics) -> float | None:
    """The annual rate that it came to over the window; None where that is not known."""
    if metrics.start is None or metrics.end is None:
        return free.rate if isinstance(free, Constant) else None
    try:
        return free.over(metrics.start, metrics.end)
    except (CurrencyError, InsufficientDataError):
        return None


def _metrics(part: PriceSeries, span: Span, fixed: float | None, free: RiskFree) -> Metrics:
    """Metrics by the time that passed, or by the convention that a year has `fixed` periods."""
    if fixed is None:
        prices, days = part.prices.to_numpy(dtype="float64"), part.days
    else:
        prices, days = part.with_holes()
    found = compute_metrics(prices, days, span.periods_per_year(fixed) or 1.0, free)
    why = span.too_short if found.n_obs else None
    return found if why is None else without_annual_returns(found, why)
