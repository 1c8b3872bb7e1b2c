"""`risk_metrics` and `correlations`: tables over every history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from etf_pipeline.errors import StoreError, UnreadableFileError
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.outcomes import FailureKind, Outcome, failed
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import CORRELATIONS, RISK_METRICS
from etf_pipeline.risk.correlation_table import correlation_table
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.steps.derived import (
    Assumptions,
    Histories,
    conversion_of,
    done,
    publish_day,
    recorded,
    risk_free_of,
)
from etf_pipeline.steps.made_from import NOTHING_BEFORE, Before, Reads, fingerprint
from etf_pipeline.steps.result import Chart, Published, Run, StepResult
from etf_pipeline.steps.ticker_metrics import Beside, MetricsWork, made_metrics
from etf_pipeline.store.made_from import MadeFrom
from etf_pipeline.store.prices import cached_prices
from etf_pipeline.store.store import Store

_MOST_DRAWN = 100
_WHOLE = "all"  # correlations are one part


def risk_metrics(
    store: Store,
    run: Run,
    histories: Histories,
    universe: Universe,
    assumptions: Assumptions,
    workers: int = 1,
) -> StepResult:
    """Publish the metrics of every ticker and window; `workers` share many tickers out.

    Raises:
        InsufficientDataError: there is no history at all.
        UnknownTickerError: there is no history of the benchmark.
    """
    benchmark = assumptions.benchmark
    beside = Beside(
        risk_free_of(store, universe, assumptions),
        cached_prices(store.layout, benchmark, store.cache) if benchmark else None,
        conversion_of(histories, universe, assumptions),
        assumptions.periods_per_year,
    )
    reads = Reads(store, histories, universe, assumptions)
    before = Before.of(store, [RISK_METRICS]) if reads.known else NOTHING_BEFORE
    parts = _by_what(reads) if reads.known else {}
    same = before.same(parts)
    fx = {t: before.made_from.told.get(t, {}).get("fx") for t in same}
    if (files := before.unchanged(parts, histories)) is not None:
        return _by_ticker(store, run, files[0], histories, _volatility(before.files[0].data), fx)

    work = MetricsWork(store.layout.root, universe.columns()["currency"], assumptions)
    left = [t for t in histories.series if t not in same]
    made = made_metrics(histories, left, beside, work, workers)
    table = before.merged(RISK_METRICS, made.table, "ticker", same)
    fx |= made.fx
    made_from = None
    if reads.known:
        held = {t: parts[t] for t in histories.series}
        made_from = MadeFrom(
            held,
            {t: {"fx": f} for t, f in fx.items() if f},
            reads.assumed("benchmark", "periods_per_year"),
        )
    file = publish_day(store, RISK_METRICS, table, histories, made_from)
    return _by_ticker(store, run, file, histories, _volatility(table), fx)


def _by_what(reads: Reads) -> dict[str, str]:
    """By ticker, a fingerprint of all that decides its metrics."""
    assumed, benchmark = reads.assumptions, reads.assumptions.benchmark
    beside = [reads.file(benchmark)] if benchmark else []
    found = {}
    for ticker in reads.histories.series:
        own = reads.history(ticker)
        rates = reads.converting([own, *beside]) if beside else None
        found[ticker] = fingerprint(own, beside, reads.risk_free, assumed.periods_per_year, rates)
    return found


def _volatility(table: pa.Table) -> dict[str, object]:
    """A drawing of the last year's volatility; of many tickers, of those where it is highest."""
    chosen = table.select(["ticker", "volatility"]).filter(
        pc.and_(pc.equal(table.column("window"), "1y"), pc.is_valid(table.column("volatility")))
    )
    what = "volatility, last year"
    if chosen.num_rows > _MOST_DRAWN:
        highest = chosen.sort_by([("volatility", "descending")]).slice(0, _MOST_DRAWN)
        chosen, what = highest.sort_by("ticker"), f"{what}, the {_MOST_DRAWN} highest"
    tickers, values = (c.to_pylist() for c in chosen.columns)
    return {"volatility_1y": Chart(what, dict(zip(tickers, values, strict=True)))}


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
    reads = Reads(store, histories, universe, assumptions)
    parts = _of_all(reads, specs) if reads.known else {}
    # The rows of another night would be in memory beside those of this one.
    before = Before.of(store, [CORRELATIONS], parts) if reads.known else NOTHING_BEFORE
    if (files := before.unchanged(parts, histories)) is not None:
        told = before.made_from.told[_WHOLE]
        return _by_ticker(store, run, files[0], histories, told["details"], told["fx"])
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
    made_from = None
    if reads.known:  # once more, as a file may have turned out to be damaged
        fx = {t: f for t, f in used.items() if f}
        read = reads.assumed("base_currency", "correlations_kept", free=False)
        parts = _of_all(reads, specs)
        made_from = MadeFrom(parts, {_WHOLE: {"details": details, "fx": fx}}, read)
    file = publish_day(store, CORRELATIONS, found.table, histories, made_from)
    return _by_ticker(store, run, file, histories, details, used)


def _of_all(reads: Reads, specs: Sequence[PortfolioSpec]) -> dict[str, str]:
    """A fingerprint of all that decides correlations: each follows from what all tickers have."""
    assumed = reads.assumptions
    held = [reads.history(ticker) for ticker in sorted(reads.histories.series)]
    members = sorted({tuple(sorted(set(s.tickers))) for s in specs})
    rates = reads.converting(held, assumed.base_currency)
    kept = assumed.base_currency, assumed.correlations_kept
    return {_WHOLE: fingerprint(held, members, rates, *kept)}


def _by_ticker(
    store: Store,
    run: Run,
    file: Published,
    histories: Histories,
    details: Mapping[str, object],
    fx: Mapping[str, str | None],
) -> StepResult:
    """Record a table over all tickers; an outcome each, damaged files failures of theirs alone."""
    good, as_of = done(file), histories.as_of
    outcomes = [
        Outcome(
            ticker,
            good,
            last_date=as_of,
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
        store, run, file.table.name, outcomes, [file], histories, {"damaged": damaged, **details}
    )


def _kind(error: StoreError) -> FailureKind:
    """A damaged file is rebuilt by the next run; what somebody else wrote stays as it is."""
    unreadable = isinstance(error, UnreadableFileError)
    return FailureKind.PERMANENT if unreadable else FailureKind.TRANSIENT
