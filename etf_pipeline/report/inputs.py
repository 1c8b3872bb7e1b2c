"""What reports are made from, as plain values: nothing here or below reads a file."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from etf_pipeline.model.benchmark_portfolios import benchmark_portfolio, measured_against
from etf_pipeline.model.expected_returns import Facts
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import (
    BACKTEST_EVENTS,
    BACKTESTS,
    CORRELATIONS,
    FRONTIER,
    RISK_METRICS,
    SUMMARY,
    UNCERTAINTY,
    WEIGHTS,
)
from etf_pipeline.risk.conversion import Conversion
from etf_pipeline.risk.prices import PriceSeries, newest_session

Row = dict[str, Any]
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
_SCHEMAS = {t.name: t for t in _TABLES}


@dataclass(frozen=True)
class Inputs:
    """Everything that the reports of one store need.

    Attributes:
        series: prices by ticker.
        specs: the portfolios, by name.
        names: full names by ticker.
        tables: rows of the newest derived tables, by name of the table.
        findings: quality findings (date, rule, severity) by ticker, for those that have any.
        contents: content hash of each history by ticker, None for a user's own file; absent when
            the file could not be read.
        hashes: content hash of each table, by its name and day.
        lookback_years: of returns, for portfolios that name none.
        conversion: brings prices to one currency.
        made_at: when, aware.
        periods_per_year: A where a convention fixes it; None for what there was.
        not_backtested: why the last run could not walk a portfolio forward, by its name.
        facts: columns of the universe, each a value per ticker, which expected returns may need.
    """

    series: Mapping[str, PriceSeries]
    specs: Mapping[str, PortfolioSpec]
    names: Mapping[str, str]
    tables: Mapping[str, Sequence[Row]]
    findings: Mapping[str, Sequence[Row]]
    contents: Mapping[str, str | None]
    hashes: Mapping[str, str]
    lookback_years: int
    conversion: Conversion
    made_at: dt.datetime
    periods_per_year: float | None = None
    not_backtested: Mapping[str, str] = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)

    def spec(self, name: str) -> PortfolioSpec | None:
        """A portfolio, with the newest weights in place of one that it is measured against."""
        found = self.specs.get(name)
        other = None if found is None else benchmark_portfolio(found, self.specs)
        if found is None or other is None:
            return found
        rows = self.rows("weights", portfolio=other.name)
        held = {r["ticker"]: r["weight"] for r in rows}
        return measured_against(found, held) if held else found

    def rows(self, table: str, **wanted: Any) -> list[Row]:
        """Rows of the newest table with these values."""
        found = self.tables.get(table, ())
        return [r for r in found if all(r[k] == v for k, v in wanted.items())]

    @property
    def outdated(self) -> list[str]:
        """A warning, where tables are of an earlier release and so by its definitions."""
        old = [
            name
            for name, table in _SCHEMAS.items()
            if any(set(table.names) - row.keys() for row in self.tables.get(name, ())[:1])
        ]
        if not old:
            return []
        return [
            f"The tables {', '.join(old)} were made by an earlier release, by its definitions and "
            "without its currencies being compared: run `etf run`."
        ]

    @cached_property
    def as_of(self) -> dt.date:
        """The newest session there is.

        Raises:
            InsufficientDataError: there is no history.
        """
        return newest_session(self.series.values())
