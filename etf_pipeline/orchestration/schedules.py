"""The schedules: when each exchange is downloaded, and when the store is looked after.

Belongs here: cron lines, their time zones, and which runs a tick asks for.
"""

from __future__ import annotations

import datetime as dt

import dagster as dg

from etf_pipeline.model.calendars import close_after, time_zone, weekmask
from etf_pipeline.model.instruments import Universe, shard_keys

# Most exchanges are closed then.
_UPKEEP = "0 12 * * 0"


def upkeep_schedule(job: dg.JobDefinition, enabled: bool) -> dg.ScheduleDefinition:
    """Let go once a week what is older than is kept, at noon UTC on Sundays."""
    return dg.ScheduleDefinition(
        name="maintain_weekly",
        job=job,
        cron_schedule=_UPKEEP,
        execution_timezone="UTC",
        description="Let go what is older than is kept, once a week.",
        default_status=_status(enabled),
    )


def _status(enabled: bool) -> dg.DefaultScheduleStatus:
    status = dg.DefaultScheduleStatus
    return status.RUNNING if enabled else status.STOPPED


def exchange_schedule(
    mic: str, shards: int, delay: dt.timedelta, job: dg.UnresolvedAssetJobDefinition, enabled: bool
) -> dg.ScheduleDefinition:
    """Download an exchange after its close plus `delay`, on its trading weekdays, in its zone."""
    final = close_after(mic) + delay
    # Past midnight the run belongs to the morning after.
    hours, minutes = divmod(final.seconds // 60, 60)
    days = sorted((i + 1 + final.days) % 7 for i, open_ in enumerate(weekmask(mic)) if open_ == "1")
    cron = f"{minutes} {hours} * * {','.join(map(str, days))}"
    partitions = shard_keys(mic, shards)

    @dg.schedule(
        name=f"ingest_{mic.lower()}",
        job=job,
        cron_schedule=cron,
        execution_timezone=time_zone(mic),
        description=f"Download {mic} after its close.",
        default_status=_status(enabled),
    )
    def ingest_schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        tick = context.scheduled_execution_time
        return [dg.RunRequest(run_key=f"{p}-{tick:%Y-%m-%d}", partition_key=p) for p in partitions]

    return ingest_schedule


def exchange_schedules(
    universe: Universe, delay: dt.timedelta, job: dg.UnresolvedAssetJobDefinition, enabled: bool
) -> list[dg.ScheduleDefinition]:
    """One schedule per exchange of the universe."""
    shards = {i.exchange: i.shards for i in universe}
    return [exchange_schedule(m, n, delay, job, enabled) for m, n in sorted(shards.items())]
