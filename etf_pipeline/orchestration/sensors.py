"""The relay as a sensor: a plain one, as the others lose events (a raise moves their cursor on)."""

from __future__ import annotations

import dagster as dg

from etf_pipeline.events.settings import EventSettings
from etf_pipeline.events.tailer import Relay
from etf_pipeline.orchestration.event_log import DagsterLog
from etf_pipeline.orchestration.jobs import DERIVED
from etf_pipeline.orchestration.resources import Pipeline


def events_configured(settings: EventSettings) -> bool:
    """Whether the environment asks for events."""
    return settings.event_store_type in ("kafka", "embedded") or (
        settings.event_store_type == "auto" and settings.kafka_bootstrap_servers is not None
    )


def relay_sensor(settings: EventSettings) -> dg.SensorDefinition:
    """Relays Dagster's log to the event store; on from the start when events are asked for."""
    wanted = events_configured(settings)

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
        relay = Relay(pipeline.layout, pipeline.recorder, DagsterLog(context.instance))
        tick = relay.tick(context.cursor)
        context.log.info(tick.summary)
        return dg.SensorResult(skip_reason=tick.summary, cursor=tick.cursor)

    return event_relay


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """Evaluates the automation conditions; on from the start, as it costs nothing when idle."""
    return dg.AutomationConditionSensorDefinition(
        "derived_tables",
        target=dg.AssetSelection.groups(*DERIVED),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
    )
