"""What the steps over every history share: reading prices, publishing a day's table, recording."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from etf_pipeline.errors import CorruptFileError, StoreError, UnreadableFileError
from etf_pipeline.model.currencies import pair_of
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.model.risk_free import asked
from etf_pipeline.model.schemas import Table
from etf_pipeline.risk.conversion import Conversion, Rates
from etf_pipeline.risk.prices import PriceSeries, newest_day
from etf_pipeline.risk.risk_free import RiskFree
from etf_pipeline.settings import Settings
from etf_pipeline.steps.result import Published, Run, StepResult
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.made_from import MadeFrom, is_whole
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.rates import read_rates
from etf_pipeline.store.risk_free import load_risk_free
from etf_pipeline.store.store import Store
from etf_pipeline.store.stored_series import HistoryFacts, StoredSeries
from etf_pipeline.store.writer import publish, sweep_temp_files


@dataclass(frozen=True)
class Histories:
    """Prices by ticker, errors of those whose files cannot be read, and all exchange rates.

    Out of a store the prices are read when they are asked for, a ticker at a time, see
    `StoredSeries`: who wants all goes through `each`, and who wants a few asks for these by `read`.
    """

    series: Mapping[str, PriceSeries]
    damaged: Mapping[str, StoreError] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)

    @property
    def facts(self) -> Mapping[str, HistoryFacts]:
        """What is known of each ticker's prices without reading them."""
        if isinstance(self.series, StoredSeries):
            return self.series.facts
        return {t: HistoryFacts.of_series(s) for t, s in self.series.items()}

    @property
    def as_of(self) -> dt.date:
        """The newest session of all.

        Raises:
            InsufficientDataError: there is no history at all.
        """
        return newest_day(f.last_date for f in self.facts.values())

    @property
    def source(self) -> str:
        """Where the prices came from, several sources joined by commas."""
        return ",".join(sorted({f.source for f in self.facts.values()}))

    def read(self, tickers: Iterable[str]) -> dict[str, PriceSeries]:
        """Prices of those of some tickers that have any that can be read."""
        wanted = sorted({t for t in tickers if t in self.series})
        return {s.ticker: s for s in self.each(wanted)}

    def each(self, tickers: Iterable[str] | None = None) -> Iterator[PriceSeries]:
        """Every ticker's prices, or those of some, one at a time.

        One that cannot be read is in `damaged` afterwards.
        """
        for ticker in self.series if tickers is None else tickers:
            try:
                found = self.series[ticker]
            except (CorruptFileError, UnreadableFileError):
                continue
            yield found


@dataclass(frozen=True)
class Assumptions:
    """What the numbers rest on besides prices.

    Attributes:
        lookback_years: of returns, for portfolios that name none.
        risk_free_rate: annual effective rate, a fraction; or a ticker or file, see
            `model.risk_free.asked`.
        benchmark: ticker to compare with, None for none.
        base_currency: what returns side by side are in, None for the currency that all share.
        periods_per_year: A where a convention fixes it; None for what there was.
        correlations_kept: how many of the nearest, and of the farthest, are kept of each ticker.
    """

    lookback_years: int
    risk_free_rate: float | str
    benchmark: str | None
    base_currency: str | None = None
    periods_per_year: float | None = None
    correlations_kept: int = 50

    @classmethod
    def of(cls, settings: Settings) -> Assumptions:
        """Those of the settings."""
        return cls(
            settings.lookback_years,
            settings.risk_free_rate,
            settings.benchmark,
            settings.base_currency,
            settings.periods_per_year,
            settings.correlations_kept,
        )


def read_histories(store: Store, tickers: Iterable[str]) -> Histories:
    """Prices of those tickers that have any, and all exchange rates, which are no ticker's prices.

    Footers are read now, through the store's cache, as several steps ask; rows when they are asked
    for.
    """
    etfs = (ticker for ticker in tickers if pair_of(ticker) is None)
    series = StoredSeries(store.layout, etfs, store.cache)
    return Histories(series, series.damaged, read_rates(store.layout, store.cache))


def conversion_of(histories: Histories, universe: Universe, assumptions: Assumptions) -> Conversion:
    """What brings the histories to one currency."""
    known = universe.columns()["currency"]
    return Conversion(histories.rates, known, assumptions.base_currency)


def risk_free_of(store: Store, universe: Universe, assumptions: Assumptions) -> RiskFree:
    """What is free of risk.

    Raises:
        UnknownTickerError: there is no history of the ticker.
        UnreadableFileError: the file of rates cannot be read beyond doubt.
    """
    known = universe.columns()["currency"]
    return load_risk_free(store.layout, store.cache, asked(assumptions.risk_free_rate), known)


def publish_day(
    store: Store,
    table: Table,
    data: pa.Table,
    histories: Histories,
    made_from: MadeFrom | None = None,
) -> Published:
    """Publish a table's file of the newest session, with what it was made from where that is known.

    A file that is there and is not what its footer says is replaced whatever it says.
    """
    sweep_temp_files(store.layout.folder(table))
    path, digest = store.layout.of(table, histories.as_of), content_hash(data)
    changed = publish(
        path,
        table,
        data,
        {"source": histories.source, "as_of": histories.as_of.isoformat()},
        digest=digest,
        made_from=None if made_from is None else made_from.as_bytes(),
        anew=not is_whole(path, table),
    )
    return Published(table, path, data.num_rows, digest, changed)


def done(*published: Published) -> OutcomeKind:
    """How good outcomes are called: updated when any of the files changed."""
    return OutcomeKind.UPDATED if any(p.changed for p in published) else OutcomeKind.UNCHANGED


def recorded(
    store: Store,
    run: Run,
    asset: str,
    outcomes: Iterable[Outcome],
    published: Iterable[Published],
    histories: Histories,
    details: Mapping[str, object],
) -> StepResult:
    """The result of a step, with its manifest written; the first file stands for its content."""
    sweep_temp_files(store.layout.manifests(asset))
    told, files = list(outcomes), list(published)
    manifest = write_manifest(
        store.layout, asset, run.run_id, run.partition, told, run.recorded_at, histories.source
    )
    return StepResult(
        asset,
        told,
        files,
        manifest,
        histories.source,
        histories.as_of,
        details,
        version_of=[files[0].content_hash],
    )
