"""Correlations of any tickers from prices, as SQL: macros that do what the library's matrix does.

Listwise, see docs/metrics.md: on the dates that all of them have, or the last prices of the
calendar weeks in which all have one, where their exchanges differ. The window is of years up to the
earliest last session and begins as `risk.prices.anchor` has it; returns over holes, see
`model.spacing.is_long`, are left out.
"""

from __future__ import annotations

from etf_pipeline.model.currencies import MINOR_UNITS
from etf_pipeline.model.windows import EARLY_DAYS, FLAT_SPREAD, GRACE_DAYS, LONG_GAP
from etf_pipeline.sql.text import quoted

# Parameters of a macro hide columns of the same name, so these have names of their own.
_TICKERS, _YEARS, _CURRENCY = "of_tickers", "over_years", "wanted_currency"
# Of a list of constants DuckDB opens no other ticker's file.
_CHOSEN = f"list_contains({_TICKERS}, ticker)"
_MAJOR = " ".join(f"WHEN {quoted(c)} THEN {quoted(m)}" for c, (m, _) in MINOR_UNITS.items())
# `priced (ticker, date, price)` and `money (ticker, major, exchange)` of the tickers come first.
_MATRIX = f"""
held AS MATERIALIZED (SELECT * FROM priced WHERE price IS NOT NULL),
until AS (SELECT min(newest) AS last, count(*) AS many FROM
    (SELECT max(date) AS newest FROM held GROUP BY ticker)),
begins AS (SELECT CAST(last - to_years({_YEARS}) AS DATE) AS start FROM until),
refused AS (
    SELECT CASE WHEN count(*) > 0 THEN error('no prices of ' || string_agg(ticker, ', ' ORDER BY
        ticker) || ' here: FROM latest_prices has the tickers that there are') ELSE 0 END AS n
    FROM wanted ANTI JOIN held USING (ticker)
    UNION ALL
    SELECT CASE WHEN count(*) > 0 THEN error(min(ticker || ' has no rate of ' || date)
        || ': see fx_rates, or ask for fewer years') ELSE 0 END
    FROM priced JOIN (SELECT ticker, min(date) AS first FROM held GROUP BY ticker) USING (ticker),
        begins WHERE price IS NULL AND (start IS NULL OR date >= start)
        AND (date > first OR date >= start + {GRACE_DAYS})
),
lengths AS (SELECT count(DISTINCT exchange) > 1 AS weekly FROM money),
binned AS (
    SELECT ticker, CASE WHEN weekly THEN CAST(date_trunc('week', date) AS DATE) ELSE date END
        AS bin, max(date) AS date, arg_max(price, date) AS price
    FROM held, lengths GROUP BY ALL
),
looked_at AS (
    SELECT CASE WHEN NOT weekly THEN (SELECT max(first) FROM (
        SELECT max(date) AS first FROM held, begins WHERE date <= start - {EARLY_DAYS}
        GROUP BY ticker)) END AS first FROM lengths
),
common AS (
    SELECT bin, max(date) AS date FROM binned, looked_at
    WHERE first IS NULL OR date >= first GROUP BY bin
    HAVING count(*) = (SELECT many FROM until) AND (SELECT sum(n) FROM refused) = 0
),
placed AS MATERIALIZED (
    SELECT *, row_number() OVER w - 1 AS n, lead(date) OVER w - date AS gap
    FROM common WINDOW w AS (ORDER BY date)
),
before AS (
    SELECT max(n) AS n, max(date) AS date FROM placed, begins WHERE start IS NULL OR date <= start
),
around AS (
    SELECT median(gap) AS usual FROM placed p, before b
    WHERE p.n BETWEEN greatest(b.n - 3, 0) AND b.n + 3
),
anchored AS (
    SELECT CASE WHEN start IS NULL OR b.n IS NULL THEN 0
        WHEN start - b.date <= {GRACE_DAYS} OR start - b.date <= 1.25 * usual THEN b.n
        ELSE b.n + 1 END AS n
    FROM begins, before b, around
),
inside AS MATERIALIZED (
    SELECT bin, p.date, p.n, gap FROM placed p, anchored a WHERE p.n >= a.n
),
gaps AS (
    SELECT median(gap) AS usual, count(*) AS many,
        count(*) FILTER (gap <= 4) * 2 > count(*) AS daily FROM inside WHERE gap IS NOT NULL
),
bars AS (
    SELECT usual, CASE WHEN many < 2 THEN NULL WHEN daily OR usual <= 4 THEN 4
        WHEN usual BETWEEN 5 AND 9 THEN 9 WHEN usual BETWEEN 25 AND 35 THEN 35 END AS longest
    FROM gaps
),
spaced AS (
    SELECT n, gap, usual, coalesce(gap > longest, false) AS far FROM inside, bars
    WHERE gap IS NOT NULL
),
runs AS (
    SELECT n, gap > greatest({LONG_GAP}, 4 * usual) AND NOT (
        far AND lag(far, 1, false) OVER w AND lag(far, 2, false) OVER w
        OR far AND lag(far, 1, false) OVER w AND lead(far, 1, false) OVER w
        OR far AND lead(far, 1, false) OVER w AND lead(far, 2, false) OVER w) AS hole
    FROM spaced WINDOW w AS (ORDER BY n)
),
moves AS MATERIALIZED (
    SELECT now.ticker, i.n, next.price / now.price - 1 AS move
    FROM runs JOIN inside i USING (n) JOIN inside j ON j.n = i.n + 1
    JOIN binned now ON now.bin = i.bin
    JOIN binned next ON next.bin = j.bin AND next.ticker = now.ticker
    WHERE NOT hole
),
flat AS (SELECT ticker, max(move) - min(move) <= {FLAT_SPREAD} AS still FROM moves GROUP BY ticker),
pairs AS (
    SELECT a.ticker, b.ticker AS other, corr(a.move, b.move) AS correlation, count(*) AS n_obs
    FROM moves a JOIN moves b USING (n) GROUP BY ALL
)
SELECT p.ticker, p.other, CASE WHEN s.still OR t.still OR n_obs < 2 THEN NULL
    WHEN p.ticker = p.other THEN 1.0 ELSE greatest(-1.0, least(1.0, correlation)) END
    AS correlation, n_obs, (SELECT min(date) FROM inside) AS start,
    (SELECT max(date) FROM inside) AS "end",
    (SELECT CASE WHEN weekly THEN 'weekly' ELSE 'daily' END FROM lengths) AS period
FROM pairs p JOIN flat s ON s.ticker = p.ticker JOIN flat t ON t.ticker = p.other
"""
_OF = f"""
WITH wanted AS (SELECT DISTINCT unnest({_TICKERS}) AS ticker),
money AS MATERIALIZED (
    SELECT ticker, exchange, CASE currency {_MAJOR} ELSE currency END AS major
    FROM currencies WHERE ticker IN (SELECT ticker FROM wanted)
),
one AS (
    SELECT CASE WHEN count(DISTINCT major) > 1 THEN error('prices in ' ||
        string_agg(DISTINCT major, ' and ' ORDER BY major) ||
        ' are not compared: name a currency, correlations_in(''AUD'', …)') ELSE true END AS alike
    FROM money
),
"""
MACROS = {
    "correlations_of": (
        f"CREATE MACRO correlations_of({_TICKERS}, {_YEARS}) AS TABLE {_OF}"
        "priced AS (SELECT ticker, date, adj_close AS price FROM prices, one "
        f"WHERE alike AND {_CHOSEN} AND adj_close IS NOT NULL),"
        f"{_MATRIX}"
    ),
    "correlations_in": (
        f"CREATE MACRO correlations_in({_CURRENCY}, {_TICKERS}, {_YEARS}) AS TABLE "
        f"WITH wanted AS (SELECT DISTINCT unnest({_TICKERS}) AS ticker), "
        "money AS (SELECT ticker, exchange FROM currencies "
        "WHERE ticker IN (SELECT ticker FROM wanted)), "
        f"priced AS (SELECT ticker, date, adj_close AS price FROM prices_in({_CURRENCY}) "
        f"WHERE {_CHOSEN}),"
        f"{_MATRIX}"
    ),
}
