"""Gathering what reports are made from: the newest tables, the prices behind them, their origin."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from etf_pipeline.errors import CorruptFileError, ReasonCode
from etf_pipeline.model import assets
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.model.portfolio_file import load_portfolios
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import (
    BACKTEST_EVENTS,
    BACKTESTS,
    CORRELATIONS,
    FRONTIER,
    QUARANTINE,
    RISK_METRICS,
    SUMMARY,
    UNCERTAINTY,
    WEIGHTS,
)
from etf_pipeline.model.universe import load_universe
from etf_pipeline.report.alike import MOST, PAIRS
from etf_pipeline.report.inputs import CORRELATION_WINDOWS, FEW, Inputs, Origin, Row
from etf_pipeline.settings import Settings
from etf_pipeline.steps.derived import Assumptions, Histories, conversion_of, read_histories
from etf_pipeline.steps.portfolio_parts import needed
from etf_pipeline.store.inventory import available_tickers
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import read_manifest, recent_manifests
from etf_pipeline.store.reader import columns_of, file_info, read_rows, read_table
from etf_pipeline.store.stages import read_stages
from etf_pipeline.store.store import Store
from etf_pipeline.store.stored_series import HistoryFacts

_TABLES = {
    table.name: table
    for table in (
        SUMMARY,
        WEIGHTS,
        FRONTIER,
        UNCERTAINTY,
        BACKTESTS,
        BACKTEST_EVENTS,
        RISK_METRICS,
        CORRELATIONS,
    )
}

# Assets whose failure a report has nothing to say of.
_LAST = (assets.SQL_CATALOG, assets.REPORTS)


def report_inputs(
    store: Store,
    histories: Histories,
    specs: Iterable[PortfolioSpec],
    universe: Universe,
    assumptions: Assumptions,
    made_at: dt.datetime,
) -> Inputs:
    """What the reports of a store are made from, read once.

    Raises:
        CorruptFileError: a derived table is damaged.
    """
    by_name = {s.name: s for s in specs}
    few = histories.series if len(histories.series) <= FEW else needed(by_name.values())
    tables = NewestTables(store.layout, few)
    origins = _origins(histories)
    contents = {t: f.content_hash for t, f in histories.facts.items()}
    return Inputs(
        series=histories.series,
        origins=origins,
        specs=by_name,
        names={i.ticker: i.name for i in universe},
        tables=tables,
        findings=_findings(store.layout, histories.facts),
        contents=contents | dict(histories.rates.hashes),
        hashes=tables.hashes,
        outdated_tables=tables.outdated,
        lookback_years=assumptions.lookback_years,
        conversion=conversion_of(histories, universe, assumptions),
        made_at=made_at,
        periods_per_year=assumptions.periods_per_year,
        not_backtested=_not_backtested(store.layout),
        facts=universe.facts(),
        absent=sorted(i.ticker for i in universe if not i.is_rate and i.ticker not in origins),
        failed=_failed(store.layout, {"", *universe.partitions()}),
    )


def _origins(histories: Histories) -> dict[str, Origin]:
    """Of every ticker that has a price."""
    return {
        ticker: Origin(f.first_date, f.last_date, f.source, f.currency, f.version)
        for ticker, f in histories.facts.items()
        if f.first_date is not None and f.last_date is not None
    }


def inputs_of(settings: Settings, made_at: dt.datetime) -> Inputs:
    """The same of everything that is where `settings` say, users' own files too.

    Raises:
        CorruptFileError: a history or a derived table is damaged.
    """
    store, universe = (
        Store.at(settings.data_dir, settings.lock_timeout_seconds),
        load_universe(settings.universe_file),
    )
    histories = read_histories(store, available_tickers(store.layout))
    for error in histories.damaged.values():
        raise error
    specs = load_portfolios(settings.portfolios_file, universe)
    return report_inputs(store, histories, specs, universe, Assumptions.of(settings), made_at)


class NewestTables(Mapping[str, pa.Table]):
    """The newest derived tables by name, each read when it is first asked for.

    Of correlations only what a page shows: each ticker's nearest and farthest, and the pairs among
    a few.
    """

    def __init__(self, layout: Layout, few: Iterable[str]) -> None:
        """Of a store; `few` are the tickers of a heat map. Reads footers."""
        newest = ((name, layout.newest(table)) for name, table in _TABLES.items())
        self._paths = {name: path for name, path in newest if path is not None}
        self._few, self._read = sorted(few), dict[str, pa.Table]()

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Content hashes, by name and day."""
        return {
            f"{name}, {path.parent.name}": str(file_info(path).content_hash)
            for name, path in self._paths.items()
        }

    @cached_property
    def outdated(self) -> list[str]:
        """Those of an earlier release, which lack columns."""
        return [
            name
            for name, path in self._paths.items()
            if set(_TABLES[name].names) - set(columns_of(path)) and file_info(path).num_rows
        ]

    def __getitem__(self, name: str) -> pa.Table:
        """A table.

        Raises:
            KeyError: there is none.
            CorruptFileError: its file is damaged.
        """
        path = self._paths[name]
        if name not in self._read:
            shown = self._shown(path) if name == CORRELATIONS.name else None
            self._read[name] = read_table(path) if shown is None else read_rows(path, shown)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        """Names of those that there are."""
        return iter(self._paths)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._paths)

    def _shown(self, path: Path) -> pc.Expression:
        """Which rows of correlations a page shows; earlier releases did not rank them."""
        wanted = pc.field("window").isin(CORRELATION_WINDOWS)
        if "nearest" not in columns_of(path):
            return wanted
        most = max(MOST, PAIRS)
        near = (pc.field("nearest") <= most) | (pc.field("farthest") <= most)
        return wanted & (near | (_among("ticker", self._few) & _among("other", self._few)))


def _among(column: str, tickers: list[str]) -> pc.Expression:
    return pc.field(column).isin(pa.array(tickers, pa.string()))


def _findings(layout: Layout, facts: Mapping[str, HistoryFacts]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for ticker in (t for t, known in facts.items() if known.findings != 0):
        try:
            table = read_table(layout.of(QUARANTINE, ticker), ["date", "rule", "severity"])
        except (CorruptFileError, FileNotFoundError):
            continue
        if table.num_rows:
            found[ticker] = table.to_pylist()
    return found


def _failed(layout: Layout, partitions: Collection[str]) -> list[str]:
    """What there is to say of the stages before a report whose last run did not come out.

    One that was held back is not named beside the one that holds it back.
    """
    bad = {
        (s.asset, s.partition): s
        for s in read_stages(layout)
        if not s.good and s.partition in partitions and s.asset not in _LAST
    }
    return [
        f"What this page shows of {s.name} is of an earlier run, or missing: {s.sentence}"
        for s in bad.values()
        if s.outcome.reason_code is not ReasonCode.HELD_BACK
        or not any((a, s.partition) in bad for a in LINEAGE[s.asset].reads)
    ]


def _not_backtested(layout: Layout) -> dict[str, str]:
    """Why the newest run of backtests has none of some portfolios, by name."""
    for path in recent_manifests(layout, assets.BACKTESTS, 1):
        return {o.subject: o.reason for o in read_manifest(path) if not o.good and o.reason}
    return {}
