"""`raw_prices`: the download, kept as immutable batches."""

import dagster as dg

from etf_pipeline.ingest.planning import Terms
from etf_pipeline.model import assets
from etf_pipeline.model.schemas import RAW
from etf_pipeline.orchestration.assets.config import IngestConfig
from etf_pipeline.orchestration.assets.context import this_run
from etf_pipeline.orchestration.assets.declared import OWNERS, table_metadata
from etf_pipeline.orchestration.checks.runs import DOWNLOAD_CHECKS, download_results
from etf_pipeline.orchestration.failures import (
    raise_if_nothing_good,
    retried_only_if_it_may_pass,
    retry_policy,
)
from etf_pipeline.orchestration.metadata import materialised
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.steps.download import download


def raw_prices_asset(
    partitions: dg.PartitionsDefinition[str], retry_delay: float
) -> dg.AssetsDefinition:
    """The asset, over the universe's partitions."""

    @dg.asset(
        name=assets.RAW_PRICES,
        description=RAW.description,
        partitions_def=partitions,
        group_name="ingest",
        kinds={"parquet"},
        owners=OWNERS,
        pool="yahoo",
        check_specs=DOWNLOAD_CHECKS,
        metadata=table_metadata(assets.RAW_PRICES),
        retry_policy=retry_policy(retry_delay),
    )
    def raw_prices(
        context: dg.AssetExecutionContext,
        config: IngestConfig,
        pipeline: dg.ResourceParam[Pipeline],
    ) -> dg.MaterializeResult:
        run = this_run(context, pipeline.clock())
        with retried_only_if_it_may_pass():
            result = download(
                pipeline.store,
                run,
                pipeline.open_source(config.source),
                pipeline.universe.in_partition(run.partition, config.tickers or None),
                Terms.of(pipeline.settings, config.full_refresh),
                clock=pipeline.clock,
                progress=pipeline.report(assets.RAW_PRICES),
                corrections=pipeline.corrections(),
            )
        raise_if_nothing_good(result.outcomes, assets.RAW_PRICES)
        return materialised(result, download_results(result))

    return raw_prices
