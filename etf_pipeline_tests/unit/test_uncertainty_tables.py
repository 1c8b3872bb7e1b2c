"""The uncertainty table: what it has, of whom, and that no order has a say in it."""

from dataclasses import replace

import numpy as np
import pytest

from etf_pipeline.errors import InsufficientDataError, PortfolioFileError
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.portfolio.tables import portfolio_tables
from etf_pipeline.portfolio.uncertainty_tables import resampled_portfolio, uncertainty_table
from etf_pipeline.risk.conversion import Together
from etf_pipeline_tests.portfolio_file import SERIES, TICKERS, UNIVERSE, specs

ASKED = "    objective: min_volatility\n    max_weight: 0.6\n    resamples: 40\n"


def together(tickers=TICKERS):
    return Together([SERIES[t] for t in tickers], "AUD")


def test_a_row_for_every_weight_and_figure(tmp_path):
    asked = specs(tmp_path, ASKED)
    tables = portfolio_tables(asked, SERIES, 5, 0.0, UNIVERSE.columns())
    found = uncertainty_table(asked, tables.inputs, 5, 0.0, UNIVERSE.columns())
    assert not found.failures
    rows = found.table.to_pylist()
    weights = {r["name"]: r for r in rows if r["kind"] == "weight"}
    assert sorted(weights) == sorted(TICKERS)
    held = {r["ticker"]: r["weight"] for r in tables.weights.to_pylist()}
    assert {t: r["estimate"] for t, r in weights.items()} == pytest.approx(held, abs=1e-7)
    assert sum(r["mean"] for r in weights.values()) == pytest.approx(1.0)
    for row in rows:
        assert row["q05"] <= row["q25"] <= row["q50"] <= row["q75"] <= row["q95"]
        assert (row["resamples"], row["answered"], row["seed"]) == (40, 40, 1)
        assert (row["portfolio"], row["source"], row["remarks"]) == ("p", "files", None)
        assert (row["held"] is None) == (row["kind"] != "weight")
    kinds = {(r["kind"], r["name"]) for r in rows if r["kind"] != "weight"}
    figures = ("expected_return", "volatility", "sharpe_ratio")
    assert kinds == {(k, f) for k in ("chosen", "optimal") for f in figures}
    summary = tables.summary.to_pylist()[0]
    chosen = {r["name"]: r["estimate"] for r in rows if r["kind"] == "chosen"}
    assert chosen == pytest.approx({f: summary[f] for f in figures})


def test_cash_has_a_band_of_its_own(tmp_path):
    """What the weights of each resample leave; where they sum to 1 there is no such row."""
    text = ASKED + "    net_exposure: [0.3, 0.9]\n    target_return: 0.05\n"
    text = text.replace("min_volatility", "target_return")
    (asked,) = specs(tmp_path, text)
    found = resampled_portfolio(asked, together(), 2, 0.02, resamples=40)
    rest = 1.0 - found.weights.sum(axis=1)
    row = found.cash().loc["cash"]
    assert row["weight"] == pytest.approx(1.0 - found.chosen.weights.sum(), abs=1e-12)
    assert row["mean"] == pytest.approx(rest.mean(), abs=1e-12)
    assert row["held"] == np.mean(np.abs(rest) > 1e-6) > 0.5
    for name, q in {"q05": 0.05, "q50": 0.5, "q95": 0.95}.items():
        assert row[name] == pytest.approx(np.quantile(rest, q), abs=1e-12)
    assert row["q05"] < row["q95"]
    assert found.table()["mean"].sum() + row["mean"] == pytest.approx(1.0)
    assert found.average.cash == pytest.approx(row["mean"])
    spread = uncertainty_table([asked], {"p": together()}, 2, 0.02)
    (cash,) = [r for r in spread.table.to_pylist() if r["kind"] == "cash"]
    assert (cash["name"], cash["estimate"], cash["q05"]) == ("cash", row["weight"], row["q05"])
    (whole,) = specs(tmp_path, ASKED)
    assert resampled_portfolio(whole, together(), 2, 0.02, resamples=20).cash().empty


def test_no_order_of_tickers_has_a_say(tmp_path):
    (asked,) = specs(tmp_path, ASKED.replace("min_volatility", "max_return"))
    asked = asked.model_copy(update={"bounds": {"VGS": (0.1, 0.5)}, "min_weight": 0.05})
    turned = asked.model_copy(update={"tickers": list(TICKERS[::-1])})
    one = resampled_portfolio(asked, together(), 2, 0.0, resamples=30)
    other = resampled_portfolio(turned, together(TICKERS[::-1]), 2, 0.0, resamples=30)
    assert one.names == other.names == tuple(sorted(TICKERS))
    assert np.array_equal(one.weights, other.weights)
    assert one.table().equals(other.table())
    assert one.figures().equals(other.figures())


def test_groups_of_the_universe_hold_in_every_resample(tmp_path):
    text = "    objective: max_return\n    groups:\n      asset_class:\n"
    (asked,) = specs(tmp_path, text + "        fixed_income: [0.3, 0.5]\n")
    found = resampled_portfolio(asked, together(), 2, 0.0, UNIVERSE.columns(), resamples=20)
    bonds = [found.names.index(t) for t in ("VAF", "VGB")]
    total = found.weights[:, bonds].sum(axis=1)
    assert len(total) == 20
    assert total.min() >= 0.3 - 1e-6
    assert total.max() <= 0.5 + 1e-6


def test_only_those_that_ask_for_it(tmp_path):
    asked = specs(tmp_path, "    objective: min_volatility\n")
    found = uncertainty_table(asked, {"p": together()}, 5, 0.0)
    assert found.table.num_rows == 0
    assert not found.failures


def test_one_without_an_answer_is_named(tmp_path):
    (asked,) = specs(tmp_path, ASKED)
    hard = PortfolioSpec(
        name="hard", tickers=["VAS", "VGS"], objective="max_return", risk_budget=1e-4, resamples=20
    )
    priced = {"p": together(), "hard": together(("VAS", "VGS"))}
    found = uncertainty_table([hard, asked], priced, 2, 0.0)
    assert {r["portfolio"] for r in found.table.to_pylist()} == {"p"}
    assert "risk budget 0.0001 is below" in found.failures["hard"]


def test_remarks_tell_of_resamples_without_an_answer(tmp_path):
    """A return that the best ticker hardly had is had in about half of the histories drawn."""
    (asked,) = specs(tmp_path, ASKED)
    top = portfolio_tables(
        [asked.model_copy(update={"objective": "max_return", "max_weight": 1.0})], SERIES, 2, 0.0
    )
    target = top.summary.to_pylist()[0]["expected_return"]
    hard = asked.model_copy(
        update={"objective": "target_return", "target_return": target * 0.999, "max_weight": 1.0}
    )
    found = uncertainty_table([hard], {"p": together()}, 2, 0.0)
    row = found.table.to_pylist()[0]
    assert 0 < row["answered"] < row["resamples"] == 40
    assert row["remarks"].startswith(f"{40 - row['answered']} of 40 resamples have no answer")


@pytest.mark.parametrize("n", [1, 19])
def test_too_few_resamples_are_refused_by_line(tmp_path, n):
    with pytest.raises(PortfolioFileError, match=rf"line 6: resamples: {n} are too few"):
        specs(tmp_path, f"    objective: min_volatility\n    resamples: {n}\n")


def test_a_short_history_is_refused():
    short = replace(SERIES["VAS"], prices=SERIES["VAS"].prices.iloc[:30])
    spec = PortfolioSpec(name="s", tickers=["VAS"], objective="min_volatility")
    with pytest.raises(InsufficientDataError):
        resampled_portfolio(spec, Together([short], "AUD"), 2, 0.0, resamples=20)
