"""The commands that ask the library: risk, optimise, frontier, compare, report, doctor."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etf_pipeline.errors import InsufficientDataError, SettingsError

if TYPE_CHECKING:
    from etf_pipeline.library.provider import ETFDataProvider

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Store to use (ETF_DATA_DIR).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Years = Annotated[int, typer.Option(min=0, help="Years of history; 0 is all of it.")]
Tickers = Annotated[list[str], typer.Argument(help="Tickers, such as VAS VGS.")]
Weight = Annotated[float, typer.Option(min=0.0, max=1.0, help="Of every ticker, a fraction.")]
_SHOWN = (
    "mean_return",
    "cagr",
    "volatility",
    "sharpe_ratio",
    "sortino_ratio",
    "max_drawdown",
    "calmar_ratio",
    "var_95",
    "cvar_95",
    "n_obs",
)


def _provider(data_dir: Path | None) -> ETFDataProvider:
    from etf_pipeline.library.provider import ETFDataProvider
    from etf_pipeline.settings import load_settings

    return ETFDataProvider(load_settings(data_dir=data_dir).data_dir)


def _names(tickers: Sequence[str]) -> list[str]:
    names = [t.strip() for text in tickers for t in text.split(",") if t.strip()]
    twice = sorted({t for t in names if names.count(t) > 1})
    if twice:
        raise SettingsError(f"asked for twice: {', '.join(twice)}")
    return names


@contextmanager
def _usage() -> Iterator[None]:
    """What the library says of an argument, as an error of usage."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _echo(body: Any, as_json: bool, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    if as_json:
        from etf_pipeline.sql.output import plain

        typer.echo(json.dumps(plain(body), indent=1))
        return
    from rich.console import Console

    from etf_pipeline.cli.console import compact_table
    from etf_pipeline.sql.output import cell

    table = compact_table(None, columns[:1], columns[1:])
    for row in rows:
        table.add_row(*(cell(v) for v in row))
    console = Console()
    if not console.is_terminal:
        console.width = 10_000
    console.print(table)


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
    found = {
        t: provider.calculate_risk_metrics(t, years or None, benchmark) for t in _names(tickers)
    }
    rows = [[name, *(f[name] for f in found.values())] for name in _SHOWN]
    if benchmark is not None:
        rows += [
            [n, *(f[n] for f in found.values())]
            for n in ("beta", "tracking_error", "information_ratio")
        ]
    _echo(found, as_json, ["metric", *found], rows)
    for ticker, metrics in found.items():
        if metrics["reason"] and not as_json:
            typer.echo(f"  {ticker}: {metrics['reason']}")


def optimise(
    tickers: Tickers,
    risk_budget: Annotated[float | None, typer.Option(help="Ceiling on annual volatility.")] = None,
    target_return: Annotated[float | None, typer.Option(help="Annual return to reach.")] = None,
    years: Years = 5,
    min_weight: Weight = 0.0,
    max_weight: Weight = 1.0,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """An optimal portfolio of some tickers, and how sure that is. Exit code 1 if there is none.

    Example: etf optimise VAS VGS VTS VAF --risk-budget 0.09 --max-weight 0.6
    """
    with _usage():
        found = _provider(data_dir).optimize_portfolio_mean_variance(
            _names(tickers),
            target_return,
            risk_budget,
            years or None,
            min_weight=min_weight,
            max_weight=max_weight,
        )
    weights = found["optimal_weights"] or {}
    _echo(found, as_json, ["ticker", "weight"], [[t, f"{w:.2%}"] for t, w in weights.items()])
    if not as_json:
        typer.echo(found["optimization_message"])
        if found["optimization_success"]:
            typer.echo(
                f"return {found['expected_return']:.2%}, volatility {found['volatility']:.2%}, "
                f"Sharpe ratio {found['sharpe_ratio']:.2f}; {found['start']} to {found['end']}"
            )
    if not found["optimization_success"]:
        raise typer.Exit(1)


def frontier(
    tickers: Tickers,
    points: Annotated[int, typer.Option(min=2, max=1000, help="How many portfolios.")] = 11,
    years: Years = 5,
    min_weight: Weight = 0.0,
    max_weight: Weight = 1.0,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """The efficient frontier of some tickers, from least volatility to greatest return.

    Example: etf frontier VAS VGS VAF --points 5
    """
    with _usage():
        frame = _provider(data_dir).get_efficient_frontier_data(
            _names(tickers), points, years or None, min_weight=min_weight, max_weight=max_weight
        )
    rows = [[i, *values] for i, values in enumerate(frame.to_numpy(dtype="float64").tolist())]
    body = [dict(zip(["point", *frame.columns], r, strict=True)) for r in rows]
    _echo(body, as_json, ["point", *frame.columns], rows)


def compare(
    tickers: Tickers,
    years: Years = 5,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Tickers side by side on the dates they have in common: growth, risk, correlation.

    Example: etf compare VAS VGS VTS --years 3
    """
    names = _names(tickers)
    provider = _provider(data_dir)
    returns = provider.get_returns(names)
    if years:
        from etf_pipeline.risk.prices import years_before

        first = years_before(returns.index[-1].date(), years)
        returns = returns.loc[returns.index > f"{first}"]
    products = (1.0 + returns.to_numpy(dtype="float64")).prod(axis=0) * 10_000
    growth = dict(zip(names, products.tolist(), strict=True))
    correlation, annual = returns.corr(), _periods(returns)
    body = {
        t: {
            "growth_of_10000": growth[t],
            "cagr": (growth[t] / 10_000) ** (annual / len(returns)) - 1.0,
            "volatility": float(returns[t].std() * annual**0.5),
            "worst_return": float(returns[t].to_numpy().min()),
            "correlation": dict(zip(names, correlation[t].tolist(), strict=True)),
        }
        for t in names
    }
    rows = [
        [t, *(v for k, v in b.items() if k != "correlation"), *b["correlation"].values()]
        for t, b in body.items()
    ]
    columns = [
        "ticker",
        "growth of 10,000",
        "CAGR",
        "volatility",
        "worst return",
        *(f"ρ {t}" for t in names),
    ]
    _echo(body, as_json, columns, rows)
    if not as_json:
        typer.echo(f"{len(returns)} common returns, to {returns.index[-1]:%Y-%m-%d}")


def _periods(returns: Any) -> int:
    """252, 52 or 12, by the spacing of the returns' dates."""
    from etf_pipeline.model.spacing import PERIODS_PER_YEAR, bar_spacing

    spacing = bar_spacing(returns.index.to_numpy().astype("datetime64[D]"))
    if spacing is None:
        raise InsufficientDataError(f"{len(returns)} common returns are too few to annualise")
    return PERIODS_PER_YEAR[spacing]


def report(
    portfolio: Annotated[
        str | None, typer.Argument(help="Only this portfolio; all and the universe by default.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Write reports: one self-contained HTML file per portfolio, and one for the universe.

    Example: etf report balanced
    """
    from etf_pipeline.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    try:
        from etf_pipeline.steps.report_inputs import Inputs
        from etf_pipeline.steps.reports import publish_reports
    except ImportError as error:
        raise SettingsError(
            f"this command needs {error.name}: pip install 'etf_pipeline[pipeline]'"
        ) from None
    inputs = Inputs.of_store(settings, dt.datetime.now(dt.UTC))
    paths = publish_reports(inputs, None if portfolio is None else [portfolio])
    body = {name: str(path) for name, path in paths.items()}
    if as_json:
        typer.echo(json.dumps(body, indent=1))
    else:
        for path in body.values():
            typer.echo(path)


def doctor(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Look for what would go wrong: settings, files, disk, brokers. Exit code 1 if anything would.

    Example: etf doctor
    """
    from etf_pipeline.library.doctor import examine

    checks = list(examine(data_dir))
    if as_json:
        typer.echo(json.dumps([vars(c) for c in checks], indent=1))
    else:
        for check in checks:
            typer.echo(f"{'ok  ' if check.ok else 'FAIL'} {check.name}: {check.detail}")
    if not all(c.ok for c in checks):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add these commands to `etf`."""
    for command in (risk, optimise, frontier, compare, report, doctor):
        app.command()(command)
