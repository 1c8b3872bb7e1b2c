"""What a portfolio holds, beside its shares of risk, its benchmark and its bands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from etf_pipeline.model.benchmark_portfolios import benchmark_portfolio
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.report import charts
from etf_pipeline.report.bands import BANDS, CASH, NO_BAND, weight_bands
from etf_pipeline.report.cells import percent
from etf_pipeline.report.inputs import Inputs, Row
from etf_pipeline.report.parts import Grid, Section
from etf_pipeline.risk.covariance import risk_contributions
from etf_pipeline.risk.estimates import Estimates

_ACTIVE = ("benchmark", "active weight")
_ACTIVELY = "Active weight: the weight less the benchmark's; the tracking error is of those."
_WHOLE = 1e-9  # how far from 1 the weights of a benchmark without cash sum


def weight_section(
    inputs: Inputs, summary: Row, weights: Mapping[str, float], estimates: Estimates | None
) -> Section:
    """Weights and shares of risk, in a chart and a table.

    Args:
        inputs: of the report.
        summary: the portfolio's row of that table.
        weights: by ticker, those with prices.
        estimates: over those tickers in their order; None where they cannot be had.
    """
    name = summary["portfolio"]
    held = np.array(list(weights.values()))
    groups = {"weight": dict(weights)}
    text = ["Risk contributions need common history that is not there."]
    if estimates is not None and len(estimates.covariance) == len(held):
        text = [f"{remark[0].upper()}{remark[1:]}." for remark in estimates.remarks]
        if float(held @ estimates.covariance @ held) > 0:
            shares = risk_contributions(held, estimates.covariance)
            groups["share of risk"] = dict(zip(weights, shares.tolist(), strict=True))
    bands, said = weight_bands(inputs, name)
    spec = inputs.spec(name)
    against = _benchmark(inputs, spec)
    mine = _with_cash(weights, summary.get("cash"), spec, against)
    theirs = against if CASH not in mine else against | {CASH: 1.0 - sum(against.values())}
    rows = {}
    for t in [*mine, *(t for t in against if t not in mine)]:
        shown = groups | {"weight": mine}
        cells = [percent(values.get(t)) for values in shown.values()]
        other = theirs.get(t, 0.0)
        active = [percent(other), percent(mine.get(t, 0.0) - other)] if against else []
        rows[t] = [t, inputs.names.get(t, ""), *cells, *active]
    columns = ["ETF", "name", *groups, *(_ACTIVE if against else ())]
    return Section(
        "Weights and risk contributions",
        [*text, *_measured(inputs, name, against), *said],
        charts.bars(
            groups,
            "weights",
            "Weights and shares of risk",
            "; ".join(f"{t} {w:.1%}" for t, w in weights.items() if w != 0),
        ),
        "Share of risk: w·(Σw)/w'Σw, which adds up to 100 %.",
        _grids(columns, rows, {t: bands.get(t, NO_BAND) for t in mine} if bands else {}),
    )


def _grids(
    columns: list[str], rows: Mapping[str, list[str]], bands: Mapping[str, list[str]]
) -> list[Grid]:
    """Weights and their bands: one table, or two where it would be too wide for a page."""
    numbers = range(2, len(columns) + len(BANDS))
    if not bands:
        return [Grid("Weights", columns, list(rows.values()), numbers[: len(columns) - 2])]
    if "benchmark" not in columns:
        both = [[*row, *bands[t]] for t, row in rows.items()]
        return [Grid("Weights", [*columns, *BANDS], both, numbers)]
    apart = [[t, rows[t][2], *cells] for t, cells in bands.items()]
    return [
        Grid("Weights", columns, list(rows.values()), numbers[: len(columns) - 2]),
        Grid("Bands of the weights", ["ETF", "weight", *BANDS], apart, range(1, 2 + len(BANDS))),
    ]


def _benchmark(inputs: Inputs, spec: PortfolioSpec | None) -> dict[str, float]:
    """Weights of what it is measured against; none without, or where nobody knows them."""
    held = {} if spec is None else {t: w for t, w in spec.against.items() if w}
    return held if all(t in inputs.series for t in held) else {}


def _measured(inputs: Inputs, name: str, against: Mapping[str, float]) -> list[str]:
    """What active weights are, and of which portfolio, where the benchmark is one."""
    if not against:
        return []
    asked = inputs.specs[name].benchmark
    named = benchmark_portfolio(inputs.specs[name], inputs.specs) is not None
    through = "as it was on the day of each decision, with its own course beside"
    said = f"Measured against {asked}: as it is decided now, and in the backtest {through}. "
    return [f"{said if named else ''}{_ACTIVELY}"]


def _with_cash(
    weights: Mapping[str, float],
    cash: float | None,
    spec: PortfolioSpec | None,
    against: Mapping[str, float],
) -> dict[str, float]:
    """Weights, and what is in none of the tickers where that may be any, here or in the benchmark.

    Tables of an earlier release do not have it.
    """
    may_be = bool(cash) or (spec is not None and not spec.invested)
    beside = bool(against) and abs(1.0 - sum(against.values())) > _WHOLE
    return dict(weights) | ({CASH: cash or 0.0} if may_be or beside else {})
