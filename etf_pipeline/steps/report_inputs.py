"""Gathering what reports are made from: the newest tables, the prices behind them, their origin."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.model import assets
from etf_pipeline.model.instruments import Universe
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
from etf_pipeline.report.inputs import Inputs, Row
from etf_pipeline.settings import Settings
from etf_pipeline.steps.derived import Assumptions, Histories, conversion_of, read_histories
from etf_pipeline.store.inventory import available_tickers
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import read_manifest, recent_manifests
from etf_pipeline.store.reader import file_info, read_table
from etf_pipeline.store.store import Store

_TABLES = (
    SUMMARY,
    WEIGHTS,
    FRONTIER,
    UNCERTAINTY,
    BACKTESTS,
    BACKTEST_EVENTS,
    RISK_METRICS,
    CORRELATIONS,
)


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
    tables, hashes = _tables(store.layout)
    return Inputs(
        histories.series,
        {s.name: s for s in specs},
        {i.ticker: i.name for i in universe},
        tables,
        _findings(store.layout, histories.series),
        _contents(store.layout, histories.series) | dict(histories.rates.hashes),
        hashes,
        assumptions.lookback_years,
        conversion_of(histories, universe, assumptions),
        made_at,
        assumptions.periods_per_year,
        _not_backtested(store.layout),
        universe.facts(),
    )


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


def _tables(layout: Layout) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """Rows of the newest derived tables, and their content hashes by name and day."""
    rows: dict[str, list[Row]] = {}
    hashes: dict[str, str] = {}
    for table in _TABLES:
        path = layout.newest(table)
        rows[table.name] = [] if path is None else read_table(path).to_pylist()
        if path is not None:
            hashes[f"{table.name}, {path.parent.name}"] = str(file_info(path).content_hash)
    return rows, hashes


def _not_backtested(layout: Layout) -> dict[str, str]:
    """Why the newest run of backtests has none of some portfolios, by name."""
    for path in recent_manifests(layout, assets.BACKTESTS, 1):
        return {o.subject: o.reason for o in read_manifest(path) if not o.good and o.reason}
    return {}


def _findings(layout: Layout, tickers: Iterable[str]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for ticker in tickers:
        try:
            table = read_table(layout.of(QUARANTINE, ticker), ["date", "rule", "severity"])
        except (CorruptFileError, FileNotFoundError):
            continue
        if table.num_rows:
            found[ticker] = table.to_pylist()
    return found


def _contents(layout: Layout, tickers: Iterable[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for ticker in tickers:
        try:
            found[ticker] = file_info(layout.find_history(ticker)).content_hash
        except (CorruptFileError, FileNotFoundError):
            continue
    return found
