"""Schema, key, units, group and granularity of every table: the one source of all of them."""

from __future__ import annotations

from etf_pipeline.model.backtest_schemas import BACKTEST_EVENTS as BACKTEST_EVENTS
from etf_pipeline.model.backtest_schemas import BACKTEST_WEIGHTS as BACKTEST_WEIGHTS
from etf_pipeline.model.backtest_schemas import BACKTESTS as BACKTESTS
from etf_pipeline.model.columns import (
    DATE,
    DAY,
    FRACTION,
    INSTANT,
    SOURCE,
    TEXT,
    TICKER,
    TRUTH,
    WHOLE,
)
from etf_pipeline.model.tables import Column as Column
from etf_pipeline.model.tables import Granularity as Granularity
from etf_pipeline.model.tables import Table as Table

SCHEMA_VERSION = "1"

_F, _S, _I, _D, _B, _TS = FRACTION, TEXT, WHOLE, DAY, TRUTH, INSTANT
_DATE, _TICKER, _SOURCE = DATE, TICKER, SOURCE

_BAR = (
    Column("open", _F, "first price of the session, currency per unit, split-adjusted"),
    Column("high", _F, "highest price, currency per unit, split-adjusted"),
    Column("low", _F, "lowest price, currency per unit, split-adjusted"),
    Column("close", _F, "last price, currency per unit, split-adjusted"),
    Column("volume", _I, "units traded"),
)
_EVENTS = (
    Column("dividends", _F, "income with this ex-date, without gains, currency per unit"),
    Column("stock_splits", _F, "split ratio effective this session, 0 when none"),
    Column("capital_gains", _F, "capital gain distributed besides, currency per unit"),
)
_ANSWERED = (
    Column("dividends", _F, "distribution with this ex-date as answered, currency per unit"),
    _EVENTS[1],
    Column("capital_gains", _F, "capital gain as answered, on its own or in the dividend too"),
)
BAR_COLUMNS = tuple(c.name for c in _BAR)
EVENT_COLUMNS = tuple(c.name for c in _EVENTS)
VALUE_COLUMNS = (*BAR_COLUMNS, *EVENT_COLUMNS)

RAW = Table(
    "raw_prices",
    "Immutable download batch: what a source answered, when.",
    ("ticker", "date"),
    (
        _TICKER,
        _DATE,
        *_BAR,
        Column("adj_close_source", _F, "the source's own adjusted close, never used in metrics"),
        *_ANSWERED,
        Column(
            "dividend_note",
            _S,
            "what the source says of the dividend besides its amount: `implied`, or its currency "
            "when that is not the prices' own; null otherwise",
        ),
    ),
    "raw",
    Granularity.BATCH,
)

HISTORY = Table(
    "price_history",
    "Current daily history of one ticker; rows that failed a rule are in quarantine instead.",
    ("date",),
    (
        _DATE,
        *_BAR,
        *_EVENTS,
        Column("adj_close", _F, "close adjusted for distributions (CRSP), by us", nullable=False),
        Column("flag", _S, "comma-joined rules this row was flagged by, null when none"),
    ),
    "historical",
    Granularity.TICKER,
)

QUARANTINE = Table(
    "quarantine",
    "Every quality finding on one ticker, with the evidence and the bar as it was published.",
    ("date", "rule"),
    (
        _DATE,
        Column("rule", _S, "name of the quality rule", nullable=False),
        Column(
            "severity",
            _S,
            "quarantined (row removed from history), withheld (its distribution is left out), "
            "flagged (row kept), missing (no row) or pending (an event without a price)",
            nullable=False,
        ),
        Column("evidence", _S, "the numbers behind the finding", nullable=False),
        *_BAR,
        *_EVENTS,
    ),
    "quarantine",
    Granularity.TICKER,
)

CORRECTIONS = Table(
    "corrections",
    "What somebody declared right; a file is everything that was declared from a moment on.",
    ("ticker", "date", "field", "rule"),
    (
        _TICKER,
        _DATE,
        Column("field", _S, "column that is corrected, `accept` or `void`", nullable=False),
        Column("rule", _S, "rule whose finding is accepted, else empty", nullable=False),
        Column("value", _F, "what is right, on the basis of the day it was declared"),
        Column("reason", _S, "why", nullable=False),
        Column("author", _S, "who says so", nullable=False),
        Column("declared", _D, "day from which it counts", nullable=False),
        Column("before", _TS, "what was collected of the ticker before it is void; else null"),
    ),
    "corrections",
    Granularity.VERSION,
)

MANIFEST = Table(
    "manifests",
    "What a run did: a row per ticker or portfolio.",
    ("asset", "subject"),
    (
        Column("run_id", _S, "Dagster run or command", nullable=False),
        Column("asset", _S, "asset that was materialised", nullable=False),
        Column("partition", _S, "partition, empty for unpartitioned assets", nullable=False),
        Column("subject", _S, "ticker or portfolio; of upkeep, the file removed", nullable=False),
        Column("outcome", _S, "how it came out, see `outcomes.OutcomeKind`", nullable=False),
        Column("failure_kind", _S, "transient, permanent or missing; null unless failed"),
        Column("rows_added", _I, "rows not known before", nullable=False),
        Column("rows_revised", _I, "rows whose values changed", nullable=False),
        Column("rows_quarantined", _I, "rows now held in quarantine", nullable=False),
        Column("first_date", _D, "first session held"),
        Column("last_date", _D, "last session held"),
        Column("content_hash", _S, "SHA-256 of the content published"),
        Column("reason_code", _S, "why, as a code of `errors.ReasonCode`; null when nothing is"),
        Column("reason", _S, "why, in words; null when there is nothing to say"),
        Column("path", _S, "file that was published, below the store; null when none was"),
        Column("batch_id", _S, "immutable raw batch that holds the evidence"),
        Column("batch_hash", _S, "SHA-256 of that batch's file; null unless it was made here"),
        Column("rules_version", _I, "version of the quality rules applied; null if none were"),
        Column("corrections", _S, "version of the corrections that counted; null without any"),
        Column("source", _S, "yahoo, files or simulated", nullable=False),
        Column("currency", _S, "of the prices, or what returns were converted to; null if unknown"),
        Column("fx", _S, "rates converted with: PAIR:hash, comma-joined; null when none were"),
        Column("recorded_at", _TS, "when the row was recorded", nullable=False),
    ),
    "manifests",
    Granularity.RUN,
)

_OWN_METRICS = (
    Column("total_return", _F, "last price over the first, minus 1; not annualised"),
    Column("mean_return", _F, "A × mean of simple returns, fraction a year; null under a year"),
    Column("cagr", _F, "compound annual growth rate, fraction a year; null under a year"),
    Column("volatility", _F, "√A × standard deviation (ddof 1), fraction a year"),
    Column("sharpe_ratio", _F, "annualised, Sharpe 1994"),
    Column("sortino_ratio", _F, "annualised, Sortino & Price 1994"),
    Column("max_drawdown", _F, "lowest wealth over its running peak, minus 1 (≤ 0)"),
    Column("drawdown_peak", _D, "date of the peak before the worst drawdown"),
    Column("drawdown_trough", _D, "date of its trough"),
    Column("drawdown_recovery", _D, "first date back at the peak, null when not yet"),
    Column("calmar_ratio", _F, "cagr over |max_drawdown|"),
    Column("ulcer_index", _F, "root mean square of drawdowns, fraction; Martin & McCann 1989"),
    Column("var_95", _F, "historical one-period value at risk, positive loss fraction"),
    Column("cvar_95", _F, "mean loss beyond it, positive loss fraction"),
    Column("skewness", _F, "of simple returns, corrected for bias"),
    Column("excess_kurtosis", _F, "of simple returns, corrected for bias; 0 for a normal one"),
    Column("best_month", _F, "highest return of a whole calendar month, fraction"),
    Column("worst_month", _F, "lowest return of a whole calendar month, fraction"),
    Column("positive_months", _F, "share of whole calendar months with a return above 0"),
)
_BENCHMARK_METRICS = (
    Column("beta", _F, "against the benchmark on common dates"),
    Column("alpha", _F, "Jensen's, of returns over the risk-free, fraction a year"),
    Column("r_squared", _F, "squared correlation with the benchmark's returns"),
    Column("tracking_error", _F, "against the benchmark, fraction a year"),
    Column("information_ratio", _F, "against the benchmark, annualised"),
    Column("up_capture", _F, "geometric mean of months when it rose, over the benchmark's"),
    Column("down_capture", _F, "geometric mean of months when it fell, over the benchmark's"),
)
# Names of the metrics: all of one ticker's prices, those that are numbers (the others are dates),
# and those that compare with a benchmark.
OWN_METRICS = tuple(c.name for c in _OWN_METRICS)
OWN_NUMBERS = tuple(c.name for c in _OWN_METRICS if c.kind == _F)
BENCHMARK_METRICS = tuple(c.name for c in _BENCHMARK_METRICS)

RISK_METRICS = Table(
    "risk_metrics",
    "A row per ticker and window; a metric that cannot be computed is null and says why.",
    ("ticker", "window"),
    (
        _TICKER,
        Column("window", _S, "1y, 3y, 5y, 10y or max", nullable=False),
        Column("start", _D, "date of the first price used"),
        Column("end", _D, "date of the last price used"),
        Column("n_obs", _I, "number of returns", nullable=False),
        Column("n_months", _I, "number of whole calendar months"),
        Column("n_excluded", _I, "quarantined rows inside the window, not used", nullable=False),
        Column(
            "periods_per_year", _F, "A: returns a year that there were, or the one that was set"
        ),
        *_OWN_METRICS,
        Column("benchmark", _S, "ticker compared with, null when none is set"),
        *_BENCHMARK_METRICS,
        Column("risk_free", _S, "ticker or file of the risk-free returns; null for a constant"),
        Column("risk_free_rate", _F, "annual effective rate that it came to; null if unknown"),
        Column("currency", _S, "what its prices are in; null when no file says it"),
        Column("reason", _S, "why values are null or rows were left out"),
        _SOURCE,
    ),
    "risk",
    Granularity.AS_OF,
)

CORRELATIONS = Table(
    "correlations",
    "Correlation of simple returns on the common dates of all that are compared, long form: the "
    "nearest and farthest of every ticker, and every pair within a model portfolio.",
    ("ticker", "other", "window"),
    (
        _TICKER,
        Column("other", _S, "the other ticker", nullable=False),
        Column("window", _S, "1y, 3y, 5y, 10y or max", nullable=False),
        Column("period", _S, "of the returns: daily, or weekly where exchanges differ"),
        Column("correlation", _F, "Pearson, −1 to 1; null when it cannot be computed"),
        Column(
            "nearest",
            _I,
            "place of other among the ticker's most correlated, from 1; null if beyond those kept",
        ),
        Column(
            "farthest",
            _I,
            "place of other among the ticker's least correlated, from 1; null if beyond those kept",
        ),
        Column("n_obs", _I, "number of common returns", nullable=False),
        Column("start", _D, "first common price date"),
        Column("end", _D, "last common price date"),
        Column("currency", _S, "what the returns are in; null when not compared, or not known"),
        Column("reason", _S, "why there is no correlation; on the diagonal, why with no other"),
        _SOURCE,
    ),
    "risk",
    Granularity.AS_OF,
)

WEIGHTS = Table(
    "weights",
    "A row per portfolio and ticker; weights sum to 1.",
    ("portfolio", "ticker"),
    (
        Column("portfolio", _S, "name in portfolios.yaml", nullable=False),
        _TICKER,
        Column("weight", _F, "fraction of the portfolio", nullable=False),
        Column("expected_return", _F, "expected return, fraction a year", nullable=False),
        Column("volatility", _F, "volatility of the ticker, fraction a year", nullable=False),
        _SOURCE,
    ),
    "portfolios",
    Granularity.AS_OF,
)

SUMMARY = Table(
    "summary",
    "A row per portfolio: what was asked, what was found, and how sure that is.",
    ("portfolio",),
    (
        Column("portfolio", _S, "name in portfolios.yaml", nullable=False),
        Column("objective", _S, "what was maximised or minimised", nullable=False),
        Column("success", _B, "feasible and within 1e-6 of the optimum", nullable=False),
        Column("message", _S, "in words", nullable=False),
        Column("expected_return", _F, "fraction a year"),
        Column("volatility", _F, "fraction a year"),
        Column("sharpe_ratio", _F, "excess return over volatility"),
        Column("optimality_gap", _F, "upper bound of the return still to be had"),
        Column("cvar", _F, "CVaR of the portfolio, positive loss per period; null unless asked"),
        Column("tracking_error", _F, "to its benchmark, fraction a year; null without one"),
        Column("beta", _F, "to its benchmark; null without one"),
        Column("cash", _F, "part in none of its tickers; below 0 where it is borrowed"),
        Column("gross_exposure", _F, "ceiling on sizes of weights asked for; null: none is short"),
        Column("risk_budget", _F, "ceiling on volatility asked for, fraction a year"),
        Column("risk_budget_binding", _B, "whether the ceiling limits the answer"),
        Column("risk_free", _S, "ticker or file of the risk-free returns; null for a constant"),
        Column("risk_free_rate", _F, "annual effective rate used, fraction; null if unknown"),
        Column("n_obs", _I, "number of common returns", nullable=False),
        Column("start", _D, "first common price date"),
        Column("end", _D, "last common price date"),
        Column("base_currency", _S, "what returns are in; null when no file says its currency"),
        Column("fx", _S, "rates converted with: PAIR:hash, comma-joined; null when none were"),
        Column("correlation_period", _S, "of the returns that correlations are of: daily, weekly"),
        _SOURCE,
    ),
    "portfolios",
    Granularity.AS_OF,
)

FRONTIER = Table(
    "frontier",
    "Efficient frontier of each portfolio's tickers under its bounds.",
    ("portfolio", "point"),
    (
        Column("portfolio", _S, "name in portfolios.yaml", nullable=False),
        Column("point", _I, "0 is minimum volatility, the last is maximum return", nullable=False),
        Column("expected_return", _F, "fraction a year", nullable=False),
        Column("volatility", _F, "fraction a year", nullable=False),
        Column("sharpe_ratio", _F, "excess return over volatility"),
        _SOURCE,
    ),
    "portfolios",
    Granularity.AS_OF,
)

UNCERTAINTY = Table(
    "uncertainty",
    "Weights and figures of portfolios that ask for `resamples`, over other histories drawn from "
    "the one there is.",
    ("portfolio", "kind", "name"),
    (
        Column("portfolio", _S, "name in portfolios.yaml", nullable=False),
        Column(
            "kind",
            _S,
            "weight; cash, where there may be any; or a figure: chosen, of the chosen weights by "
            "every resample's estimates, or optimal, of each resample's own optimal weights",
            nullable=False,
        ),
        Column(
            "name", _S, "ticker, cash, or expected_return, volatility, sharpe_ratio", nullable=False
        ),
        Column("estimate", _F, "by the history itself"),
        Column("mean", _F, "over the resamples; of weights: the averaged portfolio"),
        Column("q05", _F, "5 % of the resamples are below"),
        Column("q25", _F, "25 % of the resamples are below"),
        Column("q50", _F, "the median of the resamples"),
        Column("q75", _F, "75 % of the resamples are below"),
        Column("q95", _F, "95 % of the resamples are below"),
        Column("held", _F, "share of the answered resamples that hold any of it; null of figures"),
        Column("resamples", _I, "how many histories were drawn", nullable=False),
        Column("answered", _I, "how many of them have a proven answer", nullable=False),
        Column("seed", _I, "of the draws", nullable=False),
        Column("block_length", _F, "mean length of the blocks drawn, in days", nullable=False),
        Column("remarks", _S, "what a reader must know, resamples without an answer first"),
        _SOURCE,
    ),
    "portfolios",
    Granularity.AS_OF,
)

EVENTS = Table(
    "events",
    "What happened, an event a row (CloudEvents 1.0); the archive of the event store.",
    ("channel", "partition", "position"),
    (
        Column("id", _S, "UUIDv5 of what makes the event one of a kind", nullable=False),
        Column("type", _S, "event type, see docs/events", nullable=False),
        Column("version", _I, "version of the type", nullable=False),
        Column("source", _S, "which store it is about", nullable=False),
        Column("subject", _S, "ticker or portfolio", nullable=False),
        Column("time", _TS, "when it happened", nullable=False),
        Column("recorded", _TS, "when it was recorded", nullable=False),
        Column("data", _S, "payload, JSON", nullable=False),
        Column("channel", _S, "topic without its prefix", nullable=False),
        Column("partition", _I, "partition of the topic, 0 in the embedded store", nullable=False),
        Column("position", _I, "offset, or sequence number", nullable=False),
        Column("log", _S, "id of the local log that recorded it, empty where that is not known"),
        Column("number", _I, "its place in its channel there, from 1 on; 0 where not known"),
    ),
    "events",
    Granularity.EVENTS,
)

TABLES = (
    RAW,
    HISTORY,
    QUARANTINE,
    CORRECTIONS,
    MANIFEST,
    RISK_METRICS,
    CORRELATIONS,
    WEIGHTS,
    SUMMARY,
    FRONTIER,
    UNCERTAINTY,
    BACKTESTS,
    BACKTEST_WEIGHTS,
    BACKTEST_EVENTS,
    EVENTS,
)
# Those of which there is a file for each `as_of` day.
DATED = tuple(t for t in TABLES if t.granularity is Granularity.AS_OF)
