"""What `etf uncertainty` and `etf validate` show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etf_pipeline.cli.render.analysis import in_currency
from etf_pipeline.cli.render.output import print_lines, print_table

if TYPE_CHECKING:
    import pandas as pd

_HEADS = {
    "q05": "5 %",
    "q25": "25 %",
    "q50": "50 %",
    "q75": "75 %",
    "q95": "95 %",
    "mean": "average",
}
_PERCENT = ("cagr", "volatility", "deflated_sharpe", "max_drawdown", "turnover", "cost")
_SHORT = {
    "expected_returns": "means",
    "lookback_years": "years",
    "sharpe_ratio": "Sharpe",
    "sharpe_error": "±",
    "over_equal": "over equal",
    "over_equal_error": "±",
    "deflated_sharpe": "deflated",
    "max_drawdown": "drawdown",
    "cagr": "CAGR",
}
_WORDS = {
    "expected_return": "return a year",
    "volatility": "volatility a year",
    "sharpe_ratio": "Sharpe ratio",
}


def show_uncertainty(found: pd.DataFrame) -> None:
    """Weights with their bands, what the portfolio may turn out to be, and how it was found."""
    said: Mapping[str, Any] = {str(k): v for k, v in found.attrs.items()}
    cells = [[f"{value:z.1%}" for value in row] for row in found.to_numpy(dtype="float64").tolist()]
    rows = [[ticker, *row] for ticker, row in zip(found.index, cells, strict=True)]
    print_table(["ticker", *(_HEADS.get(c, c) for c in found.columns)], rows)
    lines = []
    for name, one in said["figures"]["chosen"].items():
        estimate, low, high = (_shown(name, one[key]) for key in ("estimate", "q05", "q95"))
        lines.append(f"{_WORDS[name]}: {estimate}, by nine tenths of the histories {low} to {high}")
    lines.append(
        f"{said['answered']} of {said['resamples']} resamples answered, seed {said['seed']}, "
        f"blocks of {said['block_length']:.1f} days on average; {said['start']} to {said['end']}"
    )
    print_lines([*lines, *in_currency(said)])


def show_validation(found: pd.DataFrame) -> None:
    """A row per combination, and what the rows say together."""
    said: Mapping[str, Any] = {str(k): v for k, v in found.attrs.items()}
    names = [c for c in found.columns if c != "reason"]
    rows = [[_cell(name, row[name]) for name in names] for row in found.to_dict("records")]
    print_table([_SHORT.get(name, name.replace("_", " ")) for name in names], rows)
    print_lines(
        [
            f"{said['n_obs']} returns out of sample, {said['start']} to {said['end']}, "
            f"{said['decisions']} {said['rebalance']} decisions, purge {said['purge']}",
            *in_currency(said),
        ]
    )


def _cell(name: str, value: Any) -> str:
    if value is None or value != value:  # NaN
        return "–"
    if name in _PERCENT:
        return f"{value:z.1%}"
    if name == "lookback_years" or name == "unanswered":
        return f"{value:.0f}"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _shown(name: str, value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.2f}" if name == "sharpe_ratio" else f"{value:z.1%}"
