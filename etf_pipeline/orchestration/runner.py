"""Running the whole graph from the command line, through Dagster, in this process.

Belongs here: which jobs run in which order, and what is reported of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

from etf_pipeline.errors import EtfError, ReasonCode
from etf_pipeline.events.factory import asked_for
from etf_pipeline.events.tailer import Tailer
from etf_pipeline.model import assets
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import Outcome
from etf_pipeline.model.schemas import MANIFEST
from etf_pipeline.orchestration.build import build_definitions
from etf_pipeline.orchestration.database import outage
from etf_pipeline.orchestration.event_log import DagsterLog
from etf_pipeline.orchestration.failures import StepFailure, step_failures
from etf_pipeline.orchestration.jobs import DERIVE, INGEST
from etf_pipeline.orchestration.records import clock_tags
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.slots import process_tags
from etf_pipeline.store.manifests import read_manifest

log = logging.getLogger(__name__)
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class RunReport:
    """What a run did: per-ticker outcomes, per-portfolio outcomes, and steps that failed whole.

    `backtests` are by portfolio too. A portfolio without one may be too young for it, which is no
    failure of the run. `ended` says what kept the run from going on: nothing after that was tried.
    """

    tickers: dict[str, Outcome] = field(default_factory=dict)
    portfolios: dict[str, Outcome] = field(default_factory=dict)
    failures: list[StepFailure] = field(default_factory=list)
    backtests: dict[str, Outcome] = field(default_factory=dict)
    ended: EtfError | None = None

    @property
    def errors(self) -> list[str]:
        """What to say of the steps that failed."""
        told = [f.message for f in self.failures]
        return told if self.ended is None else [*told, str(self.ended)]


def run_graph(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    *,
    tickers: Sequence[str] = (),
    partitions: Sequence[str] = (),
    source: str = "",
    full_refresh: bool = False,
) -> RunReport:
    """Download, update histories, then derive tables and portfolios.

    A partition that fails does not stop the others, nor the tables of what is there. Where
    Dagster's database is lost, the report has what came out until then.

    Raises:
        KeyboardInterrupt: it was interrupted; what was published is whole.
    """
    report = RunReport()
    ingest = {"source": source, "full_refresh": full_refresh}
    try:
        _run_jobs(pipeline, instance, report, tickers, partitions, ingest)
    except Exception as error:
        report.ended = outage(error)
        if report.ended is None:
            raise
    return report


def _run_jobs(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    report: RunReport,
    tickers: Sequence[str],
    partitions: Sequence[str],
    ingest: Mapping[str, Any],
) -> None:
    """Every job in turn; what came out is in the report as soon as it is known."""
    defs = build_definitions(pipeline.settings, pipeline.event_settings, pipeline)
    repository = defs.get_repository_def()
    chosen = [pipeline.universe.get(t).ticker for t in tickers]
    wanted = list(partitions) or pipeline.universe.partitions()
    told: list[StepFailure] = []
    for partition in wanted:
        instruments = pipeline.universe.in_partition(partition, chosen or None)
        if not instruments:
            continue
        config: dict[str, Any] = _QUIET | {
            "ops": {
                assets.RAW_PRICES: {"config": {"tickers": chosen, **ingest}},
                assets.PRICE_HISTORY: {"config": {"tickers": chosen}},
            }
        }
        result = repository.get_job(INGEST).execute_in_process(
            run_config=config,
            instance=instance,
            partition_key=partition,
            raise_on_error=False,
            tags=process_tags() | clock_tags(pipeline.clock()),
        )
        _read_outcomes(pipeline, report, result.run_id, partition)
        (told if _told(report, instruments) else report.failures).extend(_failures(result))
    if not any(o.good for o in report.tickers.values()):
        report.failures += told
    if any(pipeline.layout.find_history(i.ticker).exists() for i in pipeline.universe.etfs):
        result = repository.get_job(DERIVE).execute_in_process(
            run_config=_QUIET,
            instance=instance,
            raise_on_error=False,
            tags=process_tags() | clock_tags(pipeline.clock()),
        )
        report.failures += _failures(result)
        report.portfolios = _by_portfolio(pipeline, assets.OPTIMISED_PORTFOLIOS, result.run_id)
        report.backtests = _by_portfolio(pipeline, assets.BACKTESTS, result.run_id)


def _by_portfolio(pipeline: Pipeline, asset: str, run_id: str) -> dict[str, Outcome]:
    """The outcomes of a step, by portfolio; none where it did not come to any."""
    path = pipeline.layout.of(MANIFEST, asset, run_id, "")
    return {o.subject: o for o in read_manifest(path)} if path.exists() else {}


@contextmanager
def tailed(pipeline: Pipeline, instance: dg.DagsterInstance) -> Iterator[None]:
    """Tell the events of what the block has Dagster record; does nothing while events are off.

    The place to begin is taken before, so that the very first run is told too.
    """
    if pipeline.event_settings is None or not asked_for(pipeline.event_settings):
        yield
        return
    tailer = Tailer(pipeline.layout, pipeline.events, DagsterLog(instance), pipeline.files)
    tailer.cursor()
    try:
        yield
    finally:
        _tell_rest(tailer)
        pipeline.events.close()


def _tell_rest(tailer: Tailer) -> None:
    """A last tick, and what is left; it is told by the next run where the database was lost."""
    try:
        tick = tailer.tick()
    except Exception as error:
        if (lost := outage(error)) is None:
            raise
        log.error("events: %s", lost)
        return
    if tick.problem or tick.behind or tick.pending:
        log.error("events: %s", tick.summary)


def _read_outcomes(pipeline: Pipeline, report: RunReport, run_id: str, partition: str) -> None:
    """One outcome per ticker: the download's, unless the history step has worse news."""
    for asset in (assets.RAW_PRICES, assets.PRICE_HISTORY):
        path = pipeline.layout.of(MANIFEST, asset, run_id, partition)
        if not path.exists():
            continue
        for outcome in read_manifest(path):
            earlier = report.tickers.get(outcome.subject)
            if earlier is None or earlier.good:
                report.tickers[outcome.subject] = _joined(earlier, outcome)


def _told(report: RunReport, instruments: Sequence[Instrument]) -> bool:
    """Whether the outcome of each ticker of a partition tells why it did not come out.

    That nothing of one partition did is then no more than these say, however few it holds.
    """
    told = [report.tickers.get(i.ticker) for i in instruments]
    return all(o is not None and not o.good for o in told)


def _joined(earlier: Outcome | None, later: Outcome) -> Outcome:
    """The history's outcome, with the download's word, and code, for what it did."""
    if earlier is None or not later.good:
        return later
    reasons = [r for r in (earlier.reason, later.reason) if r]
    return replace(
        later,
        reason="; ".join(dict.fromkeys(reasons)) or None,
        reason_code=later.reason_code or earlier.reason_code,
    )


def _failures(result: dg.ExecuteInProcessResult) -> list[StepFailure]:
    """The steps that failed.

    Raises:
        KeyboardInterrupt: one was ended by Ctrl-C or SIGTERM, which Dagster keeps to itself.
    """
    failures = step_failures(result)
    if any(f.code is ReasonCode.INTERRUPTED for f in failures):
        raise KeyboardInterrupt
    return failures
