"""What reports are made from, as plain values: nothing here or below reads a file."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etf_pipeline.errors import CorruptFileError, UnreadableFileError
from etf_pipeline.model.benchmark_portfolios import benchmark_portfolio, measured_against
from etf_pipeline.model.expected_returns import Facts
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.risk.conversion import Conversion
from etf_pipeline.risk.prices import PriceSeries, newest_day

Row = dict[str, Any]
FEW = 100  # up to as many ETFs are each shown with all their numbers, and in a heat map
# Of these windows the first that has correlations is shown.
CORRELATION_WINDOWS = ("3y", "1y")


@dataclass(frozen=True)
class Origin:
    """Where a ticker's prices come from and which days they span, known without reading one."""

    first: dt.date
    last: dt.date
    source: str
    currency: str | None
    version: str | None = None  # equal ones have equal prices and findings; None: nobody can tell


@dataclass(frozen=True)
class Inputs:
    """Everything that the reports of one store need.

    Attributes:
        series: prices by ticker; each may be read only when it is asked for.
        origins: of the same tickers.
        specs: the portfolios, by name.
        names: full names by ticker.
        tables: the newest derived tables by name, those that there are; each may be read only when
            it is asked for. Of correlations every window has at least what a page shows.
        findings: quality findings (date, rule, severity) by ticker, for those that have any.
        contents: content hash of each history by ticker, None for a user's own file; absent when
            the file could not be read.
        hashes: content hash of each table, by its name and day.
        outdated_tables: names of those that an earlier release made.
        lookback_years: of returns, for portfolios that name none.
        conversion: brings prices to one currency.
        made_at: when, aware.
        periods_per_year: A where a convention fixes it; None for what there was.
        not_backtested: why the last run could not walk a portfolio forward, by its name.
        facts: columns of the universe, each a value per ticker, which expected returns may need.
        absent: ETFs of the universe that have no price.
        failed: a sentence for each stage whose last run did not come out, of those shown.
    """

    series: Mapping[str, PriceSeries]
    origins: Mapping[str, Origin]
    specs: Mapping[str, PortfolioSpec]
    names: Mapping[str, str]
    tables: Mapping[str, pa.Table]
    findings: Mapping[str, Sequence[Row]]
    contents: Mapping[str, str | None]
    hashes: Mapping[str, str]
    outdated_tables: Sequence[str]
    lookback_years: int
    conversion: Conversion
    made_at: dt.datetime
    periods_per_year: float | None = None
    not_backtested: Mapping[str, str] = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)
    absent: Sequence[str] = ()
    failed: Sequence[str] = ()

    def spec(self, name: str) -> PortfolioSpec | None:
        """A portfolio, with the newest weights in place of one that it is measured against."""
        found = self.specs.get(name)
        other = None if found is None else benchmark_portfolio(found, self.specs)
        if found is None or other is None:
            return found
        rows = self.rows("weights", portfolio=other.name)
        held = {r["ticker"]: r["weight"] for r in rows}
        return measured_against(found, held) if held else found

    def reading(self, tickers: Iterable[str]) -> tuple[Inputs, list[str]]:
        """The same with the prices of these tickers read, and a sentence for each that cannot be.

        Tickers without a history are passed over.
        """
        read: dict[str, PriceSeries] = {}
        unread = []
        for ticker in dict.fromkeys(tickers):
            try:
                if ticker in self.series:
                    read[ticker] = self.series[ticker]
            except (CorruptFileError, UnreadableFileError) as error:
                unread.append(f"Prices of {ticker} are not on this page: {error}")
        return replace(self, series=read), unread

    def table(self, name: str, **wanted: str) -> pa.Table:
        """Rows of a newest table with these values; a table without columns if there is none."""
        found = self.tables.get(name)
        if found is None:
            return pa.table({})
        for column, value in wanted.items():
            found = found.filter(pc.equal(found[column], value))
        return found

    def rows(self, table: str, **wanted: str) -> list[Row]:
        """The same, as plain values; nothing if there is no such table."""
        if table not in self.tables:
            return []
        rows: list[Row] = self.table(table, **wanted).to_pylist()
        return rows

    def newest_pairs(self) -> tuple[pa.Table, str | None]:
        """Pairs of tickers that have a correlation, of the first window that has any; and which.

        None, and an empty table, without any.
        """
        for window in CORRELATION_WINDOWS if "correlations" in self.tables else ():
            pairs = self.table("correlations", window=window)
            known = pairs.filter(
                pc.and_(
                    pc.is_valid(pairs["correlation"]),
                    pc.not_equal(pairs["ticker"], pairs["other"]),
                )
            )
            if known.num_rows:
                return known, window
        return pa.table({}), None

    @property
    def outdated(self) -> list[str]:
        """A warning, where tables are of an earlier release and so by its definitions."""
        if not self.outdated_tables:
            return []
        return [
            f"The tables {', '.join(self.outdated_tables)} were made by an earlier release, by its "
            "definitions and without its currencies being compared: run `etf run`."
        ]

    @property
    def as_of(self) -> dt.date:
        """The newest session there is.

        Raises:
            InsufficientDataError: there is no history.
        """
        return newest_day(o.last for o in self.origins.values())
