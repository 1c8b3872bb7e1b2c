"""What the commands that ask the library show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etf_pipeline.cli.render.output import print_lines, print_table
from etf_pipeline.model.schemas import BENCHMARK_METRICS, OWN_NUMBERS


def in_currency(found: Mapping[str, Any]) -> list[str]:
    """What returns are in, the rates they were converted with, and remarks on the data."""
    rates = f", converted with {found['fx']}" if found["fx"] else ""
    money = [f"returns in {found['base_currency']}{rates}"] if found["base_currency"] else []
    return [*money, *found["remarks"]]


def show_metrics(found: Mapping[str, Mapping[str, Any]], with_benchmark: bool) -> None:
    """Metrics down, tickers across; below, why a number is missing."""
    names = (
        "currency",
        *OWN_NUMBERS,
        "n_obs",
        "n_months",
        *(BENCHMARK_METRICS if with_benchmark else ()),
    )
    rows = [[name, *(f[name] for f in found.values())] for name in names]
    print_table(["metric", *found], rows)
    print_lines(f"  {t}: {m['reason']}" for t, m in found.items() if m["reason"])


def show_mix(found: Mapping[str, Any]) -> None:
    """Metrics of a portfolio of given weights, and what they rest on."""
    show_metrics({"portfolio": found}, found["benchmark"] is not None)
    held = ", ".join(f"{t} {w:z.2%}" for t, w in found["weights"].items())
    kept = "never restored" if found["rebalance"] == "never" else f"restored {found['rebalance']}"
    print_lines([f"{held}; weights {kept}, free of charge", *in_currency(found)])


def show_backtest(found: Mapping[str, Any]) -> None:
    """Metrics of the course and of what it is compared with, the last weights, and what went on."""
    columns = {"portfolio": found["metrics"]}
    other = found["comparison_metrics"]
    if other is not None:
        late = other["start"] != found["start"]
        columns[f"comparison since {other['start']}" if late else "comparison"] = other
    show_metrics(columns, found["metrics"]["benchmark"] is not None)
    course, last = found["course"], found["weights"].iloc[-1]
    print_table(["ticker", "last weight"], [[t, f"{w:z.2%}"] for t, w in last.items()])
    trades = len(found["weights"])
    print_lines(
        [
            f"{found['start']} to {found['end']}: {trades} trade{'s' if trades > 1 else ''}, "
            f"turnover {course['turnover'].sum():z.2%}, costs {course['cost'].sum():z.2%} in all",
            *(
                f"{e['date']} {e['event'].replace('_', ' ')} {e['subject']}: {e['reason']}"
                for e in found["events"]
                if e["reason"]
            ),
            *in_currency(found),
        ]
    )


def show_portfolio(found: Mapping[str, Any]) -> None:
    """Weights, what the optimiser says, and what the portfolio would have been."""
    weights = found["optimal_weights"]
    if weights is not None:
        print_table(*_held(weights, found["benchmark_weights"] or {}))
    print_lines([found["optimization_message"], *in_currency(found)])
    if found["optimization_success"]:
        ratio = found["sharpe_ratio"]  # none of cash alone
        figures = [
            f"return {found['expected_return']:z.2%}, volatility {found['volatility']:z.2%}",
            *([] if ratio is None else [f"Sharpe ratio {ratio:.2f}"]),
            *_beyond(found),
        ]
        print_lines([f"{', '.join(figures)}; {found['start']} to {found['end']}"])


def _held(
    weights: Mapping[str, float], against: Mapping[str, float]
) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of weights, with a benchmark's and the difference where there is one."""
    if not against:
        return ["ticker", "weight"], [[t, f"{w:z.2%}"] for t, w in weights.items()]
    rows = []
    for ticker in dict.fromkeys([*weights, *against]):
        mine, theirs = weights.get(ticker, 0.0), against.get(ticker, 0.0)
        rows.append([ticker, *(f"{w:z.2%}" for w in (mine, theirs, mine - theirs))])
    return ["ticker", "weight", "benchmark", "active"], rows


def _beyond(found: Mapping[str, Any]) -> list[str]:
    """Active risk and cash, where they were asked for."""
    error, beta, cash = (found[name] for name in ("tracking_error", "beta", "cash"))
    return [
        *([] if error is None else [f"tracking error {error:z.2%}"]),
        *([] if beta is None else [f"beta {beta:.2f}"]),
        *([f"cash {cash:z.2%}"] if cash else []),
    ]


def show_comparison(body: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> None:
    """A row per ticker, its correlations with each at the end."""
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
    print_table(columns, rows)
