"""The report of a universe of more ETFs than a page can show each of: what stands out, and a list.

Nothing here reads a price: metrics, correlations and origins say it all.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etf_pipeline._version import __version__
from etf_pipeline.report import charts
from etf_pipeline.report.alike import MOST, Alike, alike, pairs_at_ends
from etf_pipeline.report.cells import DASH, number, percent
from etf_pipeline.report.inputs import Inputs
from etf_pipeline.report.listing import (
    Column,
    Listing,
    choices,
    counts,
    numbers,
    percentages,
    texts,
)
from etf_pipeline.report.parts import (
    FINDING_COLUMNS,
    Digest,
    Grid,
    Section,
    finding_cells,
    tables_of,
)
from etf_pipeline.risk.prices import GRACE

Floats = npt.NDArray[np.float64]
WINDOWS = ("5y", "3y", "1y")  # the first of them that any ETF covers is shown
_MOST = 10  # lines of a list of the highest or the lowest
_WORST = 20  # ETFs that are named for their findings
# Of more ETFs than that, fewer others of each are on the page, which they would make too large.
_MANY, _FEWER = 5_000, 3
# By column of the table of metrics: what its highest are called, and its lowest.
_RANKED = {
    "total_return": ("Highest total return", "Lowest total return"),
    "volatility": ("Lowest volatility", "Highest volatility"),
    "max_drawdown": ("Shallowest maximum drawdown", "Deepest maximum drawdown"),
    "sharpe_ratio": ("Highest Sharpe ratio", "Lowest Sharpe ratio"),
}
# Of which the lowest value is named first.
_LOWEST_FIRST = ("volatility",)


@dataclass(frozen=True)
class Overview:
    """Metrics of every ETF over one window, in the order of the tickers; NaN where there is none.

    `trading` tells which still trade: the others' windows end on other days, so they are in the
    list and in no ranking.
    """

    tickers: Sequence[str]
    window: str | None
    metrics: dict[str, Floats]
    last_year: Floats
    trading: npt.NDArray[np.bool_]

    def ranked(self, metric: str) -> list[int]:
        """Positions of those that trade and have the metric, from its lowest to its highest."""
        values = self.metrics[metric]
        use = np.flatnonzero(self.trading & np.isfinite(values))
        return [int(i) for i in use[np.argsort(values[use], kind="stable")]]


def overview(inputs: Inputs, tickers: Sequence[str]) -> Overview:
    """The metrics of the longest of `WINDOWS` that any of the tickers covers."""
    table = inputs.table("risk_metrics")
    window, found = None, dict[str, Floats]()
    for window_ in WINDOWS:
        part = inputs.table("risk_metrics", window=window_) if table.num_rows else table
        found = {name: _aligned(part, name, tickers) for name in _RANKED}
        if any(np.isfinite(values).any() for values in found.values()):
            window = window_
            break
    year = inputs.table("risk_metrics", window="1y") if table.num_rows else table
    oldest = inputs.as_of - GRACE
    trading = np.array([inputs.origins[t].last >= oldest for t in tickers], dtype=bool)
    return Overview(tickers, window, found, _aligned(year, "total_return", tickers), trading)


def _aligned(table: pa.Table, name: str, tickers: Sequence[str]) -> Floats:
    """A column of one window's rows in the order of the tickers; NaN where there is no row."""
    if name not in table.column_names or not table.num_rows:
        return np.full(len(tickers), np.nan)
    places = pc.index_in(pa.array(tickers, pa.string()), value_set=table["ticker"].combine_chunks())
    values: Floats = pc.take(table[name], places).to_numpy().astype("float64")
    return values


def list_section(inputs: Inputs, found: Overview) -> Section:
    """Every ETF, to search and to sort."""
    tickers, window = found.tickers, found.window
    origins = [inputs.origins[t] for t in tickers]
    columns: list[Column] = [
        texts("ETF", tickers),
        texts("name", [inputs.names.get(t, "") for t in tickers]),
        choices("class", [_in_words(inputs.facts.get("asset_class", {}).get(t)) for t in tickers]),
        choices("currency", [o.currency for o in origins]),
        choices("newest session", [str(o.last) for o in origins], whole=True),
    ]
    if window != "1y":
        columns.append(percentages("return 1y", found.last_year))
    if window is not None:
        columns += [
            percentages(f"return {window}", found.metrics["total_return"]),
            percentages(f"volatility {window}", found.metrics["volatility"]),
            percentages(f"drawdown {window}", found.metrics["max_drawdown"]),
            numbers(f"Sharpe {window}", found.metrics["sharpe_ratio"]),
        ]
    columns.append(counts("findings", [len(inputs.findings.get(t, ())) for t in tickers]))
    near, said = _alike(inputs, tickers)
    # Dollars quote within SQL: the whole is within a shell's quotes.
    query = f'FROM risk_metrics WHERE "window" = $${window or WINDOWS[0]}$$'
    return Section(
        "All ETFs",
        [
            "Total returns, each in its own currency, over windows that end with the ETF's newest "
            "session; a dash where its history does not cover the window."
        ],
        listing=Listing(f"{len(tickers):,} ETFs", columns, near, said, f"etf sql '{query}'"),
    )


def _in_words(name: object) -> str | None:
    return str(name).replace("_", " ") if name else None


def _alike(inputs: Inputs, tickers: Sequence[str]) -> tuple[Alike | None, str]:
    pairs, window = inputs.newest_pairs()
    if window is None:
        return None, ""
    count = MOST if len(tickers) <= _MANY else _FEWER
    period = _period(pairs)
    return alike(pairs, tickers, count), (
        f"Correlations of simple {period} returns over {window}. `etf compare` has those of any "
        "two."
    )


def _period(pairs: pa.Table) -> str:
    """Of the returns that correlations are of; older tables do not say it."""
    if "period" not in pairs.column_names:
        return "daily"
    return next((str(p) for p in pc.unique(pairs["period"]).to_pylist() if p), "daily")


def ranking_section(inputs: Inputs, found: Overview) -> Section:
    """The highest and the lowest of each ranked metric."""
    title = "Highest and lowest"
    if found.window is None:
        return Section(title, ["No ETF has a history that covers a window of a year."])
    left = len(found.tickers) - int(found.trading.sum())
    gone = f" {left:,} that no longer trade are left out." if left else ""
    tables = []
    for metric, titles in _RANKED.items():
        order = found.ranked(metric)
        ends = order[::-1][:_MOST], order[:_MOST]
        for name, part in zip(titles, ends[::-1] if metric in _LOWEST_FIRST else ends, strict=True):
            tables.append(_ranking(inputs, found, metric, f"{name}, {found.window}", part))
    return Section(
        title,
        [
            f"Over {found.window}, each in its own currency.{gone} A value far out may be a fault "
            "of the data: the findings of the ETF are beside it, see Data quality."
        ],
        tables=tables,
        beside=True,
    )


def _ranking(
    inputs: Inputs, found: Overview, metric: str, caption: str, part: Sequence[int]
) -> Grid:
    shown = number if metric == "sharpe_ratio" else percent
    rows = []
    for i in part:
        ticker = found.tickers[i]
        value = shown(float(found.metrics[metric][i]))
        findings = str(len(inputs.findings.get(ticker, ())))
        rows.append([ticker, inputs.names.get(ticker, ""), value, findings])
    return Grid(caption, ["ETF", "name", "value", "findings"], rows, (2, 3))


def spread_section(inputs: Inputs, found: Overview) -> Section:
    """How return, volatility and correlation are spread."""
    title = "Distributions"
    panels: dict[str, dict[str, Floats]] = {}
    if found.window is not None:
        for metric, heading in (
            ("total_return", f"Total return, {found.window}"),
            ("volatility", f"Volatility, {found.window}"),
        ):
            panels[heading] = {"ETFs": found.metrics[metric][found.ranked(metric)]}
    pairs, window = inputs.newest_pairs()
    heading = f"Correlation, {window}"
    if window is not None:
        one = alike(pairs, found.tickers, 1)
        panels[heading] = {
            "with the most alike": one.nearest_by[np.isfinite(one.nearest_by)],
            "with the least alike": one.farthest_by[np.isfinite(one.farthest_by)],
        }
    panels = {h: groups for h, groups in panels.items() if all(len(v) for v in groups.values())}
    if not panels:
        return Section(title, ["There is nothing to count yet."])
    middle = "; ".join(
        f"{h} {label}: half are below {np.median(v):.2f}"
        for h, groups in panels.items()
        for label, v in groups.items()
    )
    return Section(
        title,
        chart=charts.histograms(panels, "spread", title, middle, plain=[heading]),
        caption="How many ETFs have each value; what is beyond the first and the last percentile "
        "is counted in the outermost bars. Of correlations, each ETF's highest and lowest.",
    )


def pair_sections(inputs: Inputs, tickers: Sequence[str]) -> list[Section]:
    """The pairs that are most and least alike, each once."""
    pairs, window = inputs.newest_pairs()
    if window is None:
        return []
    tables = [
        Grid(
            f"{caption}, {window}",
            ["ETF", "other", "correlation"],
            [[tickers[i], tickers[j], number(by)] for i, j, by in found],
            (2,),
        )
        for caption, found in zip(
            ("Most alike", "Least alike"), pairs_at_ends(pairs, tickers), strict=True
        )
    ]
    texts = [f"Correlations of simple {_period(pairs)} returns on common dates."]
    return [Section("Most and least alike", texts, tables=tables, beside=True)]


def findings_section(inputs: Inputs, tickers: Sequence[str]) -> Section:
    """Findings by rule, and the ETFs that have most of them."""
    found = {t: inputs.findings[t] for t in tickers if t in inputs.findings}
    title = "Data quality"
    if not found:
        return Section(title, [f"No finding on any of {len(tickers):,} ETFs."])
    kinds = Counter((f["rule"], f["severity"]) for rows in found.values() for f in rows)
    touched = Counter(
        k for rows in found.values() for k in {(f["rule"], f["severity"]) for f in rows}
    )
    by_rule = [
        [rule, severity, f"{n:,}", f"{touched[(rule, severity)]:,}"]
        for (rule, severity), n in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    ]
    cells = [finding_cells(t, rows) for t, rows in found.items()]
    # First what is kept out of numbers, then what is only told.
    cells.sort(key=lambda row: (-int(row[1]) - int(row[2]), -sum(map(int, row[1:6])), row[0]))
    return Section(
        title,
        [
            f"{len(found):,} of {len(tickers):,} ETFs have findings. Sessions held back by a rule "
            "take no part in any number of this page, and distributions that are withheld no part "
            "in any return. All of them: `etf sql 'FROM quality'`."
        ],
        tables=[
            Grid("Findings by rule", ["rule", "severity", "findings", "ETFs"], by_rule, (2, 3)),
            Grid(
                f"Findings, in sessions: the {min(_WORST, len(cells))} with most held back",
                FINDING_COLUMNS,
                cells[:_WORST],
                range(1, 6),
            ),
        ],
    )


def origin_section(inputs: Inputs, tickers: Sequence[str], rates: Sequence[str]) -> Section:
    """One hash over all histories, sources and spans; how to have the hash of each."""
    origins = [inputs.origins[t] for t in tickers]
    by_source = Counter(o.source for o in origins)
    sources = []
    for source, n in sorted(by_source.items()):
        held = [o for o in origins if o.source == source]
        span = [str(min(o.first for o in held)), str(max(o.last for o in held))]
        money = ", ".join(sorted({o.currency or DASH for o in held}))
        sources.append([source, f"{n:,}", money, *span])
    named = [t for t in (*tickers, *rates) if t in inputs.contents]
    own = sum(inputs.contents[t] is None for t in named)
    users = f" {own:,} files of users have none and are not in it." if own else ""
    return Section(
        "Provenance",
        [
            f"As of {inputs.as_of}; made on {inputs.made_at:%Y-%m-%d %H:%M} UTC by etf_pipeline "
            f"{__version__}. Hashes are SHA-256 of the content; `etf events verify` and "
            "`etf events rebuild` check them against the record.",
            "The hash over all histories is of a line for each ETF and each currency pair, sorted: "
            f"its ticker, a tab, the content hash of its history, a line feed.{users} "
            f"It is again what `etf sql \"{OVER_ALL}\"` says now; `etf sql 'FROM histories'` has "
            "the hash of each.",
        ],
        tables=[
            Grid(
                "Histories", ["source", "ETFs", "currencies", "from", "to"], sources, (1,), (3, 4)
            ),
            Grid("Over all", ["of", "content"], [["histories", Digest(over_all(inputs, named))]]),
            tables_of(inputs),
        ],
    )


OVER_ALL = (
    "SELECT sha256(string_agg(ticker || chr(9) || content_hash || chr(10), '' ORDER BY ticker)) "
    "FROM histories"
)


def over_all(inputs: Inputs, tickers: Sequence[str]) -> str:
    """SHA-256 over the content hashes of histories, by ticker."""
    lines = (f"{t}\t{inputs.contents[t]}\n" for t in sorted(tickers) if inputs.contents[t])
    return hashlib.sha256("".join(lines).encode()).hexdigest()
