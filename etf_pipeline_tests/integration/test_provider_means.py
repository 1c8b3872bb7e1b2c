"""Expected returns other than past means, asked of the provider."""

import numpy as np
import pytest

from etf_pipeline import ETFDataProvider
from etf_pipeline.errors import ArgumentError, UniverseError
from etf_pipeline_tests.integration.test_provider import FOUR, fill
from etf_pipeline_tests.support import asx_days, bars, walk, yahoo_rows

UNIVERSE = (
    "ticker,symbol,exchange,name,asset_class,issuer,currency,management_fee,market_weight\n"
    "VAS,VAS.AX,XASX,A,shares,Vanguard,AUD,0.07,20\n"
    "VGS,VGS.AX,XASX,B,shares,Vanguard,AUD,0.18,60\n"
    "VAF,VAF.AX,XASX,D,bonds,Vanguard,AUD,,20\n"
)
THREE = ["VAS", "VGS", "VAF"]
MARKET = {"VAS": 0.2, "VGS": 0.6, "VAF": 0.2}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("means")
    prices = folder / "prices"
    prices.mkdir()
    for i, ticker in enumerate(FOUR):
        rows = bars(asx_days("2021-01-04", 900), walk(900, seed=i))
        yahoo_rows(rows).to_parquet(prices / f"{ticker}.parquet")
    fill(folder / "store", prices, FOUR)
    (folder / "universe.csv").write_text(UNIVERSE)
    (folder / "portfolios.yaml").write_text(
        "portfolios:\n  - name: house\n    tickers: [VAS, VGS, VAF]\n    objective: max_sharpe\n"
        "    lookback_years: 3\n    expected_returns:\n      method: black_litterman\n"
        "      views:\n        - {ticker: VAF, over: VAS, return: 0.01, confidence: 0.5}\n"
    )
    return folder


@pytest.fixture
def provider(root, monkeypatch):
    monkeypatch.setenv("ETF_UNIVERSE_FILE", str(root / "universe.csv"))
    monkeypatch.setenv("ETF_PORTFOLIOS_FILE", str(root / "portfolios.yaml"))
    return ETFDataProvider(root / "store", risk_free_rate=0.03)


def test_equilibrium_rests_on_the_universe_and_the_rate(provider):
    w = np.array([MARKET[t] for t in THREE])
    covariance = provider.calculate_covariance_matrix(THREE, 3).to_numpy()
    found = provider.calculate_expected_returns(THREE, 3, method="equilibrium")
    assert found.to_numpy() == pytest.approx(0.03 + 2.5 * covariance @ w)
    assert "those of equilibrium" in found.attrs["remarks"][0]
    other = provider.calculate_expected_returns(
        THREE, 3, method={"method": "equilibrium", "risk_aversion": 5}, risk_free_rate=0.0
    )
    assert other.to_numpy() == pytest.approx(5 * covariance @ w)
    best = provider.optimize_portfolio(THREE, lookback_years=3, expected_returns="equilibrium")
    assert best["optimal_weights"] == pytest.approx(MARKET, abs=1e-7)
    assert best["expected_return"] == pytest.approx(w @ found.to_numpy())
    assert "those of equilibrium" in best["remarks"][0]


def test_past_means_are_the_default_and_say_how_uncertain_they_are(provider):
    plain = provider.calculate_expected_returns(THREE, 3)
    shrunk = provider.calculate_expected_returns(THREE, 3, method="bayes_stein")
    assert plain.attrs["remarks"][0].startswith("expected returns are past means over 3.0 years")
    assert np.ptp(shrunk) < np.ptp(plain)
    assert provider.calculate_covariance_matrix(THREE, 3).attrs["remarks"] == []


def test_the_frontier_is_of_the_same_means(provider):
    asked = {"method": "given", "returns": {"VAS": 0.09, "VGS": 0.08, "VAF": 0.04}}
    found = provider.get_efficient_frontier_data(THREE, 5, 3, expected_returns=asked)
    assert found["expected_return"].to_numpy() == pytest.approx(
        found[THREE].to_numpy() @ [0.09, 0.08, 0.04]
    )
    assert found["expected_return"].iloc[-1] == pytest.approx(0.09)


def test_a_portfolio_of_the_file_with_its_views_and_with_others(provider):
    own = provider.optimize_model_portfolio("house")
    assert "with 1 view" in own["remarks"][0]
    views = [{"ticker": "VAF", "over": "VAS", "return": 0.01, "confidence": 0.5}]
    block = {"method": "black_litterman", "views": views}
    same = provider.optimize_portfolio(THREE, lookback_years=3, expected_returns=block)
    assert same["optimal_weights"] == pytest.approx(own["optimal_weights"], abs=1e-9)
    plain = provider.optimize_model_portfolio("house", expected_returns="historical")
    assert plain["optimal_weights"] != pytest.approx(own["optimal_weights"], abs=1e-3)
    limited = provider.optimize_model_portfolio("house", max_weight=0.5)
    assert limited["remarks"] == own["remarks"]


@pytest.mark.parametrize(
    ("tickers", "block", "words"),
    [
        (THREE, {"method": "equilibrium", "net_of_fees": True}, "no management_fee of VAF"),
        (["VAS", "VTS"], "equilibrium", "no market_weight of VTS"),
        (["VAS", "VTS"], {"method": "given", "asset_classes": {"shares": 0.1}}, r"VTS \(no asset"),
        (THREE, {"method": "given", "asset_classes": {"share": 0.1}}, "did you mean shares"),
        (THREE, {"method": "given", "returns": {"IVV": 0.1}}, "returns name IVV"),
        (THREE, "bayes", "must be one of historical, james_stein, bayes_stein"),
        (THREE, 3, "expected_returns"),
    ],
)
def test_what_cannot_be_is_refused_by_name_in_every_method(provider, tickers, block, words):
    with pytest.raises(ArgumentError, match=words):
        provider.calculate_expected_returns(tickers, 3, method=block)
    with pytest.raises(ArgumentError, match=words):
        provider.optimize_portfolio(tickers, lookback_years=3, expected_returns=block)
    with pytest.raises(ArgumentError, match=words):
        provider.get_efficient_frontier_data(tickers, 3, 3, expected_returns=block)


def test_views_that_contradict_each_other_are_named(provider):
    views = [
        {"ticker": "VAS", "return": 0.05, "confidence": 1},
        {"ticker": "VAS", "return": 0.08, "confidence": 1.0},
    ]
    block = {"method": "black_litterman", "views": views}
    with pytest.raises(ValueError, match=r"view 1 .* and view 2 .* contradict each other"):
        provider.optimize_portfolio(THREE, lookback_years=3, expected_returns=block)


def test_the_universe_is_needed_only_where_it_has_a_say(root, monkeypatch):
    monkeypatch.setenv("ETF_UNIVERSE_FILE", str(root / "none.csv"))
    provider = ETFDataProvider(root / "store", risk_free_rate=0.03)
    given = {"method": "given", "returns": {"VAS": 0.09, "VAF": 0.04}}
    found = provider.calculate_expected_returns(["VAS", "VAF"], 3, method=given)
    assert found.to_dict() == {"VAS": 0.09, "VAF": 0.04}
    weights = {"method": "equilibrium", "market_weights": {"VAS": 1, "VAF": 1}}
    assert provider.calculate_expected_returns(["VAS", "VAF"], 3, method=weights).min() > 0
    with pytest.raises(UniverseError, match="does not exist"):
        provider.calculate_expected_returns(["VAS", "VAF"], 3, method="equilibrium")
