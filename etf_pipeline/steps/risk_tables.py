"""`risk_metrics` and `correlations`: tables over every history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from etf_pipeline.errors import StoreError, UnreadableFileError
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.outcomes import FailureKind, Outcome, failed
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import CORRELATIONS, RISK_METRICS, Table
from etf_pipeline.risk.correlation_table import correlation_table
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.risk.tables import risk_table
from etf_pipeline.steps.derived import (
    Assumptions,
    Histories,
    conversion_of,
    done,
    publish_day,
    recorded,
    risk_free_of,
)
from etf_pipeline.steps.result import Chart, Run, StepResult
from etf_pipeline.store.prices import load_prices
from etf_pipeline.store.store import Store


def risk_metrics(
    store: Store, run: Run, histories: Histories, universe: Universe, assumptions: Assumptions
) -> StepResult:
    """Publish the metrics of every ticker and window.

    Raises:
        InsufficientDataError: there is no history at all.
        UnknownTickerError: there is no history of the benchmark.
    """
    benchmark = assumptions.benchmark
    against = load_prices(store.layout, benchmark) if benchmark else None
    conversion = conversion_of(histories, universe, assumptions)
    table = risk_table(
        histories.each(),
        risk_free_of(store, universe, assumptions),
        against,
        conversion,
        assumptions.periods_per_year,
    )
    year = {
        row["ticker"]: row["volatility"]
        for row in table.to_pylist()
        if row["window"] == "1y" and row["volatility"] is not None
    }
    charts = {"volatility_1y": Chart("volatility, last year", year)}
    used = {
        s.ticker: None if against is None else conversion.used_between(against, s)
        for s in histories.each()
    }
    return _by_ticker(store, run, RISK_METRICS, table, histories, charts, used)


def correlations(
    store: Store,
    run: Run,
    histories: Histories,
    specs: Sequence[PortfolioSpec],
    universe: Universe,
    assumptions: Assumptions,
) -> StepResult:
    """Publish the correlations of every window, those within the portfolios among them.

    Raises:
        InsufficientDataError: there is no history at all.
    """
    conversion, base = conversion_of(histories, universe, assumptions), assumptions.base_currency
    used: dict[str, str | None] = {}

    def noted() -> Iterator[PriceSeries]:
        for one in histories.each():
            if base is not None:
                used[one.ticker] = conversion.used_between(one, replace(one, currency=base))
            yield one

    found = correlation_table(
        noted(),
        histories.as_of,
        conversion,
        [s.tickers for s in specs],
        assumptions.correlations_kept,
        many=len(histories.series),
    )
    details = {"compared": found.dates, "left_out": found.left_out}
    return _by_ticker(store, run, CORRELATIONS, found.table, histories, details, used)


def _by_ticker(
    store: Store,
    run: Run,
    table: Table,
    data: pa.Table,
    histories: Histories,
    details: Mapping[str, object],
    fx: Mapping[str, str | None],
) -> StepResult:
    """Publish a table over all tickers; an outcome each, damaged files failures of theirs alone."""
    file = publish_day(store, table, data, histories)
    outcomes = [
        Outcome(
            ticker,
            done(file),
            last_date=histories.as_of,
            content_hash=file.content_hash,
            path=store.layout.relative(file.path),
            currency=facts.currency,
            fx=fx.get(ticker),
        )
        for ticker, facts in sorted(histories.facts.items())
    ]
    outcomes += [failed(t, e, _kind(e)) for t, e in histories.damaged.items()]
    damaged = {t: str(e) for t, e in histories.damaged.items()}
    return recorded(
        store, run, table.name, outcomes, [file], histories, {"damaged": damaged, **details}
    )


def _kind(error: StoreError) -> FailureKind:
    """A damaged file is rebuilt by the next run; what somebody else wrote stays as it is."""
    unreadable = isinstance(error, UnreadableFileError)
    return FailureKind.PERMANENT if unreadable else FailureKind.TRANSIENT
