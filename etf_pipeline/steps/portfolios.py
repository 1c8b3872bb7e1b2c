"""`optimised_portfolios`: weights, summary and frontier of every model portfolio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from etf_pipeline.model import assets
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind
from etf_pipeline.model.portfolios import BACKTEST_FIELDS, PortfolioSpec
from etf_pipeline.model.schemas import FRONTIER, SUMMARY, UNCERTAINTY, WEIGHTS, Table
from etf_pipeline.portfolio.tables import PortfolioTables, portfolio_tables
from etf_pipeline.portfolio.uncertainty_tables import UncertaintyTable, uncertainty_table
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
from etf_pipeline.store.made_from import MadeFrom
from etf_pipeline.store.manifests import outcome_of
from etf_pipeline.store.store import Store

ASSET = assets.OPTIMISED_PORTFOLIOS
TABLES = (WEIGHTS, SUMMARY, FRONTIER, UNCERTAINTY)
_ASSUMED = ("lookback_years", "base_currency", "periods_per_year")


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
    reads = Reads(store, histories, universe, assumptions)
    free = risk_free_of(store, universe, assumptions)
    before = Before.of(store, TABLES) if reads.known else NOTHING_BEFORE

    def parts() -> dict[str, str]:
        return portfolio_parts(reads, specs, BACKTEST_FIELDS) if reads.known else {}

    if (files := before.unchanged(parts(), histories)) is not None:
        data = {kept.table: kept.data for kept in before.files}
        return _recorded(store, run, histories, files, data, before.made_from)
    making = to_be_made(specs, histories, before, parts)
    tables = portfolio_tables(
        making.specs,
        making.series,
        assumptions.lookback_years,
        free,
        universe.facts(),
        conversion_of(histories, universe, assumptions),
        assumptions.periods_per_year,
    )
    spread = uncertainty_table(
        [s for s in tables.specs.values() if tables.answers[s.name].success],
        tables.inputs,
        assumptions.lookback_years,
        free,
        universe.facts(),
        assumptions.periods_per_year,
    )
    told = before.told(making.taken) | _told(tables, spread)
    made_from = MadeFrom(making.parts, told, reads.assumed(*_ASSUMED))
    made = {
        WEIGHTS: tables.weights,
        SUMMARY: tables.summary,
        FRONTIER: tables.frontier,
        UNCERTAINTY: spread.table,
    }
    kept = made_from if reads.known else None
    files, data = publish_parts(store, histories, before, making, made, kept)
    return _recorded(store, run, histories, files, data, made_from)


def _told(tables: PortfolioTables, spread: UncertaintyTable) -> dict[str, dict[str, Any]]:
    """What there is to tell of each portfolio besides its rows."""
    return {
        name: {"code": answer.code and answer.code.value, "spread": spread.failures.get(name)}
        for name, answer in tables.answers.items()
    }


def _recorded(
    store: Store,
    run: Run,
    histories: Histories,
    files: Sequence[Published],
    data: Mapping[Table, pa.Table],
    made_from: MadeFrom,
) -> StepResult:
    """Record the four files, whose rows are `data`, with an outcome for each portfolio."""
    weights, summary, _, bands = files
    told = made_from.told
    outcomes = _outcomes(store, data[SUMMARY], done(summary, weights), weights, told)
    details = _charts(data[WEIGHTS]) | {
        "portfolios_ok": sum(o.good for o in outcomes),
        "portfolios_not_ok": {o.subject: o.reason for o in outcomes if not o.good},
        "not_resampled": {n: told[n]["spread"] for n in sorted(told) if told[n].get("spread")},
    }
    result = recorded(store, run, ASSET, outcomes, files, histories, details)
    return replace(result, version_of=[f.content_hash for f in (weights, summary, bands)])


def _outcomes(
    store: Store,
    summary: pa.Table,
    good: OutcomeKind,
    weights: Published,
    told: Mapping[str, Mapping[str, Any]],
) -> list[Outcome]:
    """What came of each portfolio; those with an answer are called `good`."""
    failed = {"outcome": OutcomeKind.FAILED, "failure_kind": FailureKind.PERMANENT}
    return [
        outcome_of(
            {
                "subject": row["portfolio"],
                "reason": row["message"],
                "reason_code": told.get(row["portfolio"], {}).get("code"),
                "first_date": row["start"],
                "last_date": row["end"],
                "content_hash": weights.content_hash,
                "path": store.layout.relative(weights.path),
                "source": row["source"],
                "currency": row["base_currency"],
                "fx": row["fx"],
            }
            | ({"outcome": good} if row["success"] else failed)
        )
        for row in summary.to_pylist()
    ]


def _charts(weights: pa.Table) -> dict[str, Any]:
    """By portfolio, what it holds."""
    held: dict[str, dict[str, float]] = {}
    for row in weights.to_pylist():
        mine = held.setdefault(row["portfolio"], {})
        if row["weight"] != 0:
            mine[row["ticker"]] = row["weight"]
    return {f"weights_{name}": Chart(name, held[name]) for name in sorted(held)}
