"""Machines that work on one universe: each with a data folder of its own, some with a share."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.source import Download, FetchFailure, Request
from etf_pipeline.ingest.sources.simulated import SimulatedSource
from etf_pipeline.model.schemas import CORRELATIONS, HISTORY, QUARANTINE, RAW, RISK_METRICS
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.sharing import derived, downloaded, updated
from etf_pipeline.steps import risk_tables
from etf_pipeline.steps.derived import Assumptions
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.result import Run, StepResult
from etf_pipeline_tests.pipeline.support import HEADER, NOW, make_pipeline

TICKERS = {f"T{i}": "XNYS" for i in range(8)}
SHARDS = ("XNYS-00", "XNYS-01")
PORTFOLIOS = "portfolios:\n  - name: two\n    tickers: [T0, T5]\n    objective: min_volatility\n"
COMPARED = (HISTORY, QUARANTINE, RISK_METRICS, CORRELATIONS)


class BySymbol(SimulatedSource):
    """Prices that are a symbol's, whatever its ticker is called."""

    def fetch(self, requests: Sequence[Request]) -> Iterator[Download | FetchFailure]:
        """See `PriceSource.fetch`."""
        for request in requests:
            one = replace(request.instrument, ticker=request.instrument.symbol)
            for answer in super().fetch([replace(request, instrument=one)]):
                yield replace(answer, request=request)


@dataclass
class Machine:
    """One machine; without a URL it stands for itself."""

    folder: Path
    url: str | None = None
    now: dt.datetime = NOW
    pipeline: Pipeline = field(init=False)
    changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = {"shards": len(SHARDS), "workers": 1, "portfolios": PORTFOLIOS} | self.changes
        made = make_pipeline(self.folder, TICKERS, store_url=self.url, **values)
        self.pipeline = replace(made, clock=lambda: self.now)

    def lists(self, *tickers: str) -> None:
        """Have another universe file: `SYMBOL`, or `SYMBOL:TICKER`, or `SYMBOL:TICKER:ALIASES`."""
        lines = [HEADER.replace("\n", ",aliases\n")]
        for text in tickers:
            symbol, ticker, aliases = (*text.split(":"), "", "")[:3]
            lines.append(
                f"{ticker or symbol},{symbol},XNYS,{symbol},equity,x,USD,{len(SHARDS)},{aliases}\n"
            )
        self.pipeline.settings.universe_file.write_text("".join(lines))
        self.pipeline = replace(self.pipeline, source=lambda *_: BySymbol(lambda: self.now))

    @property
    def root(self) -> Path:
        """Its data folder."""
        return self.pipeline.layout.root

    def run(self, run_id: str, partition: str = "") -> Run:
        """A run that everybody who names it has alike."""
        return Run(run_id, self.now, partition)

    def download(
        self, run_id: str, partition: str, *only: str, source: str | None = None
    ) -> StepResult:
        """What the asset `raw_prices` does."""
        line, run = self.pipeline, self.run(run_id, partition)
        return downloaded(
            line,
            run,
            lambda: download(
                line.store,
                run,
                line.open_source(source),
                line.universe.in_partition(partition, only or None),
                Terms.of(line.settings),
                clock=line.clock,
                corrections=line.corrections(),
            ),
        )

    def update(self, run_id: str, partition: str, *only: str) -> StepResult:
        """What the asset `price_history` does."""
        line, run = self.pipeline, self.run(run_id, partition)
        return updated(
            line,
            run,
            line.universe.in_partition(partition, only or None),
            lambda some: update_histories(
                line.store,
                run,
                some,
                source=line.settings.source,
                corrections=line.corrections(),
                universe=line.universe,
            ),
        )

    def night(self, run_id: str, partition: str) -> StepResult:
        """Both of a partition."""
        self.download(run_id, partition)
        return self.update(run_id, partition)

    def derive(self, run_id: str) -> None:
        """The tables over all histories."""
        line = self.pipeline
        for asset, step, also in (
            ("risk_metrics", risk_tables.risk_metrics, ()),
            ("correlations", risk_tables.correlations, (line.portfolios(),)),
        ):
            made = derived(
                line,
                asset,
                lambda step=step, also=also: step(
                    line.store,
                    self.run(run_id),
                    line.histories(),
                    *also,
                    line.universe,
                    Assumptions.of(line.settings),
                ),
            )
            assert made is not None

    def files(self) -> dict[str, bytes]:
        """Every file of the tables that are compared, by name below the store."""
        layout = self.pipeline.layout
        found = [p for t in COMPARED for p in layout.files(t)]
        return {layout.relative(p): p.read_bytes() for p in found}


def later(days: int) -> dt.datetime:
    """A night after the first."""
    return NOW + dt.timedelta(days=days)


def from_scratch(folder: Path, machine: Machine, *, tables: bool = True) -> dict[str, bytes]:
    """The same files made by one machine of all raw batches that another has, without a share."""
    alone = Machine(folder, now=machine.now, changes=machine.changes)
    shutil.copy(machine.pipeline.settings.universe_file, alone.pipeline.settings.universe_file)
    raw = machine.pipeline.layout.folder(RAW)
    shutil.copytree(raw, alone.pipeline.layout.folder(RAW))
    for partition in SHARDS:
        alone.update("again", partition)
    if tables:
        alone.derive("again")
    return alone.files()
