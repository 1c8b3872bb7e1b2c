"""The commands that ask how sure portfolios are: uncertainty, validate."""

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
    split_names,
)
from etf_pipeline.cli.portfolios import one_way
from etf_pipeline.cli.render.uncertainty import show_uncertainty, show_validation
from etf_pipeline.errors import SettingsError


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


@with_limits(backtest=True, without=("objective", "estimator", "expected_returns"))
def validate(
    tickers: SomeTickers = None,
    portfolio: Portfolio = None,
    lookbacks: Annotated[str, typer.Option(help="Years behind each decision.")] = "1,3,5",
    objectives: Annotated[
        str | None, typer.Option(help="Such as min_volatility,max_sharpe,risk_parity.")
    ] = None,
    estimators: Annotated[
        str | None, typer.Option(help="Of sample, ledoit_wolf, ewma; by commas.")
    ] = None,
    expected_returns: Annotated[
        str | None, typer.Option(help="Methods, such as historical,bayes_stein.")
    ] = None,
    purge: Annotated[int, typer.Option(help="Sessions from what is known to the trade.")] = 1,
    risk_free_rate: Rate = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    *,
    limits: dict[str, Any],
) -> None:
    """Which lookbacks, estimators and objectives would have served, decided in advance.

    Example: etf validate VAS VGS VAF --lookbacks 1,3 --objectives min_volatility,risk_parity
    """
    one_way(tickers, portfolio)
    with usage():
        found = provider_at(data_dir).validate(
            distinct_names(tickers) if tickers else None,
            _listed(objectives),
            portfolio=portfolio,
            lookbacks=[_years(text) for text in split_names(lookbacks)],
            estimators=_listed(estimators),
            expected_returns=_listed(expected_returns),
            purge=purge,
            risk_free_rate=risk_free_rate,
            **limits,
        )
    if as_json:
        print_body({"combinations": found.to_dict("records"), **found.attrs})
    else:
        show_validation(found)


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else split_names(text)


def _years(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"--lookbacks {text!r}: write whole years, such as 1,3,5") from None
