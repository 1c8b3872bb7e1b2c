"""Expected returns as a portfolio asks for them, over simulated prices."""

import re
from pathlib import Path

import numpy as np
import pytest

from etf_pipeline.errors import InsufficientDataError, PortfolioFileError
from etf_pipeline.model.expected_returns import ExpectedReturns
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.portfolio_file import load_portfolios
from etf_pipeline.model.portfolio_values import read_spec
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.universe import load_universe
from etf_pipeline.portfolio.backtest_tables import backtest_tables
from etf_pipeline.portfolio.tables import portfolio_tables
from etf_pipeline.risk.estimates import estimate
from etf_pipeline.risk.expected import Past, expected
from etf_pipeline.risk.risk_free import Unknown
from etf_pipeline_tests.portfolio_file import SERIES, TICKERS, UNIVERSE, specs
from etf_pipeline_tests.support import instrument

RATE = 0.03
PAST = Past(
    ("VAS", "VGS", "VAF"),
    np.array([0.12, 0.02, 0.04]),
    np.array([[0.0400, 0.0200, 0.0010], [0.0200, 0.0225, 0.0005], [0.0010, 0.0005, 0.0016]]),
    5.0,
    1260,
)
MARKET = {"VAS": 2.0, "VGS": 6.0, "VAF": 2.0}
FACTS = {
    "asset_class": {"VAS": "shares", "VGS": "shares", "VAF": "bonds"},
    "management_fee": {"VAS": 0.07, "VGS": 0.18, "VAF": 0.10},
    "market_weight": MARKET,
}


def of(block, past=PAST, facts=FACTS):
    return expected(ExpectedReturns.model_validate(block), past, RATE, facts)


def view(confidence=1.0, **said):
    return {"confidence": confidence, **said}


def litterman(*views, **more):
    return {"method": "black_litterman", "views": list(views), **more}


def test_past_means_say_how_little_they_are_known():
    found = of("historical")
    assert found.means.tolist() == PAST.means.tolist()
    # √(0.0016/5) and √(0.04/5)
    assert found.remarks == (
        "expected returns are past means over 5.0 years, give or take 1.8% to 8.9% a year",
    )


@pytest.mark.parametrize("method", ["james_stein", "bayes_stein"])
def test_shrunk_means_lie_between_what_they_were_and_what_they_are_drawn_to(method):
    found = of(method)
    assert np.ptp(found.means) <= np.ptp(PAST.means)
    assert found.covariance.tolist() == PAST.covariance.tolist()
    (said,) = found.remarks
    assert said.startswith("expected returns are past means over 5.0 years, shrunk by ")


def test_bayes_stein_by_the_formula():
    inverse = np.linalg.inv(PAST.covariance * 1259 / 1255)
    target = inverse.sum(axis=0) @ PAST.means / inverse.sum()
    d = PAST.means - target
    part = 5 / (5 + 5.0 * d @ inverse @ d)
    assert of("bayes_stein").means == pytest.approx(PAST.means - part * d)


def test_equilibrium_by_arithmetic():
    """rf + 2.5·Σw with w = (0.2, 0.6, 0.2)."""
    found = of("equilibrium")
    pulls = [
        0.2 * 0.0400 + 0.6 * 0.0200 + 0.2 * 0.0010,
        0.2 * 0.0200 + 0.6 * 0.0225 + 0.2 * 0.0005,
        0.2 * 0.0010 + 0.6 * 0.0005 + 0.2 * 0.0016,
    ]
    assert found.means == pytest.approx([RATE + 2.5 * p for p in pulls])
    assert found.remarks == (
        "expected returns are those of equilibrium (risk aversion 2.5, risk-free rate 3.00%)",
    )
    given = of(
        {"method": "equilibrium", "market_weights": {"VAS": 1, "VGS": 3, "VAF": 1}}, facts={}
    )
    assert given.means == pytest.approx(found.means)


def test_the_markets_own_risk_aversion():
    found = of({"method": "equilibrium", "risk_aversion": "market"})
    w = np.array([0.2, 0.6, 0.2])
    excess, variance = w @ PAST.means - RATE, w @ PAST.covariance @ w
    assert found.means == pytest.approx(RATE + excess / variance * PAST.covariance @ w)
    # so the market as a whole is expected to earn what it did
    assert w @ found.means == pytest.approx(w @ PAST.means)
    assert "from the market's past Sharpe ratio" in found.remarks[0]
    poor = Past(PAST.tickers, PAST.means - 0.05, PAST.covariance, 5.0, 1260)
    with pytest.raises(ValueError, match="give risk_aversion a number"):
        of({"method": "equilibrium", "risk_aversion": "market"}, poor)


def test_views_are_on_returns_in_all_and_on_differences():
    """Certain views hold exactly, in returns over which the risk-free rate is not taken off."""
    found = of(litterman(view(ticker="VAS", **{"return": 0.09})))
    assert found.means[0] == pytest.approx(0.09, rel=1e-12)
    found = of(litterman(view(ticker="VAS", over="VAF", **{"return": 0.03})))
    assert found.means[0] - found.means[2] == pytest.approx(0.03, rel=1e-12)
    basket = {"VAS": 0.5, "VGS": 0.5, "VAF": -1.0}
    found = of(litterman(view(weights=basket, **{"return": 0.05})))
    assert found.means @ [0.5, 0.5, -1.0] == pytest.approx(0.05, rel=1e-12)


def test_half_a_confidence_goes_half_the_way():
    prior = of("equilibrium").means
    half = of(litterman(view(0.5, ticker="VAF", **{"return": 0.06}))).means
    assert half[2] == pytest.approx((prior[2] + 0.06) / 2)


def test_a_view_of_no_confidence_says_nothing_and_is_told():
    found = of(litterman(view(0.0, ticker="VAS", **{"return": 0.5})))
    assert found.means.tolist() == of("equilibrium").means.tolist()
    assert "view VAS: of confidence 0, so it says nothing" in found.remarks


def test_a_variance_is_that_of_the_views_error():
    """With τσ² of the prior and as much of the view, the mean is in the middle."""
    prior = of("equilibrium").means[0]
    said = {"ticker": "VAS", "return": 0.10, "variance": 0.05 * 0.04}
    assert of(litterman(said)).means[0] == pytest.approx((prior + 0.10) / 2)
    sure = {"ticker": "VAS", "return": 0.10, "variance": 0}
    assert of(litterman(sure)).means[0] == pytest.approx(0.10)


def test_risk_stays_that_of_returns_unless_its_error_is_asked_for():
    block = litterman(view(0.5, ticker="VAS", **{"return": 0.09}))
    assert of(block).covariance.tolist() == PAST.covariance.tolist()
    more = of(block | {"posterior_covariance": True})
    # of VAS: σ² + τσ²/2
    assert more.covariance[0, 0] == pytest.approx(0.04 * (1 + 0.05 / 2))
    assert np.linalg.eigvalsh(more.covariance - PAST.covariance).min() > 0
    assert any("posterior covariance" in r for r in more.remarks)


def test_certain_views_that_contradict_each_other_are_named():
    with pytest.raises(ValueError, match=r"view 1 \(VAS: 0\.05\) and view 3 \(VAS: 0\.08\) contra"):
        of(
            litterman(
                view(ticker="VAS", **{"return": 0.05}),
                view(ticker="VGS", **{"return": 0.05}),
                view(ticker="VAS", **{"return": 0.08}),
            )
        )


def test_a_view_on_what_has_no_risk_is_refused():
    still = Past(("VAS", "BILL"), np.array([0.1, 0.03]), np.diag([0.04, 0.0]), 5.0, 1260)
    block = litterman(
        view(0.5, ticker="BILL", **{"return": 0.05}), market_weights={"VAS": 1, "BILL": 1}
    )
    with pytest.raises(ValueError, match=r"BILL is known to earn 0\.03, as it has no risk"):
        of(block, still)


def test_means_that_are_given_by_ticker_and_by_asset_class():
    found = of(
        {
            "method": "given",
            "returns": {"VGS": 0.08},
            "asset_classes": {"shares": 0.07, "bonds": 0.04},
        }
    )
    assert found.means.tolist() == [0.07, 0.08, 0.04]
    assert found.remarks == ("expected returns are given, by ticker and asset class",)


@pytest.mark.parametrize(
    ("block", "means"),
    [
        ({"method": "given", "asset_classes": {"shares": 0.07, "bonds": 0.04}}, [0.07, 0.07, 0.04]),
        ("equilibrium", None),
        (litterman(view(0.5, ticker="VAS", **{"return": 0.09})), None),
    ],
)
def test_fees_are_taken_off_what_is_before_fees(block, means):
    block = {"method": block} if isinstance(block, str) else block
    before, after = of(block), of(block | {"net_of_fees": True})
    assert before.means - after.means == pytest.approx([0.0007, 0.0018, 0.0010])
    if means is not None:
        assert before.means.tolist() == means
    assert (
        after.remarks[-1]
        == "management fees of 0.07% to 0.18% a year are taken off expected returns"
    )


def test_a_missing_fee_is_named():
    block = {"method": "equilibrium", "net_of_fees": True}
    with pytest.raises(ValueError, match="no management_fee of VGS: fill it in the universe"):
        of(block, facts=FACTS | {"management_fee": {"VAS": 0.0, "VAF": 0.1}})


def test_what_the_market_weighs_must_be_known():
    with pytest.raises(ValueError, match="no market_weight of VAS, VAF: fill it in the universe"):
        of("equilibrium", facts=FACTS | {"market_weight": {"VGS": 1.0}})
    with pytest.raises(ValueError, match="every market_weight of VAS, VGS, VAF is 0"):
        of("equilibrium", facts=FACTS | {"market_weight": dict.fromkeys(MARKET, 0.0)})


def test_a_singular_covariance_is_no_obstacle_to_equilibrium_or_views():
    twins = Past(("A", "B"), np.array([0.1, 0.1]), np.full((2, 2), 0.04), 5.0, 1260)
    block = litterman(view(0.5, ticker="A", **{"return": 0.09}), market_weights={"A": 1, "B": 3})
    found = of(block, twins)
    assert found.means == pytest.approx([(RATE + 0.1 + 0.09) / 2] * 2)
    with pytest.raises(ValueError, match="the covariance is singular; estimator: ledoit_wolf"):
        of("bayes_stein", twins)


def test_one_ticker():
    one = Past(("A",), np.array([0.1]), np.array([[0.04]]), 5.0, 1260)
    for method in ("historical", "james_stein", "bayes_stein"):
        assert of(method, one).means.tolist() == [0.1]
    assert of({"method": "equilibrium", "market_weights": {"A": 7}}, one).means == pytest.approx(
        [0.13]
    )


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"method": "past"}, "historical"),
        ({"method": "historical", "net_of_fees": True}, "net of fees already"),
        ({"method": "given"}, "needs returns by ticker, or asset_classes"),
        ({"method": "given", "returns": {"VAS": "0.08"}}, "valid number"),
        ({"method": "given", "returns": {"VAS": 8}}, "less than 1"),
        ({"method": "given", "returns": {"VAS": float("nan")}}, "returns"),
        ({"method": "given", "returns": {"VAS": 0.1}, "tau": 0.1}, "tau goes with method: black"),
        ({"method": "equilibrium", "views": []}, "views goes with method: black_litterman"),
        ({"method": "equilibrium", "market_weights": {"VAS": -1}}, "greater than or equal to 0"),
        ({"method": "equilibrium", "market_weights": {"VAS": 0}}, "market_weights are all 0"),
        ({"method": "equilibrium", "risk_aversion": 0}, "neither a number"),
        ({"method": "equilibrium", "risk_aversion": True}, "neither a number"),
        (litterman(), "without any it is equilibrium"),
        (litterman(view(ticker="VAS")), "return"),
        (litterman({"ticker": "VAS", "return": 0.1}), "confidence (0 to 1) or a variance"),
        (litterman(view(ticker="VAS", variance=0.1, **{"return": 0.1})), "one of them"),
        (litterman(view(1.5, ticker="VAS", **{"return": 0.1})), "less than or equal to 1"),
        (litterman(view(True, ticker="VAS", **{"return": 0.1})), "valid number"),
        (litterman(view(**{"return": 0.1})), "on a ticker or on weights"),
        (litterman(view(ticker="VAS", over="VAS", **{"return": 0.1})), "over goes with another"),
        (litterman(view(over="VAS", weights={"VGS": 1}, **{"return": 0.1})), "over goes with"),
        (litterman(view(weights={"VAS": 1, "VGS": 1}, **{"return": 0.1})), "sum to 2"),
        (litterman(view(weights={"VAS": 0}, **{"return": 0.1})), "are all 0"),
    ],
)
def test_what_makes_no_sense_is_refused(block, words):
    with pytest.raises(ValueError) as told:
        ExpectedReturns.model_validate(block)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (
            litterman(view(ticker="VAS", over="IVV", **{"return": 0.1})),
            "view 1 (VAS over IVV) names IVV, which is not in tickers",
        ),
        ({"method": "given", "returns": {"IVV": 0.1}}, "returns name IVV, which is not in tickers"),
        (
            {"method": "equilibrium", "market_weights": {"VAS": 1}},
            "market_weights lack VGS; 0 stands for",
        ),
    ],
)
def test_tickers_are_those_of_the_portfolio(block, words):
    with pytest.raises(ValueError) as told:
        PortfolioSpec(
            name="p", tickers=["VAS", "VGS"], objective="max_sharpe", expected_returns=block
        )
    assert words in str(told.value)


ASKED = "    objective: max_sharpe\n    expected_returns:\n"
VIEWS = (
    ASKED
    + "      method: black_litterman\n      market_weights: {VAS: 5, VGS: 3, VAF: 1, VGB: 1}\n"
)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (ASKED + "      method: black\n", 7, "expected_returns.method"),
        (ASKED + "      method: given\n      returns: {VAS: lots}\n", 8, "returns.VAS"),
        (ASKED + "      method: given\n      return: {VAS: 0.1}\n", 8, "did you mean returns?"),
        (
            VIEWS + "      views:\n        - {tickers: VAS, return: 0.08, confidence: 1}\n",
            10,
            "did you mean ticker?",
        ),
        (
            ASKED + "      method: equilibrium\n",
            7,
            "no market_weight of VAS, VGS, VAF, VGB: fill it in the universe for every ticker, or "
            "give market_weights",
        ),
        (
            ASKED + "      method: given\n      asset_classes: {fixed_incom: 0.04}\n",
            8,
            "did you mean fixed_income?",
        ),
        (
            ASKED + "      method: given\n      asset_classes: {fixed_income: 0.04}\n",
            7,
            "no return is given for VAS (australian_equity), VGS (australian_equity)",
        ),
        (
            ASKED + "      method: given\n"
            "      asset_classes: {fixed_income: 0.04, australian_equity: 0.07}\n"
            "      net_of_fees: true\n",
            9,
            "no management_fee of VAS, VGS, VAF, VGB",
        ),
        (VIEWS + "      views:\n        - {ticker: VAS, return: 8, confidence: 1}\n", 10, "8"),
        (VIEWS + "      views: {ticker: VAS}\n", 9, "give a list"),
        (
            VIEWS + "      views:\n        - {ticker: IVV, return: 0.08, confidence: 1}\n",
            7,
            "view 1 (IVV) names IVV, which is not in tickers",
        ),
    ],
)
def test_problems_of_the_file_are_quoted_by_line(tmp_path, text, line, words):
    with pytest.raises(PortfolioFileError) as told:
        specs(tmp_path, text)
    assert f"line {line}: " in str(told.value)
    assert words in str(told.value)


MARKET_OF_FILE = {"VAS": 0.4, "VGS": 0.3, "VAF": 0.2, "VGB": 0.1}
ALL = [SERIES[t] for t in TICKERS]


def test_the_best_sharpe_ratio_of_equilibrium_is_the_market(tmp_path):
    """Reverse optimisation, and back: the weights are those that the returns were made from."""
    text = (
        ASKED + "      method: equilibrium\n      risk_aversion: 3\n"
        "      market_weights: {VAS: 4, VGS: 3, VAF: 2, VGB: 1}\n"
    )
    tables = portfolio_tables(specs(tmp_path, text), SERIES, 5, RATE)
    rows = tables.weights.to_pylist()
    found = {r["ticker"]: r["weight"] for r in rows}
    assert found == pytest.approx(MARKET_OF_FILE, abs=1e-7)
    (summary,) = tables.summary.to_pylist()
    assert summary["success"]
    assert "those of equilibrium (risk aversion 3, risk-free rate 3.00%)" in summary["message"]
    covariance = estimate(ALL, 2).covariance
    w = np.array([MARKET_OF_FILE[t] for t in TICKERS])
    pulls = dict(zip(TICKERS, RATE + 3 * covariance @ w, strict=True))
    assert {r["ticker"]: r["expected_return"] for r in rows} == pytest.approx(pulls)
    assert summary["expected_return"] == pytest.approx(RATE + 3 * w @ covariance @ w)


def test_views_move_weights_towards_what_they_favour(tmp_path):
    plain, viewed = (
        portfolio_tables(
            specs(tmp_path, VIEWS.replace("black_litterman", method) + more), SERIES, 5, 0.0
        )
        for method, more in (
            ("equilibrium", ""),
            (
                "black_litterman",
                "      views:\n        - {ticker: VGB, over: VAS, return: 0.10, confidence: 0.4}\n",
            ),
        )
    )
    before, after = (
        {r["ticker"]: r["weight"] for r in t.weights.to_pylist()} for t in (plain, viewed)
    )
    assert after["VGB"] > before["VGB"] + 0.05
    assert after["VAS"] < before["VAS"] - 0.05
    assert "with 1 view" in viewed.summary.to_pylist()[0]["message"]


def test_one_list_of_assumptions_serves_many_portfolios(tmp_path):
    """Asset classes of the universe that a portfolio does not hold are no mistake."""
    path = tmp_path / "portfolios.yaml"
    path.write_text(
        "portfolios:\n  - name: bonds\n    tickers: [VAF, VGB]\n    objective: max_sharpe\n"
        "    expected_returns: &assumptions\n      method: given\n"
        "      asset_classes: {australian_equity: 0.08, fixed_income: 0.04}\n"
        "  - name: all\n    tickers: [VAS, VAF]\n    objective: max_sharpe\n"
        "    expected_returns: *assumptions\n"
    )
    tables = portfolio_tables(load_portfolios(path, UNIVERSE), SERIES, 5, 0.0, UNIVERSE.facts())
    found = {
        (r["portfolio"], r["ticker"]): r["expected_return"] for r in tables.weights.to_pylist()
    }
    assert found == {
        ("all", "VAF"): 0.04,
        ("all", "VAS"): 0.08,
        ("bonds", "VAF"): 0.04,
        ("bonds", "VGB"): 0.04,
    }


def test_a_portfolio_without_the_columns_that_it_needs_says_so(tmp_path):
    """The file was read with another universe than the numbers are made with."""
    (spec,) = specs(tmp_path, "    objective: max_sharpe\n")
    asked = ExpectedReturns.model_validate("equilibrium")
    tables = portfolio_tables([spec.model_copy(update={"expected_returns": asked})], SERIES, 5, 0.0)
    (summary,) = tables.summary.to_pylist()
    assert not summary["success"]
    assert "no market_weight of VAS, VGS, VAF, VGB" in summary["message"]


def test_backtests_shrink_by_the_past_alone(tmp_path):
    """Prices after a decision change no weight before it."""
    text = "    objective: max_sharpe\n    expected_returns: bayes_stein\n"
    (spec,) = specs(tmp_path, text)
    assert spec.expected_returns.method == "bayes_stein"
    whole = backtest_tables([spec], SERIES, 5, 0.0).weights.to_pylist()
    cut = SERIES["VAS"].prices.index[-70].date()
    short = {t: s.until(cut) for t, s in SERIES.items()}
    part = backtest_tables([spec], short, 5, 0.0).weights.to_pylist()
    assert len({r["date"] for r in part}) >= 3
    assert part == [r for r in whole if r["date"] <= cut][: len(part)]


def test_what_a_backtest_knows_before_its_time_is_told():
    for method in ("historical", "james_stein", "bayes_stein"):
        assert ExpectedReturns(method=method).hindsight is None
    said = ExpectedReturns(method="given", returns={"VAS": 0.1}).hindsight
    assert said == "hindsight: the given returns are today's at every past rebalance"


def test_tickers_may_go_by_their_former_names(tmp_path):
    universe = Universe((instrument("VAS", aliases=("OLD",)), instrument("VGS")))
    path = tmp_path / "portfolios.yaml"
    path.write_text(
        "portfolios:\n  - name: p\n    tickers: [OLD, VGS]\n    objective: max_sharpe\n"
        "    expected_returns:\n      method: black_litterman\n"
        "      market_weights: {OLD: 1, VGS: 2}\n      views:\n"
        "        - {ticker: VGS, over: OLD, return: 0.01, confidence: 1}\n"
        "        - {weights: {OLD: 1}, return: 0.05, variance: 0.001}\n"
    )
    (spec,) = load_portfolios(path, universe)
    assert spec.expected_returns.market_weights == {"VAS": 1.0, "VGS": 2.0}
    assert [v.shares for v in spec.expected_returns.views] == [
        {"VGS": 1.0, "VAS": -1.0},
        {"VAS": 1.0},
    ]


def test_what_is_dumped_can_be_read_again(tmp_path):
    """Events and calls that change one field of a portfolio have it by the names of the file."""
    views = VIEWS + "      views:\n        - {ticker: VGB, over: VAS, return: 0.1, confidence: 1}\n"
    for text in (views, "    objective: max_sharpe\n    expected_returns: bayes_stein\n"):
        (spec,) = specs(tmp_path, text)
        dumped = spec.model_dump(mode="json", exclude_unset=True)
        assert read_spec(dumped) == spec


def test_a_resample_is_estimated_from_as_the_history_was():
    """Each draw is shrunk by itself; given means stay what they are."""
    past = estimate(ALL, 2)
    draw = past.sample.drawn(np.arange(len(past.sample.days)).repeat(2)[::2][:-50])
    plain = past.of_drawn(draw)
    assert plain.means.tolist() == draw.means().tolist()
    for block in ("historical", "bayes_stein"):
        asked = ExpectedReturns.model_validate(block)
        found = past.expecting(asked, RATE).of_drawn(draw)
        assert found.means.tolist() == plain.expecting(asked, RATE).means.tolist()
    returns = dict.fromkeys(TICKERS, 0.05)
    given = past.expecting(ExpectedReturns(method="given", returns=returns), RATE)
    assert given.of_drawn(draw).means.tolist() == [0.05] * 4
    assert given.of_drawn(draw).covariance.tolist() == draw.covariance().tolist()


def test_before_a_ticker_was_there_nobody_had_a_view_on_it(tmp_path):
    """VGB lists two years late: views on it wait, and the market is of the others till then."""
    views = VIEWS + (
        "      views:\n        - {ticker: VGB, over: VAS, return: 0.2, confidence: 1}\n"
        "        - {ticker: VAF, over: VAS, return: 0.0, confidence: 1}\n"
    )
    (spec,) = specs(tmp_path, views.replace("max_sharpe", "max_return"))
    early = spec.expected_returns.among(["VAS", "VGS", "VAF"])
    assert [v.label for v in early.views] == ["VAF over VAS"]
    assert early.market_weights == {"VAS": 5.0, "VGS": 3.0, "VAF": 1.0}
    spec = spec.model_copy(update={"lookback_years": 1})
    late = SERIES["VGB"].prices.index[350].date()
    prices = SERIES | {"VGB": SERIES["VGB"].since(late)}
    tables = backtest_tables([spec], prices, 5, 0.0)
    assert not tables.failures
    rows = tables.weights.to_pylist()
    first = min(r["date"] for r in rows if r["ticker"] == "VGB" and r["weight"] > 0)
    assert min(r["date"] for r in rows) < first
    assert all(r["weight"] == 0 for r in rows if r["ticker"] == "VGB" and r["date"] < first)
    # from then on it is held alone: a certain view of 20 % over VAS makes it the greatest
    assert [r["weight"] for r in rows if r["ticker"] == "VGB" and r["date"] >= first] == (
        pytest.approx([1.0] * len({r["date"] for r in rows if r["date"] >= first}))
    )


def test_a_risk_free_rate_is_asked_for_by_the_methods_of_the_market_alone():
    past = estimate(ALL, 2)
    unknown = Unknown("CASH", InsufficientDataError("nothing is known of CASH"))
    returns = dict.fromkeys(TICKERS, 0.05)
    for asked in ({"method": "given", "returns": returns}, "historical", "bayes_stein"):
        past.expecting(ExpectedReturns.model_validate(asked), unknown)
    market = {"method": "equilibrium", "market_weights": MARKET_OF_FILE}
    with pytest.raises(InsufficientDataError, match="nothing is known of CASH"):
        past.expecting(ExpectedReturns.model_validate(market), unknown)


def test_the_examples_of_the_page_can_be_used_as_they_are(tmp_path):
    root = Path(__file__).parents[2]
    page = (root / "docs" / "portfolios.md").read_text()
    blocks = [b for b in re.findall(r"```yaml\n(.*?)```", page, re.S) if "expected_returns:" in b]
    assert len(blocks) >= 3
    universe = load_universe(root / "data" / "universe.csv")
    for block in blocks:
        text = block
        if not block.startswith("portfolios:"):
            inner = "".join(f"    {line}\n" for line in block.splitlines())
            head = "portfolios:\n  - name: p\n    tickers: [VAS, VGS, VAF]\n"
            text = f"{head}    objective: max_sharpe\n{inner}"
        path = tmp_path / "portfolios.yaml"
        path.write_text(text)
        for spec in load_portfolios(path, universe):
            assert spec.expected_returns.method != "historical"
