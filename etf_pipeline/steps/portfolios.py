"""`optimised_portfolios`: weights, summary and frontier of every model portfolio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from etf_pipeline.model import assets
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import FRONTIER, SUMMARY, UNCERTAINTY, WEIGHTS
from etf_pipeline.portfolio.tables import PortfolioTables, portfolio_tables
from etf_pipeline.portfolio.uncertainty_tables import uncertainty_table
from etf_pipeline.steps.derived import (
    Assumptions,
    Histories,
    conversion_of,
    done,
    needed,
    publish_day,
    recorded,
    risk_free_of,
)
from etf_pipeline.steps.result import Chart, Published, Run, StepResult
from etf_pipeline.store.store import Store

ASSET = assets.OPTIMISED_PORTFOLIOS


def optimised_portfolios(
    store: Store,
    run: Run,
    histories: Histories,
    specs: Sequence[PortfolioSpec],
    universe: Universe,
    assumptions: Assumptions,
) -> StepResult:
    """Optimise every portfolio and publish four tables; one that cannot be says why.

    The fourth has the uncertainty of those that ask for resamples; it is empty where none does.

    Raises:
        InsufficientDataError: there is no history at all.
    """
    tables = portfolio_tables(
        specs,
        histories.read(needed(specs)),
        assumptions.lookback_years,
        risk_free_of(store, universe, assumptions),
        universe.facts(),
        conversion_of(histories, universe, assumptions),
        assumptions.periods_per_year,
    )
    spread = uncertainty_table(
        [s for s in tables.specs.values() if tables.answers[s.name].success],
        tables.inputs,
        assumptions.lookback_years,
        risk_free_of(store, universe, assumptions),
        universe.facts(),
        assumptions.periods_per_year,
    )
    # The weights last: they stand for the others, which must be there by then.
    summary = publish_day(store, SUMMARY, tables.summary, histories)
    frontier = publish_day(store, FRONTIER, tables.frontier, histories)
    bands = publish_day(store, UNCERTAINTY, spread.table, histories)
    weights = publish_day(store, WEIGHTS, tables.weights, histories)
    outcomes = _outcomes(store, tables, done(summary, weights), weights)
    details = _charts(tables.weights) | {
        "portfolios_ok": sum(a.success for a in tables.answers.values()),
        "portfolios_not_ok": {o.subject: o.reason for o in outcomes if not o.good},
        "not_resampled": dict(spread.failures),
    }
    files = [weights, summary, frontier, bands]
    result = recorded(store, run, ASSET, outcomes, files, histories, details)
    hashes = [weights.content_hash, summary.content_hash, bands.content_hash]
    return replace(result, version_of=hashes)


def _outcomes(
    store: Store, tables: PortfolioTables, good: OutcomeKind, weights: Published
) -> list[Outcome]:
    """What came of each portfolio; those with an answer are called `good`."""
    return [
        Outcome(
            row["portfolio"],
            good if row["success"] else OutcomeKind.FAILED,
            row["message"],
            None if row["success"] else FailureKind.PERMANENT,
            tables.answers[row["portfolio"]].code,
            first_date=row["start"],
            last_date=row["end"],
            content_hash=weights.content_hash,
            path=store.layout.relative(weights.path),
            source=row["source"],
            currency=row["base_currency"],
            fx=row["fx"],
        )
        for row in tables.summary.to_pylist()
    ]


def _charts(weights: pa.Table) -> dict[str, Any]:
    """By portfolio, what it holds."""
    held: dict[str, dict[str, float]] = {}
    for row in weights.to_pylist():
        mine = held.setdefault(row["portfolio"], {})
        if row["weight"] != 0:
            mine[row["ticker"]] = row["weight"]
    return {f"weights_{name}": Chart(name, held[name]) for name in sorted(held)}
