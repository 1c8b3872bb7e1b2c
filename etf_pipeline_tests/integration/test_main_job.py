"""The main job on real input: twenty real ETFs, served by the stand-in, through Dagster.

What is asserted is computed here, from the same Parquet files, with pandas alone.
"""

import csv
import datetime as dt
from collections import defaultdict

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest

from etf_pipeline.cli.exit_codes import of_run
from etf_pipeline.model.schemas import CORRELATIONS, HISTORY, RISK_METRICS, SUMMARY, WEIGHTS
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.orchestration.runner import run_graph
from etf_pipeline.settings import Settings
from etf_pipeline.store.reader import read_table
from etf_pipeline_tests.conftest import ROOT
from etf_pipeline_tests.yahoo_standin import StandIn

pytestmark = pytest.mark.real_data
NOW = dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def done(real_data, tmp_path_factory):
    """The graph, run once over the twenty real tickers."""
    root = tmp_path_factory.mktemp("main-job")
    with StandIn() as yahoo, dg.instance_for_test() as instance:
        yahoo.load_folder(real_data / "raw")
        settings = Settings(
            data_dir=root / "store",
            universe_file=ROOT / "data" / "universe.csv",
            portfolios_file=ROOT / "data" / "portfolios.yaml",
            yahoo_url=yahoo.url,
            benchmark="A200",
        )
        pipeline = Pipeline(settings, clock=lambda: NOW)
        tickers = [s.removesuffix(".AX") for s in yahoo.series]
        report = run_graph(pipeline, instance, tickers=tickers)
        yield pipeline, report, instance


@pytest.fixture(scope="module")
def raw(real_data):
    frames = {}
    for path in sorted((real_data / "raw").glob("*.parquet")):
        frame = pd.read_parquet(path)
        frames[path.stem] = frame.set_index(pd.DatetimeIndex(pd.to_datetime(frame.pop("Date"))))
    return frames


def newest(pipeline, table):
    return read_table(pipeline.layout.of(table, dt.date(2025, 11, 12))).to_pandas()


def test_every_ticker_is_collected_and_every_portfolio_optimised(done):
    _, report, _ = done
    assert report.errors == []
    assert len(report.tickers) == 20
    assert {o.outcome for o in report.tickers.values()} == {"collected"}
    assert len(report.portfolios) >= 4
    assert all(o.good for o in report.portfolios.values()), report.portfolios
    assert of_run(report, chosen=True) == 0


def test_row_counts(done, raw, real_data):
    """What came in is in the history or in quarantine; the quarantined are the known faults."""
    pipeline, report, _ = done
    faults = defaultdict(set)
    for row in csv.DictReader((real_data / "faults.csv").open()):
        if row["kind"] in ("open_zero", "bar_on_non_session", "close_outside_high_low"):
            faults[row["ticker"]].add(row["date"])
    for ticker, frame in raw.items():
        history = read_table(pipeline.layout.of(HISTORY, ticker), ["date", "close"])
        held = report.tickers[ticker].rows_quarantined
        assert history.num_rows + held == len(frame), ticker
        if ticker not in ("GOLD", "IVV", "IJH"):  # these have segments on another level too
            assert held == len(faults[ticker]), ticker
    # GOLD before 2011-01-04 is ten times too high, and on one holiday there is a bar
    gold = raw["GOLD"]
    expected = (gold.index < pd.Timestamp("2011-01-04")).sum() + 1
    assert report.tickers["GOLD"].rows_quarantined == expected


def test_vas_over_its_last_three_years(done, raw):
    """Σr over the years that passed and √A · standard deviation, of Yahoo's own adjusted close."""
    pipeline, _, _ = done
    adjusted = raw["VAS"]["Adj Close"]
    adjusted = adjusted[adjusted.index >= pd.Timestamp("2022-11-11")]  # the 12th was a Saturday
    returns = adjusted.pct_change().dropna()
    years = 1097 / 365.25  # to 2025-11-12
    metrics = newest(pipeline, RISK_METRICS)
    row = metrics[(metrics["ticker"] == "VAS") & (metrics["window"] == "3y")].iloc[0]
    assert row["n_obs"] == len(returns)
    assert row["mean_return"] == pytest.approx(returns.sum() / years, rel=1e-9)
    annual = len(returns) / years
    assert row["periods_per_year"] == pytest.approx(annual, rel=1e-12)
    assert row["volatility"] == pytest.approx(np.sqrt(annual) * returns.std(ddof=1), rel=1e-9)
    assert row["total_return"] == pytest.approx(adjusted.iloc[-1] / adjusted.iloc[0] - 1, rel=1e-9)
    wealth = adjusted / adjusted.iloc[0]
    assert row["max_drawdown"] == pytest.approx((wealth / wealth.cummax() - 1).min(), rel=1e-9)


def test_a_portfolios_volatility_from_its_weights(done, raw):
    pipeline, _, _ = done
    weights = newest(pipeline, WEIGHTS).query("portfolio == 'core-four'")
    summary = newest(pipeline, SUMMARY).query("portfolio == 'core-four'").iloc[0]
    tickers = list(weights["ticker"])
    prices = pd.concat([raw[t]["Adj Close"].rename(t) for t in tickers], axis=1, join="inner")
    # the one faulty row of VAS is in 2010, long before these five years
    prices = prices[prices.index >= pd.Timestamp("2020-11-12")]
    returns = prices.pct_change().dropna()
    w = weights["weight"].to_numpy()
    # means and variances of each ticker's own sessions, of which some lack one
    own = [raw[t]["Adj Close"].loc["2020-11-12":].pct_change().dropna() for t in tickers]
    years = 1826 / 365.25
    risk = np.array([np.sqrt(len(r) / years) * r.std() for r in own])
    covariance = returns.corr().to_numpy() * np.outer(risk, risk)
    assert summary["n_obs"] == len(returns)
    assert summary["volatility"] == pytest.approx(np.sqrt(w @ covariance @ w), rel=1e-8)
    assert summary["expected_return"] == pytest.approx(
        np.array([r.sum() for r in own]) @ w / years, rel=1e-8
    )
    assert summary["volatility"] <= 0.09 * (1 + 1e-9)
    assert summary["success"]
    assert w.sum() == pytest.approx(1.0, abs=1e-12)


def test_correlations_of_the_last_year(done, raw):
    pipeline, _, _ = done
    table = newest(pipeline, CORRELATIONS).query("window == '1y'")
    tickers = sorted(table["ticker"].unique())
    assert "EINC" not in tickers  # it no longer trades
    prices = pd.concat([raw[t]["Adj Close"].rename(t) for t in tickers], axis=1, join="inner")
    expected = prices[prices.index >= pd.Timestamp("2024-11-12")].pct_change().dropna().corr()
    matrix = table.pivot_table(index="ticker", columns="other", values="correlation")
    assert np.abs(matrix.to_numpy() - expected.to_numpy()).max() < 1e-9
    assert set(table["period"]) == {"daily"}


def test_beta_against_the_benchmark(done, raw):
    pipeline, _, _ = done
    pair = pd.concat([raw[t]["Adj Close"].rename(t) for t in ("VHY", "A200")], axis=1, join="inner")
    returns = pair[pair.index >= pd.Timestamp("2022-11-11")].pct_change().dropna()
    covariance = returns.cov()
    metrics = newest(pipeline, RISK_METRICS)
    row = metrics[(metrics["ticker"] == "VHY") & (metrics["window"] == "3y")].iloc[0]
    beta = covariance.loc["VHY", "A200"] / covariance.loc["A200", "A200"]
    assert row["beta"] == pytest.approx(beta, rel=1e-9)


def test_a_window_that_a_history_does_not_cover_is_not_filled(done):
    pipeline, _, _ = done
    metrics = newest(pipeline, RISK_METRICS)
    row = metrics[(metrics["ticker"] == "HETH") & (metrics["window"] == "3y")].iloc[0]
    assert np.isnan(row["volatility"])
    assert row["reason"].startswith("history covers 2.0 of 3 years: it begins on ")


def test_sql_over_the_parquet_store(done, raw):
    pipeline, _, _ = done
    glob = pipeline.layout.folder(HISTORY) / "*.parquet"
    sql = f"SELECT count(*), min(date), max(date) FROM '{glob}' WHERE filename LIKE '%VGS%'"
    count, first, last = duckdb.connect().execute(sql).fetchone()
    assert (count, str(first), str(last)) == (len(raw["VGS"]), "2014-11-18", "2025-11-12")


def test_the_checks_say_what_is_wrong_with_the_data(done):
    _, _, instance = done
    keys = [
        dg.AssetCheckKey(dg.AssetKey("price_history"), name)
        for name in ("histories_valid", "histories_complete", "nothing_quarantined")
    ]
    found = {}
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    for key, record in records.items():
        data = record.event.dagster_event.asset_check_evaluation_data
        found[key.name] = (data.passed, data.description)
    assert found["histories_valid"][0] is True
    assert found["histories_complete"][0] is False
    assert "VAS: ['2025-10-24']" in found["histories_complete"][1]
    assert found["nothing_quarantined"][0] is False
    assert "GOLD: 762" in found["nothing_quarantined"][1]


def test_the_same_download_again_changes_nothing(done, real_data):
    pipeline, _, instance = done
    before = {
        p: p.read_bytes()
        for p in pipeline.layout.root.rglob("*.parquet")
        if "manifests" not in p.parts
    }
    with StandIn() as yahoo:
        yahoo.load_folder(real_data / "raw")
        settings = pipeline.settings.model_copy(update={"yahoo_url": yahoo.url})
        later = Pipeline(settings, clock=lambda: NOW + dt.timedelta(hours=1))
        report = run_graph(later, instance, tickers=[s.removesuffix(".AX") for s in yahoo.series])
    assert {o.outcome for o in report.tickers.values()} == {"unchanged"}
    after = {
        p: p.read_bytes()
        for p in pipeline.layout.root.rglob("*.parquet")
        if "manifests" not in p.parts
    }
    assert after == before
