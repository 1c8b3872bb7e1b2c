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
from etf_pipeline.model.schemas import FRONTIER, SUMMARY, WEIGHTS
from etf_pipeline.portfolio.tables import portfolio_tables
from etf_pipeline.steps.derived import (
    Assumptions,
    Histories,
    conversion_of,
    done,
    publish_day,
    recorded,
)
from etf_pipeline.steps.result import Chart, Run, StepResult
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
    """Optimise every portfolio and publish three tables; one that cannot be says why.

    Raises:
        InsufficientDataError: there is no history at all.
    """
    tables = portfolio_tables(
        specs,
        histories.series,
        assumptions.lookback_years,
        assumptions.risk_free_rate,
        universe.columns(),
        conversion_of(histories, universe, assumptions),
        assumptions.periods_per_year,
    )
    # The weights last: they stand for the others, which must be there by then.
    summary = publish_day(store, SUMMARY, tables.summary, histories)
    frontier = publish_day(store, FRONTIER, tables.frontier, histories)
    weights = publish_day(store, WEIGHTS, tables.weights, histories)
    good = done(summary, weights)
    rows = tables.summary.to_pylist()
    outcomes = [
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
        for row in rows
    ]
    details = _charts(tables.weights) | {
        "portfolios_ok": sum(row["success"] for row in rows),
        "portfolios_not_ok": {r["portfolio"]: r["message"] for r in rows if not r["success"]},
    }
    result = recorded(store, run, ASSET, outcomes, [weights, summary, frontier], histories, details)
    return replace(result, version_of=[weights.content_hash, summary.content_hash])


def _charts(weights: pa.Table) -> dict[str, Any]:
    """By portfolio, what it holds."""
    held: dict[str, dict[str, float]] = {}
    for row in weights.to_pylist():
        mine = held.setdefault(row["portfolio"], {})
        if row["weight"] > 0:
            mine[row["ticker"]] = row["weight"]
    return {f"weights_{name}": Chart(name, held[name]) for name in sorted(held)}
