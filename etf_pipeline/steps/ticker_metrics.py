"""The metrics of many tickers, made in this process or shared out over several.

What is needed for a ticker is read where its metrics are made: only names are sent, and rows come
back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from etf_pipeline.errors import CorruptFileError, StoreError, UnreadableFileError
from etf_pipeline.model.risk_free import asked
from etf_pipeline.risk.conversion import Conversion
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.risk_free import RiskFree
from etf_pipeline.risk.tables import risk_table
from etf_pipeline.steps.derived import Assumptions, Histories
from etf_pipeline.steps.made_from import by_part
from etf_pipeline.steps.workers import LEAST, spread
from etf_pipeline.store.cache import FileCache
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.prices import cached_prices, load_prices
from etf_pipeline.store.rates import read_rates
from etf_pipeline.store.risk_free import load_risk_free
from etf_pipeline.store.stored_series import StoredSeries

_GROUP = 10  # tickers; as many tables as tickers would take more than their rows


@dataclass(frozen=True)
class Beside:
    """What the metrics of every ticker are made with."""

    risk_free: RiskFree
    benchmark: PriceSeries | None
    conversion: Conversion
    periods_per_year: float | None


@dataclass(frozen=True)
class Metrics:
    """Rows of tickers, and by ticker the rates they were made with, if any.

    `damaged` has those whose files turned out damaged.
    """

    table: pa.Table
    fx: Mapping[str, str | None]
    damaged: Mapping[str, StoreError] = field(default_factory=dict)


def metrics_of(series: Iterator[PriceSeries], beside: Beside) -> Metrics:
    """Those of some tickers, one after the other."""
    fx: dict[str, str | None] = {}
    against = beside.benchmark

    def noted() -> Iterator[PriceSeries]:
        for one in series:
            used = None if against is None else beside.conversion.used_between(against, one)
            fx[one.ticker] = used
            yield one

    table = risk_table(
        noted(), beside.risk_free, against, beside.conversion, beside.periods_per_year
    )
    return Metrics(table, fx)


@dataclass(frozen=True)
class MetricsWork:
    """The metrics of some tickers of a store, see `workers.Work`."""

    root: Path
    currencies: Mapping[str, str]
    assumptions: Assumptions

    @contextmanager
    def __call__(self) -> Iterator[Callable[[Sequence[str]], Metrics]]:
        """The function of a group of tickers."""
        layout, cache, assumed = Layout(self.root), FileCache(), self.assumptions
        benchmark = assumed.benchmark
        beside = Beside(
            load_risk_free(layout, cache, asked(assumed.risk_free_rate), self.currencies),
            cached_prices(layout, benchmark, cache) if benchmark else None,
            Conversion(read_rates(layout, cache), self.currencies, assumed.base_currency),
            assumed.periods_per_year,
        )

        def of(tickers: Sequence[str]) -> Metrics:
            damaged: dict[str, StoreError] = {}

            def read() -> Iterator[PriceSeries]:
                for ticker in tickers:
                    try:
                        one = load_prices(layout, ticker)
                    except (CorruptFileError, UnreadableFileError) as error:
                        damaged[ticker] = error
                        continue
                    yield one

            made = metrics_of(read(), beside)
            return Metrics(made.table, made.fx, damaged)

        yield of


def made_metrics(
    histories: Histories, tickers: Sequence[str], beside: Beside, work: MetricsWork, workers: int
) -> Metrics:
    """The metrics of these tickers, by ticker; the same whatever the number of workers.

    Files of users are read in this process, which has read them already to know their dates.
    """
    series = histories.series
    if not isinstance(series, StoredSeries) or workers < 2 or len(tickers) < LEAST:
        return metrics_of(histories.each(tickers), beside)
    ours = [t for t in tickers if series.facts[t].content_hash is not None]
    users = [t for t in tickers if series.facts[t].content_hash is None]
    groups = [ours[i : i + _GROUP] for i in range(0, len(ours), _GROUP)]
    found = [
        *spread(work, groups, workers, least=0),
        metrics_of(histories.each(users), beside),
    ]
    for one in found:
        for ticker, error in one.damaged.items():
            series.set_aside(ticker, error)
    fx = {ticker: rates for one in found for ticker, rates in one.fx.items()}
    return Metrics(by_part([one.table for one in found], "ticker"), fx)
