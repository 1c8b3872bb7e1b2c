"""Benchmarks that are portfolios of the file: the file, the provider and commands say the same."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from etf_pipeline import ETFDataProvider
from etf_pipeline.cli.app import app
from etf_pipeline.cli.exit_codes import ExitCode, of_error
from etf_pipeline.errors import ArgumentError, BacktestError, EtfError, UnknownTickerError
from etf_pipeline.model.portfolio_file import load_portfolios
from etf_pipeline.model.universe import load_universe
from etf_pipeline.portfolio.backtest_tables import backtest_tables
from etf_pipeline.portfolio.tables import portfolio_tables
from etf_pipeline.steps.derived import read_histories
from etf_pipeline.store.store import Store
from etf_pipeline_tests.integration.test_provider_arguments import small_store

THREE = ["VAS", "VGS", "VAF"]
FILE = """portfolios:
  - {name: near, tickers: [VAS, VGS], objective: max_return, lookback_years: 2, benchmark: calm,
     max_tracking_error: 0.15}
  - {name: calm, tickers: [VAS, VGS, VAF], objective: min_volatility, lookback_years: 2,
     max_weight: 0.5}
  - {name: hard, tickers: [VAS, VGS], objective: max_return, risk_budget: 0.0001}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = small_store(tmp_path_factory.mktemp("named"))
    (folder / "portfolios.yaml").write_text(FILE)
    return folder


@pytest.fixture(autouse=True)
def place(root, monkeypatch):
    monkeypatch.setenv("ETF_DATA_DIR", str(root / "store"))
    monkeypatch.setenv("ETF_UNIVERSE_FILE", str(root / "universe.csv"))
    monkeypatch.setenv("ETF_PORTFOLIOS_FILE", str(root / "portfolios.yaml"))


@pytest.fixture
def provider():
    return ETFDataProvider()


@pytest.fixture(scope="module")
def of_the_file(root):
    """What the pipeline's tables have."""
    universe = load_universe(root / "universe.csv")
    specs = load_portfolios(root / "portfolios.yaml", universe)
    series = read_histories(Store.at(root / "store", 1.0), THREE).series
    return (
        portfolio_tables(specs, series, 5, 0.0, universe.facts()),
        backtest_tables(specs, series, 5, 0.0, universe.facts()),
    )


def etf(*args):
    result = CliRunner().invoke(app, [*args, "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return of_error(result.exception), str(result.exception)
    return result.exit_code, json.loads(result.output)


def test_the_file_the_provider_and_commands_say_the_same(provider, of_the_file):
    tables = of_the_file[0]
    held = {
        r["ticker"]: r["weight"] for r in tables.weights.to_pylist() if r["portfolio"] == "near"
    }
    calm = {
        r["ticker"]: r["weight"] for r in tables.weights.to_pylist() if r["portfolio"] == "calm"
    }
    calm = {t: w for t, w in calm.items() if w}
    row = next(r for r in tables.summary.to_pylist() if r["portfolio"] == "near")
    asked = {"benchmark": "calm", "max_tracking_error": 0.15, "lookback_years": 2}
    answers = (
        provider.optimize_model_portfolio("near"),
        provider.optimize_portfolio(["VAS", "VGS"], "max_return", **asked),
        etf("optimise", "--portfolio", "near")[1],
        etf(
            *("optimise", "VAS", "VGS", "--objective", "max_return", "--benchmark", "calm"),
            *("--max-tracking-error", "0.15", "--years", "2"),
        )[1],
    )
    for found in answers:
        assert found["optimal_weights"] == held
        for figure in ("expected_return", "volatility", "tracking_error", "beta"):
            assert found[figure] == row[figure]
        assert found["benchmark_weights"] == calm
        (said,) = [r for r in found["remarks"] if r.startswith("measured against calm, which is ")]
        assert said in row["message"]
    shown = CliRunner().invoke(app, ["optimise", "--portfolio", "near"]).output
    assert ["ticker", "weight", "benchmark", "active"] in [
        line.split() for line in shown.splitlines()
    ]
    for ticker in calm:
        mine, theirs = held.get(ticker, 0.0), calm[ticker]
        cells = [ticker, *(f"{w:z.2%}" for w in (mine, theirs, mine - theirs))]
        assert cells in [line.split() for line in shown.splitlines()]
    frontier = provider.get_efficient_frontier_data(["VAS", "VGS"], 3, **asked)
    assert any(r.startswith("measured against calm") for r in frontier.attrs["remarks"])


def test_courses_are_those_of_the_file(provider, of_the_file):
    courses = of_the_file[1]
    wealth = [r["wealth"] for r in courses.courses.to_pylist() if r["portfolio"] == "near"]
    named = provider.backtest_model_portfolio("near")
    assert named["course"]["wealth"].tolist() == wealth
    asked = {"benchmark": "calm", "max_tracking_error": 0.15, "lookback_years": 2}
    beside = provider.backtest(["VAS", "VGS"], "max_return", **asked)
    assert beside["course"]["wealth"].tolist() == wealth
    # beside the course is that of the benchmark itself, from 1 on the first session
    calm = courses.backtests["calm"].wealth.reindex(beside["course"].index)
    expected = (calm / calm.iloc[0]).to_numpy()
    assert np.allclose(beside["course"]["benchmark_wealth"], expected, rtol=1e-12)
    assert beside["metrics"]["benchmark"] == "calm"
    code, found = etf(
        *("backtest", "VAS", "VGS", "--objective", "max_return", "--benchmark", "calm"),
        *("--max-tracking-error", "0.15", "--years", "2"),
    )
    assert code == ExitCode.DONE
    assert [r["wealth"] for r in found["course"]] == wealth


def test_other_calls_take_it_too(provider):
    found = provider.weight_uncertainty(portfolio="near", resamples=20)
    assert found.attrs["answered"] == 20
    asked = {"benchmark": "calm", "max_tracking_error": 0.15}
    judged = provider.validate(["VAS", "VGS"], ["max_return"], lookbacks=[1, 2], **asked)
    assert judged["unanswered"].tolist() == [0, 0, 0]
    assert any("measured against calm" in text for text in judged.attrs["remarks"])
    also = provider.validate(portfolio="near", lookbacks=[2])
    assert also.attrs["n_obs"] == judged.attrs["n_obs"]


def test_what_is_refused_names_both_and_the_remedy(provider):
    two = ["VAS", "VGS"]
    for name, words in (
        ("clam", "benchmark: ticker 'clam' is not in .*; did you mean the portfolio calm"),
        ("VGX", "benchmark: ticker 'VGX' is not in .*; did you mean VGS"),
    ):
        with pytest.raises(UnknownTickerError, match=words):
            provider.optimize_portfolio(two, benchmark=name, max_tracking_error=0.1)
    with pytest.raises(ArgumentError, match="benchmark ' ': is no ticker"):
        provider.optimize_portfolio(two, benchmark=" ", max_tracking_error=0.1)
    mixed = {"calm": 0.5, "VAS": 0.5}
    with pytest.raises(ArgumentError, match="benchmark: calm is a portfolio, and weights are of"):
        provider.optimize_portfolio(two, benchmark=mixed, max_tracking_error=0.1)
    with pytest.raises(ArgumentError, match="and VAF, which calm may hold, is not in tickers"):
        provider.optimize_portfolio(two, benchmark="calm", max_active_weight=0.1)
    with pytest.raises(ArgumentError, match="own tickers, and VAF is not in tickers: add it"):
        provider.optimize_portfolio(two, benchmark="VAF", max_active_weight=0.1)
    own = provider.optimize_portfolio(THREE, benchmark="calm", max_active_weight=0.1)
    assert own["optimization_success"]
    words = "VAS, VGS is measured against hard, which has no answer: risk budget 0.0001 is below"
    with pytest.raises(EtfError, match=words):
        provider.optimize_portfolio(two, benchmark="hard", max_tracking_error=0.1)
    with pytest.raises(
        BacktestError, match="measured against hard, which has no backtest: none of"
    ):
        provider.backtest(two, benchmark="hard", max_tracking_error=0.1, lookback_years=2)
    assert etf("optimise", *two, "--benchmark", "hard", "--beta", "0:2")[0] == ExitCode.FAILED


def test_without_a_portfolio_file_a_benchmark_is_a_ticker(provider, monkeypatch, tmp_path):
    monkeypatch.setenv("ETF_PORTFOLIOS_FILE", str(tmp_path / "none.yaml"))
    found = provider.optimize_portfolio(["VAS", "VGS"], benchmark="VAF", max_tracking_error=0.5)
    assert found["optimization_success"]
    with pytest.raises(UnknownTickerError, match="benchmark: ticker 'calm' is not in"):
        provider.optimize_portfolio(["VAS", "VGS"], benchmark="calm", max_tracking_error=0.5)
