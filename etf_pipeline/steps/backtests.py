"""`backtests`: every model portfolio, walked forward over its common history."""

from __future__ import annotations

from collections.abc import Sequence

from etf_pipeline.model import assets
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import BACKTEST_WEIGHTS, BACKTESTS
from etf_pipeline.portfolio.backtest_tables import backtest_tables
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

ASSET = assets.BACKTESTS


def backtests(
    store: Store,
    run: Run,
    histories: Histories,
    specs: Sequence[PortfolioSpec],
    universe: Universe,
    assumptions: Assumptions,
) -> StepResult:
    """Walk every portfolio forward, and publish courses and weights; one that cannot says why.

    Raises:
        InsufficientDataError: there is no history at all.
    """
    tables = backtest_tables(
        specs,
        histories.series,
        assumptions.lookback_years,
        assumptions.risk_free_rate,
        universe.facts(),
        histories.series.get(assumptions.benchmark or ""),
        conversion_of(histories, universe, assumptions),
        assumptions.periods_per_year,
    )
    weights = publish_day(store, BACKTEST_WEIGHTS, tables.weights, histories)
    courses = publish_day(store, BACKTESTS, tables.courses, histories)
    outcomes = [
        Outcome(
            spec.name,
            done(courses),
            last_date=histories.as_of,
            content_hash=courses.content_hash,
            path=store.layout.relative(courses.path),
            currency=tables.inputs[spec.name].currency,
            fx=tables.inputs[spec.name].fx,
        )
        for spec in specs
        if spec.name not in tables.failures
    ]
    outcomes += [
        Outcome(name, OutcomeKind.FAILED, answer.message, FailureKind.PERMANENT, answer.code)
        for name, answer in tables.failures.items()
    ]
    final = {row["portfolio"]: row["wealth"] - 1.0 for row in tables.courses.to_pylist()}
    details = {
        "total_return": Chart("total return", final),
        "not_backtested": {name: a.message for name, a in tables.failures.items()},
    }
    return recorded(store, run, ASSET, outcomes, [courses, weights], histories, details)
