"""A portfolio file of one portfolio, and the prices of its tickers, for tests of its tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.portfolio_file import load_portfolios
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline_tests.support import asx_days, instrument, walk

TICKERS = ("VAS", "VGS", "VAF", "VGB")
UNIVERSE = Universe(
    tuple(
        instrument(t, asset_class="fixed_income" if t in ("VAF", "VGB") else "australian_equity")
        for t in TICKERS
    )
)
HEAD = "portfolios:\n  - name: p\n    tickers: [VAS, VGS, VAF, VGB]\n    lookback_years: 2\n"
EMPTY = np.array([], dtype="datetime64[D]")
DAYS = pd.DatetimeIndex(asx_days("2021-01-04", 900).astype("datetime64[s]"), name="date")
SERIES = {
    t: PriceSeries(t, pd.Series(walk(900, seed=i + 20), DAYS), EMPTY, EMPTY, "files", "AUD")
    for i, t in enumerate(TICKERS)
}


def specs(tmp_path: Path, text: str) -> list[PortfolioSpec]:
    """The portfolio of the file, with more lines."""
    path = tmp_path / "portfolios.yaml"
    path.write_text(HEAD + text)
    return load_portfolios(path, UNIVERSE)
