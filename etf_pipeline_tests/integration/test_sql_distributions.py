"""The view of distributions, against sums by hand."""

import datetime as dt
import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.library.provider import ETFDataProvider
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.steps.catalogue import open_catalogue
from etf_pipeline.store.store import Store
from etf_pipeline_tests.support import bars, instrument, sessions_of, walk

DAYS = sessions_of("XASX", "2023-01-03", "2025-06-30")
# Quarter after quarter on the first of July, October, January and April, or the next session.
QUARTERS = [d.date() for d in pd.date_range("2023-04-01", "2025-04-01", freq="QS")]
EX = [DAYS[np.datetime64(d) <= DAYS][0].item() for d in QUARTERS]


def publish(root, table, schema, folder):
    path = root / folder / "VAS.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(table, schema=schema.arrow, preserve_index=False), path)


@pytest.fixture
def root(tmp_path):
    """One fund at 50 that pays 0.5 a quarter, and once a gain of 2 besides."""
    rows = bars(DAYS, np.linspace(50, 60, len(DAYS)))
    at = rows.index.isin(pd.DatetimeIndex(EX))
    rows.loc[at, "dividends"] = 0.5
    rows.loc[pd.Timestamp(EX[5]), "capital_gains"] = 2.0
    rows = rows.assign(adj_close=rows["close"], flag=None).astype({"volume": "int64"})
    table = rows.reset_index()
    table["date"] = table["date"].dt.date
    publish(tmp_path / "store", table, HISTORY, "historical")
    return tmp_path / "store"


def ask(root, sql):
    with open_catalogue(Store.at(root, 10), root / "none.csv") as connection:
        answer = connection.query(sql)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def closes():
    return pd.Series(np.linspace(50, 60, len(DAYS)), pd.DatetimeIndex(DAYS.astype("M8[s]")))


def test_every_distribution_with_the_close_before_it(root):
    rows = ask(root, "FROM distributions ORDER BY date")
    assert [r["date"] for r in rows] == EX
    close = closes()
    for row in rows:
        gain = 2.0 if row["date"] == EX[5] else 0.0
        assert (row["dividends"], row["capital_gains"], row["total"]) == (0.5, gain, 0.5 + gain)
        assert row["close_before"] == close[: pd.Timestamp(row["date"])].iloc[-2]
        assert row["withheld"] is None


def test_four_quarters_make_a_year_never_five(root):
    """Ex-dates of one year and the next may be less than a year apart."""
    apart = {(b - a).days for a, b in itertools.pairwise(EX[i] for i in range(0, len(EX), 4))}
    assert min(apart) < 365
    rows = ask(root, "FROM distributions ORDER BY date")
    close = closes()
    for i, row in enumerate(rows):
        if i < 3:  # prices begin on 2023-01-03, the first ex-date is of April
            assert row["yield_12m"] is None
            continue
        paid = [0.5 + 2.0 * (d == EX[5]) for d in EX[i - 3 : i + 1]]
        assert row["yield_12m"] == pytest.approx(sum(paid) / close[pd.Timestamp(EX[i])], rel=1e-14)


def test_the_library_says_the_same(world):
    """Through the steps: a quarterly payer with a gain, and one amount of a hundred times."""
    rows = bars(DAYS, walk(len(DAYS), start=100.0))
    at = rows.index.get_indexer(pd.DatetimeIndex(EX))
    rows.iloc[at, rows.columns.get_loc("dividends")] = 0.5
    rows.iloc[at[6], rows.columns.get_loc("dividends")] = 50.0
    rows.iloc[at[4], rows.columns.get_loc("capital_gains")] = 0.2
    world.serve("VAS", rows)
    world.run(instrument("VAS"))
    theirs = ETFDataProvider(world.root).get_distributions(["VAS"]).loc["VAS"]
    mine = pd.DataFrame(ask(world.root, "FROM distributions ORDER BY date"))
    assert mine["date"].tolist() == [d.date() for d in theirs.index]
    assert mine["withheld"].notna().sum() == 1
    for name in ("dividends", "capital_gains", "total", "withheld", "yield_12m"):
        assert np.allclose(
            mine[name].astype(float), theirs[name], rtol=1e-12, atol=0, equal_nan=True
        ), name


def test_what_is_withheld_is_shown_and_no_yield_leaves_it_out_in_silence(root):
    held = pd.DataFrame(
        {"date": [EX[6], dt.date(2023, 5, 2)], "dividends": [50.0, 0.7], "rule": ["a", "b"]}
    ).assign(severity=["withheld", "flagged"], evidence="100 times the usual")
    publish(root, held.reindex(columns=QUARANTINE.names), QUARANTINE, "quarantine")
    table = pq.read_table(root / "historical/VAS.parquet").to_pandas()
    table.loc[table["date"] == EX[6], "dividends"] = 0.0  # as the rule leaves it
    publish(root, table, HISTORY, "historical")
    rows = ask(root, "FROM distributions ORDER BY date")
    assert [r["date"] for r in rows] == EX
    assert [(r["dividends"], r["total"], r["withheld"]) for r in rows][6] == (0.0, 0.0, 50.0)
    assert [r["withheld"] is None for r in rows] == [i != 6 for i in range(len(EX))]
    nothing = [i for i, r in enumerate(rows) if r["yield_12m"] is None]
    assert nothing == [0, 1, 2, 6, 7, 8]  # until the ninth, they would lack the seventh


def test_a_withheld_distribution_on_a_day_without_a_price_is_there(root):
    held = pd.DataFrame({"date": [dt.date(2025, 6, 1)], "dividends": [3.0], "rule": ["a"]}).assign(
        severity="withheld", evidence="x"
    )
    publish(root, held.reindex(columns=QUARANTINE.names), QUARANTINE, "quarantine")
    last = ask(root, "FROM distributions ORDER BY date DESC LIMIT 1")[0]
    assert (str(last["date"]), last["withheld"], last["total"]) == ("2025-06-01", 3.0, 0.0)
    assert last["yield_12m"] is None


@pytest.mark.parametrize(("apart", "a_year"), [(7, 52), (14, 26), (30.4375, 12), (182.625, 2)])
def test_a_year_of_any_rhythm(tmp_path, apart, a_year):
    """Every so many days, as near as the sessions are."""
    since = np.datetime64("2023-01-03")
    wanted = since + np.round(np.arange(1, 900 // apart) * apart).astype("m8[D]")
    at = np.unique(np.searchsorted(DAYS, wanted))
    at = at[at < len(DAYS)]
    rows = bars(DAYS, 100.0)
    rows.iloc[at, rows.columns.get_loc("dividends")] = 1.0
    rows = rows.assign(adj_close=rows["close"], flag=None).astype({"volume": "int64"})
    table = rows.reset_index()
    table["date"] = table["date"].dt.date
    publish(tmp_path / "store", table, HISTORY, "historical")
    told = ask(tmp_path / "store", "SELECT yield_12m FROM distributions ORDER BY date")
    found = {r["yield_12m"] for r in told[a_year:]}
    assert found == {a_year / 100}
