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

Origin = tuple[str, str]  # an asset or a file that people edit, and a column of what stands for it
Columns = Mapping[str, Sequence[Origin]]

# Files that people edit, by the name that they have here.
UNIVERSE, PORTFOLIOS, CORRECTIONS, RISK_FREE = (
    "universe",
    "portfolios",
    "corrections",
    "risk_free",
)


@dataclass(frozen=True)
class Lineage:
    """Where one asset's data come from.

    Attributes:
        tables: what it publishes. The first stands for the asset; the others are published with
            it. None for files that people open.
        reads: assets whose data it reads.
        goes_without: those of them whose failure does not hold it back: it shows what there is of
            their data, and says so where that is of an earlier day, or missing.
        columns: by column of the first table, the columns that its values are computed from. A
            column that is a key, a setting or a property of a file has none and is left out.
        further: the same by name of each other table.
        besides: tables that it reads of those assets, or of itself, beside the ones that stand for
            them.
        files: files that people edit and that it reads.
        declared: by table and column, the columns of those files that values rest on too.
    """

    tables: tuple[Table, ...] = ()
    reads: tuple[str, ...] = ()
    goes_without: tuple[str, ...] = ()
    columns: Columns = field(default_factory=dict)
    further: Mapping[str, Columns] = field(default_factory=dict)
    besides: tuple[Table, ...] = ()
    files: tuple[str, ...] = ()
    declared: Mapping[str, Columns] = field(default_factory=dict)

    @property
    def table(self) -> Table:
        """The table that stands for the asset; only for assets that publish one."""
        return self.tables[0]

    def columns_of(self, table: Table) -> Columns:
        """What the columns of one of its tables are computed from, files that people edit too."""
        own = self.columns if table == self.table else self.further.get(table.name, {})
        said = self.declared.get(table.name, {})
        return {c: [*own.get(c, ()), *said.get(c, ())] for c in table.names if c in {*own, *said}}


def _raw(*names: str) -> list[Origin]:
    return [(assets.RAW_PRICES, name) for name in names]


def _history(*names: str) -> list[Origin]:
    return [(assets.PRICE_HISTORY, name) for name in names]


# Which dates count, and in which order, decides over every number that is computed from prices.
# Exchange rates are histories too: where prices are converted, these are the columns of both.
_PRICES = _history("adj_close", "date")
_DATES = _history("date")
# Portfolios and backtests estimate from prices themselves, so they are in neither's way, nor are
# the risk tables in theirs. What people open shows all of them.
_TABLES = (
    assets.RISK_METRICS,
    assets.CORRELATIONS,
    assets.OPTIMISED_PORTFOLIOS,
    assets.BACKTESTS,
)
# What somebody declared right takes the place of what a source said.
_CORRECTED: Columns = {
    name: [(CORRECTIONS, n) for n in ("ticker", "date", "field", "value")]
    for name in ("date", *VALUE_COLUMNS, "adj_close")
}
_FINDINGS = _raw("date", *VALUE_COLUMNS)
# Expected returns are past means, shrunk ones, those of a market in equilibrium (weights of the
# market, what is free of risk), views on them or given ones, as the portfolio's block says, and
# may be net of fees; classes of assets may be what is given or viewed.
_RATE: list[Origin] = [(RISK_FREE, "rate")]


def _asked(*names: str) -> list[Origin]:
    return [(PORTFOLIOS, name) for name in names]


_EXPECTED = [
    *_asked("expected_returns", "lookback_years", "base_currency", "benchmark"),
    *_asked("estimator", "halflife", "correlation_period"),
    *((UNIVERSE, n) for n in ("asset_class", "market_weight", "management_fee", "currency")),
    *_RATE,
]
_LIMITS = _asked(
    *("risk_budget", "target_return", "min_weight", "max_weight", "bounds", "groups"),
    *("holdings", "max_turnover", "cost_rate", "risk_budgets", "cvar_level", "cvar_budget"),
    *("max_tracking_error", "max_active_weight", "beta", "net_exposure", "gross_exposure"),
    *("max_holdings", "min_position", "search_limit"),
)
# What is decided follows from what is asked and from what is expected of it.
_DECIDED = [*_asked("tickers", "objective", "risk_aversion"), *_LIMITS, *_EXPECTED]
_DRAWN = [*_DECIDED, *_asked("resamples")]
_WALKED = [
    *_DECIDED,
    *_asked("rebalance", "band", "trading_cost", "half_spreads", "members", "compare_with"),
]
# Numbers of a portfolio, of its bands, and of its course.
_FIGURES = (
    "success",
    "message",
    "expected_return",
    "volatility",
    "sharpe_ratio",
    "optimality_gap",
    "cvar",
    "tracking_error",
    "beta",
    "cash",
    "risk_budget_binding",
)
_BANDS = ("estimate", "mean", "q05", "q25", "q50", "q75", "q95", "held", "answered", "remarks")
_COURSE = (
    "wealth",
    "drawdown",
    "benchmark_wealth",
    "turnover",
    "cost",
    "cash",
    "comparison_wealth",
)
_MADE_FROM = (PORTFOLIOS, UNIVERSE, RISK_FREE)

LINEAGE: dict[str, Lineage] = {
    # What it asks for depends on the histories there are; what it publishes does not.
    assets.RAW_PRICES: Lineage(tables=(RAW,), files=(UNIVERSE, CORRECTIONS)),
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
        further={
            QUARANTINE.name: {name: _raw(name) for name in ("date", *VALUE_COLUMNS)}
            | dict.fromkeys(("rule", "severity", "evidence"), _FINDINGS)
        },
        files=(UNIVERSE, CORRECTIONS),
        declared={HISTORY.name: _CORRECTED},
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
        besides=(QUARANTINE,),
        files=(UNIVERSE, RISK_FREE),
        declared={
            RISK_METRICS.name: dict.fromkeys(
                ("risk_free_rate", "sharpe_ratio", "sortino_ratio", "alpha"), _RATE
            )
        },
    ),
    assets.CORRELATIONS: Lineage(
        tables=(CORRELATIONS,),
        reads=(assets.PRICE_HISTORY,),
        columns={"correlation": _PRICES, "n_obs": _PRICES, "start": _DATES, "end": _DATES}
        | dict.fromkeys(("nearest", "farthest"), _PRICES),
        files=(UNIVERSE, PORTFOLIOS),
    ),
    assets.OPTIMISED_PORTFOLIOS: Lineage(
        tables=(WEIGHTS, SUMMARY, FRONTIER, UNCERTAINTY),
        reads=(assets.PRICE_HISTORY,),
        columns=dict.fromkeys(("weight", "expected_return", "volatility"), _PRICES),
        further={
            SUMMARY.name: dict.fromkeys(_FIGURES, _PRICES)
            | {"n_obs": _PRICES, "start": _DATES, "end": _DATES},
            FRONTIER.name: dict.fromkeys(
                ("expected_return", "volatility", "sharpe_ratio"), _PRICES
            ),
            UNCERTAINTY.name: dict.fromkeys(_BANDS, _PRICES),
        },
        files=_MADE_FROM,
        declared={
            WEIGHTS.name: {"weight": _DECIDED, "expected_return": _EXPECTED},
            SUMMARY.name: dict.fromkeys(_FIGURES, _DECIDED)
            | {n: _asked(n) for n in ("objective", "risk_budget", "gross_exposure")}
            | {"risk_free_rate": _RATE},
            FRONTIER.name: dict.fromkeys(
                ("expected_return", "volatility", "sharpe_ratio"), _DECIDED
            ),
            UNCERTAINTY.name: dict.fromkeys(_BANDS, _DRAWN),
        },
    ),
    assets.BACKTESTS: Lineage(
        tables=(BACKTESTS, BACKTEST_WEIGHTS, BACKTEST_EVENTS),
        reads=(assets.PRICE_HISTORY,),
        columns={"date": _DATES} | dict.fromkeys(_COURSE, _PRICES),
        further={
            BACKTEST_WEIGHTS.name: {"date": _DATES, "weight": _PRICES, "decision": _PRICES},
            BACKTEST_EVENTS.name: {"date": _DATES, "traded_on": _DATES}
            | dict.fromkeys(("event", "code", "reason"), _PRICES),
        },
        files=_MADE_FROM,
        declared={
            BACKTESTS.name: dict.fromkeys(_COURSE, _WALKED),
            BACKTEST_WEIGHTS.name: dict.fromkeys(("weight", "decision"), _WALKED),
            BACKTEST_EVENTS.name: dict.fromkeys(("event", "code", "reason"), _WALKED),
        },
    ),
    # Its view of raw answers opens the batches when it is asked, and needs no new catalogue.
    assets.SQL_CATALOG: Lineage(
        reads=(assets.PRICE_HISTORY, *_TABLES),
        goes_without=_TABLES,
        besides=(
            QUARANTINE,
            SUMMARY,
            FRONTIER,
            UNCERTAINTY,
            BACKTEST_WEIGHTS,
            BACKTEST_EVENTS,
        ),
        files=(UNIVERSE,),
    ),
    assets.REPORTS: Lineage(
        reads=(assets.PRICE_HISTORY, *_TABLES),
        goes_without=_TABLES,
        besides=(QUARANTINE, SUMMARY, FRONTIER, UNCERTAINTY, BACKTEST_EVENTS),
        files=_MADE_FROM,
    ),
}

# The assets that publish tables.
DATASETS: dict[str, Lineage] = {name: one for name, one in LINEAGE.items() if one.tables}
