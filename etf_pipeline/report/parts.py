"""Sections that both kinds of report have: metrics, correlations, quality, provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from etf_pipeline._version import __version__
from etf_pipeline.model.schemas import BENCHMARK_METRICS, OWN_NUMBERS, RISK_METRICS
from etf_pipeline.report import charts
from etf_pipeline.report.cells import DASH, number, percent
from etf_pipeline.report.inputs import Inputs, Row
from etf_pipeline.report.listing import Listing

_NUMBERS = frozenset(
    {
        "sharpe_ratio",
        "sortino_ratio",
        "calmar_ratio",
        "skewness",
        "excess_kurtosis",
        "beta",
        "information_ratio",
    }
)
# What the first table of metrics shows; the second has the others.
_FIRST = (
    "total_return",
    "mean_return",
    "cagr",
    "volatility",
    "sharpe_ratio",
    "sortino_ratio",
    "max_drawdown",
    "calmar_ratio",
    "var_95",
    "cvar_95",
)
_TITLES = {
    "total_return": "total return",
    "mean_return": "mean return",
    "cagr": "CAGR",
    "volatility": "volatility",
    "sharpe_ratio": "Sharpe ratio",
    "sortino_ratio": "Sortino ratio",
    "max_drawdown": "maximum drawdown",
    "calmar_ratio": "Calmar ratio",
    "var_95": "VaR 95",
    "cvar_95": "CVaR 95",
    "ulcer_index": "Ulcer index",
    "skewness": "skewness",
    "excess_kurtosis": "excess kurtosis",
    "best_month": "best month",
    "worst_month": "worst month",
    "positive_months": "months above 0",
    "beta": "beta",
    "alpha": "alpha",
    "r_squared": "R²",
    "tracking_error": "tracking error",
    "information_ratio": "information ratio",
    "up_capture": "up capture",
    "down_capture": "down capture",
}
YEARS = 5  # of the window that is shown in numbers


class Digest(str):
    """A cell that is a content hash: set as code, and broken anywhere."""

    __slots__ = ()


@dataclass(frozen=True)
class Grid:
    """A table of a report; `numbers` are columns aligned right, `dates` never break."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] = ()
    dates: Sequence[int] = ()


@dataclass(frozen=True)
class Section:
    """A heading, remarks, a list, a chart with its caption, tables, small ones side by side."""

    title: str
    texts: Sequence[str] = ()
    chart: str | None = None
    caption: str = ""
    tables: Sequence[Grid] = field(default_factory=tuple)
    beside: bool = False
    listing: Listing | None = None


def metric_section(rows: Mapping[str, Mapping[str, Any]], window: str) -> Section:
    """Metrics of each ticker over a window, and what they mean."""
    others = [n for n in OWN_NUMBERS if n not in _FIRST]
    beside = {t: r for t, r in rows.items() if r.get("benchmark") is not None}
    shown = [*_FIRST, *others, *(BENCHMARK_METRICS if beside else ())]
    described = {c.name: c.description for c in RISK_METRICS.columns}
    meanings = [[_TITLES[n], described[n]] for n in shown]
    tables = [
        _metrics(
            f"Window {window}; a dash where a value cannot be computed",
            rows,
            _FIRST,
            ("n_obs", "returns"),
        ),
        _metrics(
            "Depth of falls, shape of returns, whole calendar months",
            rows,
            others,
            ("n_months", "months"),
        ),
    ]
    if beside:
        name = ", ".join(sorted({r["benchmark"] for r in beside.values()}))
        tables.append(_metrics(f"Beside {name}", beside, BENCHMARK_METRICS))
    reasons = [f"{t}: {r['reason']}" for t, r in rows.items() if r["reason"]]
    currencies = {t: r.get("currency") or DASH for t, r in rows.items()}
    if len(set(currencies.values())) > 1:
        own = ", ".join(f"{t} {currency}" for t, currency in currencies.items())
        reasons.insert(0, f"Each in its own currency: {own}.")
    return Section(
        "Metrics",
        reasons,
        tables=[*tables, Grid("Definitions", ["metric", "definition"], meanings)],
    )


def _metrics(
    caption: str,
    rows: Mapping[str, Mapping[str, Any]],
    names: Sequence[str],
    counted: tuple[str, str] | None = None,
) -> Grid:
    """Some metrics of each ticker, and a count of what they are of; dashes for what is not there.

    A table of an earlier release lacks columns.
    """
    cells = [
        [t, *((number if n in _NUMBERS else percent)(r.get(n)) for n in names)]
        for t, r in rows.items()
    ]
    columns = ["ETF", *(_TITLES[n] for n in names)]
    if counted is not None:
        for line, row in zip(cells, rows.values(), strict=True):
            line.append(DASH if row.get(counted[0]) is None else str(row[counted[0]]))
        columns.append(counted[1])
    return Grid(caption, columns, cells, range(1, len(columns)))


def correlation_section(
    matrix: charts.Floats, tickers: list[str], period: str | None = None, place: int = 0
) -> Section:
    """A heat map of correlations, shape (N, N), of daily or weekly returns.

    Of several on one page each has another `place`.
    """
    return Section(
        "Correlations",
        chart=charts.heatmap(
            matrix,
            tickers,
            f"correlations-{place}" if place else "correlations",
            "Correlations",
            f"Correlation matrix of {', '.join(tickers)}, similar ones together.",
        ),
        caption=f"Of simple {period or 'daily'} returns on common dates; ordered so that similar "
        "ETFs are neighbours.",
    )


FINDING_COLUMNS = ("ETF", "held back", "withheld", "flagged", "missing", "pending", "rules")


def finding_cells(ticker: str, found: Sequence[Row]) -> list[str]:
    """How many findings of each severity a ticker has, and the rules: `FINDING_COLUMNS`."""
    counts = Counter(f["severity"] for f in found)
    rules = sorted({f["rule"] for f in found})
    kinds = ("quarantined", "withheld", "flagged", "missing", "pending")
    return [ticker, *(str(counts.get(k, 0)) for k in kinds), ", ".join(rules)]


def quality_section(inputs: Inputs, tickers: list[str]) -> Section:
    """What was held back or flagged, and what is missing."""
    rows = [finding_cells(t, inputs.findings[t]) for t in tickers if t in inputs.findings]
    if not rows:
        return Section("Data quality", ["No finding on any of these ETFs."])
    return Section(
        "Data quality",
        [
            "Sessions held back by a rule take no part in any number of this page, and "
            "distributions that are withheld no part in any return."
        ],
        tables=[Grid("Findings, in sessions", FINDING_COLUMNS, rows, range(1, 6))],
    )


def provenance_section(
    inputs: Inputs, tickers: Sequence[str], rates: Sequence[str] = ()
) -> Section:
    """Sources, last sessions and content hashes: enough to prove which data these were.

    Of the tickers, and of the currency pairs that their prices were converted with.
    """
    series = {**inputs.conversion.rates.series, **inputs.series}
    rows = [
        [
            t,
            series[t].source,
            series[t].currency or DASH,
            str(series[t].prices.index[0].date()),
            str(series[t].end),
            Digest(inputs.contents[t] or "a user's file") if t in inputs.contents else DASH,
        ]
        for t in (*tickers, *rates)
        if t in series
    ]
    return Section(
        "Provenance",
        [
            f"As of {inputs.as_of}; made on {inputs.made_at:%Y-%m-%d %H:%M} UTC by etf_pipeline "
            f"{__version__}. Hashes are SHA-256 of the content; `etf events verify` and "
            "`etf events rebuild` check them against the record."
        ],
        tables=[
            Grid("Histories", ["ETF", "source", "currency", "from", "to", "content"], rows, (3, 4)),
            tables_of(inputs),
        ],
    )


def tables_of(inputs: Inputs) -> Grid:
    """The newest tables with their content hashes."""
    rows = [[name, Digest(digest)] for name, digest in sorted(inputs.hashes.items())]
    return Grid("Tables", ["table", "content"], rows)


def simulated(inputs: Inputs, tickers: Sequence[str], rates: Sequence[str] = ()) -> bool:
    """Whether any of the prices, or of the rates that they were converted with, is simulated."""
    pairs = inputs.conversion.rates.series
    sources = {inputs.origins[t].source for t in tickers if t in inputs.origins}
    return "simulated" in sources | {pairs[t].source for t in rates if t in pairs}
