"""The bands beside a portfolio's weights, where it asks for resamples."""

from __future__ import annotations

from etf_pipeline.report.cells import DASH, percent
from etf_pipeline.report.inputs import Inputs, Row

BANDS = ("resampled average", "inner band", "outer band", "held")
CASH = "cash"
NO_BAND = [DASH] * len(BANDS)


def weight_bands(inputs: Inputs, name: str) -> tuple[dict[str, list[str]], list[str]]:
    """By ticker, how far its weight could be another, and how that was found; nothing unless asked.

    Cash, where there may be any, is called that. Cells in the order of `BANDS`.
    """
    rows = inputs.rows("uncertainty", portfolio=name)
    found = {r["name"]: r for r in rows if r["kind"] in ("weight", CASH)}
    if not found:
        return {}, []
    one = next(iter(found.values()))
    said = [
        f"Resampled {one['resamples']:,} times from the history's own returns, in blocks of "
        f"{one['block_length']:.1f} days on average (seed {one['seed']}): half of the weights are "
        "within the inner band, nine tenths within the outer one, and held says how many hold the "
        "ETF at all. A weight whose bands are wide is what this history happens to say."
    ]
    if one["remarks"]:
        said.append(f"{one['remarks'][0].upper()}{one['remarks'][1:]}.")
    kept = {r["name"]: r for r in rows if r["kind"] == "chosen"}
    said.append(
        "By those histories, the portfolio's expected return is from "
        f"{_band(kept['expected_return'], 'q05', 'q95')} a year, its volatility from "
        f"{_band(kept['volatility'], 'q05', 'q95')} (nine tenths of them)."
    )
    return {
        ticker: [
            percent(r["mean"]),
            _band(r, "q25", "q75"),
            _band(r, "q05", "q95"),
            percent(r["held"]),
        ]
        for ticker, r in found.items()
    }, said


def _band(row: Row, low: str, high: str) -> str:
    return f"{percent(row[low])} to {percent(row[high])}"
