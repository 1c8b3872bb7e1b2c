"""The commands that ask how sure portfolios are: uncertainty."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from etf_pipeline.cli.library import print_body, provider_at, usage
from etf_pipeline.cli.limits import with_limits
from etf_pipeline.cli.options import (
    DataDir,
    Json,
    OwnYears,
    Portfolio,
    Rate,
    SomeTickers,
    distinct_names,
)
from etf_pipeline.cli.portfolios import one_way
from etf_pipeline.cli.render.uncertainty import show_uncertainty


@with_limits()
def uncertainty(
    tickers: SomeTickers = None,
    portfolio: Portfolio = None,
    resamples: Annotated[int, typer.Option(help="Histories to draw; 20 or more.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 1,
    block_length: Annotated[
        float | None, typer.Option(help="Mean days of a block; chosen from the returns if not set.")
    ] = None,
    years: OwnYears = None,
    risk_free_rate: Rate = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    *,
    limits: dict[str, Any],
) -> None:
    """How far the weights of an optimal portfolio could be others, by resampled histories.

    Example: etf uncertainty VAS VGS VTS VAF --objective max_sharpe --resamples 500
    """
    one_way(tickers, portfolio)
    with usage():
        found = provider_at(data_dir).weight_uncertainty(
            distinct_names(tickers) if tickers else None,
            limits.pop("objective", None),
            portfolio=portfolio,
            resamples=resamples,
            seed=seed,
            block_length=block_length,
            lookback_years=years,
            risk_free_rate=risk_free_rate,
            **limits,
        )
    if as_json:
        print_body({"weights": found.to_dict("index"), **found.attrs})
    else:
        show_uncertainty(found)
