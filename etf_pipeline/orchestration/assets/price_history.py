"""`price_history`: the current history of every ticker, rebuilt from the raw batches."""

import datetime as dt
from collections.abc import Iterator, Sequence

import dagster as dg

from etf_pipeline.model import assets
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.orchestration.assets.config import HistoryConfig
from etf_pipeline.orchestration.assets.context import this_run
from etf_pipeline.orchestration.assets.declared import OWNERS, deps, table_metadata
from etf_pipeline.orchestration.checks.runs import HISTORY_CHECKS, history_results
from etf_pipeline.orchestration.failures import raise_if_nothing_good
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.sharing import updated
from etf_pipeline.orchestration.stages import Made, carried_out
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.history_checks import examine
from etf_pipeline.steps.result import Run, StepResult
from etf_pipeline.steps.workers import workers_of

# A long Easter weekend has four days without a session; two more and something is wrong.
FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=dt.timedelta(days=6), warn_window=dt.timedelta(days=5)
)


def price_history_asset(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset, over the universe's partitions."""

    @dg.asset(
        name=assets.PRICE_HISTORY,
        description=HISTORY.description,
        deps=deps(assets.PRICE_HISTORY),
        partitions_def=partitions,
        group_name="history",
        kinds={"parquet"},
        owners=OWNERS,
        check_specs=HISTORY_CHECKS,
        freshness_policy=FRESHNESS,
        metadata=table_metadata(assets.PRICE_HISTORY),
    )
    def price_history(
        context: dg.AssetExecutionContext,
        config: HistoryConfig,
        pipeline: dg.ResourceParam[Pipeline],
    ) -> Iterator[Made]:
        run = this_run(context, pipeline.clock())
        instruments = pipeline.universe.in_partition(run.partition, config.tickers or None)
        yield from carried_out(
            context,
            pipeline,
            lambda: _updated(pipeline, run, instruments),
            lambda result: history_results(
                examine(pipeline.store, instruments, result, run.recorded_at.date()),
                result.outcomes,
            ),
        )

    return price_history


def _updated(pipeline: Pipeline, run: Run, instruments: Sequence[Instrument]) -> StepResult:
    result = updated(pipeline, run, instruments, lambda some: _update(pipeline, run, some))
    raise_if_nothing_good(result.outcomes, assets.PRICE_HISTORY)
    return result


def _update(pipeline: Pipeline, run: Run, instruments: Sequence[Instrument]) -> StepResult:
    return update_histories(
        pipeline.store,
        run,
        instruments,
        source=pipeline.settings.source,
        progress=pipeline.report(assets.PRICE_HISTORY),
        corrections=pipeline.corrections(),
        workers=workers_of(pipeline.settings.workers),
        universe=pipeline.universe,
    )
