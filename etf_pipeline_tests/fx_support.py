"""A foreign ticker, its rate, and the same converted by hand with pandas."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd

from etf_pipeline.risk.conversion import Conversion, Rates
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline_tests.portfolio_file import DAYS, EMPTY, SERIES
from etf_pipeline_tests.support import walk

HASH = "0123456789abcdef" * 4
NAMED = "AUDUSD=X:0123456789ab"
_RATES = pd.Series(
    walk(1600, seed=5, start=0.7), pd.date_range("2020-12-30", periods=1600).astype("datetime64[s]")
)
# London's weekdays, but for a day here and there
RATE = _RATES[(_RATES.index.weekday < 5) & (_RATES.index.day != 13)]
FX = Rates(
    {"AUDUSD=X": PriceSeries("AUDUSD=X", RATE, EMPTY, EMPTY, "files", "USD")}, {"AUDUSD=X": HASH}
)
IN_AUD = Conversion(FX, default="AUD")
# The fourth of the four trades in USD, and as somebody converts it who has pandas alone.
VGB = SERIES["VGB"]
MIXED = SERIES | {"VGB": replace(VGB, currency="USD")}
BY_HAND = SERIES | {
    "VGB": replace(VGB, prices=VGB.prices / RATE.reindex(DAYS, method="ffill").to_numpy())
}


def alike(found: list[dict[str, Any]], right: list[dict[str, Any]], rel: float = 1e-7) -> bool:
    """Whether rows are the same: numbers to rounding, everything else exactly."""

    def same(a: Any, b: Any) -> bool:
        return math.isclose(a, b, rel_tol=rel) if isinstance(b, float) else bool(a == b)

    return len(found) == len(right) and all(
        a.keys() == b.keys() and all(same(a[k], b[k]) for k in b)
        for a, b in zip(found, right, strict=True)
    )
