"""The library over tickers of several currencies; converted here by pandas and by hand."""

import datetime as dt
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from etf_pipeline import ETFDataProvider
from etf_pipeline.cli.app import app
from etf_pipeline.cli.exit_codes import ExitCode, of_error
from etf_pipeline.errors import CurrencyError, ReasonCode, SettingsError
from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.sources.files import FilesSource
from etf_pipeline.model.currencies import Pair
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.result import Run
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import file_info
from etf_pipeline.store.store import Store
from etf_pipeline_tests.support import asx_days, bars, instrument, walk, yahoo_rows

NOW = dt.datetime(2025, 11, 12, 12, tzinfo=dt.UTC)
DAYS = asx_days("2020-11-02", 1200)
WEEKDAYS = pd.bdate_range("2020-10-26", "2025-11-11")
# Four listings on one exchange, so that dates are no reason for a difference.
CURRENCIES = {"VAS": "AUD", "VTS": "USD", "ISF": "GBp", "JPN": "JPY"}
PAIRS = {Pair("AUD", "USD"): 0.7, Pair("GBP", "USD"): 1.3, Pair("USD", "JPY"): 140.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A provider, closes by ticker and rates by pair, on the days of the closes."""
    root = tmp_path_factory.mktemp("currencies")
    folder = root / "files"
    folder.mkdir()
    closes, rates = {}, {}
    for i, ticker in enumerate(CURRENCIES):
        closes[ticker] = pd.Series(walk(len(DAYS), seed=i), pd.DatetimeIndex(DAYS))
        yahoo_rows(bars(DAYS, closes[ticker])).reset_index().to_parquet(
            folder / f"{ticker}.parquet"
        )
    for i, (pair, level) in enumerate(PAIRS.items()):
        rate = pd.Series(walk(len(WEEKDAYS), seed=40 + i, start=level), WEEKDAYS)
        frame = yahoo_rows(bars(WEEKDAYS, rate, volume=0.0)).reset_index()
        frame.to_csv(folder / f"{pair.ticker}.csv", index=False)
        rates[pair.ticker] = rate.reindex(DAYS, method="ffill").to_numpy()
    listed = {
        "XASX": [instrument(t, currency=c) for t, c in CURRENCIES.items()],
        "FX": [Instrument.of_pair(p) for p in PAIRS],
    }
    store = Store.at(root / "store", 10)
    for partition, instruments in listed.items():
        run = Run("one", NOW, partition)
        download(store, run, FilesSource(folder), instruments, Terms(), clock=lambda: NOW)
        outcomes = update_histories(store, run, instruments).outcomes
        assert [o.outcome for o in outcomes] == ["collected"] * len(instruments), outcomes
    return ETFDataProvider(root / "store"), closes, rates


def in_aud(made):
    _, closes, rates = made
    aud = rates["AUDUSD=X"]
    return pd.DataFrame(
        {
            "VAS": closes["VAS"],
            "VTS": closes["VTS"] / aud,
            "ISF": closes["ISF"] / 100 * rates["GBPUSD=X"] / aud,
            "JPN": closes["JPN"] / rates["USDJPY=X"] / aud,
        }
    )


ALL = list(CURRENCIES)


def test_returns_are_those_of_converted_prices(made):
    found = made[0].get_returns(ALL, base_currency="AUD")
    right = in_aud(made).pct_change().dropna()
    assert list(found.columns) == ALL
    np.testing.assert_allclose(found.to_numpy(), right.to_numpy(), rtol=1e-9, atol=1e-13)
    assert found.attrs["base_currency"] == "AUD"
    layout = made[0]._layout
    for named in found.attrs["fx"].split(","):
        pair, _, digest = named.partition(":")
        assert file_info(layout.of(HISTORY, pair)).content_hash.startswith(digest)
        assert len(digest) == 12
    assert [n.partition(":")[0] for n in found.attrs["fx"].split(",")] == [
        "AUDUSD=X",
        "GBPUSD=X",
        "USDJPY=X",
    ]


def test_a_ticker_in_its_own_currency_is_as_it_was_bit_for_bit(made):
    provider, closes, _ = made
    plain = provider.get_returns(["VTS"])
    assert (plain.attrs["base_currency"], plain.attrs["fx"]) == ("USD", None)
    assert (provider.get_returns(["VTS"], base_currency="USD") == plain).all(axis=None)
    values = closes["VTS"].to_numpy()
    assert (plain["VTS"].to_numpy() == values[1:] / values[:-1] - 1.0).all()


def test_estimates_frontier_and_portfolio_rest_on_the_same_returns(made):
    provider = made[0]
    right = in_aud(made)
    right = right[right.index >= right.index[-1] - pd.DateOffset(years=3)]
    returns = right.pct_change().dropna()
    matrix = provider.calculate_covariance_matrix(ALL, 3, base_currency="AUD")
    spread = np.sqrt(np.diag(returns.cov()))
    found = np.sqrt(np.diag(matrix))
    # the same for every ticker, whatever a year has
    scale = found / spread
    assert scale == pytest.approx([scale[0]] * 4, rel=1e-2)
    correlation = provider.calculate_correlation_matrix(ALL, 3, base_currency="AUD")
    assert correlation.to_numpy() == pytest.approx(returns.corr().to_numpy(), abs=5e-3)
    means = provider.calculate_expected_returns(ALL, 3, base_currency="AUD")
    assert means.to_numpy() == pytest.approx(returns.mean().to_numpy() * scale**2, rel=0.05)
    for answer in (matrix, correlation, means):
        assert answer.attrs["base_currency"] == "AUD"
    best = provider.optimize_portfolio_mean_variance(ALL, base_currency="AUD")
    assert (best["base_currency"], best["optimization_success"]) == ("AUD", True)
    w = np.array([best["optimal_weights"][t] for t in ALL])
    whole = provider.calculate_covariance_matrix(ALL, base_currency="AUD").to_numpy()
    assert best["volatility"] == pytest.approx(np.sqrt(w @ whole @ w), rel=1e-9)
    points = provider.get_efficient_frontier_data(ALL, 5, base_currency="AUD")
    assert points.attrs["base_currency"] == "AUD"
    other = provider.get_efficient_frontier_data(ALL, 5, base_currency="USD")
    assert not np.allclose(points["volatility"], other["volatility"], rtol=1e-3)


CALLS = {
    "returns": lambda p: p.get_returns(ALL),
    "means": lambda p: p.calculate_expected_returns(ALL),
    "covariance": lambda p: p.calculate_covariance_matrix(ALL),
    "correlation": lambda p: p.calculate_correlation_matrix(ALL),
    "frontier": lambda p: p.get_efficient_frontier_data(ALL, 3),
    "portfolio": lambda p: p.optimize_portfolio_mean_variance(ALL),
}


@pytest.mark.parametrize("call", CALLS)
def test_several_currencies_without_a_base_are_refused_and_with_the_setting_they_are_not(
    made, monkeypatch, call
):
    with pytest.raises(CurrencyError, match="VTS in USD") as error:
        CALLS[call](made[0])
    assert error.value.code is ReasonCode.MIXED_CURRENCIES
    monkeypatch.setenv("ETF_BASE_CURRENCY", "AUD")
    CALLS[call](made[0])


def test_what_is_no_currency_is_refused(made, monkeypatch):
    with pytest.raises(ValueError, match="use GBP"):
        made[0].get_returns(ALL, base_currency="GBp")
    monkeypatch.setenv("ETF_BASE_CURRENCY", "AUX")
    with pytest.raises(SettingsError, match="ETF_BASE_CURRENCY='AUX'"):
        made[0].get_returns(ALL)


def test_a_rate_that_is_not_there_is_named_with_its_command(made):
    with pytest.raises(CurrencyError, match="etf run --tickers USDCHF=X`"):
        made[0].get_returns(["VAS", "VTS"], base_currency="CHF")
    with pytest.raises(CurrencyError, match="no history of USDCHF=X"):
        made[0].get_returns(["VAS"], base_currency="CHF")


def test_risk_metrics_are_in_the_ticker_s_own_currency_and_the_benchmark_too(made):
    provider = made[0]
    own = provider.calculate_risk_metrics("VTS", 3)
    assert (own["currency"], own["fx"]) == ("USD", None)
    found = provider.calculate_risk_metrics("VAS", 3, benchmark="VTS")
    assert found["currency"] == "AUD"
    assert found["fx"].startswith("AUDUSD=X:")
    prices = in_aud(made)
    returns = prices[prices.index >= pd.Timestamp(found["start"])].pct_change().dropna()
    cov = returns[["VAS", "VTS"]].cov().to_numpy()
    assert found["beta"] == pytest.approx(cov[0, 1] / cov[1, 1], rel=1e-8)
    lone = provider.calculate_risk_metrics("VAS", 3)
    assert {k: v for k, v in found.items() if k in ("volatility", "cagr", "n_obs")} == {
        k: v for k, v in lone.items() if k in ("volatility", "cagr", "n_obs")
    }


def test_a_user_s_file_is_in_the_currency_that_the_universe_says(made, tmp_path, monkeypatch):
    provider, closes, _ = made
    path = provider._layout.folder(HISTORY) / "MINE.parquet"
    closes["VTS"].rename("Close").to_frame().rename_axis("Date").to_parquet(path)
    try:
        with pytest.raises(CurrencyError, match=r"MINE.*universe\.csv"):
            provider.get_returns(["VAS", "MINE"], base_currency="AUD")
        assert provider.get_returns(["MINE"]).attrs["base_currency"] is None
        universe = tmp_path / "universe.csv"
        universe.write_text(
            "ticker,symbol,exchange,name,asset_class,issuer,currency\nMINE,M,XNYS,M,x,y,USD\n"
        )
        monkeypatch.setenv("ETF_UNIVERSE_FILE", str(universe))
        found = provider.get_returns(["VAS", "MINE"], base_currency="AUD")
        right = in_aud(made).pct_change().dropna()["VTS"]
        np.testing.assert_allclose(found["MINE"], right, rtol=1e-9, atol=1e-13)
    finally:
        path.unlink()


def test_answers_say_what_ended_early_and_what_is_of_no_known_currency(made, tmp_path):
    """Users' own files, without anything that says a currency; one of them ended in May."""
    closes = made[1]
    provider = ETFDataProvider(tmp_path)
    folder = provider._layout.folder(HISTORY)
    folder.mkdir(parents=True)
    last = closes["VTS"].index[-1]
    for name, prices in (("ONE", closes["VAS"]), ("TWO", closes["VTS"][: last - MONTHS])):
        prices.rename("Close").to_frame().rename_axis("Date").to_parquet(folder / f"{name}.parquet")
    ended = f"TWO ends on {closes['VTS'][: last - MONTHS].index[-1].date()}"
    answers = [
        provider.get_returns(["ONE", "TWO"]).attrs,
        provider.calculate_expected_returns(["ONE", "TWO"], 2).attrs,
        provider.calculate_covariance_matrix(["ONE", "TWO"], 2).attrs,
        provider.calculate_correlation_matrix(["ONE", "TWO"], 2).attrs,
        provider.get_efficient_frontier_data(["ONE", "TWO"], 3, 2).attrs,
        provider.optimize_portfolio_mean_variance(["ONE", "TWO"], lookback_years=2),
    ]
    for told in answers:
        assert any(ended in remark for remark in told["remarks"])
        assert any("currency ONE, TWO are priced" in remark for remark in told["remarks"])
    for command in ("optimise", "frontier", "compare"):
        told = CliRunner().invoke(
            app, [command, "ONE", "TWO", "--years", "2", "--data-dir", str(tmp_path)]
        )
        words = " ".join(told.output.split())
        assert ended in words
        assert "currency ONE, TWO are priced" in words
    whole = provider.calculate_risk_metrics("ONE", 0)
    assert whole == provider.calculate_risk_metrics("ONE", None)
    assert whole["n_obs"] == len(closes["VAS"]) - 1


MONTHS = pd.Timedelta(days=150)


def etf(made, *args):
    root = str(made[0]._layout.root)
    return CliRunner().invoke(app, [*args, "--data-dir", root], catch_exceptions=True)


@pytest.mark.parametrize("command", ["optimise", "frontier", "compare"])
def test_commands_take_a_currency_and_say_it(made, command):
    told = etf(made, command, "VAS", "VTS", "--base-currency", "AUD")
    assert told.exit_code == 0, told.output
    assert "returns in AUD, converted with AUDUSD=X:" in told.output.replace("\n", " ")
    answer = json.loads(etf(made, command, "VAS", "VTS", "--base-currency", "AUD", "--json").output)
    first = (
        answer if command == "optimise" else answer["VAS"] if command == "compare" else answer[0]
    )
    assert first["base_currency"] == "AUD"
    refused = etf(made, command, "VAS", "VTS")
    assert isinstance(refused.exception, CurrencyError)


def test_mixed_currencies_are_an_error_of_usage():
    mixed = CurrencyError("x", code=ReasonCode.MIXED_CURRENCIES)
    assert of_error(mixed) is ExitCode.USAGE
    assert of_error(CurrencyError("x")) is ExitCode.FAILED


def test_rates_are_no_etfs_but_can_be_read(made):
    provider = made[0]
    assert provider.available_etfs == sorted(ALL)
    assert len(provider.load_etf_data("AUDUSD=X")) == len(WEEKDAYS)


def test_the_selftest_takes_tickers_of_one_currency(made):
    told = etf(made, "selftest")
    assert "in USD" not in told.output
    # of four currencies no two are one
    assert "two" in told.output


def test_a_rate_that_cannot_be_read_is_as_none_and_costs_nobody_else(made, tmp_path, caplog):
    layout = Layout(tmp_path)
    shutil.copytree(made[0]._layout.folder(HISTORY), layout.folder(HISTORY))
    shutil.copytree(made[0]._layout.folder(QUARANTINE), layout.folder(QUARANTINE))
    layout.of(HISTORY, "AUDUSD=X").write_bytes(b"no Parquet")
    provider = ETFDataProvider(tmp_path)
    with pytest.raises(CurrencyError, match=r"AUDUSD=X converts nothing: .*not readable"):
        provider.get_returns(["VAS", "VTS"], base_currency="AUD")
    assert "AUDUSD=X converts nothing" in caplog.text
    assert provider.get_returns(["VTS", "JPN"], base_currency="USD").attrs["base_currency"] == "USD"
    assert len(provider.get_returns(["VAS"]))
    nothing = pd.DataFrame({"Close": []}, pd.DatetimeIndex([], name="Date"))
    nothing.to_parquet(layout.of(HISTORY, "AUDUSD=X"))
    with pytest.raises(CurrencyError, match="AUDUSD=X"):
        ETFDataProvider(tmp_path).get_returns(["VAS", "VTS"], base_currency="AUD")
