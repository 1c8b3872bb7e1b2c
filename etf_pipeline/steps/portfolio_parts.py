"""Model portfolios as parts of tables: what decides each one's rows, and which are to be made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from etf_pipeline.model.benchmark_portfolios import chain
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import Table
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.steps.derived import Histories, publish_day
from etf_pipeline.steps.made_from import Before, Reads, fingerprint
from etf_pipeline.steps.result import Published
from etf_pipeline.store.made_from import MadeFrom
from etf_pipeline.store.store import Store


def needed(specs: Iterable[PortfolioSpec]) -> list[str]:
    """Every ticker whose prices portfolios are made of, or measured against."""
    return sorted({t for s in specs for t in (*s.tickers, *s.against, *s.comparison)})


def portfolio_parts(
    reads: Reads,
    specs: Sequence[PortfolioSpec],
    without: Collection[str],
    beside: Sequence[str] = (),
    *more: Any,
) -> dict[str, str]:
    """By portfolio, a fingerprint of all that decides what comes of it.

    That is what is asked of it and of those that it is measured against, the prices of their
    tickers, what the universe says of these, what is free of risk, and the rates where there are
    several currencies.

    Args:
        reads: versions of what there is.
        specs: all portfolios of the file.
        without: fields of a specification that do not matter.
        beside: other tickers whose prices matter.
        more: plain data that matters besides.
    """
    known, facts = {s.name: s for s in specs}, reads.universe.facts()
    assumed = reads.assumptions
    found = {}
    for spec in specs:
        asked = chain(spec, known)
        tickers = [*needed(asked), *beside]
        prices = [reads.history(t) for t in tickers]
        bases = [s.base_currency for s in asked]
        found[spec.name] = fingerprint(
            [s.model_dump(mode="json", exclude={"description", *without}) for s in asked],
            prices,
            {name: {t: v[t] for t in tickers if t in v} for name, v in facts.items()},
            [assumed.lookback_years, assumed.base_currency, assumed.periods_per_year],
            reads.risk_free,
            reads.converting(prices, assumed.base_currency, *bases),
            *more,
        )
    return found


@dataclass(frozen=True)
class Making:
    """What a step over portfolios has to do.

    Attributes:
        parts: the fingerprint of every portfolio.
        specs: portfolios to be made, in order, with those that they are measured against.
        taken: those whose rows are taken over.
        series: prices of what has to be made.
    """

    parts: Mapping[str, str]
    specs: Sequence[PortfolioSpec]
    taken: frozenset[str]
    series: Mapping[str, PriceSeries]


def to_be_made(
    specs: Sequence[PortfolioSpec],
    histories: Histories,
    before: Before,
    parts_of: Callable[[], Mapping[str, str]],
    beside: Sequence[str] = (),
) -> Making:
    """The portfolios that are not as they were, and their prices.

    A file that turns out damaged when it is read is as good as none, which another fingerprint
    says: so that the portfolio is made again once the file is mended.
    """
    known = {s.name: s for s in specs}
    while True:
        damaged, parts = len(histories.damaged), parts_of()
        same = before.same(parts)
        wanted = {one.name for s in specs if s.name not in same for one in chain(s, known)}
        making = [s for s in specs if s.name in wanted]
        series = histories.read([*needed(making), *beside])
        if len(histories.damaged) == damaged:
            return Making(parts, making, same - wanted, series)


def publish_parts(
    store: Store,
    histories: Histories,
    before: Before,
    making: Making,
    made: Mapping[Table, pa.Table],
    made_from: MadeFrom | None,
) -> tuple[list[Published], dict[Table, pa.Table]]:
    """Publish rows that were made with those that are taken over; the files, and their rows.

    The first table last: it stands for the others, which must be there by then.
    """
    data = {t: before.merged(t, rows, "portfolio", making.taken) for t, rows in made.items()}
    files = {t: publish_day(store, t, data[t], histories, made_from) for t in reversed(data)}
    return [files[t] for t in data], data
