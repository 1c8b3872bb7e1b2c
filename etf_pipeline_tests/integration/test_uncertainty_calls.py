"""How sure portfolios are, asked of the library and the command line."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from etf_pipeline import ETFDataProvider
from etf_pipeline.cli.app import app
from etf_pipeline.errors import ArgumentError, EtfError, InsufficientDataError, ReasonCode
from etf_pipeline.portfolio import GroupLimit
from etf_pipeline_tests.integration.test_provider import fill
from etf_pipeline_tests.support import asx_days, bars, walk, yahoo_rows

FOUR = ["VAS", "VGS", "VTS", "VAF"]
QUANTILES = ["q05", "q25", "q50", "q75", "q95"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uncertainty")
    prices = folder / "prices"
    prices.mkdir()
    for i, ticker in enumerate(FOUR):
        rows = bars(asx_days("2020-01-02", 1400), walk(1400, seed=i))
        yahoo_rows(rows).to_parquet(prices / f"{ticker}.parquet")
    fill(folder / "store", prices, FOUR)
    return folder / "store"


@pytest.fixture(scope="module")
def provider(root):
    return ETFDataProvider(root)


@pytest.fixture(scope="module")
def found(provider):
    return provider.weight_uncertainty(FOUR, "min_volatility", max_weight=0.6, resamples=60)


def test_a_row_per_ticker_in_the_order_of_the_request(provider, found):
    assert list(found.index) == FOUR
    assert list(found.columns) == ["weight", "mean", *QUANTILES, "held"]
    best = provider.optimize_portfolio(FOUR, "min_volatility", max_weight=0.6)
    assert found["weight"].to_dict() == pytest.approx(best["optimal_weights"], abs=1e-7)
    assert (np.diff(found[QUANTILES].to_numpy(), axis=1) >= 0).all()
    chosen = found.attrs["figures"]["chosen"]
    for figure in ("expected_return", "volatility", "sharpe_ratio"):
        assert chosen[figure]["estimate"] == pytest.approx(best[figure])
    said = found.attrs
    assert (said["resamples"], said["answered"], said["failures"]) == (60, 60, {})
    assert (said["seed"], said["objective"]) == (1, "min_volatility")
    assert (said["start"], said["end"], said["n_obs"]) == (
        best["start"],
        best["end"],
        best["n_obs"],
    )
    assert said["base_currency"] == "AUD"
    assert sum(said["average"]["weights"].values()) == pytest.approx(1)


def test_the_order_of_a_request_has_no_say_and_the_seed_has(provider, found):
    ask = {"max_weight": 0.6, "resamples": 60}
    turned = provider.weight_uncertainty(FOUR[::-1], "min_volatility", **ask)
    pd.testing.assert_frame_equal(turned.loc[FOUR], found, check_exact=True)
    assert turned.attrs["figures"] == found.attrs["figures"]
    other = provider.weight_uncertainty(FOUR, "min_volatility", seed=2, **ask)
    assert not other["mean"].equals(found["mean"])


def test_a_portfolio_of_the_file(provider, tmp_path, monkeypatch):
    (tmp_path / "universe.csv").write_text(
        "ticker,symbol,exchange,name,asset_class,issuer,currency,management_fee\n"
        + "".join(f"{t},{t}.AX,XASX,{t},australian_equity,x,AUD,\n" for t in FOUR)
    )
    (tmp_path / "portfolios.yaml").write_text(
        "portfolios:\n  - name: calm\n    tickers: [VGS, VAS]\n    objective: min_volatility\n"
        "    lookback_years: 2\n    resamples: 20\n"
    )
    monkeypatch.setenv("ETF_UNIVERSE_FILE", str(tmp_path / "universe.csv"))
    monkeypatch.setenv("ETF_PORTFOLIOS_FILE", str(tmp_path / "portfolios.yaml"))
    found = provider.weight_uncertainty(portfolio="calm", resamples=30)
    assert list(found.index) == ["VGS", "VAS"]
    assert found.attrs["resamples"] == 30
    two = provider.weight_uncertainty(
        ["VGS", "VAS"], "min_volatility", lookback_years=2, resamples=30
    )
    pd.testing.assert_frame_equal(found, two)
    capped = provider.weight_uncertainty(portfolio="calm", resamples=30, max_weight=0.5)
    assert capped["weight"].tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "give tickers or portfolio"),
        ({"tickers": FOUR, "portfolio": "calm"}, "one of the two"),
        ({"tickers": FOUR, "resamples": 19}, "resamples 19: must be a whole number from 20"),
        ({"tickers": FOUR, "resamples": 20.5}, "whole number"),
        ({"tickers": FOUR, "seed": -1}, "seed -1"),
        ({"tickers": FOUR, "block_length": 0.5}, "block_length 0.5: must be from 1"),
        ({"tickers": FOUR, "block_length": "3"}, "is text"),
        ({"tickers": FOUR, "rebalance": "monthly"}, "rebalance goes with backtest"),
        ({"tickers": FOUR, "max_wait": 1}, "there is no such argument"),
        ({"tickers": ["VAS", "VAS"]}, "asked for twice"),
    ],
)
def test_what_means_nothing_is_refused(provider, given, words):
    with pytest.raises(ArgumentError, match=words):
        provider.weight_uncertainty(**given)


def test_without_an_answer_there_are_no_bands(provider):
    with pytest.raises(EtfError, match="below the least attainable") as error:
        provider.weight_uncertainty(FOUR, risk_budget=0.001, resamples=20)
    assert error.value.code is ReasonCode.INFEASIBLE


def test_the_command_shows_the_same(root, found):
    args = ["uncertainty", *FOUR, "--objective", "min_volatility", "--max-weight", "0.6"]
    args += ["--resamples", "60", "--data-dir", str(root)]
    shown = CliRunner().invoke(app, args, env={"COLUMNS": "120"})
    assert shown.exit_code == 0, shown.output
    for ticker in FOUR:
        line = next(x for x in shown.output.splitlines() if x.strip().startswith(ticker))
        assert line.split()[1:] == [f"{v:.1%}" for v in found.loc[ticker]]
    assert "60 of 60 resamples answered, seed 1, blocks of" in shown.output
    told = CliRunner().invoke(app, [*args, "--json"])
    body = json.loads(told.output)
    assert body["weights"]["VAS"]["q95"] == pytest.approx(found.loc["VAS", "q95"])
    assert body["failures"] == {}
    assert body["seed"] == 1


@pytest.fixture(scope="module")
def judged(provider):
    return provider.validate(
        FOUR,
        ["min_volatility", "risk_parity"],
        lookbacks=[1, 2],
        estimators=["sample", "ledoit_wolf"],
        trading_cost=0.001,
    )


LABELS = ["objective", "expected_returns", "estimator", "lookback_years"]


def test_every_combination_is_judged_beside_equal_weights(judged):
    assert list(judged.columns[:4]) == LABELS
    assert judged["objective"].tolist()[0] == "equal_weights"
    got = {tuple(r) for r in judged.loc[1:, LABELS].to_numpy().tolist()}
    assert got == {
        (o, "historical", e, k)
        for o in ("min_volatility", "risk_parity")
        for e in ("sample", "ledoit_wolf")
        for k in (1, 2)
    }
    assert (judged["unanswered"] == 0).all()
    said = judged.attrs
    assert (said["purge"], said["rebalance"]) == (1, "quarterly")
    assert (said["end"] - said["start"]).days > 365
    assert said["base_currency"] == "AUD"
    assert said["remarks"][0].startswith("Sharpe ratios above that of equal weights")


def test_the_course_of_a_backtest_is_the_same_where_the_calendar_is(provider, judged):
    """A backtest decides at a quarter's end and trades a session later; here it trades at the end.

    So the two are of nearly the same returns, computed apart.
    """
    start = pd.Timestamp(judged.attrs["start"])
    walked = provider.backtest(
        FOUR, "min_volatility", lookback_years=2, trading_cost=0.001, members="all"
    )
    wealth = walked["course"]["wealth"]
    wealth.index = pd.DatetimeIndex(wealth.index)
    wealth = wealth[wealth.index >= start]
    years = (wealth.index[-1] - wealth.index[0]).days / 365.25
    row = judged[
        (judged["objective"] == "min_volatility")
        & (judged["estimator"] == "sample")
        & (judged["lookback_years"] == 2)
    ].iloc[0]
    assert row["cagr"] == pytest.approx(
        (wealth.iloc[-1] / wealth.iloc[0]) ** (1 / years) - 1, abs=0.01
    )
    vol = wealth.pct_change().std() * np.sqrt(252)
    assert row["volatility"] == pytest.approx(vol, rel=0.03)


def test_own_groups_and_methods_reach_every_combination(provider):
    bonds = GroupLimit("bonds", ("VAF", "VTS"), 0.4, 0.6)
    found = provider.validate(
        iter(FOUR),
        "min_volatility",
        lookbacks=1,
        expected_returns=("historical", {"method": "james_stein"}),
        groups=[bonds],
        rebalance="monthly",
        purge=5,
    )
    assert found["expected_returns"].tolist()[1:] == ["historical", "james_stein"]
    assert (found["unanswered"] == 0).all()
    assert found.attrs["rebalance"] == "monthly"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "one of the two"),
        ({"tickers": FOUR, "lookbacks": [0]}, "lookbacks 0: must be a whole number from 1"),
        ({"tickers": FOUR, "lookbacks": [1.5]}, "lookbacks 1.5"),
        ({"tickers": FOUR, "purge": 0}, "purge 0: must be a whole number from 1"),
        ({"tickers": FOUR, "estimators": ["best"]}, "estimator"),
        ({"tickers": FOUR, "objectives": 7}, "objectives 7: give one or several"),
        ({"tickers": FOUR, "rebalance": "never", "lookbacks": 1}, "must not be never"),
        ({"tickers": FOUR, "compare_with": "VAS"}, "compare_with goes with backtest"),
        ({"tickers": FOUR, "objective": "hrp"}, "objective goes with .*objectives takes one or"),
        ({"tickers": FOUR, "estimator": "ledoit_wolf"}, "here estimators takes one or several"),
        ({"tickers": FOUR, "lookback_years": 2}, "here lookbacks takes one or several"),
        ({"tickers": FOUR, "objectives": []}, "objectives: none is given"),
        ({"tickers": FOUR, "estimators": ()}, "estimators: none is given"),
        ({"tickers": FOUR, "lookbacks": []}, "lookbacks: none is given"),
        ({"tickers": FOUR, "lookbacks": [1, 2, 1]}, "lookbacks: asked for twice: 1"),
        ({"tickers": FOUR, "objectives": ["hrp", "hrp"]}, "objectives: asked for twice: hrp"),
        ({"tickers": FOUR, "expected_returns": [{"method": "given"}] * 2}, "asked for twice"),
        (
            {"tickers": FOUR, "objectives": ["max_return", "hrp"], "risk_budget": 0.1},
            "risk_budget goes with objective",
        ),
    ],
)
def test_what_cannot_be_validated_is_refused(provider, given, words):
    with pytest.raises(ArgumentError, match=words):
        provider.validate(**given)


def test_too_long_a_lookback_is_refused(provider):
    with pytest.raises(InsufficientDataError, match="ask for shorter lookbacks"):
        provider.validate(FOUR, "min_volatility", lookbacks=[1, 5])


def test_the_command_shows_every_combination(root, judged):
    args = ["validate", *FOUR, "--objectives", "min_volatility,risk_parity", "--lookbacks", "1,2"]
    args += ["--estimators", "sample,ledoit_wolf", "--trading-cost", "0.001"]
    args += ["--data-dir", str(root)]
    told = CliRunner().invoke(app, [*args, "--json"])
    assert told.exit_code == 0, told.output
    body = json.loads(told.output)
    assert [r["cagr"] for r in body["combinations"]] == pytest.approx(judged["cagr"].tolist())
    assert body["combinations"][0]["over_equal"] is None
    shown = CliRunner().invoke(app, args, env={"COLUMNS": "200"})
    assert shown.output.count("risk_parity") >= 4
    assert f"{judged.loc[1, 'sharpe_ratio']:.2f}" in shown.output
    wrong = CliRunner().invoke(app, ["validate", *FOUR, "--lookbacks", "1,x"])
    assert "--lookbacks 'x'" in str(wrong.exception)
    none = CliRunner().invoke(app, ["validate", *FOUR, "--lookbacks", "", "--data-dir", str(root)])
    assert "lookbacks: none is given" in str(none.exception)
