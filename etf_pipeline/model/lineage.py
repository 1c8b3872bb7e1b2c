"""What each asset publishes, and what it reads."""

from __future__ import annotations

from etf_pipeline.model.schemas import (
    BACKTESTS,
    CORRELATIONS,
    HISTORY,
    RAW,
    RISK_METRICS,
    WEIGHTS,
    Table,
)

# By asset: its table, and the assets it reads.
DATASETS: dict[str, tuple[Table, tuple[str, ...]]] = {
    "raw_prices": (RAW, ()),
    "price_history": (HISTORY, ("raw_prices",)),
    "risk_metrics": (RISK_METRICS, ("price_history",)),
    "correlations": (CORRELATIONS, ("price_history",)),
    "optimised_portfolios": (WEIGHTS, ("price_history",)),
    "backtests": (BACKTESTS, ("price_history",)),
}
