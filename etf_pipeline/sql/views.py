"""The views of the catalogue: SQL, what each holds, and a comment for every column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from etf_pipeline.model.file_names import STAMP
from etf_pipeline.model.schemas import (
    BACKTEST_EVENTS,
    BACKTEST_WEIGHTS,
    BACKTESTS,
    CORRECTIONS,
    CORRELATIONS,
    EVENTS,
    FRONTIER,
    HISTORY,
    MANIFEST,
    QUARANTINE,
    RAW,
    RISK_METRICS,
    SUMMARY,
    UNCERTAINTY,
    WEIGHTS,
    Table,
)
from etf_pipeline.sql import as_of, conversion, correlations

_TICKER = "ticker id of the universe"
_AS_OF = "newest session the table was computed from"


@dataclass(frozen=True)
class View:
    """One view; `{files}` in its SQL is the list of the files that it reads."""

    name: str
    description: str
    sql: str
    comments: dict[str, str]


# By Arrow's name of a type: DuckDB's.
TYPES = {
    "double": "DOUBLE",
    "string": "VARCHAR",
    "int64": "BIGINT",
    "date32[day]": "DATE",
    "bool": "BOOLEAN",
    "timestamp[us, tz=UTC]": "TIMESTAMPTZ",
}


def _nulls(columns: Mapping[str, str]) -> str:
    """A select list of nulls, by name and DuckDB type."""
    return ", ".join(f'CAST(NULL AS {kind}) AS "{name}"' for name, kind in columns.items())


def _kinds(table: Table) -> dict[str, str]:
    """DuckDB types by column."""
    return {c.name: TYPES[c.kind] for c in table.columns}


def _comments(table: Table, **more: str) -> dict[str, str]:
    return {c.name: c.description for c in table.columns} | more


_BY_NAME = "SELECT * FROM read_parquet({files}, filename = true, union_by_name = true)"
_IN_DAYS = (
    "read_parquet({files}, filename = true, union_by_name = true, hive_partitioning = true, "
    "hive_types = {{'as_of': 'DATE'}})"  # a text, as DATE may be a column of the query around it
)


def _rows(table: Table, rows: str = _BY_NAME, **more: str) -> str:
    """The rows of a table's files, with `filename`.

    Files of earlier releases lack columns, and those of others have other ones: what the table has
    is there, whichever files there are. A row that no file of ours can have is an error, which
    names the file; rows of nulls would look like ours.

    Args:
        table: which.
        rows: where they are from.
        more: columns besides, by DuckDB type.
    """
    kinds = more | _kinds(table)
    chosen = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in kinds.items())
    never_null = next(c.name for c in table.columns if not c.nullable)
    return (
        f"SELECT {chosen}, filename FROM ("
        f"SELECT {_nulls(kinds | {'filename': 'VARCHAR'})} WHERE false UNION ALL BY NAME {rows}) "
        f'WHERE CASE WHEN "{never_null}" IS NULL '
        "THEN error(filename || ' is not of this package: move it away') ELSE true END"
    )


def _partitioned(table: Table, name: str) -> View:
    rows = _rows(table, f"SELECT * FROM {_IN_DAYS}", as_of="DATE")
    columns = ", ".join(f'"{n}"' for n in (*table.names, "as_of"))
    return View(
        name,
        f"{table.description} Every as_of date.",
        f"SELECT {columns} FROM ({rows})",
        _comments(table, as_of=_AS_OF),
    )


def _newest(table: Table, name: str) -> View:
    history = f"{name}_history"
    return View(
        name,
        f"{table.description} The newest as_of date.",
        # Which day is the newest is told without a look at rows.
        f"SELECT * FROM {history} WHERE as_of = (SELECT max(as_of) FROM {_IN_DAYS})",
        _comments(table, as_of=_AS_OF),
    )


def _along_time(columns: str) -> str:
    """Window functions over the sessions of each ticker.

    Tickers that were there when the catalogue was made are compared by number, which halves the
    memory and the time of the sort; those that came since, by name.
    """
    over = "WINDOW w AS (PARTITION BY {key} ORDER BY date)"
    return (
        f"SELECT known::VARCHAR AS ticker, {columns} "
        "FROM (SELECT *, TRY_CAST(ticker AS known_ticker) AS known FROM prices) "
        f"WHERE known IS NOT NULL {over.format(key='known')} "
        f"UNION ALL SELECT ticker, {columns} FROM prices "
        f"WHERE TRY_CAST(ticker AS known_ticker) IS NULL {over.format(key='ticker')}"
    )


# Ex-dates move by days from year to year: a year of them is shorter by half the usual gap, at most
# a fortnight, or a fifth quarter would be counted.
# Windows of a ticker all along: what is asked of one ticker reads its file alone.
_DISTRIBUTIONS = f"""
WITH held AS ({
    _along_time(
        "date, close, coalesce(dividends, 0) AS dividends, coalesce(capital_gains, 0) AS gains, "
        "lag(close) OVER w AS close_before, first_value(date) OVER w AS since"
    )
}),
withheld AS NOT MATERIALIZED (
    SELECT ticker, date, max(coalesce(dividends, 0) + coalesce(capital_gains, 0)) AS amount
    FROM quality WHERE severity = 'withheld' GROUP BY ticker, date
),
paid AS (
    SELECT h.ticker, h.date, close, dividends, gains, close_before, since, amount AS withheld
    FROM held h LEFT JOIN withheld w ON w.ticker = h.ticker AND w.date = h.date
    WHERE dividends <> 0 OR gains <> 0 OR amount IS NOT NULL
    UNION ALL
    SELECT ticker, date, NULL, 0, 0, NULL, NULL, amount FROM withheld w
    WHERE NOT EXISTS (FROM prices p WHERE p.ticker = w.ticker AND p.date = w.date)
),
spaced AS (
    SELECT *, date - lag(date) OVER (PARTITION BY ticker ORDER BY date) AS gap FROM paid
),
rhythm AS (
    SELECT *, date - DATE '1970-01-01' AS day,
        365.25 - least(15, coalesce(median(gap) OVER (PARTITION BY ticker), 30) / 2) AS days
    FROM spaced
),
yearly AS (
    SELECT *, sum(dividends + gains) OVER w AS over_a_year, count(withheld) OVER w AS doubtful
    FROM rhythm WINDOW w AS (PARTITION BY ticker ORDER BY day
        RANGE BETWEEN CAST(ceil(days) - 1 AS INTEGER) PRECEDING AND CURRENT ROW)
)
SELECT ticker, date, dividends, gains AS capital_gains, dividends + gains AS total, withheld,
    close_before, CASE WHEN date - since >= days AND doubtful = 0 THEN over_a_year / close END
    AS yield_12m
FROM yearly
"""

_PRICE = {
    "ticker": _TICKER,
    "date": "exchange session",
    "close": "last price, currency per unit, split-adjusted",
    "adj_close": "close adjusted for distributions (CRSP)",
    "volume": "units traded",
}

VIEWS: tuple[View, ...] = (
    View(
        "prices",
        "Daily prices of every ticker, checked, each in its own currency; see prices_in.",
        "SELECT url_decode(parse_filename(filename, true)) AS ticker, * EXCLUDE (filename) "
        "FROM read_parquet({files}, filename = true)",
        _comments(HISTORY, ticker=_TICKER),
    ),
    View(
        "currencies",
        "What the prices of each ticker are in.",
        conversion.CURRENCIES_SQL,
        conversion.CURRENCIES_COMMENTS,
    ),
    View(
        "histories",
        "The file of each ticker's history, of those that this package wrote.",
        "SELECT url_decode(parse_filename(file_name, true)) AS ticker, "
        "said->>'$.source' AS source, said->>'$.currency' AS currency, "
        "said->>'$.exchange' AS exchange, "
        "CAST(said->>'$.findings' AS BIGINT) AS findings, said->>'$.content_hash' AS content_hash "
        "FROM (SELECT file_name, decode(value) AS said FROM parquet_kv_metadata({files}) "
        "WHERE decode(key) = 'etf_pipeline')",
        {
            "ticker": _TICKER,
            "source": "yahoo, files or simulated",
            "currency": "of its prices",
            "exchange": "ISO 10383 MIC",
            "findings": "of its quarantine, see quality",
            "content_hash": "SHA-256 of its content",
        },
    ),
    View(
        "fx_rates",
        "Daily rates of currency pairs, from their histories.",
        conversion.FX_RATES_SQL,
        conversion.FX_RATES_COMMENTS,
    ),
    View(
        "latest_prices",
        "The newest session of each ticker.",
        "SELECT ticker, max(date) AS date, arg_max(close, date) AS close, "
        "arg_max(adj_close, date) AS adj_close, arg_max(volume, date) AS volume "
        "FROM prices GROUP BY ticker",
        _PRICE,
    ),
    View(
        "returns",
        "Simple total returns from one session of a ticker to the next, in its own currency; "
        "see returns_in.",
        _along_time("date, adj_close, adj_close / lag(adj_close) OVER w - 1 AS return"),
        _PRICE | {"return": "fraction since the session before; null on the first"},
    ),
    View(
        "drawdowns",
        "Fall of each ticker from its highest value so far.",
        _along_time(
            "date, adj_close, max(adj_close) OVER w AS peak, "
            "adj_close / max(adj_close) OVER w - 1 AS drawdown"
        ),
        _PRICE | {"peak": "highest adj_close so far", "drawdown": "adj_close over peak, minus 1"},
    ),
    _partitioned(RISK_METRICS, "risk_metrics_history"),
    _newest(RISK_METRICS, "risk_metrics"),
    _partitioned(CORRELATIONS, "correlations_history"),
    _newest(CORRELATIONS, "correlations"),
    _partitioned(WEIGHTS, "weights_history"),
    _newest(WEIGHTS, "weights"),
    _partitioned(SUMMARY, "portfolios_history"),
    _newest(SUMMARY, "portfolios"),
    _partitioned(FRONTIER, "frontier_history"),
    _newest(FRONTIER, "frontier"),
    _partitioned(UNCERTAINTY, "uncertainty_history"),
    _newest(UNCERTAINTY, "uncertainty"),
    _partitioned(BACKTESTS, "backtests_history"),
    _newest(BACKTESTS, "backtests"),
    _partitioned(BACKTEST_WEIGHTS, "backtest_weights_history"),
    _newest(BACKTEST_WEIGHTS, "backtest_weights"),
    _partitioned(BACKTEST_EVENTS, "backtest_events_history"),
    _newest(BACKTEST_EVENTS, "backtest_events"),
    View(
        "quality",
        QUARANTINE.description,
        "SELECT url_decode(parse_filename(filename, true)) AS ticker, * EXCLUDE (filename) FROM "
        f"({_rows(QUARANTINE, 'SELECT * FROM read_parquet({files}, filename = true)')})",
        _comments(QUARANTINE, ticker=_TICKER),
    ),
    View(
        "distributions",
        "Every distribution, by ex-date, in the ticker's own currency; income and gains never "
        "overlap.",
        _DISTRIBUTIONS,
        {
            "ticker": _TICKER,
            "date": "ex-date, a session",
            "dividends": "income per unit, 0 when it is withheld",
            "capital_gains": "capital gains per unit, 0 when they are withheld",
            "total": "both together",
            "withheld": "amount that a rule kept out of prices, see quality; null when none was",
            "close_before": "close of the session before",
            "yield_12m": "distributions of the twelve months up to this date over its close; null "
            "when the history is shorter, or when one of them was withheld",
        },
    ),
    View(
        "corrections",
        "What somebody declared right, as it counts since the newest run.",
        # The newest version may hold nothing, when everything was withdrawn.
        f"SELECT * EXCLUDE (filename) FROM ({_rows(CORRECTIONS)}) WHERE filename = "
        "(SELECT max(file_name) FROM parquet_file_metadata({files}))",
        _comments(CORRECTIONS),
    ),
    View(
        "runs",
        MANIFEST.description,
        f"SELECT * EXCLUDE (filename) FROM ({_rows(MANIFEST)})",
        _comments(MANIFEST),
    ),
    View(
        "events",
        "What happened, each event once; see docs/events.md.",
        f"SELECT DISTINCT ON (id) * EXCLUDE (filename) FROM ({_rows(EVENTS)})",
        _comments(EVENTS),
    ),
    View(
        "raw_answers",
        "Every row that a source ever answered, and when.",
        f"SELECT strptime(left(parse_filename(filename, true), 22), '{STAMP}') AS collected_at, "
        f"* EXCLUDE (filename) FROM ({_rows(RAW)})",
        _comments(RAW, collected_at="when the batch was collected (UTC)"),
    ),
)

# By name: its SQL; `ts` is a TIMESTAMPTZ. Those that take a currency need those before them.
MACROS = {
    "prices_as_of": (
        "CREATE MACRO prices_as_of(ts) AS TABLE "
        "SELECT DISTINCT ON (ticker, date) ticker, date, open, high, low, close, volume, "
        "dividends, stock_splits, capital_gains, collected_at FROM raw_answers "
        "WHERE collected_at <= timezone('UTC', CAST(ts AS TIMESTAMPTZ)) AND close IS NOT NULL "
        "ORDER BY ticker, date, collected_at DESC"
    ),
    **as_of.MACROS,
    **conversion.MACROS,
    **correlations.MACROS,
}


def empty_columns(view: View, value: str = "NULL") -> str:
    """The select list of a view whose files are not there, or of no use: its columns, no row.

    Args:
        view: which.
        value: of each column; an error that is called for by any of them.
    """
    known = {
        c.name: TYPES[c.kind]
        for table in (
            RAW,
            HISTORY,
            QUARANTINE,
            CORRECTIONS,
            MANIFEST,
            EVENTS,
            RISK_METRICS,
            CORRELATIONS,
            WEIGHTS,
            SUMMARY,
            FRONTIER,
            UNCERTAINTY,
            BACKTESTS,
            BACKTEST_WEIGHTS,
            BACKTEST_EVENTS,
        )
        for c in table.columns
    }
    known |= {
        "as_of": "DATE",
        "ticker": "VARCHAR",
        "collected_at": "TIMESTAMP",
        "remark": "VARCHAR",
        "exchange": "VARCHAR",
        "findings": "BIGINT",
    }
    names = list(view.comments)
    if view.name == "raw_answers":
        names = ["collected_at", *RAW.names]
    elif view.name in ("prices", "quality"):
        names = ["ticker", *(n for n in names if n != "ticker")]
    elif "as_of" in names:
        names = [*(n for n in names if n != "as_of"), "as_of"]
    return ", ".join(f'CAST({value} AS {known[n]}) AS "{n}"' for n in names)
