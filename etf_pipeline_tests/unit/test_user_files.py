"""Users' own files among the histories: our own rules, and errors that say what is wrong."""

import datetime as dt
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from etf_pipeline import ETFDataProvider
from etf_pipeline.cli.app import app
from etf_pipeline.errors import ReasonCode, StoreError, UnreadableFileError
from etf_pipeline.history.adjust import adjusted_close
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.risk.tables import risk_table
from etf_pipeline.steps.catalogue import open_catalogue
from etf_pipeline.steps.derived import Assumptions, read_histories
from etf_pipeline.steps.result import Run
from etf_pipeline.steps.risk_tables import correlations, risk_metrics
from etf_pipeline.store.inventory import describe
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.prices import load_prices
from etf_pipeline.store.reader import read_history
from etf_pipeline.store.store import Store
from etf_pipeline_tests.support import asx_days, instrument, walk

N = 300
DAYS = asx_days("2024-06-03", N)
CLOSES = walk(N)
UNIVERSE = Universe(tuple(instrument(t) for t in ("FINE", "GOOD", "MINE")))
RUN = Run("run-1", dt.datetime(2025, 11, 12, 12, tzinfo=dt.UTC))
ASSUMED = Assumptions(lookback_years=1, risk_free_rate=0.0, benchmark=None)


def frame(closes=CLOSES, days=DAYS, **columns):
    index = pd.DatetimeIndex(days, name="Date")
    return pd.DataFrame({"Close": closes} | columns, index=index)


def save(root, given, ticker="MINE", sidecar=None):
    folder = root / "historical"
    folder.mkdir(exist_ok=True)
    path = folder / f"{ticker}.parquet"
    given.to_parquet(path)
    if sidecar is not None:
        (folder / f"{ticker}.parquet.json").write_text(json.dumps(sidecar))
    return path


def with_bad(value, at=150):
    closes = CLOSES.copy()
    closes[at] = value
    return closes


def sql_rows(root, query):
    with open_catalogue(Store.at(root, 5.0), root / "no-universe.csv") as db:
        return db.query(query).rows


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, -np.inf, 1e308, 1e-308])
def test_a_price_that_cannot_be_is_left_out_with_its_reason(tmp_path, value, caplog):
    path = save(tmp_path, frame(with_bad(value)))
    rows = read_history(path)
    day = pd.Timestamp(DAYS[150])
    assert len(rows) == N - 1
    assert day not in rows.index
    (record,) = [r for r in caplog.records if "MINE" in r.message]
    assert "1 of 300 rows are left out" in record.message
    assert str(DAYS[150]) in record.message
    series = load_prices(Layout(tmp_path), "MINE")
    assert list(series.excluded) == list(series.holes) == [DAYS[150]]
    table = risk_table([series]).to_pylist()[-1]
    assert table["n_excluded"] == 1
    assert np.isfinite(table["volatility"])
    assert table["max_drawdown"] > -0.5


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -1.0])
def test_an_adjusted_close_that_cannot_be_is_left_out(tmp_path, value):
    path = save(tmp_path, frame(**{"Adj Close": with_bad(value)}))
    assert len(read_history(path)) == N - 1
    assert list(load_prices(Layout(tmp_path), "MINE").excluded) == [DAYS[150]]


def test_a_row_without_a_price_is_a_hole_and_no_fault(tmp_path):
    path = save(tmp_path, frame(with_bad(np.nan)))
    assert len(read_history(path)) == N - 1
    series = load_prices(Layout(tmp_path), "MINE")
    assert list(series.holes) == [DAYS[150]]
    assert len(series.excluded) == 0
    ((count, same),) = sql_rows(
        tmp_path, "SELECT count(*), max(date) FROM returns WHERE ticker = 'MINE'"
    )
    assert count == N - 1
    assert same == DAYS[-1].astype(object)


UNREADABLE = {
    "no rows": (frame()[:0], "none of 0 rows"),
    "no price": (frame(np.full(N, np.nan)), "no row with a price"),
    "no usable price": (frame(np.zeros(N)), "impossible_price"),
    "text": (frame(np.array(["x"] * N)), "row 1"),
    "days up to 12": (
        pd.DataFrame({"Date": ["03/04/2024", "04/04/2024"], "Close": [1.0, 2.0]}),
        "day first",
    ),
    "two bars": (pd.concat([frame(), frame()[:1] * 2]), "two different bars"),
    "sundays": (frame(days=DAYS - np.timedelta64(1, "D")), "another zone"),
    "nested": (frame(np.array([[1.0]] * N, dtype=object).tolist()), "type list"),
    "no close": (frame().rename(columns={"Close": "Value"}), "no 'close' column"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_names_ticker_and_file(tmp_path, kind):
    given, words = UNREADABLE[kind]
    path = save(tmp_path, given)
    for reading in (
        lambda: read_history(path),
        lambda: load_prices(Layout(tmp_path), "MINE"),
        lambda: ETFDataProvider(tmp_path).load_etf_data("MINE"),
        lambda: ETFDataProvider(tmp_path).calculate_risk_metrics("MINE"),
    ):
        with pytest.raises(UnreadableFileError) as caught:
            reading()
        assert str(caught.value).startswith("MINE: ")
        assert "MINE.parquet" in str(caught.value)
        assert words in str(caught.value)
    assert words in describe(Layout(tmp_path), "MINE").error


@pytest.mark.parametrize("kind", UNREADABLE)
def test_it_fails_alone_in_the_tables_and_in_sql(tmp_path, kind):
    save(tmp_path, UNREADABLE[kind][0])
    save(tmp_path, frame(), "GOOD")
    save(tmp_path, frame(walk(N, seed=2)), "FINE")
    store = Store.at(tmp_path, 5.0)
    histories = read_histories(store, ["FINE", "GOOD", "MINE"])
    assert set(histories.series) == {"FINE", "GOOD"}
    for result in (
        risk_metrics(store, RUN, histories, UNIVERSE, ASSUMED),
        correlations(store, RUN, histories, [], UNIVERSE, ASSUMED),
    ):
        outcomes = {o.subject: o for o in result.outcomes}
        assert [outcomes[t].good for t in ("FINE", "GOOD", "MINE")] == [True, True, False]
        assert outcomes["MINE"].reason_code is ReasonCode.UNREADABLE_FILE
        assert outcomes["MINE"].failure_kind == "permanent"
    found = sql_rows(tmp_path, "SELECT ticker, count(*) FROM prices GROUP BY ALL ORDER BY 1")
    assert found == [("FINE", N), ("GOOD", N)]


def test_the_command_goes_on_with_the_others_and_its_exit_code_says_so(tmp_path):
    save(tmp_path, frame(np.zeros(N)), "BAD")
    save(tmp_path, frame(), "GOOD")
    run = CliRunner().invoke(app, ["risk", "BAD", "GOOD", "--data-dir", str(tmp_path), "--json"])
    assert run.exit_code == 3
    assert list(json.loads(run.stdout)) == ["GOOD"]
    assert "BAD: " in run.stderr
    assert "BAD.parquet" in run.stderr
    alone = CliRunner().invoke(app, ["risk", "BAD", "--data-dir", str(tmp_path)])
    assert isinstance(alone.exception, StoreError)


def test_no_file_of_these_stops_the_command_for_the_others(tmp_path, caplog):
    """A row that cannot be costs that row; a file that cannot be read costs its ticker."""
    mixed = frame().reset_index().astype({"Date": str})
    mixed.loc[150, "Date"] = f"{DAYS[150]}T00:00:00+10:00"
    rowwise = {"HUGE": 1e308, "ZERO": 0.0, "INF": np.inf}
    for ticker, value in rowwise.items():
        save(tmp_path, frame(with_bad(value)), ticker)
    save(tmp_path, frame()[:0], "EMPTY")
    save(tmp_path, mixed, "MIXED")
    save(tmp_path, frame(), "GOOD")
    asked = [*rowwise, "EMPTY", "MIXED", "GOOD"]
    options = ["--years", "0", "--data-dir", str(tmp_path), "--json"]
    run = CliRunner().invoke(app, ["risk", *asked, *options])
    assert run.exit_code == 3
    found = json.loads(run.stdout)
    assert set(found) == {*rowwise, "GOOD"}
    alone = CliRunner().invoke(app, ["risk", "GOOD", *options])
    assert json.loads(alone.stdout)["GOOD"] == found["GOOD"]
    for ticker in rowwise:
        assert found[ticker]["n_obs"] == N - 2
        assert found[ticker]["n_excluded"] == 1
    for ticker in ("EMPTY", "MIXED"):
        assert f"{ticker}: " in run.stderr
        assert f"{ticker}.parquet" in run.stderr
    assert "row 1: '2024-06-03' names no zone, others do" in run.stderr
    for ticker in rowwise:
        assert f"{ticker}.parquet: 1 of 300 rows are left out" in caplog.text
    assert caplog.text.count(f"{DAYS[150]}: close") == len(rowwise)


SHAPES = {
    "naive": frame(Volume=7),
    "sydney": frame(days=DAYS).tz_localize("Australia/Sydney"),
    "utc": frame(days=DAYS).tz_localize("UTC"),
    "text": frame().reset_index().astype({"Date": str}),
    "offsets": frame()
    .reset_index()
    .assign(Date=lambda f: [d.isoformat() for d in f["Date"].dt.tz_localize("Australia/Sydney")]),
    "grouped": frame(np.array([f"{c:,.4f}" for c in CLOSES * 100])),
    "bad": frame(with_bad(0.0)),
    "hole": frame(with_bad(np.nan)),
    "numbers": frame()
    .reset_index()
    .assign(Date=lambda f: f["Date"].dt.strftime("%Y%m%d").astype(int)),
    "unordered": frame().sample(frac=1, random_state=1),
    "adjusted": frame(**{"Adj Close": CLOSES / 2, "Dividends": np.nan, "Open": CLOSES}),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_sql_and_the_library_say_the_same(tmp_path, kind):
    path = save(tmp_path, SHAPES[kind])
    names = ["open", "close", "adj_close", "volume", "dividends", "stock_splits", "capital_gains"]
    read = read_history(path, names)
    found = sql_rows(tmp_path, f"SELECT date, {', '.join(names)} FROM prices ORDER BY date")
    assert [r[0] for r in found] == list(read.index.date)
    theirs = np.array([r[1:] for r in found], dtype="float64")
    np.testing.assert_array_equal(theirs, read.to_numpy(dtype="float64"))
    assert set(read["dividends"]) == {0.0}


def test_a_changed_file_is_read_again_by_sql(tmp_path):
    save(tmp_path, frame())
    query = "SELECT count(*), max(close) FROM prices"
    assert sql_rows(tmp_path, query) == [(N, CLOSES.max())]
    save(tmp_path, frame(CLOSES[:100] * 2, DAYS[:100]))
    assert sql_rows(tmp_path, query) == [(100, CLOSES[:100].max() * 2)]
    ambiguous = pd.DataFrame({"Date": ["03/04/2024", "04/04/2024"], "Close": [1.0, 2.0]})
    save(tmp_path, ambiguous)
    assert sql_rows(tmp_path, query) == [(0, None)]
    save(tmp_path, ambiguous, sidecar={"date_format": "%d/%m/%Y"})
    assert sql_rows(tmp_path, query) == [(2, 2.0)]


def test_a_declared_exchange_gives_zone_sessions_and_holes(tmp_path):
    stamps = pd.DatetimeIndex(DAYS).tz_localize("Australia/Sydney").tz_convert("UTC")
    given = frame(days=stamps).drop(index=stamps[150])
    save(tmp_path, given)
    with pytest.raises(UnreadableFileError, match="another zone"):
        load_prices(Layout(tmp_path), "MINE")
    save(tmp_path, given, sidecar={"exchange": "XASX", "currency": "AUD"})
    series = load_prices(Layout(tmp_path), "MINE")
    assert list(series.prices.index.to_numpy().astype("datetime64[D]")) == list(
        np.delete(DAYS, 150)
    )
    assert list(series.holes) == [DAYS[150]]
    assert (series.exchange, series.currency) == ("XASX", "AUD")
    save(tmp_path, given, sidecar={"exchange": "NOWHERE"})
    with pytest.raises(UnreadableFileError, match=r"MINE\.parquet\.json: 'NOWHERE'"):
        load_prices(Layout(tmp_path), "MINE")


def test_months_may_end_on_weekends(tmp_path):
    days = pd.date_range("2015-01-31", periods=60, freq="ME")
    path = save(tmp_path, frame(walk(60), days))
    assert len(read_history(path)) == 60


def test_history_of_a_table_without_metadata(tmp_path):
    """Such as Polars or DuckDB write: nothing of pandas in the footer."""
    (tmp_path / "historical").mkdir()
    path = tmp_path / "historical" / "MINE.parquet"
    table = pa.table({"date": pa.array(DAYS), "close": pa.array(CLOSES)})
    pq.write_table(table, path)
    assert read_history(path)["close"].tolist() == CLOSES.tolist()
    assert path == Layout(tmp_path).of(HISTORY, "MINE")


EX = [60, 125, 190, 255]


def paying(adjusted):
    """300 ticks of a cent that fall by 1 % on each ex-date, or the same adjusted; and the truth."""
    days = asx_days("2024-01-02", 300)
    moves = np.random.default_rng(3).normal(3e-4, 0.003, 300)
    paid = np.zeros(300)
    paid[EX] = 0.9
    close = np.empty(300)
    close[0] = 90.0
    for i in range(1, 300):
        close[i] = round((close[i - 1] - paid[i]) * np.exp(moves[i]), 2)
    right = adjusted_close(pd.Series(close, days), pd.Series(paid, days))
    table = pd.DataFrame(
        {"Close": right if adjusted else close, "Dividends": paid},
        pd.DatetimeIndex(days, name="Date"),
    )
    return table, right


def test_unadjusted_closes_beside_dividends_are_refused_unless_declared(tmp_path):
    table, right = paying(adjusted=False)
    path = tmp_path / "C5.parquet"
    table.to_parquet(path)
    with pytest.raises(UnreadableFileError, match=r"C5: .*they fall by the amounts"):
        read_history(path)
    (tmp_path / "C5.parquet.json").write_text('{"prices": "unadjusted"}')
    assert read_history(path)["adj_close"].to_numpy() == pytest.approx(right, rel=1e-12)


def test_adjusted_closes_beside_dividends_are_taken(tmp_path):
    table, right = paying(adjusted=True)
    table.to_parquet(tmp_path / "C5.parquet")
    adjusted = read_history(tmp_path / "C5.parquet")["adj_close"].to_numpy()
    assert adjusted == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("symbol", ["C5", "C5.AX", "ASX:C5", "VGS.AX", "VGS"])
@pytest.mark.parametrize("where", ["column", "levels"])
def test_another_securitys_symbol_in_the_file(tmp_path, symbol, where):
    table = paying(adjusted=True)[0]
    if where == "column":
        table["Symbol"] = symbol
    else:
        table.columns = pd.MultiIndex.from_product([table.columns, [symbol]])
    path = tmp_path / "C5.parquet"
    table.to_parquet(path)
    if "C5" in symbol:
        assert len(read_history(path)) == 300
    else:
        with pytest.raises(UnreadableFileError, match=rf"C5: .*{symbol}'s"):
            read_history(path)


def test_an_adjusted_close_under_another_name(tmp_path):
    table, right = paying(adjusted=False)
    table = table.assign(AdjustedClose=right)
    table.to_parquet(tmp_path / "C5.parquet")
    adjusted = read_history(tmp_path / "C5.parquet")["adj_close"].to_numpy()
    assert adjusted == pytest.approx(right, rel=1e-12)
    table.rename(columns={"AdjustedClose": "TRI adj."}).to_parquet(tmp_path / "C5.parquet")
    with pytest.raises(UnreadableFileError, match="TRI adj"):
        read_history(tmp_path / "C5.parquet")
