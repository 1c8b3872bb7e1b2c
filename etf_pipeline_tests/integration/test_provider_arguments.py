"""An argument means the same in every method of the provider, or is refused by the same words."""

import asyncio
import datetime as dt
import shutil
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from etf_pipeline import ETFDataProvider
from etf_pipeline.errors import ArgumentError, InsufficientDataError, UnknownTickerError
from etf_pipeline.library.system import ETFSystem
from etf_pipeline.portfolio import GroupLimit
from etf_pipeline.settings import Settings
from etf_pipeline_tests.events_support import embedded_settings
from etf_pipeline_tests.integration.test_provider import FOUR, fill
from etf_pipeline_tests.support import asx_days, bars, walk, yahoo_rows

UNIVERSE = (
    "ticker,symbol,exchange,name,asset_class,issuer,currency\n"
    "VAS,VAS.AX,XASX,A,shares,Vanguard,AUD\n"
    "VGS,VGS.AX,XASX,B,shares,Vanguard,AUD\n"
    "VAF,VAF.AX,XASX,D,bonds,Vanguard,AUD\n"
)


def small_store(folder):
    """Four tickers, a universe of three of them, and one portfolio, below `folder`."""
    prices = folder / "prices"
    prices.mkdir()
    for i, ticker in enumerate(FOUR):
        rows = bars(asx_days("2020-01-02", 1400), walk(1400, seed=i))
        yahoo_rows(rows).to_parquet(prices / f"{ticker}.parquet")
    fill(folder / "store", prices, FOUR)
    (folder / "universe.csv").write_text(UNIVERSE)
    (folder / "portfolios.yaml").write_text(
        "portfolios:\n  - name: calm\n    tickers: [VAS, VGS, VAF]\n    objective: min_volatility\n"
        "    lookback_years: 2\n    max_weight: 0.5\n"
    )
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return small_store(tmp_path_factory.mktemp("arguments"))


@pytest.fixture
def provider(root, monkeypatch):
    monkeypatch.setenv("ETF_UNIVERSE_FILE", str(root / "universe.csv"))
    monkeypatch.setenv("ETF_PORTFOLIOS_FILE", str(root / "portfolios.yaml"))
    return ETFDataProvider(root / "store")


# Methods of several tickers, as functions of the provider, the tickers and other arguments.
SEVERAL = {
    "check_data_availability": lambda p, t: p.check_data_availability(t),
    "get_latest_prices": lambda p, t: p.get_latest_prices(t),
    "get_distributions": lambda p, t: p.get_distributions(t),
    "get_returns": lambda p, t: p.get_returns(t),
    "calculate_expected_returns": lambda p, t, **a: p.calculate_expected_returns(t, **a),
    "calculate_covariance_matrix": lambda p, t, **a: p.calculate_covariance_matrix(t, **a),
    "calculate_correlation_matrix": lambda p, t, **a: p.calculate_correlation_matrix(t, **a),
    "get_efficient_frontier_data": lambda p, t, **a: p.get_efficient_frontier_data(t, 3, **a),
    "optimize_portfolio_mean_variance": lambda p, t, **a: p.optimize_portfolio_mean_variance(
        t, **a
    ),
    "optimize_portfolio": lambda p, t, **a: p.optimize_portfolio(t, "min_volatility", **a),
}
WITH_YEARS = [*SEVERAL][4:]
SEVERAL |= {
    "backtest": lambda p, t: p.backtest(t, "min_volatility", lookback_years=2)["course"],
    "weight_uncertainty": lambda p, t: p.weight_uncertainty(t, "min_volatility", resamples=20),
}


def same(one, other):
    if isinstance(one, dict):
        return one == other
    return one.equals(other)


@pytest.mark.parametrize("name", SEVERAL)
def test_tickers_mean_the_same_everywhere(provider, name):
    call = SEVERAL[name]
    expected = call(provider, ["VAS", "VGS"])
    for tickers in (
        ("VAS", "VGS"),
        (t for t in ("VAS", "VGS")),
        np.array(["VAS", "VGS"]),
        pd.Index(["VAS", "VGS"]),
        {"VGS", "VAS"},
    ):
        assert same(call(provider, tickers), expected)
    assert same(call(provider, "VAS"), call(provider, ["VAS"]))


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize(
    ("tickers", "words"),
    [
        ([], "no ticker given"),
        (["VAS", "VAS"], "asked for twice: VAS"),
        (["VAS", None], "ticker None: is no ticker"),
        (5, "give a ticker or several"),
        ({"VAS": 1.0}, "a mapping is no list of tickers"),
    ],
)
def test_what_is_no_list_of_tickers_is_refused_everywhere(provider, name, tickers, words):
    with pytest.raises(ArgumentError, match=words):
        SEVERAL[name](provider, tickers)


@pytest.mark.parametrize("name", WITH_YEARS)
def test_no_years_are_all_history_everywhere(provider, name):
    call = SEVERAL[name]
    everything = call(provider, FOUR, lookback_years=None)
    assert same(call(provider, FOUR, lookback_years=0), everything)
    assert same(call(provider, FOUR, lookback_years=np.int64(0)), everything)
    assert not same(call(provider, FOUR, lookback_years=2), everything)
    for wrong in (0.5, "3", -1, True, float("nan"), 101):
        with pytest.raises(ArgumentError, match="lookback_years"):
            call(provider, FOUR, lookback_years=wrong)


def test_one_ticker_is_one_string(provider):
    for call in (provider.load_etf_data, provider.calculate_risk_metrics):
        for wrong in (["VAS"], None, 5, b"VAS", ""):
            with pytest.raises(ArgumentError, match="'VAS'"):
                call(wrong)
    with pytest.raises(ArgumentError, match=r"benchmark \['VGS'\]: give one ticker"):
        provider.calculate_risk_metrics("VAS", benchmark=["VGS"])
    with pytest.raises(UnknownTickerError, match="'VAS,VGS'"):
        provider.optimize_portfolio("VAS,VGS")
    assert provider.calculate_risk_metrics("VAS", 0) == provider.calculate_risk_metrics("VAS", None)
    assert provider.optimize_portfolio("VAS")["optimal_weights"] == {"VAS": 1.0}


def test_a_rate_is_a_fraction_everywhere(provider, root):
    for call in (
        lambda rate: ETFDataProvider(root / "store", risk_free_rate=rate),
        lambda rate: provider.calculate_risk_metrics("VAS", 3, risk_free_rate=rate),
        lambda rate: provider.optimize_portfolio(FOUR, risk_free_rate=rate),
        lambda rate: provider.get_efficient_frontier_data(FOUR, 3, risk_free_rate=rate),
        lambda rate: provider.portfolio_metrics({"VAS": 1.0}, 3, risk_free_rate=rate),
    ):
        with pytest.raises(ArgumentError, match=r"4 % is 0\.04"):
            call(4)
        for wrong in ("0.04", float("nan"), True):
            with pytest.raises(ArgumentError, match="risk_free_rate"):
                call(wrong)


def test_dates_are_those_of_sessions(provider):
    both = ["VAS", "VGS"]
    found = provider.get_returns(both, "2022-02", "2022-03")
    assert found.equals(
        provider.get_returns(both, dt.date(2022, 2, 1), np.datetime64("2022-03-31"))
    )
    assert str(found.attrs["start"]) == "2022-02-01"
    assert str(found.index[-1].date()) == "2022-03-31"
    with pytest.raises(ArgumentError, match="start 2022-03-01 is after end 2022-02-28"):
        provider.get_returns(both, "2022-03", "2022-02")
    with pytest.raises(ArgumentError, match="time zone"):
        provider.get_returns(both, pd.Timestamp("2022-02-01", tz="UTC"))
    with pytest.raises(ArgumentError, match="did you mean monthly"):
        provider.get_returns(both, period="Monthly")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_wieght": 0.5}, "max_wieght: there is no such argument; did you mean max_weight"),
        ({"lookback": 3}, "lookback: there is no such argument; did you mean lookback_years"),
        ({"scenarios": [[0.1]]}, "scenarios: there is no such argument"),
        ({"name": "p"}, "name: there is no such argument"),
        ({"resamples": 50}, r"resamples goes with weight_uncertainty\(\)"),
        ({"rebalance": "monthly"}, r"rebalance goes with backtest\(\)"),
        ({"risk_budget": 9}, "risk_budget: 9: must be less than 5; .*9 % is 0.09"),
        ({"risk_budget": "0.1"}, "risk_budget: '0.1' is text"),
        ({"risk_budget": float("nan")}, "risk_budget nan: must be a finite number"),
        ({"min_weight": -0.1}, "-0.1 to 1 is not within 0 to 1; short positions"),
        ({"bounds": {"VAS": 0.2}}, "bounds.VAS: 0.2: give the least and the greatest"),
        ({"bounds": {"VAS": (0.5, 0.2)}}, "the least, 0.5, is above the greatest, 0.2"),
        ({"bounds": [(0, 1)] * 4}, "bounds: .* give it by name"),
        ({"bounds": {1: (0, 1)}}, "bounds: 1 is no name"),
        ({"holdings": {"VAS": 100, "VGS": 50}, "max_turnover": 0.1}, "holdings sum to 150"),
        ({"max_turnover": 0.1}, "max_turnover and cost_rate need holdings"),
        ({"max_turnover": 20, "holdings": {"VAS": 1}}, "no more than 1 can .*20 % is 0.2"),
        ({"halflife": 20}, "halflife goes with estimator: ewma"),
        ({"estimator": "ledoit-wolf"}, "did you mean ledoit_wolf"),
        ({"objective": "max_sharp"}, "did you mean max_sharpe"),
        ({"estimator": "ewma", "halflife": 0.5}, "halflife: 0.5: must be from 1 to 10000 bars"),
        ({"max_holdings": 10**30}, "max_holdings: 1000.*: must be less than or equal to 10000"),
        ({"objective": "hrp", "risk_budget": 0.1}, "risk_budget goes with"),
        ({"groups": {"asset_class": {"cash": (0, 1)}}}, "VTS is not in .*universe.csv"),
        ({"groups": [("a", 0, 1)]}, "or as several GroupLimit"),
        ({"groups": [GroupLimit("a", ("VHY",))]}, "group a: VHY was not asked for"),
        ({"groups": [GroupLimit("a", ("VAS",)), GroupLimit("a", ("VGS",))]}, "two are called a"),
    ],
)
def test_limits_are_those_of_the_portfolio_file(provider, limits, words):
    with pytest.raises(ArgumentError, match=words):
        provider.optimize_portfolio_mean_variance(FOUR, **limits)


def test_the_frontier_has_every_objective(provider):
    with pytest.raises(ArgumentError, match=r"objective goes with optimize_portfolio\(\)"):
        provider.get_efficient_frontier_data(FOUR, 3, objective="max_sharpe")
    for wrong in (1, 2.5, "5", True, 10**6):
        with pytest.raises(ArgumentError, match=r"^n "):
            provider.get_efficient_frontier_data(FOUR, wrong)


def test_every_objective_of_the_file_is_asked_for_by_its_name(provider):
    implied = provider.optimize_portfolio_mean_variance(FOUR, objective="min_volatility")
    assert implied == provider.optimize_portfolio(FOUR, "min_volatility")
    assert implied["objective"] == "min_volatility"
    tail = provider.optimize_portfolio(FOUR, "min_cvar", cvar_level=0.9)
    assert tail["cvar"] > 0
    assert tail["optimization_success"]
    assert provider.optimize_portfolio(FOUR, cvar_budget=0.02)["objective"] == "max_return"
    assert provider.optimize_portfolio(FOUR)["objective"] == "max_sharpe"


@pytest.mark.parametrize("empty", ["", 0, False, [], {}])
def test_an_empty_objective_is_none_of_them(provider, empty):
    """Only None leaves it to the limits."""
    for call in (provider.optimize_portfolio, provider.backtest, provider.weight_uncertainty):
        with pytest.raises(ArgumentError, match=r"^objective: .*: must be one of min_volatility"):
            call(FOUR, empty)
    with pytest.raises(ArgumentError, match=r"^objectives?"):
        provider.validate(FOUR, [empty], lookbacks=1)


def test_what_only_the_prices_tell_to_be_wrong_is_an_error_of_arguments(provider):
    """Two certain views of one ticker cannot both be true."""
    views = [{"ticker": "VAS", "return": r, "confidence": 1} for r in (0.05, 0.06)]
    house = {"method": "black_litterman", "market_weights": {"VAS": 1, "VGS": 1}, "views": views}
    for call in (
        provider.optimize_portfolio,
        provider.get_efficient_frontier_data,
        provider.weight_uncertainty,
    ):
        with pytest.raises(ArgumentError, match="give one of them a confidence below 1"):
            call(["VAS", "VGS"], expected_returns=house)


def test_groups_are_of_the_universe(provider):
    three = ["VAS", "VGS", "VAF"]
    free = provider.optimize_portfolio(three, "max_return")
    least = {"bonds": (0.3, 0.6)}
    held = provider.optimize_portfolio(three, "max_return", groups={"asset_class": least})
    named = provider.optimize_portfolio(
        three, "max_return", groups=[GroupLimit("bonds", ("VAF",), 0.3, 0.6)]
    )
    for found in (held, named):
        assert found["optimization_success"]
        assert 0.3 - 1e-9 <= found["optimal_weights"]["VAF"] <= 0.6 + 1e-9
    assert held["expected_return"] == pytest.approx(named["expected_return"], rel=1e-9)
    assert max(free["optimal_weights"].values()) == pytest.approx(1.0, abs=1e-9)
    with pytest.raises(ArgumentError, match="no ticker has 'cash'; there are bonds, shares"):
        provider.optimize_portfolio(three, groups={"asset_class": {"cash": (0, 1)}})


def test_a_portfolio_of_the_file(provider):
    assert provider.model_portfolios == ["calm"]
    three = ["VAS", "VGS", "VAF"]
    found = provider.optimize_model_portfolio("calm")
    assert found == provider.optimize_portfolio(
        three, "min_volatility", lookback_years=2, max_weight=0.5
    )
    changed = provider.optimize_model_portfolio("calm", max_weight=0.4, lookback_years=0)
    assert changed == provider.optimize_portfolio(
        three, "min_volatility", lookback_years=None, max_weight=0.4
    )
    with pytest.raises(ArgumentError, match=r"portfolio 'clam': .*did you mean calm"):
        provider.optimize_model_portfolio("clam")
    with pytest.raises(ArgumentError, match="max_wieght"):
        provider.optimize_model_portfolio("calm", max_wieght=0.4)


def test_metrics_of_given_weights(provider):
    """One ticker's are the ticker's; two's are of the weighted returns, against a benchmark too."""
    alone = provider.portfolio_metrics({"VAS": 1.0, "VGS": 0.0}, 3, benchmark="VTS")
    ticker = provider.calculate_risk_metrics("VAS", 3, benchmark="VTS")
    for name, value in ticker.items():
        if isinstance(value, float):
            assert alone[name] == pytest.approx(value, rel=1e-9), name
    assert (alone["n_obs"], alone["start"]) == (ticker["n_obs"], ticker["start"])
    found = provider.portfolio_metrics(pd.Series({"VAS": 0.6, "VAF": 0.4}), 0, benchmark="VTS")
    returns = provider.get_returns(["VAS", "VAF", "VTS"])
    mixed = 0.6 * returns["VAS"] + 0.4 * returns["VAF"]
    beta = np.cov(mixed, returns["VTS"])[0, 1] / returns["VTS"].var()
    assert found["beta"] == pytest.approx(beta, rel=1e-9)
    assert found["total_return"] == pytest.approx((1 + mixed).prod() - 1, rel=1e-9)
    assert found["weights"] == {"VAS": 0.6, "VAF": 0.4}
    assert (found["rebalance"], found["base_currency"], found["fx"]) == ("daily", "AUD", None)
    drift = provider.portfolio_metrics({"VAS": 0.6, "VAF": 0.4}, 0, rebalance="never")
    ends = [(1 + returns[t]).prod() for t in ("VAS", "VAF")]
    assert drift["total_return"] == pytest.approx(0.6 * ends[0] + 0.4 * ends[1] - 1, rel=1e-9)
    with pytest.raises(ArgumentError, match=r"weights sum to 0\.9, not to 1"):
        provider.portfolio_metrics({"VAS": 0.5, "VAF": 0.4})
    with pytest.raises(ArgumentError, match="rebalance 'weekly': must be one of daily, monthly"):
        provider.portfolio_metrics({"VAS": 1.0}, rebalance="weekly")


def test_the_optimum_and_its_metrics_agree(provider):
    """Mean and variance of one window; each ticker here has the same sessions."""
    best = provider.optimize_portfolio(FOUR, "min_volatility", lookback_years=3)
    found = provider.portfolio_metrics(best["optimal_weights"], 3)
    assert found["volatility"] == pytest.approx(best["volatility"], rel=1e-6)
    assert found["mean_return"] == pytest.approx(best["expected_return"], rel=1e-6)


def test_what_was_asked_is_recorded_as_json(root, tmp_path, provider):
    """In event mode: fields by their names in portfolios.yaml, whatever types they came in."""
    shutil.copytree(root / "store", tmp_path / "store")
    system = ETFSystem(Settings(data_dir=tmp_path / "store"), embedded_settings())
    try:
        answer = system.provider.optimize_portfolio(
            (t for t in ("VAS", "VGS", "VAF")),
            "max_return",
            lookback_years=np.int64(2),
            bounds={"VAS": np.array([0.1, 0.5])},
            groups={"asset_class": {"bonds": (np.float64(0.2), 0.6)}},
            holdings=pd.Series({"VAS": 0.5, "VAF": 0.5}),
            max_turnover=Decimal("0.4"),
        )
        system.provider.optimize_portfolio(
            ["VAS", "VTS"], "max_return", groups=[GroupLimit("a", ("VTS",), 0.1, 0.3)]
        )
        system.provider.portfolio_metrics({"VAS": 0.6, "VGS": 0.4})
        state = asyncio.run(system.replay_events())
    finally:
        system.close()
    found = state.portfolios["VAF+VAS+VGS"]
    assert found.weights == answer["optimal_weights"]
    assert found.parameters == {
        "tickers": ["VAS", "VGS", "VAF"],
        "objective": "max_return",
        "lookback_years": 2,
        "risk_free_rate": 0.0,
        "bounds": {"VAS": [0.1, 0.5]},
        "groups": {"asset_class": {"bonds": [0.2, 0.6]}},
        "holdings": {"VAS": 0.5, "VAF": 0.5},
        "max_turnover": 0.4,
    }
    own = {"a": {"members": ["VTS"], "range": [0.1, 0.3]}}
    assert state.portfolios["VAS+VTS"].parameters["groups"] == own
    assert state.query_counts["VGS"] == 1


def test_a_backtest_of_one_ticker_is_its_prices(provider):
    """Bought once, a cost of 0.001 paid out of 1: 1/1.001 is bought, and held."""
    found = provider.backtest(
        "VAS",
        "min_volatility",
        lookback_years=2,
        rebalance="never",
        trading_cost=0.001,
        benchmark="VGS",
        compare_with={"VGS": 1.0},
    )
    course = found["course"]
    closes = provider.load_etf_data("VAS")["adj_close"].loc[course.index]
    expected = closes / closes.iloc[0] / 1.001
    assert course["wealth"].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-9)
    assert course["cost"].dropna().tolist() == pytest.approx([0.001 / 1.001], rel=1e-9)
    other = provider.load_etf_data("VGS")["adj_close"].loc[course.index]
    assert course["benchmark_wealth"].to_numpy() == pytest.approx(
        (other / other.iloc[0]).to_numpy(), rel=1e-9
    )
    assert found["metrics"]["total_return"] == pytest.approx(  # of the 1 that was paid in
        closes.iloc[-1] / closes.iloc[0] / 1.001 - 1, rel=1e-9
    )
    assert found["metrics"]["beta"] is not None
    assert found["comparison_metrics"]["total_return"] == pytest.approx(
        other.iloc[-1] / other.iloc[0] / 1.001 - 1, rel=1e-9
    )
    assert found["weights"].to_numpy().tolist() == [[pytest.approx(1.0, rel=1e-12)]]
    assert (found["start"], found["base_currency"]) == (course.index[0].date(), "AUD")


def test_a_backtest_takes_what_a_portfolio_of_the_file_does(provider):
    by_name = provider.backtest_model_portfolio("calm")
    stated = provider.backtest(
        ["VAS", "VGS", "VAF"], "min_volatility", lookback_years=2, max_weight=0.5
    )
    assert by_name["course"].equals(stated["course"])
    assert by_name["weights"].equals(stated["weights"])
    assert by_name["weights"].to_numpy().max() <= 0.5 + 1e-9
    monthly = provider.backtest_model_portfolio("calm", rebalance="monthly", max_weight=0.4)
    assert len(monthly["weights"]) > 2 * len(by_name["weights"])
    for call in (
        lambda years: provider.backtest(FOUR, lookback_years=years),
        lambda years: provider.backtest_model_portfolio("calm", lookback_years=years),
    ):
        with pytest.raises(ArgumentError, match="a window of years that moves along"):
            call(0)
        with pytest.raises(ArgumentError, match="must be whole years"):
            call(0.5)
    with pytest.raises(ArgumentError, match="did you mean rebalance"):
        provider.backtest(FOUR, rebalanced="monthly")
    with pytest.raises(UnknownTickerError, match="'NOPE'"):
        provider.backtest(FOUR, compare_with="NOPE")
    with pytest.raises(InsufficientDataError):
        provider.backtest(FOUR, lookback_years=50)
