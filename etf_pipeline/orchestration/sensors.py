"""The sensors: what the daemon looks at again and again.

Belongs here: thin wrappers, how often each looks, and whether it is on from the start.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from etf_pipeline.errors import ShareAwayError
from etf_pipeline.events.cursor import Cursor
from etf_pipeline.events.factory import asked_for
from etf_pipeline.events.settings import EventSettings
from etf_pipeline.events.tailer import Tailer
from etf_pipeline.orchestration.event_log import DagsterLog
from etf_pipeline.orchestration.jobs import DERIVED, store_tags
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.sharing import told_of


def tailer_sensor(settings: EventSettings | None) -> dg.SensorDefinition:
    """Tails Dagster's log; on from the start when events are asked for.

    A plain sensor: the others lose events, as a raise moves their cursor on. Its name, and the
    cursor under it, are kept in Dagster's own tables.
    """
    wanted = settings is not None and asked_for(settings)

    @dg.sensor(
        name="event_relay",
        minimum_interval_seconds=15,
        description="Sends what was materialised, and which runs failed, to the event store.",
        default_status=dg.DefaultSensorStatus.RUNNING if wanted else dg.DefaultSensorStatus.STOPPED,
    )
    def event_relay(
        context: dg.SensorEvaluationContext, pipeline: dg.ResourceParam[Pipeline]
    ) -> dg.SensorResult:
        if not wanted:
            why = "events are off: set EVENT_STORE_TYPE or KAFKA_BOOTSTRAP_SERVERS, and restart"
            return dg.SensorResult(skip_reason=why)
        source = DagsterLog(context.instance)
        try:
            if _has_more(source, context.cursor):
                told_of(pipeline)
        except ShareAwayError as error:
            return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
        tailer = Tailer(pipeline.layout, pipeline.events, source, pipeline.files)
        tick = tailer.tick(context.cursor)
        context.log.info(tick.summary)
        return dg.SensorResult(skip_reason=tick.summary, cursor=tick.cursor)

    return event_relay


def _has_more(source: DagsterLog, cursor: str | None) -> bool:
    """Whether something was recorded since the last look; what else there is can wait for that."""
    known = Cursor.load(cursor)
    return known is None or bool(source.records(known.position, 1))


def automation_sensor(root: Path) -> dg.AutomationConditionSensorDefinition:
    """Evaluates the automation conditions; on from the start, as it costs nothing when idle."""
    return dg.AutomationConditionSensorDefinition(
        "derived_tables",
        target=dg.AssetSelection.groups(*DERIVED),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        run_tags=store_tags(root),
    )
