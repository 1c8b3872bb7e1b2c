"""The tables of backtests: courses, what was bought, what happened."""

from __future__ import annotations

from etf_pipeline.model.columns import DATE, DAY, FRACTION, SOURCE, TEXT, TICKER
from etf_pipeline.model.tables import Column, Granularity, Table

BACKTESTS = Table(
    "backtests",
    "Walk-forward value of each portfolio, a row per session: decided on the past alone.",
    ("portfolio", "date"),
    (
        Column("portfolio", TEXT, "name in portfolios.yaml", nullable=False),
        DATE,
        Column("wealth", FRACTION, "value of 1 invested at the first rebalance", nullable=False),
        Column("drawdown", FRACTION, "wealth over its running peak, minus 1 (≤ 0)", nullable=False),
        Column("benchmark_wealth", FRACTION, "the benchmark's value, null when none is set"),
        Column("turnover", FRACTION, "Σ|w − held|/2 on a rebalance, null on other sessions"),
        Column("cost", FRACTION, "fraction of wealth paid for trading, null on other sessions"),
        Column("cash", FRACTION, "part of the wealth in cash at the end of the session"),
        Column(
            "comparison_wealth", FRACTION, "value of what compare_with names, null when nothing"
        ),
        SOURCE,
    ),
    "portfolios",
    Granularity.AS_OF,
)

BACKTEST_WEIGHTS = Table(
    "backtest_weights",
    "Weights bought at each rebalance of each walk-forward backtest.",
    ("portfolio", "date", "ticker"),
    (
        Column("portfolio", TEXT, "name in portfolios.yaml", nullable=False),
        DATE,
        TICKER,
        Column("weight", FRACTION, "fraction of the portfolio after trading", nullable=False),
        Column("decision", TEXT, "traded: as decided; nearest: the nearest that could be had"),
        SOURCE,
    ),
    "portfolios",
    Granularity.AS_OF,
)

BACKTEST_EVENTS = Table(
    "backtest_events",
    "Decisions of each backtest, and the tickers that entered or left it.",
    ("portfolio", "date", "event", "subject"),
    (
        Column("portfolio", TEXT, "name in portfolios.yaml", nullable=False),
        DATE,
        Column(
            "event",
            TEXT,
            "traded, nearest, within_band or skipped, of a decision; entered or left, of a ticker",
            nullable=False,
        ),
        Column("subject", TEXT, "the ticker; the portfolio, for a decision", nullable=False),
        Column("traded_on", DAY, "session of the trade, null where there was none"),
        Column("code", TEXT, "reason code, null when there is nothing to say"),
        Column("reason", TEXT, "why, in words"),
        SOURCE,
    ),
    "portfolios",
    Granularity.AS_OF,
)
