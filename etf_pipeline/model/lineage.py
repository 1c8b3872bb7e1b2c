"""What each asset publishes, whose data it reads, and which columns each of its columns comes from.

Declared here once: the orchestrator's metadata and the OpenLineage events are made from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from etf_pipeline.model import assets
from etf_pipeline.model.schemas import (
    BACKTEST_EVENTS,
    BACKTEST_WEIGHTS,
    BACKTESTS,
    BENCHMARK_METRICS,
    CORRELATIONS,
    FRONTIER,
    HISTORY,
    OWN_METRICS,
    QUARANTINE,
    RAW,
    RISK_METRICS,
    SUMMARY,
    UNCERTAINTY,
    VALUE_COLUMNS,
    WEIGHTS,
    Table,
)

Origin = tuple[str, str]  # an asset, and a column of the table that stands for it


@dataclass(frozen=True)
class Lineage:
    """Where one asset's data come from.

    Attributes:
        tables: what it publishes. The first stands for the asset; the others are published with
            it. None for files that people open.
        reads: assets whose data it reads.
        waits_for: assets that must have passed their checks first, though it reads none of their
            data.
        columns: by column of the first table, the columns that its values are computed from. A
            column that is a key, a setting or a property of a file has none and is left out.
    """

    tables: tuple[Table, ...] = ()
    reads: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    columns: Mapping[str, Sequence[Origin]] = field(default_factory=dict)

    @property
    def table(self) -> Table:
        """The table that stands for the asset; only for assets that publish one."""
        return self.tables[0]


def _raw(*names: str) -> list[Origin]:
    return [(assets.RAW_PRICES, name) for name in names]


def _history(*names: str) -> list[Origin]:
    return [(assets.PRICE_HISTORY, name) for name in names]


# Which dates count, and in which order, decides over every number that is computed from prices.
# Exchange rates are histories too: where prices are converted, these are the columns of both.
_PRICES = _history("adj_close", "date")
_DATES = _history("date")
# Portfolios and backtests estimate from prices themselves. They follow the risk tables so that
# nothing is decided on histories whose metrics or correlations turned out to be impossible.
_RISK_TABLES = (assets.RISK_METRICS, assets.CORRELATIONS)

LINEAGE: dict[str, Lineage] = {
    # What it asks for depends on the histories there are; what it publishes does not.
    assets.RAW_PRICES: Lineage(tables=(RAW,)),
    assets.PRICE_HISTORY: Lineage(
        tables=(HISTORY, QUARANTINE),
        reads=(assets.RAW_PRICES,),
        columns={name: _raw(name) for name in ("date", *VALUE_COLUMNS)}
        | {
            "adj_close": _raw("close", "dividends", "capital_gains"),
            # stale runs and large moves: close; inverted splits: close and stock_splits;
            # sessions that the calendar does not know: date and volume
            "flag": _raw("date", "close", "volume", "stock_splits"),
        },
    ),
    assets.RISK_METRICS: Lineage(
        tables=(RISK_METRICS,),
        reads=(assets.PRICE_HISTORY,),
        columns={
            "start": _DATES,
            "end": _DATES,
            "n_obs": _PRICES,
            # dates in quarantine, which the same asset publishes, within those of the window
            "n_excluded": _DATES,
            "n_months": _DATES,
            "periods_per_year": _DATES,
            # of a cash fund, where that says what is free of risk
            "risk_free_rate": _PRICES,
        }
        | dict.fromkeys((*OWN_METRICS, *BENCHMARK_METRICS, "reason"), _PRICES),
    ),
    assets.CORRELATIONS: Lineage(
        tables=(CORRELATIONS,),
        reads=(assets.PRICE_HISTORY,),
        columns={"correlation": _PRICES, "n_obs": _PRICES, "start": _DATES, "end": _DATES},
    ),
    assets.OPTIMISED_PORTFOLIOS: Lineage(
        tables=(WEIGHTS, SUMMARY, FRONTIER, UNCERTAINTY),
        reads=(assets.PRICE_HISTORY,),
        waits_for=_RISK_TABLES,
        columns=dict.fromkeys(("weight", "expected_return", "volatility"), _PRICES),
    ),
    assets.BACKTESTS: Lineage(
        tables=(BACKTESTS, BACKTEST_WEIGHTS, BACKTEST_EVENTS),
        reads=(assets.PRICE_HISTORY,),
        waits_for=_RISK_TABLES,
        columns={"date": _DATES}
        | dict.fromkeys(
            (
                "wealth",
                "drawdown",
                "benchmark_wealth",
                "turnover",
                "cost",
                "cash",
                "comparison_wealth",
            ),
            _PRICES,
        ),
    ),
    # Its view of raw answers opens the batches when it is asked, and needs no new catalogue.
    assets.SQL_CATALOG: Lineage(
        reads=(
            assets.PRICE_HISTORY,
            assets.RISK_METRICS,
            assets.CORRELATIONS,
            assets.OPTIMISED_PORTFOLIOS,
            assets.BACKTESTS,
        )
    ),
    assets.REPORTS: Lineage(
        reads=(
            assets.PRICE_HISTORY,
            assets.RISK_METRICS,
            assets.CORRELATIONS,
            assets.OPTIMISED_PORTFOLIOS,
            assets.BACKTESTS,
        )
    ),
}

# The assets that publish tables.
DATASETS: dict[str, Lineage] = {name: one for name, one in LINEAGE.items() if one.tables}
