"""The commands that ask the library about portfolios: optimal, given and walked forward."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from etf_pipeline.cli.exit_codes import of_checks
from etf_pipeline.cli.library import money, print_body, provider_at, records, usage
from etf_pipeline.cli.limits import read_shares, with_limits
from etf_pipeline.cli.options import (
    Benchmark,
    Currency,
    DataDir,
    Json,
    OwnYears,
    Portfolio,
    Rate,
    SomeTickers,
    Tickers,
    Years,
    distinct_names,
)
from etf_pipeline.cli.render.analysis import in_currency, show_backtest, show_mix, show_portfolio
from etf_pipeline.cli.render.output import print_lines, print_table
from etf_pipeline.errors import SettingsError
from etf_pipeline.model.objectives import FRONTIER_HAS

_YEARS = 5  # of tickers; a portfolio of the file has its own


@with_limits()
def optimise(
    tickers: SomeTickers = None,
    portfolio: Portfolio = None,
    years: OwnYears = None,
    risk_free_rate: Rate = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    *,
    limits: dict[str, Any],
) -> None:
    """An optimal portfolio of some tickers, and how sure that is. Exit code 1 if there is none.

    Without --objective: the greatest return under a budget, else the least volatility that reaches
    a target, else the greatest Sharpe ratio.

    Example: etf optimise VAS VGS VTS VAF --objective min_volatility --bound VAS=0.1:0.5
    """
    one_way(tickers, portfolio)
    provider = provider_at(data_dir)
    with usage():
        if portfolio is not None:
            found = provider.optimize_model_portfolio(
                portfolio, lookback_years=years, risk_free_rate=risk_free_rate, **limits
            )
        else:
            found = provider.optimize_portfolio(
                distinct_names(tickers or []),
                lookback_years=_YEARS if years is None else years,
                risk_free_rate=risk_free_rate,
                **limits,
            )
    if as_json:
        print_body(found)
    else:
        show_portfolio(found)
    raise typer.Exit(of_checks(found["optimization_success"]))


@with_limits(without=FRONTIER_HAS)
def frontier(
    tickers: Tickers,
    points: Annotated[int, typer.Option(min=2, max=1000, help="How many portfolios.")] = 11,
    years: Years = _YEARS,
    risk_free_rate: Rate = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    *,
    limits: dict[str, Any],
) -> None:
    """The efficient frontier of some tickers, from least volatility to greatest return.

    Example: etf frontier VAS VGS VAF --points 5 --max-weight 0.6
    """
    with usage():
        frame = provider_at(data_dir).get_efficient_frontier_data(
            distinct_names(tickers), points, years, risk_free_rate, **limits
        )
    known = frame.astype("object").where(frame.notna(), None)  # cash alone has no Sharpe ratio
    numbers = known.to_numpy().tolist()
    rows = [[i, *values] for i, values in zip(frame.index.tolist(), numbers, strict=True)]
    if as_json:
        named = [dict(zip(["point", *frame.columns], r, strict=True)) for r in rows]
        print_body([r | money(frame) for r in named])
    else:
        print_table(["point", *frame.columns], rows)
        print_lines(in_currency(money(frame)))


def portfolio_metrics(
    weights: Annotated[list[str], typer.Argument(help="Tickers with weights, as VAS=0.6 VAF=0.4.")],
    years: Years = _YEARS,
    benchmark: Benchmark = None,
    rebalance: Annotated[
        str,
        typer.Option(help="When weights are restored: daily, monthly, quarterly, yearly or never."),
    ] = "daily",
    risk_free_rate: Rate = None,
    base_currency: Currency = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Risk metrics of a portfolio of given weights, which trading restores free of charge.

    Example: etf portfolio-metrics VAS=0.6 VAF=0.4 --years 3 --benchmark VGS
    """
    found = provider_at(data_dir).portfolio_metrics(
        read_shares(weights, "weight"),
        years,
        benchmark,
        risk_free_rate,
        rebalance,
        base_currency,
    )
    if as_json:
        print_body(found)
    else:
        show_mix(found)


@with_limits(backtest=True)
def backtest(
    tickers: SomeTickers = None,
    portfolio: Portfolio = None,
    years: OwnYears = None,
    risk_free_rate: Rate = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    *,
    limits: dict[str, Any],
) -> None:
    """A portfolio walked forward: decided anew at each rebalance from the years before alone.

    Example: etf backtest VAS VGS VAF --objective min_volatility --years 3 --rebalance yearly
    """
    one_way(tickers, portfolio)
    provider = provider_at(data_dir)
    asked: dict[str, Any] = {"risk_free_rate": risk_free_rate, **limits}
    with usage():
        if portfolio is not None:
            found = provider.backtest_model_portfolio(portfolio, lookback_years=years, **asked)
        else:
            names, window = distinct_names(tickers or []), _YEARS if years is None else years
            found = provider.backtest(names, lookback_years=window, **asked)
    if as_json:
        print_body(found | {k: records(found[k]) for k in ("course", "weights")})
    else:
        show_backtest(found)


def one_way(tickers: list[str] | None, portfolio: str | None) -> None:
    """Nothing, where either tickers or a portfolio of the file are named.

    Raises:
        SettingsError: both are, or neither.
    """
    if bool(tickers) == (portfolio is not None):
        raise SettingsError("give tickers, such as VAS VGS, or --portfolio NAME: one of the two")
