"""Correlations of any tickers in SQL: what the library's matrix says, on real DuckDB."""

import duckdb
import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.library.analysis import correlation_matrix
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.sql.correlations import MACROS

NONE = np.array([], dtype="datetime64[D]")
DAYS = pd.bdate_range("2018-12-03", periods=1700)


def catalogue(series):
    """What the macros read of a catalogue: prices in any currency are these, times two."""
    db = duckdb.connect()
    db.execute("CREATE TABLE prices (ticker VARCHAR, date DATE, adj_close DOUBLE)")
    db.execute("CREATE TABLE currencies (ticker VARCHAR, currency VARCHAR, exchange VARCHAR)")
    for one in series:
        rows = pd.DataFrame(
            {"ticker": one.ticker, "date": one.prices.index, "price": one.prices.to_numpy()}
        )
        db.register("rows", rows)
        db.execute("INSERT INTO prices SELECT ticker, date::DATE, price FROM rows")
        db.execute(
            "INSERT INTO currencies VALUES (?, ?, ?)", [one.ticker, one.currency, one.exchange]
        )
    db.execute(
        "CREATE MACRO prices_in(wanted_currency) AS TABLE SELECT ticker, date, "
        "CASE WHEN date > '2019-08-31' THEN 2 * adj_close END AS adj_close FROM prices"
    )
    for macro in MACROS.values():
        db.execute(macro)
    return db


def drawn(seed, *, wednesdays=False, hole=False, first_days=False, exchanges=("XASX",)):
    """Two to five tickers with holes of their own, and late beginnings."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(2 + seed % 4):
        kept = rng.random(len(DAYS)) >= rng.choice([0, 0.01, 0.3])
        if wednesdays:
            kept &= DAYS.day_of_week == 2
        if first_days:
            kept &= np.r_[True, DAYS.month[1:] != DAYS.month[:-1]]
        if hole and i == 0:
            kept[900:1000] = False
        kept[: int(rng.choice([0, 500]))] = False
        kept[-1] = True
        prices = pd.Series(np.cumprod(1 + rng.normal(0, 0.01, len(DAYS))), DAYS)[kept]
        mic = str(rng.choice(exchanges))
        found.append(PriceSeries(f"T{i}", prices, NONE, NONE, "files", "AUD", mic))
    return found


KINDS = {
    "daily": {},
    "weekly bars": {"wednesdays": True},
    "monthly bars": {"first_days": True},
    "a hole": {"hole": True},
    "two exchanges": {"exchanges": ("XASX", "XNYS")},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_they_are_what_the_library_says(kind, seed):
    series = drawn(seed, **KINDS[kind])
    db, names = catalogue(series), [s.ticker for s in series]
    for years in (1, 3, None):
        found = db.execute("FROM correlations_of(?, ?)", [names, years]).df()
        try:
            said = correlation_matrix(series, years, "listwise")
        except InsufficientDataError:
            assert found["correlation"].isna().all()
            continue
        matrix = found.pivot_table(index="ticker", columns="other", values="correlation")
        assert np.abs(matrix.to_numpy() - said.to_numpy()).max() < 1e-12
        assert set(found["n_obs"]) == {int(said.attrs["n_obs"][0, 0])}
        assert set(found["period"]) == {said.attrs["period"]}


def test_against_pandas_with_dates_and_another_currency():
    one, two, still = drawn(5)
    still.prices.iloc[:] = 5.0
    db = catalogue([one, two, still])
    prices = pd.concat([one.prices, two.prices, still.prices], axis=1, join="inner")
    start = prices.index[-1] - pd.DateOffset(years=3)
    prices = prices[prices.index >= prices.index[prices.index <= start][-1]]
    expected = prices.pct_change().iloc[1:].corr().iloc[0, 1]
    for sql in (
        "correlations_of(['T0', 'T1', 'T2'], 3)",
        "correlations_in('EUR', ['T2', 'T1', 'T0'], 3)",
    ):
        rows = {(a, b): rest for a, b, *rest in db.execute(f"FROM {sql}").fetchall()}
        assert len(rows) == 9
        value, n, first, last, period = rows[("T0", "T1")]
        assert value == pytest.approx(expected, abs=1e-12)
        assert (n, period) == (len(prices) - 1, "daily")
        assert (first, last) == (prices.index[0].date(), prices.index[-1].date())
        assert rows[("T1", "T1")][0] == 1.0
        assert rows[("T0", "T2")][0] is rows[("T2", "T2")][0] is None


def test_what_cannot_be_compared_is_refused_by_name():
    one, two = (
        PriceSeries(t, pd.Series(np.linspace(1, 2, len(DAYS)), DAYS), NONE, NONE, "files", "AUD")
        for t in ("T0", "T1")
    )
    db = catalogue([one, two])
    with pytest.raises(duckdb.Error, match="no prices of ABC, XYZ here"):
        db.execute("FROM correlations_of(['T0', 'XYZ', 'ABC'], 3)").fetchall()
    # all there is begins with the rates; a window must not lack any
    assert len(db.execute("FROM correlations_in('EUR', ['T0', 'T1'], NULL)").fetchall()) == 4
    with pytest.raises(duckdb.Error, match=r"T[01] has no rate of 2019-06-.*see fx_rates"):
        db.execute("FROM correlations_in('EUR', ['T0', 'T1'], 6)").fetchall()
    db.execute("UPDATE currencies SET currency = 'USD' WHERE ticker = 'T1'")
    with pytest.raises(duckdb.Error, match=r"prices in AUD and USD are not compared: .*_in"):
        db.execute("FROM correlations_of(['T0', 'T1'], 3)").fetchall()
    db.execute("UPDATE currencies SET currency = 'GBp' WHERE ticker = 'T0'")
    db.execute("UPDATE currencies SET currency = 'GBP' WHERE ticker = 'T1'")
    assert len(db.execute("FROM correlations_of(['T0', 'T1'], 3)").fetchall()) == 4
