"""The beginning of every run: from there on Dagster's log is told.

The sensor may look at an instance for the first time when runs are over already, and the command
line long after the UI; a run that was to be recorded takes the place itself, before its first step.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from etf_pipeline.events.factory import asked_for
from etf_pipeline.events.tailer import Tailer
from etf_pipeline.orchestration.event_log import DagsterLog
from etf_pipeline.orchestration.kept_open import kept_open
from etf_pipeline.orchestration.resources import Pipeline

# Records that a run has before its first step, and some.
_FEW = 50


def noting_the_beginning(pipeline: Pipeline) -> dg.ResourceDefinition:
    """The pipeline as a resource, while the steps of a run have it.

    With events, a run that is given it takes the place to begin. Dagster's files are kept open for
    the steps, whoever executes them: a command, the UI, the daemon, or a worker elsewhere.
    """

    def given(context: dg.InitResourceContext) -> Iterator[Pipeline]:
        run, instance = context.run, context.instance
        if run is None or instance is None:
            yield pipeline
            return
        with kept_open(instance):
            _note(pipeline, instance, run.run_id, context.log)
            yield pipeline

    return dg.ResourceDefinition(given)


def _note(
    pipeline: Pipeline, instance: dg.DagsterInstance, run_id: str, log: dg.DagsterLogManager | None
) -> None:
    """Take the place; a log that cannot be used costs no download, and is said."""
    settings = pipeline.event_settings
    if settings is None or not asked_for(settings):
        return
    # When the run was made is told by the database's clock, in a zone that it does not say.
    told = [
        r.event_log_entry.timestamp
        for r in instance.get_records_for_run(run_id, limit=_FEW).records
    ]
    if not told:
        return
    moment = dt.datetime.fromtimestamp(min(told), dt.UTC)
    try:
        source = DagsterLog(instance)
        Tailer(pipeline.layout, pipeline.events, source, pipeline.files).begin(moment)
    except Exception:
        if log is not None:
            log.exception("the place to begin events at could not be noted")
