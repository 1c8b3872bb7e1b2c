"""`raw_prices`: the download, kept as immutable batches."""

import datetime as dt

import dagster as dg

from etf_pipeline.ingest.collect import collect
from etf_pipeline.model.schemas import RAW
from etf_pipeline.orchestration.assets.config import IngestConfig
from etf_pipeline.orchestration.assets.declared import OWNERS, table_metadata
from etf_pipeline.orchestration.failures import (
    not_retried_when_interrupted,
    raise_if_nothing_good,
    retry_policy,
)
from etf_pipeline.orchestration.metadata import data_version, outcome_metadata
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.writer import sweep_temp_files

ANSWERED = dg.AssetCheckSpec(
    "every_ticker_answered",
    asset="raw_prices",
    description="Every ticker that was asked for was answered with usable data.",
)


def raw_prices_asset(
    partitions: dg.PartitionsDefinition[str], retry_delay: float
) -> dg.AssetsDefinition:
    """The asset, over the universe's partitions."""

    @dg.asset(
        name="raw_prices",
        description=RAW.description,
        partitions_def=partitions,
        group_name="ingest",
        kinds={"parquet"},
        owners=OWNERS,
        pool="yahoo",
        check_specs=[ANSWERED],
        metadata=table_metadata("raw_prices"),
        retry_policy=retry_policy(retry_delay),
    )
    def raw_prices(
        context: dg.AssetExecutionContext,
        config: IngestConfig,
        pipeline: dg.ResourceParam[Pipeline],
    ) -> dg.MaterializeResult:
        layout, partition = pipeline.layout, context.partition_key
        sweep_temp_files(layout.root)
        instruments = pipeline.universe.in_partition(partition, config.tickers or None)
        source = pipeline.open_source(config.source)
        progress = pipeline.report("raw_prices")
        with not_retried_when_interrupted():
            found = collect(
                layout,
                source,
                partition,
                instruments,
                pipeline.settings,
                context.run_id,
                full=config.full_refresh,
                clock=pipeline.clock,
                progress=progress,
            )
        manifest = write_manifest(
            layout,
            "raw_prices",
            context.run_id,
            partition,
            found.outcomes,
            dt.datetime.now(dt.UTC),
            source.name,
        )
        raise_if_nothing_good(found.outcomes, "raw_prices")
        bad = [o for o in found.outcomes if not o.good]
        uri = layout.of(RAW, partition, found.batch_id).resolve().as_uri() if found.batch_id else ""
        return dg.MaterializeResult(
            metadata=outcome_metadata(found.outcomes, manifest)
            | {"source": source.name, "batch_id": found.batch_id or "nothing new"}
            | ({"dagster/uri": uri} if uri else {}),
            data_version=data_version([found.batch_id]) if found.batch_id else None,
            check_results=[
                dg.AssetCheckResult(
                    check_name=ANSWERED.name,
                    passed=not bad,
                    severity=dg.AssetCheckSeverity.WARN,
                    description="; ".join(f"{o.subject}: {o.reason}" for o in bad[:20]) or None,
                    metadata={"not_answered": [o.subject for o in bad]},
                )
            ],
        )

    return raw_prices
