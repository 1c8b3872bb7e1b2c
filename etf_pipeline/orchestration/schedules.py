"""The schedules: when each exchange is downloaded.

Belongs here: cron lines, their time zones, and which runs a tick asks for.
"""

from __future__ import annotations

import datetime as dt

import dagster as dg

from etf_pipeline.model.calendars import close_after, time_zone, weekmask
from etf_pipeline.model.instruments import Universe, shard_keys


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
        default_status=dg.DefaultScheduleStatus.RUNNING
        if enabled
        else dg.DefaultScheduleStatus.STOPPED,
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
