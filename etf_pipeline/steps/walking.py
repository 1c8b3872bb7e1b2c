"""The backtests of many portfolios, walked in this process or shared out over several.

Portfolios that are measured against each other are walked together, in one process; prices are sent
to where they are walked, and rows come back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.backtesting import EventKind
from etf_pipeline.model.benchmark_portfolios import chain
from etf_pipeline.model.outcomes import FailureKind, OutcomeKind, Remark, in_words, main_code
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import BACKTEST_EVENTS, BACKTEST_WEIGHTS, BACKTESTS, Table
from etf_pipeline.portfolio.backtest import Backtest
from etf_pipeline.portfolio.backtest_tables import BacktestTables, backtest_tables
from etf_pipeline.portfolio.building import Columns
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.steps.made_from import by_part
from etf_pipeline.steps.portfolio_parts import needed
from etf_pipeline.steps.ticker_metrics import Beside
from etf_pipeline.steps.workers import spread

TABLES = (BACKTESTS, BACKTEST_WEIGHTS, BACKTEST_EVENTS)
_LEAST = 8  # groups that take a second or so each: starting a worker takes as long
_SAID = (
    (EventKind.SKIPPED, ReasonCode.DECISIONS_SKIPPED, "decisions gave no weights"),
    (EventKind.NEAREST, ReasonCode.NEAREST_TRADED, "decisions were traded as nearly as possible"),
)


@dataclass(frozen=True)
class Group:
    """Portfolios that are measured against each other, and the prices they are walked over."""

    specs: Sequence[PortfolioSpec]
    series: Mapping[str, PriceSeries]


@dataclass(frozen=True)
class Walks:
    """The rows of some portfolios, and by name what there is to tell of each besides."""

    tables: Mapping[Table, pa.Table]
    told: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Walking:
    """How portfolios are walked forward, see `workers.Work`.

    Attributes:
        beside: what each is walked with.
        lookback_years: for a specification that names none.
        columns: universe columns for the groups, each a value per ticker.
        newest: the newest session known of anything.
    """

    beside: Beside
    lookback_years: int
    columns: Columns
    newest: dt.date

    @contextmanager
    def __call__(self) -> Iterator[Callable[[Group], Walks]]:
        """The function of one group."""
        yield self.walk

    def walk(self, group: Group) -> Walks:
        """Walk the portfolios of a group; one that cannot be is told with why."""
        tables = backtest_tables(
            group.specs,
            group.series,
            self.lookback_years,
            self.beside.risk_free,
            self.columns,
            self.beside.benchmark,
            self.beside.conversion,
            self.beside.periods_per_year,
            self.newest,
        )
        rows = (tables.courses, tables.weights, tables.events)
        return Walks(dict(zip(TABLES, rows, strict=True)), _told(tables))


def walks(
    walking: Walking,
    specs: Sequence[PortfolioSpec],
    series: Mapping[str, PriceSeries],
    workers: int,
) -> Walks:
    """Walk portfolios forward, by name; the same whatever the number of workers.

    Args:
        walking: how.
        specs: the portfolios, with those that they are measured against.
        series: prices by ticker.
        workers: how many processes share many portfolios out.

    Raises:
        WorkerDiedError: a worker ended before its work.
    """
    groups = [_group(walking, together, series) for together in together_of(specs)]
    found = spread(walking, groups, workers, least=_LEAST, at_once=1)
    found = found or [walking.walk(Group((), series))]
    tables = {t: by_part([one.tables[t] for one in found], "portfolio") for t in TABLES}
    return Walks(tables, {name: told for one in found for name, told in one.told.items()})


def together_of(specs: Sequence[PortfolioSpec]) -> list[list[PortfolioSpec]]:
    """Portfolios by those that they are measured against, or that are measured against them."""
    known = {s.name: s for s in specs}
    groups: dict[str, dict[str, PortfolioSpec]] = {}
    for spec in specs:
        among = {one.name: one for one in chain(spec, known)}
        for mine in {id(g): g for name in list(among) if (g := groups.get(name))}.values():
            among = mine | among
        groups |= dict.fromkeys(among, among)
    once = {id(group): group for group in groups.values()}
    return [[group[name] for name in sorted(group)] for group in once.values()]


def _group(
    walking: Walking, specs: Sequence[PortfolioSpec], series: Mapping[str, PriceSeries]
) -> Group:
    return Group(specs, {t: series[t] for t in needed(specs) if t in series})


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
