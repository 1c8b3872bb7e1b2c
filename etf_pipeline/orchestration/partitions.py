"""The partitions: exchanges, split into shards only where the universe says so.

Belongs here: what one run of a partitioned asset covers. Which ticker is in which shard is the
universe's to say.
"""

from __future__ import annotations

import dagster as dg

from etf_pipeline.model.instruments import Universe


def exchange_partitions(universe: Universe) -> dg.StaticPartitionsDefinition:
    """One partition per exchange, or per shard of one.

    Tickers are not partitions: each would cost Dagster tens of milliseconds and kilobytes.
    """
    return dg.StaticPartitionsDefinition(universe.partitions())
