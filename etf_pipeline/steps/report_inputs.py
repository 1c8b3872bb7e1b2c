"""What reports are made from: the newest tables, the prices behind them, and their origin."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from etf_pipeline.errors import CorruptFileError, InsufficientDataError
from etf_pipeline.model.portfolios import PortfolioSpec, load_portfolios
from etf_pipeline.model.schemas import (
    BACKTESTS,
    CORRELATIONS,
    FRONTIER,
    QUARANTINE,
    RISK_METRICS,
    SUMMARY,
    WEIGHTS,
)
from etf_pipeline.model.universe import Universe, load_universe
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.settings import Settings
from etf_pipeline.store.inventory import available_tickers
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.prices import load_prices
from etf_pipeline.store.reader import FileInfo, file_info, read_table

Row = dict[str, Any]
_TABLES = (SUMMARY, WEIGHTS, FRONTIER, BACKTESTS, RISK_METRICS, CORRELATIONS)


@dataclass
class Inputs:
    """Everything that the reports of one store need, read once."""

    layout: Layout
    series: Mapping[str, PriceSeries]
    specs: Mapping[str, PortfolioSpec]
    names: Mapping[str, str]
    lookback_years: int
    risk_free_rate: float
    made_at: dt.datetime
    _tables: dict[str, list[Row]] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        settings: Settings,
        universe: Universe,
        series: Mapping[str, PriceSeries],
        specs: Iterable[PortfolioSpec],
        made_at: dt.datetime,
    ) -> Inputs:
        """The inputs of the store that `settings` name."""
        return cls(
            Layout(settings.data_dir),
            series,
            {s.name: s for s in specs},
            {i.ticker: i.name for i in universe},
            settings.lookback_years,
            settings.risk_free_rate,
            made_at,
        )

    @classmethod
    def of_store(cls, settings: Settings, made_at: dt.datetime) -> Inputs:
        """The same, with universe, prices and specifications read from where `settings` say."""
        layout, universe = Layout(settings.data_dir), load_universe(settings.universe_file)
        series = {t: load_prices(layout, t) for t in available_tickers(layout)}
        specs = load_portfolios(settings.portfolios_file, universe)
        return cls.of(settings, universe, series, specs, made_at)

    def __post_init__(self) -> None:
        for table in _TABLES:
            path, name = self.layout.newest(table), table.name
            self._tables[name] = [] if path is None else read_table(path).to_pylist()
            if path is not None:
                info = file_info(path)
                self.hashes[f"{name}, {path.parent.name}"] = str(info.content_hash)

    def rows(self, table: str, **wanted: Any) -> list[Row]:
        """Rows of the newest table with these values."""
        return [r for r in self._tables[table] if all(r[k] == v for k, v in wanted.items())]

    def footers(self, tickers: list[str]) -> dict[str, FileInfo]:
        """What the histories say of themselves."""
        found = {}
        for ticker in tickers:
            try:
                found[ticker] = file_info(self.layout.find_history(ticker))
            except (CorruptFileError, FileNotFoundError):
                continue
        return found

    def findings(self, ticker: str) -> list[Row]:
        """The ticker's quality findings, if it has any."""
        path = self.layout.of(QUARANTINE, ticker)
        try:
            return read_table(path, ["date", "rule", "severity"]).to_pylist()
        except (CorruptFileError, FileNotFoundError):
            return []

    @cached_property
    def as_of(self) -> dt.date:
        """The newest session there is.

        Raises:
            InsufficientDataError: there is no history.
        """
        if not self.series:
            raise InsufficientDataError("there is no price history yet; run `etf run` first")
        return max(s.end for s in self.series.values())
