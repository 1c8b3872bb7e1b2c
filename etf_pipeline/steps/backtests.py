"""`backtests`: every model portfolio, walked forward over its common history."""

from __future__ import annotations

from collections.abc import Sequence

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model import assets
from etf_pipeline.model.backtesting import EventKind
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.outcomes import (
    FailureKind,
    Outcome,
    OutcomeKind,
    Remark,
    in_words,
    main_code,
)
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import BACKTEST_EVENTS, BACKTEST_WEIGHTS, BACKTESTS
from etf_pipeline.portfolio.backtest import Backtest
from etf_pipeline.portfolio.backtest_tables import backtest_tables
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
from etf_pipeline.steps.result import Chart, Run, StepResult
from etf_pipeline.store.store import Store

ASSET = assets.BACKTESTS
_TOLD = (
    (EventKind.SKIPPED, ReasonCode.DECISIONS_SKIPPED, "decisions gave no weights"),
    (EventKind.NEAREST, ReasonCode.NEAREST_TRADED, "decisions were traded as nearly as possible"),
)


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
    benchmark = [assumptions.benchmark] if assumptions.benchmark else []
    series = histories.read([*needed(specs), *benchmark])
    tables = backtest_tables(
        specs,
        series,
        assumptions.lookback_years,
        risk_free_of(store, universe, assumptions),
        universe.facts(),
        series.get(assumptions.benchmark or ""),
        conversion_of(histories, universe, assumptions),
        assumptions.periods_per_year,
        histories.as_of,
    )
    weights = publish_day(store, BACKTEST_WEIGHTS, tables.weights, histories)
    events = publish_day(store, BACKTEST_EVENTS, tables.events, histories)
    courses = publish_day(store, BACKTESTS, tables.courses, histories)
    outcomes = [
        Outcome(
            name,
            done(courses),
            in_words(remarks := _remarks(backtest)),
            None,
            main_code(remarks),
            last_date=histories.as_of,
            content_hash=courses.content_hash,
            path=store.layout.relative(courses.path),
            currency=tables.inputs[name].currency,
            fx=tables.inputs[name].fx,
        )
        for name, backtest in tables.backtests.items()
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
    return recorded(store, run, ASSET, outcomes, [courses, weights, events], histories, details)


def _remarks(backtest: Backtest) -> list[Remark]:
    """What there is to say of a backtest: decisions that were not traded as asked, and exits."""
    said = []
    for kind, code, words in _TOLD:
        dates = [e.date for e in backtest.events if e.kind is kind]
        if dates:
            said.append(Remark(code, f"{len(dates)} {words}, the last on {dates[-1]}"))
    left = [e for e in backtest.events if e.kind is EventKind.LEFT]
    said += [Remark(ReasonCode.MEMBER_LEFT, f"{e.subject}: {e.reason}") for e in left]
    return said + [Remark(ReasonCode.BACKTEST_REMARK, text) for text in backtest.remarks]
