"""The whole provider: on the twenty real tickers (recomputed here with pandas), and its manners."""

import datetime as dt
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest

from etf_pipeline import ETFDataProvider
from etf_pipeline.errors import SettingsError, UnknownTickerError
from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.sources.files import FilesSource
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.result import Run
from etf_pipeline.store.store import Store
from etf_pipeline_tests.support import asx_days, bars, instrument, walk, yahoo_rows

FOUR = ["VAS", "VGS", "VTS", "VAF"]
NOW = dt.datetime(2025, 11, 12, 12, tzinfo=dt.UTC)


def fill(root, folder, tickers, run="one"):
    instruments = [instrument(t) for t in tickers]
    store, this_run = Store.at(root, 10), Run(run, NOW, "XASX")
    download(store, this_run, FilesSource(folder), instruments, Terms(), clock=lambda: NOW)
    update_histories(store, this_run, instruments)


@pytest.fixture(scope="module")
def real(real_data, tmp_path_factory):
    root = tmp_path_factory.mktemp("provider")
    tickers = sorted(p.stem for p in (real_data / "raw").glob("*.parquet"))
    fill(root, real_data / "raw", tickers)
    raw = {}
    for ticker in tickers:
        frame = pd.read_parquet(real_data / "raw" / f"{ticker}.parquet")
        raw[ticker] = frame.set_index(pd.DatetimeIndex(pd.to_datetime(frame.pop("Date"))))
    return ETFDataProvider(root), raw


def annual(returns, start="2020-11-12", end="2025-11-12"):
    """Returns a year, from the first price to the last."""
    return len(returns) * 365.25 / (pd.Timestamp(end) - pd.Timestamp(start)).days


def estimates(raw, tickers, start="2020-11-12"):
    """Means and covariance: each ticker's own sessions (some lack one), common correlations."""
    own = {t: raw[t]["Adj Close"].loc[start:].pct_change().dropna() for t in tickers}
    means = np.array([annual(r, start) * r.mean() for r in own.values()])
    risk = np.array([np.sqrt(annual(r, start)) * r.std() for r in own.values()])
    return means, common(raw, tickers, start).corr().to_numpy() * np.outer(risk, risk)


def common(raw, tickers, start="2020-11-12"):
    prices = pd.concat([raw[t]["Adj Close"].rename(t) for t in tickers], axis=1, join="inner")
    return prices[prices.index >= start].pct_change().dropna()


@pytest.mark.real_data
class TestReal:
    def test_returns_and_estimates(self, real):
        provider, raw = real
        returns = common(raw, FOUR)
        means, covariance = estimates(raw, FOUR)
        assert provider.calculate_expected_returns(FOUR).to_numpy() == pytest.approx(
            means, rel=1e-9
        )
        assert provider.calculate_covariance_matrix(FOUR).to_numpy() == pytest.approx(
            covariance, rel=1e-8
        )
        fixed = provider.calculate_expected_returns(["VGS"], periods_per_year=252)
        r = common(raw, ["VGS"])["VGS"]
        assert fixed["VGS"] == pytest.approx(252 * r.mean(), rel=1e-9)
        assert provider.calculate_correlation_matrix(FOUR).to_numpy() == pytest.approx(
            returns.corr().to_numpy(), rel=1e-9
        )
        found = provider.get_returns(FOUR, "2020-11-12", "2025-11-12")
        assert np.abs(found.to_numpy() - returns.to_numpy()).max() < 1e-12

    def test_monthly_returns(self, real):
        provider, raw = real
        last = raw["VGS"]["Adj Close"].loc["2024-01":"2024-06"]
        expected = last.groupby(last.index.to_period("M")).last().pct_change().dropna()
        found = provider.get_returns(["VGS"], "2024-01-01", "2024-06-30", "monthly")
        assert found["VGS"].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-12)

    def test_every_metric(self, real):
        provider, raw = real
        adjusted = raw["VHY"]["Adj Close"]
        start = "2022-11-11"  # three years before was a Saturday
        adjusted = adjusted[adjusted.index >= start]
        r = adjusted.pct_change().dropna()
        a = annual(r, start)
        daily = 1.03 ** (1 / a) - 1
        wealth = adjusted / adjusted.iloc[0]
        fall = (wealth / wealth.cummax() - 1).min()
        # one session of these three years is missing (2025-10-24): time went by all the same
        growth = wealth.iloc[-1] ** (365.25 / 1097) - 1
        worst = np.sort(-r.to_numpy())[::-1]
        tail = 0.05 * len(r)
        cvar = (worst[: int(tail)].sum() + (tail - int(tail)) * worst[int(tail)]) / tail
        pair = common(raw, ["VHY", "A200"], start)
        active = pair["VHY"] - pair["A200"]
        expected = {
            "total_return": adjusted.iloc[-1] / adjusted.iloc[0] - 1,
            "mean_return": r.sum() * 365.25 / 1097,
            "volatility": np.sqrt(a) * r.std(),
            "sharpe_ratio": np.sqrt(a) * (r - daily).mean() / r.std(),
            "sortino_ratio": np.sqrt(a)
            * (r - daily).mean()
            / np.sqrt((np.minimum(r - daily, 0) ** 2).mean()),
            "cagr": growth,
            "max_drawdown": fall,
            "calmar_ratio": growth / -fall,
            "var_95": worst[int(np.ceil(tail)) - 1],
            "cvar_95": cvar,
            "beta": pair.cov().loc["VHY", "A200"] / pair["A200"].var(),
            "tracking_error": np.sqrt(annual(pair, start)) * active.std(),
            "information_ratio": np.sqrt(annual(pair, start)) * active.mean() / active.std(),
            "n_obs": len(r),
        }
        found = provider.calculate_risk_metrics("VHY", 3, benchmark="A200", risk_free_rate=0.03)
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, rel=1e-8), name
        assert found["periods_per_year"] == pytest.approx(a, rel=1e-12)

    def test_a_window_starts_on_or_before_the_anniversary_as_on_fact_sheets(self, real):
        """Vanguard's own VAF over three years to 2025-11-12: 3.66 % a year, from 2022-11-11."""
        provider, _ = real
        found = provider.calculate_risk_metrics("VAF", 3)
        assert str(found["start"]) == "2022-11-11"
        assert round(found["cagr"], 4) == 0.0366

    def test_the_setting_fixes_the_returns_a_year(self, real, monkeypatch):
        provider, raw = real
        r = common(raw, ["VAS"], "2022-11-11")["VAS"]
        monkeypatch.setenv("ETF_PERIODS_PER_YEAR", "252")
        found = provider.calculate_risk_metrics("VAS", 3)
        assert found["mean_return"] == pytest.approx(252 * r.mean(), rel=1e-9)
        assert provider.calculate_risk_metrics("VAS", 3, periods_per_year=250)[
            "mean_return"
        ] == pytest.approx(250 * r.mean(), rel=1e-9)
        monkeypatch.setenv("ETF_PERIODS_PER_YEAR", "many")
        with pytest.raises(SettingsError, match="ETF_PERIODS_PER_YEAR='many'"):
            provider.calculate_risk_metrics("VAS", 3)

    @pytest.mark.parametrize("rate", [0.0, 0.04])
    def test_an_optimal_portfolio(self, real, rate):
        provider, raw = real
        returns = common(raw, FOUR)
        mu, sigma = estimates(raw, FOUR)
        found = provider.optimize_portfolio_mean_variance(
            FOUR, risk_budget=0.09, risk_free_rate=rate
        )
        w = np.array([found["optimal_weights"][t] for t in FOUR])
        assert found["optimization_success"]
        assert found["optimality_gap"] <= 1e-6
        assert found["risk_budget_binding"]
        assert found["volatility"] == pytest.approx(np.sqrt(w @ sigma @ w), rel=1e-9)
        assert found["expected_return"] == pytest.approx(mu @ w, rel=1e-9)
        assert found["sharpe_ratio"] == pytest.approx((mu @ w - rate) / 0.09, rel=1e-6)
        assert (found["n_obs"], str(found["end"])) == (len(returns), "2025-11-12")
        others = np.random.default_rng(0).dirichlet(np.ones(4), 2000)
        within = [o for o in others if o @ sigma @ o <= 0.09**2]
        assert len(within) > 100
        assert max(mu @ o for o in within) <= mu @ w + 1e-9  # nobody does better

    def test_the_order_of_tickers_does_not_matter(self, real):
        provider, _ = real
        one = provider.optimize_portfolio_mean_variance(FOUR, target_return=0.08)
        two = provider.optimize_portfolio_mean_variance(FOUR[::-1], target_return=0.08)
        for ticker in FOUR:
            assert one["optimal_weights"][ticker] == pytest.approx(
                two["optimal_weights"][ticker], abs=1e-9
            )

    def test_a_metric_does_not_depend_on_what_else_is_asked(self, real):
        provider, _ = real
        alone = provider.calculate_risk_metrics("VAS", 5, benchmark="VGS")
        provider.calculate_correlation_matrix(["VAS", "VGS", "HETH"], 1)
        assert provider.calculate_risk_metrics("VAS", 5, benchmark="VGS") == alone

    def test_the_frontier(self, real):
        provider, raw = real
        table = provider.get_efficient_frontier_data(FOUR, 12)
        _, sigma = estimates(raw, FOUR)
        assert len(table) == 12
        assert table["volatility"].is_monotonic_increasing
        assert table["expected_return"].is_monotonic_increasing
        for _, row in table.iterrows():
            w = row[FOUR].to_numpy(dtype=float)
            assert row["volatility"] == pytest.approx(np.sqrt(w @ sigma @ w), rel=1e-8)

    def test_availability_and_latest_prices(self, real):
        provider, raw = real
        assert len(provider.available_etfs) == 20
        table = provider.check_data_availability(["VAS", "NOPE"])
        assert table["available"].tolist() == [True, False]
        assert table.loc["NOPE", "error"] == "no history"
        latest = provider.get_latest_prices(["VAS", "EINC"])
        assert latest.loc["VAS", "close"] == raw["VAS"]["Close"].iloc[-1]
        assert str(latest.loc["EINC", "date"].date()) == "2025-01-29"

    def test_a_window_not_covered_is_none_with_the_reason(self, real):
        provider, _ = real
        found = provider.calculate_risk_metrics("HETH", 5)
        assert found["volatility"] is None
        assert found["reason"].startswith("history covers 2.0 of 5 years: it begins on ")
        assert provider.calculate_risk_metrics("HETH", None)["n_obs"] == 501


@pytest.fixture
def provider(tmp_path):
    folder = tmp_path / "prices"
    folder.mkdir()
    for i, ticker in enumerate(FOUR):
        rows = bars(asx_days("2020-01-02", 1400), walk(1400, seed=i))
        yahoo_rows(rows).to_parquet(folder / f"{ticker}.parquet")
    fill(tmp_path / "store", folder, FOUR)
    return ETFDataProvider(tmp_path / "store")


def test_a_missing_ticker_is_named_with_the_nearest(provider):
    for call in (
        lambda: provider.load_etf_data("VSA"),
        lambda: provider.calculate_risk_metrics("VSA", 3),
        lambda: provider.optimize_portfolio_mean_variance(["VAS", "VSA"]),
        lambda: provider.get_latest_prices(["VSA"]),
    ):
        with pytest.raises(UnknownTickerError, match=r"'VSA'.*did you mean V"):
            call()


def test_duplicates_and_nonsense_are_refused_by_name(provider):
    with pytest.raises(ValueError, match="asked for twice: VAS"):
        provider.optimize_portfolio_mean_variance(["VAS", "VGS", "VAS"])
    with pytest.raises(ValueError, match="no ticker"):
        provider.get_returns([])
    with pytest.raises(ValueError, match="daily, weekly"):
        provider.get_returns(["VAS"], period="hourly")
    with pytest.raises(ValueError, match="bounds name VAF, which is not in tickers"):
        provider.optimize_portfolio_mean_variance(["VAS", "VGS"], bounds={"VAF": (0, 1)})
    assert provider.get_returns(["VAS", "VGS"], "2030-01-01").empty


def test_limits_reach_the_optimiser(provider):
    found = provider.optimize_portfolio_mean_variance(
        FOUR, max_weight=0.3, bounds={"VAF": (0.2, 1)}
    )
    assert max(found["optimal_weights"].values()) <= max(
        0.3 + 1e-9, found["optimal_weights"]["VAF"]
    )
    assert found["optimal_weights"]["VAF"] >= 0.2 - 1e-9


def test_the_cache_notices_a_refreshed_file_and_can_be_cleared(provider, tmp_path):
    before = provider.load_etf_data("VAS")
    assert provider.load_etf_data("VAS").equals(before)
    folder = tmp_path / "prices"
    rows = bars(asx_days("2020-01-02", 1400), walk(1400, seed=0))
    rows.iloc[-1, 3] *= 1.01
    yahoo_rows(rows).to_parquet(folder / "VAS.parquet")
    fill(tmp_path / "store", folder, ["VAS"], "two")
    after = provider.load_etf_data("VAS")
    assert after["close"].iloc[-1] == pytest.approx(before["close"].iloc[-1] * 1.01)
    provider._cache.clear()
    assert provider.load_etf_data("VAS").equals(after)


def test_what_a_caller_changes_does_not_reach_the_cache(provider):
    mine = provider.load_etf_data("VAS")
    mine.loc[:, "close"] = -1.0
    mine["new"] = 1
    again = provider.load_etf_data("VAS")
    assert (again["close"] > 0).all()
    assert "new" not in again


def test_threads_share_a_provider(provider):
    expected = provider.calculate_risk_metrics("VAS", 3)
    provider._cache.clear()
    failures = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(30):
            if rng.random() < 0.2:
                provider._cache.clear()
            if provider.calculate_risk_metrics("VAS", 3) != expected:
                failures.append(seed)
            provider.load_etf_data(FOUR[int(rng.integers(4))])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_weekly_files_are_annualised_as_weekly(tmp_path):
    folder = tmp_path / "historical"
    folder.mkdir()
    days = pd.date_range("2018-01-05", periods=300, freq="W-FRI", name="Date")
    for i, ticker in enumerate(("VAS", "VGS")):
        pd.DataFrame({"Close": walk(300, seed=i)}, days).to_parquet(folder / f"{ticker}.parquet")
    provider = ETFDataProvider(tmp_path)
    returns = pd.DataFrame({t: walk(300, seed=i) for i, t in enumerate(("VAS", "VGS"))}, days)
    returns = returns.pct_change().dropna()
    found = provider.calculate_expected_returns(["VAS", "VGS"], None)
    weeks = 365.25 / 7
    assert found.to_numpy() == pytest.approx(weeks * returns.mean().to_numpy(), rel=1e-9)
    metrics = provider.calculate_risk_metrics("VAS", None)
    assert metrics["periods_per_year"] == pytest.approx(weeks, rel=1e-12)
    assert metrics["volatility"] == pytest.approx(np.sqrt(weeks) * returns["VAS"].std(), rel=1e-9)


def test_direct_mode_touches_no_infrastructure(provider, tmp_path):
    assert provider.use_event_sourcing is False
    code = (
        "import sys, socket\n"
        "def refuse(*a): raise SystemExit('a socket was opened')\n"
        "socket.socket.connect = refuse\n"
        "from etf_pipeline import ETFDataProvider\n"
        "p = ETFDataProvider(sys.argv[1])\n"
        "p.optimize_portfolio_mean_variance(p.available_etfs, risk_budget=0.2)\n"
        "p.calculate_risk_metrics('VAS', 3)\n"
        "print(sorted({'dagster', 'yfinance', 'confluent_kafka', 'duckdb'} & set(sys.modules)))"
    )
    before = sorted(p for p in (tmp_path / "store").rglob("*"))
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == "[]"
    assert sorted(p for p in (tmp_path / "store").rglob("*")) == before
