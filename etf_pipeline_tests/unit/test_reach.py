"""Active risk, exposures and few holdings: from `portfolios.yaml` to answers and refusals."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest

from etf_pipeline.errors import InsufficientDataError, PortfolioFileError
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.portfolio_file import load_portfolios
from etf_pipeline.portfolio.backtest import backtest_portfolio
from etf_pipeline.portfolio.backtest_tables import walked
from etf_pipeline.portfolio.benchmarks import benchmark_of
from etf_pipeline.portfolio.building import problem_of
from etf_pipeline.portfolio.tables import portfolio_tables
from etf_pipeline.portfolio.uncertainty_tables import resampled_portfolio
from etf_pipeline.portfolio.validation import validated
from etf_pipeline.risk.conversion import Conversion, Rates, Together
from etf_pipeline.risk.estimates import estimate, estimate_of
from etf_pipeline.steps.table_checks import wrong_weights
from etf_pipeline_tests.fx_support import BY_HAND, FX, MIXED, NAMED
from etf_pipeline_tests.portfolio_file import DAYS, SERIES, TICKERS, UNIVERSE
from etf_pipeline_tests.support import instrument

ALL = [SERIES[t] for t in TICKERS]
JOINT = estimate(ALL, 2)  # of all four, as every portfolio below that names all of them has it
SIGMA, MU = JOINT.covariance, JOINT.means
RATE = 0.01
E = dict(zip(TICKERS, np.eye(4), strict=True))


def specs_of(tmp_path, text, tickers=TICKERS):
    path = tmp_path / "portfolios.yaml"
    head = f"portfolios:\n  - name: p\n    tickers: [{', '.join(tickers)}]\n    lookback_years: 2\n"
    lines = "".join(f"    {line}\n" for line in text.split("; "))
    path.write_text(head + lines)
    return load_portfolios(path, UNIVERSE)


def solve(tmp_path, text, tickers=TICKERS, rate=RATE):
    tables = portfolio_tables(specs_of(tmp_path, text, tickers), SERIES, 5, rate, UNIVERSE.facts())
    held = {r["ticker"]: r["weight"] for r in tables.weights.to_pylist()}
    summary = tables.summary.to_pylist()[0]
    assert not wrong_weights(tables.weights, tables.summary)
    return summary, np.array([held.get(t, 0.0) for t in TICKERS])


def refusal(tmp_path, text, tickers=TICKERS):
    with pytest.raises(PortfolioFileError) as caught:
        specs_of(tmp_path, text, tickers)
    return str(caught.value)


def error_to(weights, benchmark):
    off = weights - benchmark
    return float(np.sqrt(off @ SIGMA @ off))


def least(expression, *limits):
    """The value of a convex problem by a peer, and its weights."""
    problem = cp.Problem(cp.Minimize(expression), list(limits))
    return problem.solve(solver=cp.CLARABEL)


W = cp.Variable(4)
RISK = cp.quad_form(W, cp.psd_wrap(SIGMA))
LONG = [W >= 0, cp.sum(W) == 1]


def test_the_greatest_utility(tmp_path):
    summary, w = solve(tmp_path, "objective: max_utility; risk_aversion: 6")
    assert summary["success"], summary["message"]
    best = least(3.0 * RISK - MU @ W, *LONG)
    assert 3.0 * w @ SIGMA @ w - MU @ w == pytest.approx(best, abs=1e-8)


@pytest.mark.parametrize(
    ("benchmark", "weights"),
    [("VAS", E["VAS"]), ("{VAS: 0.6, VAF: 0.4}", 0.6 * E["VAS"] + 0.4 * E["VAF"])],
)
def test_active_risk_to_its_own_tickers(tmp_path, benchmark, weights):
    summary, w = solve(
        tmp_path, f"objective: max_return; benchmark: {benchmark}; max_tracking_error: 0.03"
    )
    assert summary["success"], summary["message"]
    off = W - weights
    most = least(-MU @ W, *LONG, cp.quad_form(off, cp.psd_wrap(SIGMA)) <= 0.03**2)
    assert -MU @ w == pytest.approx(most, abs=1e-6)
    assert summary["tracking_error"] == pytest.approx(error_to(w, weights), rel=1e-9)
    assert summary["beta"] == pytest.approx(w @ SIGMA @ weights / (weights @ SIGMA @ weights))


@pytest.mark.parametrize(
    ("benchmark", "weights"),
    [("VGB", E["VGB"]), ("{VAS: 0.3, VGB: 0.7}", 0.3 * E["VAS"] + 0.7 * E["VGB"])],
)
def test_a_benchmark_outside_is_estimated_together(tmp_path, benchmark, weights):
    """Estimates of three tickers and a fourth beside them are those of all four."""
    summary, w = solve(
        tmp_path, f"objective: min_tracking_error; benchmark: {benchmark}", TICKERS[:3]
    )
    assert summary["success"], summary["message"]
    closest = least(cp.quad_form(W - weights, cp.psd_wrap(SIGMA)), *LONG, W[3] == 0)
    assert summary["tracking_error"] == pytest.approx(np.sqrt(closest), rel=1e-6)
    assert summary["tracking_error"] == pytest.approx(error_to(w, weights), rel=1e-9)
    assert summary["beta"] == pytest.approx(w @ SIGMA @ weights / (weights @ SIGMA @ weights))


def test_added_covariance_leaves_a_benchmark_outside_possible(tmp_path):
    text = "objective: min_tracking_error; benchmark: VGB; expected_returns: bayes_stein"
    summary, _ = solve(tmp_path, text, TICKERS[:3])
    assert summary["success"], summary["message"]


def test_active_weights_and_beta(tmp_path):
    around = np.array([0.4, 0.2, 0.3, 0.1])
    listed = ", ".join(f"{t}: {b}" for t, b in zip(TICKERS, around, strict=True))
    text = f"objective: max_return; benchmark: {{{listed}}}; max_active_weight: 0.1"
    summary, w = solve(tmp_path, text)
    assert summary["success"], summary["message"]
    order = np.argsort(MU)  # a tenth is moved from each of the worst two to the best two
    expected = around.copy()
    expected[order[:2]] -= 0.1
    expected[order[2:]] += 0.1
    assert w == pytest.approx(expected, abs=1e-9)
    summary, w = solve(tmp_path, "objective: min_volatility; benchmark: VAS; beta: [0.5, 0.8]")
    assert summary["success"], summary["message"]
    betas = SIGMA[:, 0] / SIGMA[0, 0]
    lowest = least(RISK, *LONG, betas @ W >= 0.5, betas @ W <= 0.8)
    assert w @ SIGMA @ w == pytest.approx(lowest, rel=1e-6)
    assert summary["beta"] == pytest.approx(0.5, abs=1e-8)


def test_long_and_short(tmp_path):
    text = "objective: max_return; risk_budget: 0.2; min_weight: -0.3; gross_exposure: 1.6"
    summary, w = solve(tmp_path, text)
    assert summary["success"], summary["message"]
    most = least(-MU @ W, W >= -0.3, W <= 1, cp.sum(W) == 1, cp.norm1(W) <= 1.6, RISK <= 0.04)
    assert -MU @ w == pytest.approx(most, abs=1e-6)
    assert w.min() < -0.01
    assert np.abs(w).sum() <= 1.6 + 1e-9
    assert summary["cash"] == 0.0


@pytest.mark.parametrize("net", [(0.3, 1.0), (0.5, 0.5), (1.0, 1.4)])
def test_what_is_not_invested_earns_the_risk_free_rate(tmp_path, net):
    text = f"objective: max_utility; risk_aversion: 20; net_exposure: [{net[0]}, {net[1]}]"
    summary, w = solve(tmp_path, text, rate=0.05)
    assert summary["success"], summary["message"]
    earned = MU @ W + 0.05 * (1 - cp.sum(W))
    best = least(10 * RISK - earned, W >= 0, W <= 1, cp.sum(W) >= net[0], cp.sum(W) <= net[1])
    got = MU @ w + 0.05 * (1 - w.sum())
    assert 10 * w @ SIGMA @ w - got == pytest.approx(best, abs=1e-7)
    assert summary["cash"] == pytest.approx(1 - w.sum(), abs=1e-12)
    assert summary["expected_return"] == pytest.approx(got, abs=1e-12)


def test_few_holdings(tmp_path):
    text = "objective: min_volatility; max_holdings: 2; min_position: 0.3"
    summary, w = solve(tmp_path, text)
    assert summary["success"], summary["message"]
    pairs = []
    for i, j in itertools.combinations(range(4), 2):
        kept = [W[k] == 0 for k in range(4) if k not in (i, j)]
        pairs.append(least(RISK, *LONG, W[i] >= 0.3, W[j] >= 0.3, *kept))
    assert w @ SIGMA @ w == pytest.approx(min(*pairs, *np.diag(SIGMA)), rel=1e-6)
    assert np.count_nonzero(w) <= 2


def test_few_holdings_of_a_search_that_ends_early(tmp_path):
    even = ", ".join(f"{t}: 0.25" for t in TICKERS)
    text = f"objective: min_tracking_error; benchmark: {{{even}}}; max_holdings: 1"
    cut, w = solve(tmp_path, text + "; search_limit: 1")
    assert not cut["success"]
    assert "a search_limit above 1 tries more" in cut["message"]
    assert np.count_nonzero(w) == 1
    errors = [error_to(E[t], np.full(4, 0.25)) for t in TICKERS]
    assert 0 <= cut["tracking_error"] - min(errors) <= cut["optimality_gap"]
    whole, w = solve(tmp_path, text)
    assert whole["success"], whole["message"]
    assert error_to(w, np.full(4, 0.25)) == pytest.approx(min(errors), rel=1e-9)


def test_few_holdings_beside_cash(tmp_path):
    text = "objective: max_utility; risk_aversion: 20; net_exposure: [0.2, 1]"
    summary, w = solve(tmp_path, text + "; max_holdings: 1; max_weight: 0.4", rate=0.0)
    assert summary["success"], summary["message"]
    alone = [
        least(10 * RISK - MU @ W, W >= 0, W[i] >= 0.2, W <= 0.4, cp.sum(W) == W[i])
        for i in range(4)
    ]
    assert 10 * w @ SIGMA @ w - MU @ w == pytest.approx(min(alone), abs=1e-8)


def test_a_negative_budget_of_cvar_asks_for_a_gain(tmp_path):
    summary, _ = solve(tmp_path, "objective: max_return; cvar_budget: -0.001")
    assert not summary["success"]
    assert "CVaR" in summary["message"]
    both = "objective: max_return; risk_budget: 0.2; cvar_budget: 0.03"
    summary, w = solve(tmp_path, both)
    assert summary["success"], summary["message"]
    assert np.sqrt(w @ SIGMA @ w) <= 0.2 + 1e-9
    assert summary["cvar"] <= 0.03 + 1e-9


def test_a_number_that_is_quoted_works_when_it_is_asked_for(tmp_path):
    text = "objective: max_return; benchmark: VGB; max_tracking_error: "
    summary, _ = solve(tmp_path, text + "0.001", TICKERS[:3])
    assert not summary["success"]
    quoted = re.search(r"least attainable tracking error (\S+)", summary["message"])[1]
    summary, _ = solve(tmp_path, text + quoted, TICKERS[:3])
    assert summary["success"], summary["message"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("objective: max_utility", "needs a risk_aversion"),
        ("objective: max_return; risk_aversion: 3", "risk_aversion goes with objective: max_util"),
        ("objective: min_tracking_error", "needs a benchmark"),
        ("objective: max_return; max_tracking_error: 0.1", "max_tracking_error needs a benchmark"),
        ("objective: max_return; beta: [0, 1]", "beta needs a benchmark"),
        ("objective: max_return; benchmark: VAS", "benchmark goes with objective: min_tracking"),
        (
            "objective: min_tracking_error; benchmark: {}",
            "benchmark: give a ticker, a portfolio, or",
        ),
        ("objective: min_tracking_error; benchmark: {VAS: 0.5}", "weights sum to 0.5, not to 1"),
        ("objective: min_tracking_error; benchmark: VAX", "line 6: .*VAX"),
        ("objective: min_volatility; benchmark: VAS; beta: [1, 0]", "beta: the least, 1, is above"),
        ("objective: min_volatility; benchmark: VAS; beta: [80, 100]", "not within -10 to 10"),
        ("objective: min_volatility; min_weight: -0.3", "need a gross_exposure, such as 1.6"),
        ("objective: min_volatility; bounds: {VAS: [0, 1.3]}", "need a gross_exposure"),
        ("objective: min_volatility; bounds: {VAS: [20, 40]}", "20 to 40 is not within 0 to 1$"),
        ("objective: min_volatility; net_exposure: [1, 0.5]", "net_exposure: the least, 1, is ab"),
        ("objective: min_volatility; net_exposure: [50, 100]", "not within -5 to 5"),
        ("objective: min_volatility; net_exposure: [-1, 0]", "give a gross_exposure"),
        ("objective: min_volatility; gross_exposure: 0.8", "is below 1, .* give 1 or more"),
        ("objective: min_volatility; gross_exposure: 1.6", "gross_exposure 1.6 limits nothing"),
        ("objective: min_volatility; net_exposure: [4.5, 5]", "weights cannot sum to"),
        (
            "objective: min_volatility; max_holdings: 2; min_weight: -1; gross_exposure: 2",
            "max_holdings is for portfolios without short positions, and VAS may be short",
        ),
        ("objective: min_volatility; search_limit: 5", "search_limit goes with max_holdings or"),
        ("objective: min_volatility; max_holdings: 0", "max_holdings: 0: must be greater than"),
        ("objective: hrp; max_holdings: 2", "hrp takes no .*number of holdings"),
        ("objective: hrp; net_exposure: [0.5, 1]", "hrp takes no .*exposures"),
        ("objective: risk_parity; min_weight: -0.1; gross_exposure: 2", "risk_parity takes no"),
        (
            "objective: risk_parity; benchmark: VAS; max_tracking_error: 0.1",
            "risk_parity takes no .*active limits",
        ),
        (
            "objective: min_volatility; net_exposure: [0.5, 1]; max_turnover: 1; "
            "holdings: {VAS: 60}",
            "holdings sum to 60, not within 0 to 1",
        ),
    ],
)
def test_what_means_nothing_is_refused_by_line(tmp_path, text, words):
    with pytest.raises(PortfolioFileError, match=words):
        specs_of(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("max_turnover: 20; holdings: {VAS: 1}", "1 can .* 20 % is 0.2"),
        ("max_turnover: 1.1; holdings: {VAS: 0.5, VGS: 0.5}", "1"),
        (
            "min_weight: -0.3; gross_exposure: 2.3; max_turnover: 2.4; holdings: {VAS: 1}",
            "2.3",
        ),
        (
            "min_weight: -1; gross_exposure: 1.6; max_turnover: 4; holdings: {VAS: 1.9, VGS: -0.9}",
            "2.2",  # from 2.8 to 1.6
        ),
        ("net_exposure: [1, 1.5]; max_weight: 1.5; max_turnover: 2; holdings: {VAS: 1}", "1.5"),
    ],
)
def test_more_than_can_change_hands_is_no_ceiling(tmp_path, text, quoted):
    """What is quoted is accepted, and only that."""
    text = f"objective: min_volatility; {text}"
    said = refusal(tmp_path, text)
    assert re.search(f"max_turnover .* limits nothing: .* no more than {quoted}", said), said
    number = re.search(r"no more than ([\d.]+) can", said).group(1)
    again = re.sub(r"max_turnover: [\d.]+", f"max_turnover: {number}", text)
    assert specs_of(tmp_path, again)[0].max_turnover == float(number)


@pytest.mark.parametrize("most", [0.4, 1.05, 1.3, 1.6])
def test_long_and_short_portfolios_may_turn_over_more_than_all_of_it(tmp_path, most):
    text = (
        "objective: max_return; min_weight: -0.6; max_weight: 1.5; gross_exposure: 1.8; "
        "holdings: {VAS: -0.3, VGS: 1.3}"
    )
    held = np.array([-0.3, 1.3, 0.0, 0.0])
    summary, w = solve(tmp_path, f"{text}; max_turnover: {most}")
    assert summary["success"], summary["message"]
    limits = [cp.sum(W) == 1, W >= -0.6, W <= 1.5, cp.norm1(W) <= 1.8]
    best = least(-MU @ W, *limits, cp.norm1(W - held) <= 2 * most)
    assert -MU @ w == pytest.approx(best, abs=1e-6)
    assert np.abs(w - held).sum() / 2 <= most * (1 + 1e-9)


def test_an_active_weight_is_of_a_ticker_that_may_be_held(tmp_path):
    text = "objective: min_volatility; benchmark: VGB; max_active_weight: 0.2"
    assert "VGB is not in tickers" in refusal(tmp_path, text, TICKERS[:3])


def test_holdings_may_be_partly_cash_where_the_portfolio_may(tmp_path):
    text = "objective: min_volatility; holdings: {VAS: 0.4}; max_turnover: 0.3"
    assert "not to 1" in refusal(tmp_path, text)
    summary, w = solve(tmp_path, text + "; net_exposure: [0.5, 1]")
    assert summary["success"], summary["message"]
    assert np.abs(w - 0.4 * E["VAS"]).sum() / 2 <= 0.3 + 1e-9


def test_prices_of_a_benchmark_are_asked_for_by_name(tmp_path):
    text = "objective: min_tracking_error; benchmark: VGB"
    spec = specs_of(tmp_path, text, TICKERS[:3])[0]
    few = {t: SERIES[t] for t in TICKERS[:3]}
    summary = portfolio_tables([spec], few, 5, RATE).summary.to_pylist()[0]
    assert not summary["success"]
    assert "no history of VGB" in summary["message"]
    with pytest.raises(ValueError, match="the prices of VGB are not those given"):
        estimate_of(spec, ALL[:3], 5, RATE, None)
    with pytest.raises(ValueError, match="no estimates of VGB"):
        benchmark_of(spec.against, spec.tickers, estimate(ALL[:3], 2))


def test_a_backtest_decides_beside_its_benchmark(tmp_path):
    """The decision of a day is the answer to the prices up to that day."""
    text = "objective: min_tracking_error; benchmark: VGB; rebalance: never"
    spec = specs_of(tmp_path, text, TICKERS[:3])[0]
    done = backtest_portfolio(spec, ALL[:3], 5, RATE, beside=ALL[3:])
    day = next(e.date for e in done.events if e.traded is not None)
    then = estimate([s.until(day) for s in ALL], 2).covariance
    off = W - E["VGB"]
    closest = least(cp.quad_form(off, cp.psd_wrap(then)), *LONG, W[3] == 0)
    w = np.r_[done.weights.iloc[0].to_numpy(), 0.0] - E["VGB"]
    assert w @ then @ w == pytest.approx(closest, rel=1e-6)


def test_a_backtest_waits_for_its_benchmark(tmp_path):
    text = "objective: min_tracking_error; benchmark: VGB; rebalance: monthly"
    spec = specs_of(tmp_path, text, TICKERS[:3])[0]
    late = SERIES["VGB"].since(SERIES["VGB"].days[120].item())
    done = backtest_portfolio(spec, ALL[:3], 5, RATE, beside=[late])
    begins = late.days[0].item()
    first = next(e for e in done.events if e.traded is not None)
    assert first.date >= begins.replace(year=begins.year + 2)
    assert done.skipped
    waiting = [e for e in done.events if e.code is not None and e.date < first.date]
    assert waiting
    assert all("benchmark: VGB has not 2 years" in e.reason for e in waiting)


def test_a_backtest_of_short_positions_says_what_they_cost(tmp_path):
    text = "objective: max_sharpe; min_weight: -0.3; gross_exposure: 1.6; rebalance: yearly"
    done = backtest_portfolio(specs_of(tmp_path, text)[0], ALL, 5, 0.0)
    assert (done.weights.to_numpy() < 0).any()
    assert any("no fee for short positions" in remark for remark in done.remarks)
    prices = np.column_stack([s.prices.to_numpy() for s in ALL])[-len(done.wealth) :]
    worth = (done.units.to_numpy() * prices).sum(axis=1) + done.cash * done.wealth
    assert worth.to_numpy() == pytest.approx(done.wealth.to_numpy(), rel=1e-12)


def test_resamples_and_validation_keep_the_benchmark(tmp_path):
    text = "objective: max_return; benchmark: VGB; max_tracking_error: 0.3"
    spec = specs_of(tmp_path, text, TICKERS[:3])[0]
    together = Together(ALL[:3], "AUD", beside=(ALL[3],))
    found = resampled_portfolio(spec, together, 5, RATE, resamples=20)
    assert found.names == tuple(sorted(TICKERS[:3]))
    assert found.chosen.tracking_error <= 0.3 + 1e-9
    table = validated([spec], together, 5, RATE).table
    assert table["unanswered"].to_list() == [0, 0]
    short = Together(ALL[:3], "AUD", beside=(SERIES["VGB"].since(ALL[0].days[700].item()),))
    with pytest.raises(InsufficientDataError, match="benchmark: the prices of VGB begin on"):
        validated([spec], short, 5, RATE)


def test_the_frontier_keeps_to_the_benchmark(tmp_path):
    text = "objective: min_volatility; benchmark: VAS; max_tracking_error: 0.05"
    tables = portfolio_tables(specs_of(tmp_path, text), SERIES, 5, RATE)
    lowest = tables.frontier.to_pylist()[0]
    off = W - E["VAS"]
    bound = least(RISK, *LONG, cp.quad_form(off, cp.psd_wrap(SIGMA)) <= 0.05**2)
    assert lowest["volatility"] == pytest.approx(np.sqrt(bound), rel=1e-5)


def test_a_problem_without_its_benchmark_is_not_made(tmp_path):
    spec = specs_of(tmp_path, "objective: min_tracking_error; benchmark: VGB", TICKERS[:3])[0]
    short = SERIES["VGB"].until(ALL[3].days[30].item())
    with pytest.raises(InsufficientDataError):
        estimate_of(spec, ALL[:3], 5, RATE, None, beside=[short])
    found = estimate_of(spec, ALL[:3], 5, RATE, None, beside=ALL[3:])
    problem = problem_of(spec, found, RATE)
    assert problem.benchmark.variance == pytest.approx(SIGMA[3, 3], rel=1e-12)
    assert problem.benchmark.covariances == pytest.approx(SIGMA[:3, 3], rel=1e-12)


def test_the_page_s_examples_are_optimised(tmp_path):
    """Every portfolio of the page's sections of limits, read as it stands there."""
    page = (Path(__file__).parents[2] / "docs" / "portfolios.md").read_text()
    blocks = [b for b in re.findall(r"```yaml\n(.*?)```", page, re.S) if b.startswith("  - name:")]
    assert len(blocks) == 3
    path = tmp_path / "portfolios.yaml"
    path.write_text("portfolios:\n" + "\n".join(blocks))
    names = ("VAS", "VGS", "VAF", "VGB", "VTS", "A200")
    prices = dict(SERIES)
    for seed, ticker in enumerate(("VTS", "A200")):  # both nearly move as VAS does
        noise = np.exp(np.random.default_rng(seed).normal(0.0002, 5e-4, len(DAYS)).cumsum())
        prices[ticker] = replace(SERIES["VAS"], ticker=ticker, prices=SERIES["VAS"].prices * noise)
    found = load_portfolios(path, Universe(tuple(instrument(t) for t in names)))
    tables = portfolio_tables(found, prices, 2, 0.0)
    assert {
        r["portfolio"]: r["message"] for r in tables.summary.to_pylist() if not r["success"]
    } == {}
    assert tables.answers["near-the-market"].tracking_error <= 0.02 + 1e-9


def test_a_benchmark_by_a_former_name_and_none_that_nobody_holds(tmp_path):
    universe = Universe(
        (*(instrument(t) for t in TICKERS[:3]), instrument("VGB", aliases=("OLD",)))
    ).with_rates(["USD"])
    text = (
        "portfolios:\n  - name: p\n    tickers: [VAS, VGS, VAF]\n"
        "    objective: min_tracking_error\n    benchmark: "
    )
    path = tmp_path / "portfolios.yaml"
    path.write_text(text + "OLD\n")
    spec = load_portfolios(path, universe)[0]
    assert (spec.against, spec.beside) == ({"VGB": 1.0}, ["VGB"])
    path.write_text(text + "{VGB: 0.5, OLD: 0.5}\n")
    with pytest.raises(PortfolioFileError, match="line 5: benchmark names VGB twice"):
        load_portfolios(path, universe)


def test_a_benchmark_abroad_is_converted_and_has_no_say_in_the_currency(tmp_path):
    text = "objective: min_tracking_error; benchmark: VGB; rebalance: yearly"
    asked = specs_of(tmp_path, text, TICKERS[:3])
    found = portfolio_tables(asked, MIXED, 5, RATE, conversion=Conversion(FX))
    right = portfolio_tables(asked, BY_HAND, 5, RATE)
    one, other = found.answers["p"], right.answers["p"]
    assert one.success
    assert one.weights == pytest.approx(other.weights, abs=1e-6)
    assert one.tracking_error == pytest.approx(other.tracking_error, rel=1e-9)
    row = found.summary.to_pylist()[0]
    assert (row["base_currency"], row["fx"]) == ("AUD", NAMED)
    courses = [
        walked(asked[0], prices, 5, RATE, conversion=Conversion(rates)).backtest
        for prices, rates in ((MIXED, FX), (BY_HAND, Rates()))
    ]
    assert courses[0].weights.to_numpy() == pytest.approx(courses[1].weights.to_numpy(), abs=1e-6)
    lacking = portfolio_tables(asked, MIXED, 5, RATE).answers["p"]
    assert not lacking.success
    assert "VGB" in lacking.message
