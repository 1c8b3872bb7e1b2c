"""Prices in another currency, as SQL: views and macros that do what `risk.conversion` does.

A price is multiplied by the last rate on or before its session that is no older than
`OLDEST_RATE_DAYS`: of one pair of the two currencies, either way round, or of both against USD,
whichever `risk.routes.ranked` puts first. Pence and their like are their currency by a factor.
Without such a rate a price is null; it is never left as it was.

The currency of a ticker is read from its history's footer when a query runs, so that a history
newer than the catalogue, or one in another currency than it was, is right too.
"""

from __future__ import annotations

from etf_pipeline.model.currencies import (
    ISO_4217,
    MINOR_UNITS,
    OLDEST_RATE_DAYS,
    USD,
    dollar_pair,
)
from etf_pipeline.sql.text import quoted

# `{files}` are our own histories. What is declared of users' own is a table of the catalogue.
_NAMED = (
    "SELECT ticker, coalesce(told.currency, universe.currency) AS currency, told.exchange, "
    "CASE WHEN told.currency <> universe.currency THEN 'its file says ' || told.currency || "
    "', and universe.csv ' || universe.currency || ': correct one of them' END AS remark FROM "
)
CURRENCIES_SQL = (
    f"{_NAMED}"
    "(SELECT url_decode(parse_filename(file_name, true)) AS ticker, "
    "decode(value)->>'$.currency' AS currency, decode(value)->>'$.exchange' AS exchange "
    "FROM parquet_kv_metadata({files}) "
    "WHERE decode(key) = 'etf_pipeline' "
    "UNION ALL SELECT ticker, currency, exchange FROM user_currencies) told "
    "FULL JOIN universe USING (ticker)"
)
# Where no history is ours.
CURRENCIES_OF_OTHERS = f"{_NAMED}user_currencies told FULL JOIN universe USING (ticker)"
CURRENCIES_COMMENTS = {
    "ticker": "ticker id of the universe",
    "currency": "of its prices, as its history says, else universe.csv; GBp and such are units",
    "exchange": "MIC of its prices, as its history says; null for a file that does not",
    "remark": "that the two contradict each other; else null",
}
FX_RATES_SQL = (
    "SELECT ticker AS pair, date, left(ticker, 3) AS base, substr(ticker, 4, 3) AS quote, "
    "close AS rate FROM prices WHERE regexp_full_match(ticker, '[A-Z]{6}=X') "
    "AND close > 0 AND isfinite(close)"
)
FX_RATES_COMMENTS = {
    "pair": "ticker of the currency pair, such as AUDUSD=X",
    "date": "day in London",
    "base": "currency that one unit is of, ISO 4217",
    "quote": "currency that its price is in, ISO 4217",
    "rate": "price of one unit of base in quote",
}


def _case(code: str, by_code: dict[str, str], otherwise: str) -> str:
    whens = " ".join(f"WHEN {quoted(k)} THEN {v}" for k, v in by_code.items())
    return f"CASE {code} {whens} ELSE {otherwise} END"


def _major(code: str) -> str:
    return _case(code, {k: quoted(major) for k, (major, _) in MINOR_UNITS.items()}, code)


def _per_major(code: str) -> str:
    return _case(code, {k: repr(many) for k, (_, many) in MINOR_UNITS.items()}, "1.0")


_KNOWN = ", ".join(map(quoted, sorted({*ISO_4217, *MINOR_UNITS})))
# Quoted as USD per unit, as `dollar_pair` has it; the other way round is unusual.
_PER_UNIT = ", ".join(quoted(c) for c in sorted(ISO_4217) if c != USD and dollar_pair(c).base == c)
# Names of a macro's parameters hide columns of the same name, so this one has a name of its own.
_WANTED = "wanted_currency"
# From every currency that has a rate to `wanted_currency`, by day: `rated (source, date, rate)`.
_RATED = f"""
WITH target AS (
    SELECT CASE WHEN {_WANTED} IN ({_KNOWN}) THEN {_major(_WANTED)} ELSE
        error('no currency ''' || {_WANTED} || '''; one of ISO 4217 is expected, such as AUD')
        END AS major, {_per_major(_WANTED)} AS per_major
),
directed AS (
    SELECT base AS source, quote AS target, date, rate,
        quote = '{USD}' AND base NOT IN ({_PER_UNIT}) OR base = '{USD}' AND quote IN ({_PER_UNIT})
        AS unusual FROM fx_rates
    UNION ALL
    SELECT quote, base, date, 1 / rate,
        NOT (quote = '{USD}' AND base IN ({_PER_UNIT})
            OR base = '{USD}' AND quote NOT IN ({_PER_UNIT})) FROM fx_rates
),
legs AS MATERIALIZED (FROM directed),
days AS (
    SELECT CAST(unnest(generate_series(
        min(date), max(date) + {OLDEST_RATE_DAYS}, INTERVAL 1 DAY)) AS DATE) AS date FROM legs
),
kinds AS (SELECT DISTINCT source, target, unusual FROM legs),
straight AS (SELECT source, unusual FROM kinds, target WHERE target = major),
crossed AS (
    SELECT up.source, up.unusual AS up_unusual, down.unusual AS down_unusual
    FROM kinds up, kinds down, target WHERE up.target = '{USD}' AND down.source = '{USD}'
        AND down.target = major AND up.source NOT IN ('{USD}', major) AND major <> '{USD}'
),
ways AS MATERIALIZED (
    SELECT w.source, CAST(w.unusual AS INTEGER) AS way, d.date, one.rate
    FROM straight w CROSS JOIN days d CROSS JOIN target t
    ASOF JOIN legs one ON one.source = w.source AND one.target = t.major
        AND one.unusual = w.unusual AND d.date >= one.date
    WHERE d.date - one.date <= {OLDEST_RATE_DAYS}
    UNION ALL
    SELECT w.source, 2 + 2 * CAST(w.up_unusual AS INTEGER) + CAST(w.down_unusual AS INTEGER),
        d.date, up.rate * down.rate
    FROM crossed w CROSS JOIN days d CROSS JOIN target t
    ASOF JOIN legs up ON up.source = w.source AND up.target = '{USD}'
        AND up.unusual = w.up_unusual AND d.date >= up.date
    ASOF JOIN legs down ON down.source = '{USD}' AND down.target = t.major
        AND down.unusual = w.down_unusual AND d.date >= down.date
    WHERE d.date - up.date <= {OLDEST_RATE_DAYS} AND d.date - down.date <= {OLDEST_RATE_DAYS}
),
spans AS (
    SELECT *, last >= max(last) OVER (PARTITION BY source) - {OLDEST_RATE_DAYS} AS current
    FROM (SELECT source, way, count(*) AS many, max(date) AS last FROM ways GROUP BY ALL)
),
lacking AS (
    SELECT *, max(many) FILTER (WHERE current) OVER (PARTITION BY source) - many AS lacks FROM spans
),
chosen AS (
    SELECT source, way FROM lacking QUALIFY row_number() OVER (PARTITION BY source ORDER BY
        NOT current, CASE WHEN lacks > {OLDEST_RATE_DAYS} THEN lacks ELSE 0 END, way) = 1
),
rated AS (SELECT source, date, rate FROM ways JOIN chosen USING (source, way)),
quoted AS (
    SELECT ticker, currency, {_major("currency")} AS major, {_per_major("currency")} AS per_major
    FROM currencies
),
priced AS (
    SELECT p.*, q.currency AS own_currency, t.per_major / q.per_major
        * CASE WHEN q.major = t.major THEN 1.0 ELSE r.rate END AS rate
    FROM prices p CROSS JOIN target t LEFT JOIN quoted q USING (ticker)
    LEFT JOIN rated r ON r.source = q.major AND r.date = p.date
)
"""
_MONEY = ("open", "high", "low", "close", "adj_close", "dividends", "capital_gains")
MACROS = {
    "prices_in": (
        f"CREATE MACRO prices_in({_WANTED}) AS TABLE {_RATED} SELECT ticker, date, "
        + ", ".join(f"{name} * rate AS {name}" for name in _MONEY)
        + ", volume, stock_splits, own_currency, rate FROM priced"
    ),
    "returns_in": (
        f"CREATE MACRO returns_in({_WANTED}) AS TABLE SELECT ticker, date, adj_close, "
        "adj_close / lag(adj_close) OVER (PARTITION BY ticker ORDER BY date) - 1 AS return, "
        f"own_currency, rate FROM prices_in({_WANTED})"
    ),
}
