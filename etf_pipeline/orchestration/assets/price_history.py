"""`price_history`: the current history of every ticker, rebuilt from the raw batches."""

import datetime as dt

import dagster as dg

from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.orchestration.assets.config import HistoryConfig
from etf_pipeline.orchestration.assets.declared import OWNERS, deps, table_metadata
from etf_pipeline.orchestration.checks import HISTORY_CHECKS, history_check_results
from etf_pipeline.orchestration.failures import raise_if_nothing_good
from etf_pipeline.orchestration.metadata import (
    data_version,
    outcome_metadata,
)
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.store.manifests import write_manifest

# A long Easter weekend has four days without a session; two more and something is wrong.
FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=dt.timedelta(days=6), warn_window=dt.timedelta(days=5)
)


def price_history_asset(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset, over the universe's partitions."""

    @dg.asset(
        name="price_history",
        description=HISTORY.description,
        deps=deps("price_history"),
        partitions_def=partitions,
        group_name="history",
        kinds={"parquet"},
        owners=OWNERS,
        check_specs=HISTORY_CHECKS,
        freshness_policy=FRESHNESS,
        metadata=table_metadata("price_history"),
    )
    def price_history(
        context: dg.AssetExecutionContext,
        config: HistoryConfig,
        pipeline: dg.ResourceParam[Pipeline],
    ) -> dg.MaterializeResult:
        layout, partition = pipeline.layout, context.partition_key
        instruments = pipeline.universe.in_partition(partition, config.tickers or None)
        outcomes = update_histories(
            layout,
            partition,
            instruments,
            pipeline.settings.lock_timeout_seconds,
            pipeline.report("price_history"),
        )
        manifest = write_manifest(
            layout,
            "price_history",
            context.run_id,
            partition,
            outcomes,
            dt.datetime.now(dt.UTC),
            pipeline.settings.source,
        )
        raise_if_nothing_good(outcomes, "price_history")
        hashes = [f"{o.subject}:{o.content_hash}" for o in outcomes if o.content_hash]
        return dg.MaterializeResult(
            metadata=outcome_metadata(outcomes, manifest)
            | {"dagster/uri": layout.folder(HISTORY).resolve().as_uri()},
            data_version=data_version(hashes),
            check_results=history_check_results(layout, instruments, outcomes),
        )

    return price_history
