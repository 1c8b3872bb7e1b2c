"""Portfolios that are measured against others of their file: read, decided, walked forward."""

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import InsufficientDataError, PortfolioFileError, ReasonCode
from etf_pipeline.model.benchmark_portfolios import benchmarks_first
from etf_pipeline.model.portfolio_file import load_portfolios
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.portfolio.backtest_tables import backtest_tables, walked
from etf_pipeline.portfolio.benchmarks import Followed
from etf_pipeline.portfolio.tables import portfolio_tables
from etf_pipeline.portfolio.uncertainty_tables import uncertainty_table
from etf_pipeline.portfolio.validation import validated
from etf_pipeline.risk.conversion import Together
from etf_pipeline.risk.estimates import estimate
from etf_pipeline_tests.portfolio_file import SERIES, TICKERS, UNIVERSE

RATE = 0.01
CALM = "tickers: [VAS, VGS, VAF]; objective: min_volatility; lookback_years: 2; max_weight: 0.6"
NEAR = "tickers: [VAS, VGS, VAF]; objective: max_return; lookback_years: 2; benchmark: calm"


def read(tmp_path, **portfolios):
    """The portfolios of a file, each of some lines."""
    path = tmp_path / "portfolios.yaml"
    text = "portfolios:\n"
    for name, lines in portfolios.items():
        text += f"  - name: {name}\n" + "".join(f"    {line}\n" for line in lines.split("; "))
    path.write_text(text)
    return load_portfolios(path, UNIVERSE)


def tables_of(specs):
    tables = portfolio_tables(specs, SERIES, 5, RATE, UNIVERSE.facts())
    held = {(r["portfolio"], r["ticker"]): r["weight"] for r in tables.weights.to_pylist()}
    weights = {
        s.name: np.array([held.get((s.name, t), 0.0) for t in TICKERS])
        for s in specs
        if any(name == s.name for name, _ in held)
    }
    return {r["portfolio"]: r for r in tables.summary.to_pylist()}, weights


def most(means, sigma, around, error, inside):
    """The greatest return within a tracking error, by a peer; `inside` may be held."""
    w = cp.Variable(len(means))
    limits = [w >= 0, cp.sum(w) == 1, w[[not i for i in inside]] == 0] if not all(inside) else []
    limits = limits or [w >= 0, cp.sum(w) == 1]
    risk = cp.quad_form(w - around, cp.psd_wrap(sigma))
    return cp.Problem(cp.Maximize(means @ w), [*limits, risk <= error**2]).solve(cp.CLARABEL)


@pytest.mark.parametrize(
    ("benchmark", "own"),
    [
        (CALM, TICKERS[:3]),
        (CALM, TICKERS[:2]),  # it holds what the portfolio may not
        (CALM + "; net_exposure: [0.5, 0.7]", TICKERS[:3]),  # the rest of it is cash
        (CALM.replace("max_weight: 0.6", "min_weight: -0.2; gross_exposure: 1.6"), TICKERS),
        (
            "tickers: [VAS, VGB]; objective: min_volatility; lookback_years: 2; "
            "bounds: {VAS: [0.6, 0.6], VGB: [0.4, 0.4]}",  # weights that are fixed
            TICKERS[:3],
        ),
    ],
)
def test_what_it_is_measured_against_is_decided_first(tmp_path, benchmark, own):
    asked = NEAR.replace("[VAS, VGS, VAF]", f"[{', '.join(own)}]") + "; max_tracking_error: 0.08"
    specs = read(tmp_path, a=asked.replace("calm", "z"), z=benchmark)
    summary, weights = tables_of(specs)
    assert summary["a"]["success"], summary["a"]["message"]
    assert summary["z"]["success"]
    around, w = weights["z"], weights["a"]
    joint = estimate([SERIES[t] for t in TICKERS], 2)
    off = w - around
    error = np.sqrt(off @ joint.covariance @ off)
    assert summary["a"]["tracking_error"] == pytest.approx(error, rel=1e-9)
    beta = w @ joint.covariance @ around / (around @ joint.covariance @ around)
    assert summary["a"]["beta"] == pytest.approx(beta, rel=1e-9)
    best = most(joint.means, joint.covariance, around, 0.08, [t in own for t in TICKERS])
    assert joint.means @ w == pytest.approx(best, abs=2e-6)
    held = sorted(zip(-around, TICKERS, strict=True))
    first = next(f"{t} {-w:.2%}" for w, t in held if w)
    assert f"measured against z, which is {first}" in summary["a"]["message"]
    cash = f" and {1 - around.sum():.2%} cash"
    assert (cash in summary["a"]["message"]) == (abs(1 - around.sum()) > 1e-6)


def test_one_that_others_are_measured_against_may_be_measured_too(tmp_path):
    chain = {
        "a": NEAR.replace("calm", "b").replace("max_return", "min_tracking_error"),
        "b": NEAR.replace("calm", "c") + "; max_active_weight: 0.05",
        "c": CALM,
    }
    specs = read(tmp_path, **chain)
    assert [s.name for s in benchmarks_first(specs)] == ["c", "b", "a"]
    summary, weights = tables_of(specs)
    assert all(row["success"] for row in summary.values())
    assert np.abs(weights["b"] - weights["c"]).max() == pytest.approx(0.05)
    assert weights["a"] == pytest.approx(weights["b"], abs=1e-7)
    assert summary["a"]["tracking_error"] == pytest.approx(0.0, abs=1e-8)
    assert list(summary) == ["a", "b", "c"]  # rows by name, in whichever order they are decided


def test_a_benchmark_without_an_answer_is_named_and_so_is_what_needs_it(tmp_path):
    hard = CALM.replace("min_volatility", "max_return") + "; risk_budget: 0.001"
    specs = read(tmp_path, near=NEAR + "; max_tracking_error: 0.03", calm=hard)
    summary, weights = tables_of(specs)
    said = summary["near"]["message"]
    assert said.startswith("near is measured against calm, which has no answer: ")
    assert not weights
    tables = portfolio_tables(specs, SERIES, 5, RATE)
    assert said.endswith(f"no answer: {tables.answers['calm'].message}")
    assert tables.answers["near"].code is tables.answers["calm"].code
    walks = backtest_tables(specs, SERIES, 5, RATE)
    assert set(walks.failures) == {"calm", "near"}
    said = walks.failures["near"].message
    assert said.startswith("near is measured against calm, which has no backtest: none of ")
    assert walks.failures["near"].code is ReasonCode.INFEASIBLE


@pytest.mark.parametrize(
    ("portfolios", "words"),
    [
        ({"a": NEAR + "; beta: [0, 2]"}, "line 6: benchmark: ticker 'calm' is not in"),
        (
            {"clam": CALM, "a": NEAR + "; beta: [0, 2]"},
            "line 11: benchmark: ticker 'calm' is not in .*; did you mean the portfolio clam",
        ),
        (
            {"a": NEAR.replace("calm", "a") + "; beta: [0, 2]"},
            "line 6: benchmark: a against a: give one of them a ticker, weights or another",
        ),
        (
            {
                "a": NEAR.replace("calm", "b") + "; beta: [0, 2]",
                "b": NEAR.replace("calm", "a") + "; beta: [0, 2]",
            },
            "line 6: benchmark: a against b, b against a: .*line 12: benchmark: b against a, a",
        ),
        (
            {"VAS": CALM, "a": NEAR.replace("calm", "VAS") + "; beta: [0, 2]"},
            "line 11: benchmark: VAS is a ticker and a portfolio of this file: give {VAS: 1} for",
        ),
        (
            {"calm": CALM, "a": NEAR.replace("calm", "{calm: 0.5, VAS: 0.5}") + "; beta: [0, 2]"},
            "line 11: benchmark: calm is a portfolio, and weights are of tickers: name the",
        ),
        (
            {"calm": CALM, "a": NEAR.replace("VAS, ", "") + "; max_active_weight: 0.1"},
            "line 11: max_active_weight needs .* own tickers, and VAS, which calm may hold, is",
        ),
        (
            {"a": NEAR.replace("calm", "VGB") + "; max_active_weight: 0.1"},
            "line 6: max_active_weight needs .* own tickers, and VGB is not in tickers: add it",
        ),
        (
            {"calm": CALM, "a": CALM + "; compare_with: calm"},
            "line 12: compare_with: calm is a portfolio; give a ticker, or the weights",
        ),
        ({"a": CALM + "; benchmark: {}"}, "line 2: benchmark: give a ticker, a portfolio, or"),
        (
            {"calm": CALM, "a": CALM + "; benchmark: calm"},
            "line 7: benchmark goes with objective: min_tracking_error, max_tracking_error",
        ),
    ],
)
def test_what_a_file_cannot_ask(tmp_path, portfolios, words):
    with pytest.raises(PortfolioFileError, match=words):
        read(tmp_path, **portfolios)


def test_the_remedies_work(tmp_path):
    """What messages propose is accepted: a name that is a ticker's too, as weights."""
    specs = read(tmp_path, VAS=CALM, a=NEAR.replace("calm", "{VAS: 1}") + "; beta: [0, 2]")
    assert specs[1].against == {"VAS": 1.0}
    assert [s.benchmark for s in read(tmp_path, VAS=CALM)] == [None]


def test_a_circle_that_no_file_has_is_refused():
    def one(name, other):
        return PortfolioSpec(
            name=name,
            tickers=["VAS", "VGS"],
            objective="min_tracking_error",
            benchmark=other,
        )

    with pytest.raises(ValueError, match="a against b, b against a"):
        portfolio_tables([one("a", "b"), one("b", "a")], SERIES, 2, RATE)


# --- through time


def test_each_decision_is_against_what_the_benchmark_was_that_day(tmp_path):
    """The nearest portfolio to one of the same tickers is that one, at every decision."""
    specs = read(tmp_path, a=NEAR.replace("max_return", "min_tracking_error"), calm=CALM)
    done = backtest_tables(specs, SERIES, 5, RATE).backtests
    assert len(done["a"].weights) == len(done["calm"].weights) > 3
    assert done["a"].weights.index.equals(done["calm"].weights.index)
    assert np.allclose(done["a"].weights, done["calm"].weights, atol=1e-6)
    assert done["calm"].weights.std().max() > 1e-3  # they differ from day to day
    assert any("measured against calm as it was" in text for text in done["a"].remarks)


def test_no_decision_knows_what_the_benchmark_became(tmp_path):
    """What was decided up to a day is the same with and without the days after it."""
    specs = read(tmp_path, a=NEAR + "; max_tracking_error: 0.02", calm=CALM)
    whole = backtest_tables(specs, SERIES, 5, RATE).backtests["a"]
    day = whole.decided.index[-3].date()
    then = {t: s.until(whole.weights.index[-3].date()) for t, s in SERIES.items()}
    cut = backtest_tables(specs, then, 5, RATE).backtests["a"]
    assert cut.decided.index[-1].date() == day
    known = whole.decided.loc[: pd.Timestamp(day)]
    pd.testing.assert_frame_equal(cut.decided, known)


def test_between_its_decisions_a_benchmark_is_what_it_holds(tmp_path):
    """One that trades once a year has drifted by the next decision against it."""
    yearly = CALM + "; rebalance: yearly"
    specs = read(tmp_path, a=NEAR.replace("max_return", "min_tracking_error"), calm=yearly)
    done = backtest_tables(specs, SERIES, 5, RATE).backtests
    theirs, mine = done["calm"], done["a"]
    prices = pd.concat([SERIES[t].prices.rename(t) for t in specs[0].tickers], axis=1)
    drifted = 0
    for day, decided in mine.decided.iterrows():
        before = theirs.weights.index[theirs.weights.index <= day]
        if day in theirs.decided.index:  # decided that day, and traded the next
            expected = theirs.decided.loc[day]
        else:
            grown = theirs.weights.loc[before[-1]] * prices.loc[day] / prices.loc[before[-1]]
            expected, drifted = grown / grown.sum(), drifted + 1
        assert decided.to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-6)
    assert drifted > 1


def test_a_benchmark_beside_its_tickers_is_estimated_with_them(tmp_path):
    """VAF is none of the portfolio's: tracking errors of its decisions are by joint estimates."""
    asked = NEAR.replace("[VAS, VGS, VAF]", "[VAS, VGS]") + "; max_tracking_error: 0.12"
    specs = read(tmp_path, a=asked, calm=CALM)
    done = backtest_tables(specs, SERIES, 5, RATE).backtests
    assert len(done["a"].decided) > 3
    for day, decided in done["a"].decided.iterrows():
        joint = estimate([SERIES[t].until(day.date()) for t in TICKERS[:3]], 2)
        around = done["calm"].decided.loc[day].to_numpy()
        off = np.r_[decided.to_numpy(), 0.0] - around
        assert np.sqrt(off @ joint.covariance @ off) <= 0.12 * (1 + 1e-7)
        best = most(joint.means, joint.covariance, around, 0.12, [True, True, False])
        assert decided.to_numpy() @ joint.means[:2] == pytest.approx(best, abs=2e-6)


def test_decisions_before_the_benchmark_holds_anything_are_skipped(tmp_path):
    late = CALM.replace("lookback_years: 2", "lookback_years: 3")
    early = (NEAR + "; max_tracking_error: 0.1").replace("lookback_years: 2", "lookback_years: 1")
    specs = read(tmp_path, a=early, calm=late)
    done = backtest_tables(specs, SERIES, 5, RATE).backtests
    first = done["calm"].decided.index[0]
    assert done["a"].decided.index[0] == first
    skipped = [e for e in done["a"].events if e.kind.value == "skipped"]
    assert skipped
    assert all(e.date < first.date() for e in skipped)
    assert f"calm holds nothing yet: its first decision that was traded is of {first.date()}" in (
        skipped[0].reason or ""
    )


def test_what_a_portfolio_was_on_a_day():
    days = pd.DatetimeIndex(["2024-01-31", "2024-02-29"])
    followed = Followed(
        "b",
        pd.DataFrame({"VAS": [0.6, 0.2], "VGS": [0.0, 0.8], "VAF": [0.0, 0.0]}, days),
        pd.DatetimeIndex(["2024-02-02", "2024-03-01"]),
        pd.DataFrame(
            {"VAS": [0.6, 0.65, 0.2], "VGS": [0.0, 0.0, 0.8], "VAF": 0.0},
            pd.DatetimeIndex(["2024-02-02", "2024-02-15", "2024-03-01"]),
        ),
    )
    assert followed.tickers == ["VAS", "VGS"]
    for day, expected in (
        ("2024-01-31", {"VAS": 0.6}),  # decided, and not yet traded
        ("2024-02-01", {"VAS": 0.6}),
        ("2024-02-14", {"VAS": 0.6}),
        ("2024-02-28", {"VAS": 0.65}),
        ("2024-02-29", {"VAS": 0.2, "VGS": 0.8}),
        ("2024-03-10", {"VAS": 0.2, "VGS": 0.8}),
    ):
        assert followed.on(pd.Timestamp(day).date()) == expected
    for day, words in (("2024-01-30", "holds nothing yet"), ("2024-05-01", "ends on 2024-03-01")):
        with pytest.raises(InsufficientDataError, match=f"benchmark: .*{words}"):
            followed.on(pd.Timestamp(day).date())


def test_validation_decides_the_benchmark_on_the_same_days(tmp_path):
    near, calm = read(tmp_path, a=NEAR.replace("max_return", "min_tracking_error"), calm=CALM)
    own = Together([SERIES[t] for t in near.tickers], "AUD")

    def follow(days):
        return walked(calm, SERIES, 5, RATE, on=days).backtest.followed("calm")

    found = validated([near], own, 2, RATE, follow=follow)
    assert found.table["unanswered"].tolist() == [0, 0]
    alone = validated([calm], own, 2, RATE)
    mine, theirs = (v.returns[1].to_numpy() for v in (found, alone))
    assert mine == pytest.approx(theirs, abs=1e-8)
    assert any("measured against calm" in text for text in found.remarks)


def test_resamples_keep_the_weights_of_the_benchmark(tmp_path):
    asked = NEAR.replace("max_return", "min_tracking_error") + "; resamples: 20"
    specs = read(tmp_path, a=asked, calm=CALM)
    tables = portfolio_tables(specs, SERIES, 5, RATE)
    found = uncertainty_table(tables.specs.values(), tables.inputs, 5, RATE)
    assert not found.failures
    rows = {r["name"]: r for r in found.table.to_pylist() if r["kind"] == "weight"}
    held = {
        r["ticker"]: r["weight"] for r in tables.weights.to_pylist() if r["portfolio"] == "calm"
    }
    for ticker, row in rows.items():
        assert (row["q05"], row["q95"]) == pytest.approx((held[ticker],) * 2, abs=1e-5)
