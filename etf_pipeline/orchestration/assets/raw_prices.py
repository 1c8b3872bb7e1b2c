"""`raw_prices`: the download, kept as immutable batches."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import dagster as dg

from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.source import PriceSource
from etf_pipeline.model import assets
from etf_pipeline.model.schemas import RAW
from etf_pipeline.orchestration.assets.config import IngestConfig
from etf_pipeline.orchestration.assets.context import this_run
from etf_pipeline.orchestration.assets.declared import OWNERS, table_metadata
from etf_pipeline.orchestration.checks.runs import DOWNLOAD_CHECKS, download_results
from etf_pipeline.orchestration.failures import raise_if_nothing_good, retry_policy
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.sharing import downloaded
from etf_pipeline.orchestration.slots import slot
from etf_pipeline.orchestration.stages import Made, carried_out
from etf_pipeline.steps.download import download
from etf_pipeline.steps.result import Run, StepResult

# The source whose requests all runs share, and the pool that they take turns by.
_SHARED = "yahoo"


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
        check_specs=DOWNLOAD_CHECKS,
        metadata=table_metadata(assets.RAW_PRICES),
        retry_policy=retry_policy(retry_delay),
    )
    def raw_prices(
        context: dg.AssetExecutionContext,
        config: IngestConfig,
        pipeline: dg.ResourceParam[Pipeline],
    ) -> Iterator[Made]:
        run = this_run(context, pipeline.clock())
        yield from carried_out(
            context,
            pipeline,
            lambda: _downloaded(context, pipeline, run, config),
            download_results,
        )

    return raw_prices


def _downloaded(
    context: dg.AssetExecutionContext, pipeline: Pipeline, run: Run, config: IngestConfig
) -> StepResult:
    source = pipeline.open_source(config.source)
    with _turn(context, pipeline, source):
        result = downloaded(pipeline, run, lambda: _download(pipeline, run, source, config))
    raise_if_nothing_good(result.outcomes, assets.RAW_PRICES)
    return result


def _download(
    pipeline: Pipeline, run: Run, source: PriceSource, config: IngestConfig
) -> StepResult:
    return download(
        pipeline.store,
        run,
        source,
        pipeline.universe.in_partition(run.partition, config.tickers or None),
        Terms.of(pipeline.settings, config.full_refresh),
        clock=pipeline.clock,
        progress=pipeline.report(assets.RAW_PRICES),
        corrections=pipeline.corrections(),
    )


def _turn(
    context: dg.AssetExecutionContext, pipeline: Pipeline, source: PriceSource
) -> AbstractContextManager[None]:
    """A slot of Yahoo's, which refuses eager clients; other sources need nobody's."""
    if source.name != _SHARED:
        return nullcontext()

    def say(text: str) -> None:
        context.log.info(text)
        if pipeline.say is not None:
            pipeline.say(text)

    return slot(context.instance, _SHARED, context.run.run_id, assets.RAW_PRICES, say)
