"""`backtests`: every model portfolio, walked forward over its common history."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from etf_pipeline.model import assets
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import BACKTESTS
from etf_pipeline.steps.derived import (
    Assumptions,
    Histories,
    conversion_of,
    done,
    recorded,
    risk_free_of,
)
from etf_pipeline.steps.made_from import NOTHING_BEFORE, Before, Reads
from etf_pipeline.steps.portfolio_parts import portfolio_parts, publish_parts, to_be_made
from etf_pipeline.steps.result import Chart, Published, Run, StepResult
from etf_pipeline.steps.ticker_metrics import Beside
from etf_pipeline.steps.walking import TABLES, Walking, walks
from etf_pipeline.store.made_from import MadeFrom
from etf_pipeline.store.manifests import outcome_of
from etf_pipeline.store.store import Store

ASSET = assets.BACKTESTS
_ASSUMED = ("lookback_years", "benchmark", "base_currency", "periods_per_year")
_IDLE = ("resamples",)


def backtests(
    store: Store,
    run: Run,
    histories: Histories,
    specs: Sequence[PortfolioSpec],
    universe: Universe,
    assumptions: Assumptions,
    workers: int = 1,
) -> StepResult:
    """Walk every portfolio forward, and publish courses and weights; one that cannot says why.

    Args:
        store: where histories are read and tables published.
        run: whose manifest is written.
        histories: of everything.
        specs: the portfolios.
        universe: what is known of their tickers.
        assumptions: what numbers rest on.
        workers: how many processes share many portfolios out; what comes of it is the same.

    Raises:
        InsufficientDataError: there is no history at all.
        WorkerDiedError: a worker ended before its work.
    """
    reads = Reads(store, histories, universe, assumptions)
    free = risk_free_of(store, universe, assumptions)
    benchmark = [assumptions.benchmark] if assumptions.benchmark else []
    before = Before.of(store, TABLES) if reads.known else NOTHING_BEFORE

    def parts() -> dict[str, str]:
        day = histories.as_of.isoformat()
        return portfolio_parts(reads, specs, _IDLE, benchmark, day) if reads.known else {}

    if (files := before.unchanged(parts(), histories)) is not None:
        courses = before.files[0].data
        return _recorded(store, run, histories, files, courses, before.made_from)
    making = to_be_made(specs, histories, before, parts, benchmark)
    with_what = Beside(
        free,
        making.series.get(assumptions.benchmark or ""),
        conversion_of(histories, universe, assumptions),
        assumptions.periods_per_year,
    )
    walking = Walking(with_what, assumptions.lookback_years, universe.facts(), histories.as_of)
    made = walks(walking, making.specs, making.series, workers)
    told = before.told(making.taken) | dict(made.told)
    made_from = MadeFrom(making.parts, told, reads.assumed(*_ASSUMED))
    kept = made_from if reads.known else None
    files, data = publish_parts(store, histories, before, making, made.tables, kept)
    return _recorded(store, run, histories, files, data[BACKTESTS], made_from)


def _recorded(
    store: Store,
    run: Run,
    histories: Histories,
    files: Sequence[Published],
    courses: pa.Table,
    made_from: MadeFrom,
) -> StepResult:
    """Record the three files with an outcome for each portfolio."""
    file = files[0]
    good = {
        "outcome": done(file),
        "last_date": histories.as_of,
        "content_hash": file.content_hash,
        "path": store.layout.relative(file.path),
    }
    told = [(name, dict(made_from.told[name])) for name in sorted(made_from.told)]
    walked = [
        outcome_of({"subject": name} | good | one) for name, one in told if "outcome" not in one
    ]
    refused = [outcome_of({"subject": name} | one) for name, one in told if "outcome" in one]
    names, wealth = (courses.column(c).to_pylist() for c in ("portfolio", "wealth"))
    final = {name: last - 1.0 for name, last in zip(names, wealth, strict=True)}
    details = {
        "total_return": Chart("total return", final),
        "not_backtested": {one.subject: one.reason for one in refused},
    }
    return recorded(store, run, ASSET, [*walked, *refused], files, histories, details)
