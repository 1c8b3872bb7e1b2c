"""A small store of two currencies, and the steps that derive tables from it."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import RISK_METRICS, Table
from etf_pipeline.steps import backtests, portfolios, risk_tables, walking
from etf_pipeline.steps.derived import Assumptions, read_histories
from etf_pipeline.steps.result import Run, StepResult
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.made_from import newest_kept
from etf_pipeline.store.store import Store
from etf_pipeline_tests.stored_support import publish_closes
from etf_pipeline_tests.support import asx_days, instrument, walk

N = 500
DAYS = asx_days("2022-01-04", N + 20)
RATE = "AUDUSD=X"
CURRENCIES = {"AAA": "AUD", "BBB": "AUD", "CCC": "USD", "DDD": "AUD"}
TABLES: Mapping[str, Sequence[Table]] = {
    "risk_metrics": (RISK_METRICS,),
    "optimised_portfolios": portfolios.TABLES,
    "backtests": walking.TABLES,
}
SPECS = (
    PortfolioSpec(name="calm", tickers=["AAA", "BBB"], objective="min_volatility", resamples=20),
    PortfolioSpec(
        name="mixed", tickers=["AAA", "CCC"], objective="min_volatility", base_currency="AUD"
    ),
    PortfolioSpec(
        name="near-calm",
        tickers=["BBB", "DDD"],
        objective="min_tracking_error",
        benchmark="calm",
    ),
    PortfolioSpec(name="lacking", tickers=["BBB", "ZZZ"], objective="min_volatility"),
)


def closes(n: int, seed: int, start: float = 100.0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The first `n` of a course, the same whatever `n` is."""
    return walk(len(DAYS), seed=seed, start=start)[:n]


@dataclass
class DerivedWorld:
    """Histories of a few tickers and a rate, and everything that tables are made from besides.

    `seeds` has the course of each ticker, `lengths` how much of it there is, and `corrected` days
    whose close is another.
    """

    root: Path
    seeds: dict[str, int] = field(default_factory=lambda: {t: i for i, t in enumerate(CURRENCIES)})
    lengths: dict[str, int] = field(default_factory=lambda: dict.fromkeys([*CURRENCIES, RATE], N))
    corrected: dict[str, dict[int, float]] = field(default_factory=dict)
    specs: Sequence[PortfolioSpec] = SPECS
    universe: Universe = field(
        default_factory=lambda: Universe(
            tuple(instrument(t, currency=c) for t, c in CURRENCIES.items())
        )
    )
    assumed: Assumptions = field(default_factory=lambda: Assumptions(1, 0.02, "BBB"))
    runs: int = 0

    def save(self, *tickers: str) -> None:
        """Write the histories of these tickers, of all by default."""
        for ticker in tickers or self.lengths:
            n = self.lengths[ticker]
            values = closes(n, *((77, 0.7) if ticker == RATE else (self.seeds[ticker],)))
            for at, factor in self.corrected.get(ticker, {}).items():
                values[at] *= factor
            publish_closes(self.root, ticker, DAYS[:n], values, CURRENCIES.get(ticker, "USD"))

    def add_day(self, *tickers: str) -> None:
        """A session more of these."""
        for ticker in tickers:
            self.lengths[ticker] += 1
            self.save(ticker)

    def correct(self, ticker: str, at: int, factor: float = 1.001) -> None:
        """Another close on a day."""
        self.corrected.setdefault(ticker, {})[at] = factor
        self.save(ticker)

    def remove(self, ticker: str) -> None:
        """Neither a history nor a quarantine of it any more."""
        for folder in ("historical", "quarantine"):
            (self.root / folder / f"{ticker}.parquet").unlink()
        del self.lengths[ticker]

    def describe(self, **changes: Any) -> None:
        """Other assumptions."""
        self.assumed = replace(self.assumed, **changes)

    def specify(self, name: str, **changes: Any) -> None:
        """Something else asked of a portfolio."""
        self.specs = [s.model_copy(update=changes) if s.name == name else s for s in self.specs]

    def run(self, asset: str, root: Path | None = None) -> StepResult:
        """One step, of a run and a process of its own as far as any cache goes."""
        self.runs += 1
        store = Store.at(root or self.root, 10.0)
        run = Run(f"run-{self.runs}", dt.datetime(2025, 1, 1, tzinfo=dt.UTC))
        histories = read_histories(store, [i.ticker for i in self.universe.etfs])
        common = store, run, histories
        if asset == "risk_metrics":
            return risk_tables.risk_metrics(*common, self.universe, self.assumed)
        step = {
            "correlations": risk_tables.correlations,
            "optimised_portfolios": portfolios.optimised_portfolios,
            "backtests": backtests.backtests,
        }[asset]
        return step(*common, self.specs, self.universe, self.assumed)

    def from_scratch(self, asset: str, root: Path) -> dict[str, bytes]:
        """The files of a step over the same histories where there is no table yet."""
        shutil.rmtree(root, ignore_errors=True)
        for folder in ("historical", "quarantine"):
            shutil.copytree(self.root / folder, root / folder)
        return published_files(self.run(asset, root), root)

    def parts(self, asset: str) -> Mapping[str, str]:
        """The fingerprints in the newest file of a step."""
        kept = newest_kept(Layout(self.root), TABLES[asset][0])
        return {} if kept is None else kept.made_from.parts


def published_files(result: StepResult, root: Path) -> dict[str, bytes]:
    """The files that a step published or left alone, by path below the store."""
    return {str(p.path.relative_to(root)): p.path.read_bytes() for p in result.published}


def newest_files(asset: str, root: Path) -> dict[str, bytes]:
    """The newest file of each table of a step, by its path."""
    found = {}
    for table in TABLES[asset]:
        path = Layout(root).newest(table)
        if path is not None:
            found[str(path.relative_to(root))] = path.read_bytes()
    return found
