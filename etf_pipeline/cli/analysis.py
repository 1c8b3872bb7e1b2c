"""The commands that ask the library about tickers: risk, optimise, frontier, compare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etf_pipeline.cli.exit_codes import ExitCode, of_checks
from etf_pipeline.cli.options import (
    Currency,
    DataDir,
    Json,
    Tickers,
    Weight,
    Years,
    distinct_names,
)
from etf_pipeline.cli.render.analysis import (
    in_currency,
    show_comparison,
    show_metrics,
    show_portfolio,
)
from etf_pipeline.cli.render.output import print_error, print_json, print_lines, print_table
from etf_pipeline.errors import SettingsError, StoreError

if TYPE_CHECKING:
    import pandas as pd

    from etf_pipeline.library.provider import ETFDataProvider


def _provider(data_dir: Path | None) -> ETFDataProvider:
    from etf_pipeline.library.provider import ETFDataProvider
    from etf_pipeline.settings import load_settings

    return ETFDataProvider(load_settings(data_dir=data_dir).data_dir)


@contextmanager
def _usage() -> Iterator[None]:
    """What the library says of an argument, as an error of usage."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _print_body(body: Any) -> None:
    from etf_pipeline.sql.output import plain

    print_json(plain(body))


def _money(frame: pd.DataFrame) -> dict[str, Any]:
    """What a frame of the library says it is in, and its remarks."""
    return {name: frame.attrs[name] for name in ("base_currency", "fx", "remarks")}


def risk(
    tickers: Tickers,
    years: Years = 5,
    benchmark: Annotated[str | None, typer.Option(help="Ticker to compare with.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Risk metrics of some tickers, as docs/metrics.md defines them.

    Example: etf risk VAS VGS --years 3 --benchmark A200
    """
    provider = _provider(data_dir)
    found: dict[str, Any] = {}
    bad: list[StoreError] = []
    for ticker in distinct_names(tickers):
        try:
            found[ticker] = provider.calculate_risk_metrics(ticker, years or None, benchmark)
        except StoreError as error:  # of that ticker's file, so the others go on
            bad.append(error)
    if bad and not found:
        raise bad[0]
    if as_json:
        _print_body(found)
    else:
        show_metrics(found, benchmark is not None)
    for each in bad:
        print_error(str(each))
    if bad:
        raise typer.Exit(ExitCode.PARTIAL)


def optimise(
    tickers: Tickers,
    risk_budget: Annotated[float | None, typer.Option(help="Ceiling on annual volatility.")] = None,
    target_return: Annotated[float | None, typer.Option(help="Annual return to reach.")] = None,
    years: Years = 5,
    min_weight: Weight = 0.0,
    max_weight: Weight = 1.0,
    base_currency: Currency = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """An optimal portfolio of some tickers, and how sure that is. Exit code 1 if there is none.

    Example: etf optimise VAS VGS VTS VAF --risk-budget 0.09 --max-weight 0.6
    """
    with _usage():
        found = _provider(data_dir).optimize_portfolio_mean_variance(
            distinct_names(tickers),
            target_return,
            risk_budget,
            years or None,
            min_weight=min_weight,
            max_weight=max_weight,
            base_currency=base_currency,
        )
    if as_json:
        _print_body(found)
    else:
        show_portfolio(found)
    raise typer.Exit(of_checks(found["optimization_success"]))


def frontier(
    tickers: Tickers,
    points: Annotated[int, typer.Option(min=2, max=1000, help="How many portfolios.")] = 11,
    years: Years = 5,
    min_weight: Weight = 0.0,
    max_weight: Weight = 1.0,
    base_currency: Currency = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """The efficient frontier of some tickers, from least volatility to greatest return.

    Example: etf frontier VAS VGS VAF --points 5
    """
    with _usage():
        frame = _provider(data_dir).get_efficient_frontier_data(
            distinct_names(tickers),
            points,
            years or None,
            min_weight=min_weight,
            max_weight=max_weight,
            base_currency=base_currency,
        )
    rows = [[i, *values] for i, values in enumerate(frame.to_numpy(dtype="float64").tolist())]
    if as_json:
        named = [dict(zip(["point", *frame.columns], r, strict=True)) for r in rows]
        _print_body([r | _money(frame) for r in named])
    else:
        print_table(["point", *frame.columns], rows)
        print_lines(in_currency(_money(frame)))


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
    from etf_pipeline.settings import load_settings

    names = distinct_names(tickers)
    with _usage():
        whole = _provider(data_dir).get_returns(names, base_currency=base_currency)
    returns = recent(whole, years or None)
    body = comparison(returns, load_settings().periods_per_year)
    remarks = dict.fromkeys([*returns.attrs["remarks"], *comparison_remarks(returns)])
    said = _money(whole) | {"remarks": list(remarks)}
    if as_json:
        _print_body({t: b | said for t, b in body.items()})
    else:
        show_comparison(body, names)
        print_lines(in_currency(said))
        span = f"{returns.attrs['start']} to {returns.index[-1]:%Y-%m-%d}"
        period = returns.attrs["correlation_period"]
        print_lines([f"{len(returns)} common returns, {span}; correlations of {period} returns"])
