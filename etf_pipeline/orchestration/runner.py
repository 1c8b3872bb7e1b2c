"""Running the whole graph from the command line, through Dagster, in this process.

Belongs here: which jobs run in which order, and what is reported of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import dagster as dg

from etf_pipeline.errors import ReasonCode
from etf_pipeline.events.factory import asked_for
from etf_pipeline.events.tailer import Tailer
from etf_pipeline.model import assets
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.model.outcomes import Outcome
from etf_pipeline.model.schemas import MANIFEST
from etf_pipeline.orchestration.database import outage
from etf_pipeline.orchestration.event_log import DagsterLog
from etf_pipeline.orchestration.executing import Execute, executing, runs_side_by_side
from etf_pipeline.orchestration.jobs import DERIVE, INGEST
from etf_pipeline.orchestration.kept_open import kept_open
from etf_pipeline.orchestration.report import RunReport
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.tasks import MADE_BY, Done, Task
from etf_pipeline.store.manifests import read_manifest
from etf_pipeline.store.stages import Stage

log = logging.getLogger(__name__)


def run_graph(
    pipeline: Pipeline,
    instance: dg.DagsterInstance,
    *,
    tickers: Sequence[str] = (),
    partitions: Sequence[str] = (),
    source: str = "",
    full_refresh: bool = False,
    report: RunReport | None = None,
) -> RunReport:
    """Download, update histories, then derive tables and portfolios.

    A partition that fails does not stop the others, nor the tables of what is there; nor does a
    stage that fails stop another that does not need it. Where Dagster's database is lost, the
    report has what came out until then.

    Args:
        pipeline: whose universe, store and source.
        instance: that has the runs recorded.
        tickers: only these; all of them when empty.
        partitions: only these; likewise.
        source: in place of the settings' own.
        full_refresh: ask for whole histories again.
        report: is filled as things come out, for whoever needs that of an interrupted run too.

    Raises:
        KeyboardInterrupt: it was interrupted; what was published is whole.
    """
    report = RunReport() if report is None else report
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
    chosen = [pipeline.universe.get(t).ticker for t in tickers]
    ops = {
        assets.RAW_PRICES: {"config": {"tickers": chosen, **ingest}},
        assets.PRICE_HISTORY: {"config": {"tickers": chosen}},
    }
    wanted = list(partitions) or pipeline.universe.partitions()
    members = {p: pipeline.universe.in_partition(p, chosen or None) for p in wanted}
    tasks = [Task(INGEST, p, (), ops) for p, instruments in members.items() if instruments]
    with kept_open(instance), executing(pipeline, instance) as done:
        for task, one in zip(tasks, done(tasks), strict=True):
            _read_outcomes(pipeline, report, one.run_id, task.partition)
            report.stages += one.stages
            if _told(report, members[task.partition]):
                report.told |= {s.name for s in one.stages}
            _raise_if_ended(one)
        if any(pipeline.layout.find_history(i.ticker).exists() for i in pipeline.universe.etfs):
            _derive(pipeline, report, done)


def _derive(pipeline: Pipeline, report: RunReport, execute: Execute) -> None:
    """Make what follows from histories; what shows the tables is made though one of them failed.

    Within one run Dagster executes nothing behind a step that failed. Side by side each stage is a
    run of its own, those that show the tables after the others.
    """
    first: list[Task] = [Task(DERIVE)]
    then: tuple[str, ...] = ()
    if runs_side_by_side(pipeline):
        then = tuple(a for a in MADE_BY[DERIVE] if LINEAGE[a].goes_without)
        first = [Task(DERIVE, assets=(a,)) for a in MADE_BY[DERIVE] if a not in then]
    stages: dict[str, Stage] = {}
    runs: dict[str, str] = {}

    def take(done: Iterable[Done]) -> None:
        for one in done:
            stages.update({s.asset: s for s in one.stages})
            runs.update({s.asset: one.run_id for s in one.stages})
            _raise_if_ended(one)

    try:
        take(execute(first))
        left = then or tuple(a for a, s in stages.items() if _needless(s, stages))
        take(execute([Task(DERIVE, assets=(a,)) for a in left]))
    finally:
        report.stages += [stages[a] for a in MADE_BY[DERIVE] if a in stages]
        report.portfolios = _by_portfolio(pipeline, assets.OPTIMISED_PORTFOLIOS, runs)
        report.backtests = _by_portfolio(pipeline, assets.BACKTESTS, runs)


def _needless(stage: Stage, stages: Mapping[str, Stage]) -> bool:
    """Whether a stage was held back by nothing but what it goes without."""
    if stage.outcome.reason_code is not ReasonCode.HELD_BACK:
        return False
    lineage = LINEAGE[stage.asset]
    needed = set(lineage.reads) - set(lineage.goes_without)
    return all(stages[a].good for a in needed & set(stages))


def _raise_if_ended(done: Done) -> None:
    """End everything where a run was ended from outside; what came out is in the report.

    Raises:
        KeyboardInterrupt: by Ctrl-C, SIGTERM or somebody in the UI, which Dagster keeps to itself.
        RecordsError: as Dagster's database was lost.
    """
    if done.interrupted:
        raise KeyboardInterrupt
    if done.lost is not None:
        raise done.lost


def _by_portfolio(pipeline: Pipeline, asset: str, runs: Mapping[str, str]) -> dict[str, Outcome]:
    """The outcomes of a step, by portfolio; none where it did not come to any."""
    path = pipeline.layout.of(MANIFEST, asset, runs.get(asset, ""), "")
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
