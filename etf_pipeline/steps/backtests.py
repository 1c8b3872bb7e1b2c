"""`backtests`: every model portfolio, walked forward over its common history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model import assets
from etf_pipeline.model.backtesting import EventKind
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.outcomes import (
    FailureKind,
    OutcomeKind,
    Remark,
    in_words,
    main_code,
)
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import BACKTEST_EVENTS, BACKTEST_WEIGHTS, BACKTESTS
from etf_pipeline.portfolio.backtest import Backtest
from etf_pipeline.portfolio.backtest_tables import BacktestTables, backtest_tables
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

ASSET = assets.BACKTESTS
TABLES = (BACKTESTS, BACKTEST_WEIGHTS, BACKTEST_EVENTS)
_ASSUMED = ("lookback_years", "benchmark", "base_currency", "periods_per_year")
_IDLE = ("resamples",)
_SAID = (
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
    tables = backtest_tables(
        making.specs,
        making.series,
        assumptions.lookback_years,
        free,
        universe.facts(),
        making.series.get(assumptions.benchmark or ""),
        conversion_of(histories, universe, assumptions),
        assumptions.periods_per_year,
        histories.as_of,
    )
    told = before.told(making.taken) | _told(tables)
    made_from = MadeFrom(making.parts, told, reads.assumed(*_ASSUMED))
    made = {
        BACKTESTS: tables.courses,
        BACKTEST_WEIGHTS: tables.weights,
        BACKTEST_EVENTS: tables.events,
    }
    kept = made_from if reads.known else None
    files, data = publish_parts(store, histories, before, making, made, kept)
    return _recorded(store, run, histories, files, data[BACKTESTS], made_from)


def _told(tables: BacktestTables) -> dict[str, dict[str, Any]]:
    """What there is to tell of each portfolio besides its rows."""
    found: dict[str, dict[str, Any]] = {}
    for name, backtest in tables.backtests.items():
        code, money = main_code(remarks := _remarks(backtest)), tables.inputs[name]
        found[name] = {
            "reason": in_words(remarks),
            "reason_code": code and code.value,
            "currency": money.currency,
            "fx": money.fx,
        }
    return found | {
        name: {
            "outcome": OutcomeKind.FAILED.value,
            "failure_kind": FailureKind.PERMANENT.value,
            "reason": answer.message,
            "reason_code": answer.code and answer.code.value,
        }
        for name, answer in tables.failures.items()
    }


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


def _remarks(backtest: Backtest) -> list[Remark]:
    """What there is to say of a backtest: decisions that were not traded as asked, and exits."""
    said = []
    for kind, code, words in _SAID:
        dates = [e.date for e in backtest.events if e.kind is kind]
        if dates:
            said.append(Remark(code, f"{len(dates)} {words}, the last on {dates[-1]}"))
    left = [e for e in backtest.events if e.kind is EventKind.LEFT]
    said += [Remark(ReasonCode.MEMBER_LEFT, f"{e.subject}: {e.reason}") for e in left]
    return said + [Remark(ReasonCode.BACKTEST_REMARK, text) for text in backtest.remarks]
