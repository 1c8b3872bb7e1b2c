"""Names of the assets, as the orchestrator, the manifests and the events have them.

They are persisted: a store and the orchestrator's records know assets by these names.
"""

from __future__ import annotations

RAW_PRICES = "raw_prices"
PRICE_HISTORY = "price_history"
RISK_METRICS = "risk_metrics"
CORRELATIONS = "correlations"
OPTIMISED_PORTFOLIOS = "optimised_portfolios"
BACKTESTS = "backtests"
SQL_CATALOG = "sql_catalog"
REPORTS = "reports"
# No asset, but what `etf maintain` records its removals under.
MAINTENANCE = "maintenance"
