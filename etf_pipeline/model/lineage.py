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

# By asset: its table, its folder below the store, and the assets it reads.
DATASETS: dict[str, tuple[Table, str, tuple[str, ...]]] = {
    "raw_prices": (RAW, "raw", ()),
    "price_history": (HISTORY, "historical", ("raw_prices",)),
    "risk_metrics": (RISK_METRICS, "risk/risk_metrics", ("price_history",)),
    "correlations": (CORRELATIONS, "risk/correlations", ("price_history",)),
    "optimised_portfolios": (WEIGHTS, "portfolios/weights", ("price_history",)),
    "backtests": (BACKTESTS, "portfolios/backtests", ("price_history",)),
}
