"""The commands that ask the library about tickers: risk and compare."""

from __future__ import annotations

from typing import Any

import typer

from etf_pipeline.cli.exit_codes import ExitCode
from etf_pipeline.cli.library import money, print_body, provider_at
from etf_pipeline.cli.options import (
    Benchmark,
    Currency,
    DataDir,
    Json,
    Rate,
    Tickers,
    Years,
    distinct_names,
)
from etf_pipeline.cli.render.analysis import in_currency, show_comparison, show_metrics
from etf_pipeline.cli.render.output import print_error, print_lines
from etf_pipeline.errors import StoreError


def risk(
    tickers: Tickers,
    years: Years = 5,
    benchmark: Benchmark = None,
    risk_free_rate: Rate = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Risk metrics of some tickers, as docs/metrics.md defines them.

    Example: etf risk VAS VGS --years 3 --benchmark A200
    """
    provider = provider_at(data_dir)
    found: dict[str, Any] = {}
    bad: list[StoreError] = []
    for ticker in distinct_names(tickers):
        try:
            found[ticker] = provider.calculate_risk_metrics(
                ticker, years, benchmark, risk_free_rate
            )
        except StoreError as error:  # of that ticker's file, so the others go on
            bad.append(error)
    if bad and not found:
        raise bad[0]
    if as_json:
        print_body(found)
    else:
        show_metrics(found, benchmark is not None)
    for each in bad:
        print_error(str(each))
    if bad:
        raise typer.Exit(ExitCode.PARTIAL)


def compare(
    tickers: Tickers,
    years: Years = 5,
    base_currency: Currency = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Tickers side by side on the dates they have in common: growth, risk, correlation.

    Example: etf compare VAS VGS VTS --years 3
    """
    from etf_pipeline.library.analysis import comparison, comparison_remarks, recent
    from etf_pipeline.library.arguments import years_of
    from etf_pipeline.settings import load_settings

    names = distinct_names(tickers)
    window = years_of(years)
    whole = provider_at(data_dir).get_returns(names, base_currency=base_currency)
    returns = recent(whole, window)
    body = comparison(returns, load_settings().periods_per_year)
    remarks = dict.fromkeys([*returns.attrs["remarks"], *comparison_remarks(returns)])
    said = money(whole) | {"remarks": list(remarks)}
    if as_json:
        print_body({t: b | said for t, b in body.items()})
    else:
        show_comparison(body, names)
        print_lines(in_currency(said))
        span = f"{returns.attrs['start']} to {returns.index[-1]:%Y-%m-%d}"
        period = returns.attrs["correlation_period"]
        print_lines([f"{len(returns)} common returns, {span}; correlations of {period} returns"])
