"""What an asset learns of the run that it is part of."""

from __future__ import annotations

import datetime as dt

import dagster as dg

from etf_pipeline.steps.result import Run


def this_run(context: dg.AssetExecutionContext, now: dt.datetime) -> Run:
    """The run, as steps know it; its outcomes are recorded at `now`, by the pipeline's clock."""
    partition = context.partition_key if context.has_partition_key else ""
    return Run(context.run.run_id, now, partition)
