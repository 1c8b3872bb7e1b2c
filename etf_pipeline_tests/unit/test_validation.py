"""Out-of-sample validation: nothing from the future, and courses by hand."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.portfolio.validation import validated
from etf_pipeline.risk.conversion import Together
from etf_pipeline.risk.estimates import estimate
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline_tests.support import walk

NONE = np.array([], dtype="datetime64[D]")
DAYS = pd.bdate_range("2018-01-01", periods=1300)
NAMES = ("A", "B", "C")
PRICES = {t: pd.Series(walk(1300, seed=i + 5), DAYS) for i, t in enumerate(NAMES)}


def together(prices=PRICES, names=NAMES):
    return Together(
        [PriceSeries(t, prices[t], NONE, NONE, "files", "AUD", "XASX") for t in names], "AUD"
    )


def spec(names=NAMES, objective="min_volatility", **more):
    return PortfolioSpec(name="p", tickers=list(names), objective=objective, **more)


def combinations(asked, **dimensions):
    """A specification with every combination of these values."""
    own = {name: getattr(asked, name) for name in asked.model_fields_set}
    return [
        PortfolioSpec(**own | dict(zip(dimensions, values, strict=True)))
        for values in itertools.product(*dimensions.values())
    ]


def run(asked, prices=PRICES, purge=1, names=NAMES):
    return validated(asked, together(prices, names), 1, 0.01, purge=purge)


def test_equal_weights_by_hand():
    """Bought at the close of each quarter's last session, left to drift until the next."""
    found = run(combinations(spec(trading_cost=0.002), lookback_years=[1]))
    frame = pd.DataFrame(PRICES)
    money, value, held = [], 1.0, None
    trades = {s.trade for s in found.splits}
    turnover = 0.0
    for at in range(found.splits[0].trade, len(frame)):
        row = frame.iloc[at].to_numpy()
        if held is not None:
            value = float(held @ row)
        if at in trades:
            before = None if held is None else held * row / value
            if before is not None:
                # what is left after costs pays for them itself: found by trying again and again
                left = 1.0
                for _ in range(60):
                    left = 1.0 - 0.002 * float(np.abs(left / 3 - before).sum())
                turnover += float(np.abs(1 / 3 - before).sum()) / 2
                value *= left
            held = value / 3 / row
        money.append(value)
    wealth = np.array(money)
    assert found.returns[0].to_numpy() == pytest.approx(wealth[1:] / wealth[:-1] - 1, abs=1e-12)
    days = DAYS[found.splits[0].trade :]
    years = (days[-1] - days[0]).days / 365.25
    row = found.table.iloc[0]
    assert row["objective"] == "equal_weights"
    assert row["turnover"] == pytest.approx(turnover / years)
    assert row["cagr"] == pytest.approx((wealth[-1] / wealth[0]) ** (1 / years) - 1)


@pytest.mark.parametrize("purge", [1, 6])
@pytest.mark.parametrize("objective", ["min_volatility", "max_return"])
def test_no_decision_depends_on_what_came_after_what_it_knew(purge, objective):
    asked = combinations(spec(objective=objective, max_weight=0.7), lookback_years=[1])
    whole = run(asked, purge=purge)
    split = whole.splits[len(whole.splits) // 2]
    rng = np.random.default_rng(1)
    changed = {}
    for ticker, prices in PRICES.items():
        values = prices.to_numpy().copy()
        # what is purged is other than it was, and so is all that is judged
        values[split.known + 1 : split.trade] *= rng.uniform(0.5, 2, split.trade - split.known - 1)
        changed[ticker] = pd.Series(values, DAYS)
    again = run(asked, changed, purge)
    here = slice(DAYS[split.trade + 1], DAYS[split.end])
    assert again.returns.loc[here, 1].to_numpy() == pytest.approx(
        whole.returns.loc[here, 1].to_numpy(), abs=1e-12
    )
    before = whole.returns.index[whole.returns.index <= DAYS[split.known]]
    assert np.array_equal(again.returns.loc[before, 1], whole.returns.loc[before, 1])
    if purge > 1:
        inside = slice(DAYS[split.known + 1], DAYS[split.trade])
        assert not np.allclose(again.returns.loc[inside, 1], whole.returns.loc[inside, 1])


def test_a_last_price_known_decides():
    """The test above can fail: one session earlier, and the decision is another."""
    asked = combinations(spec(objective="max_return", max_weight=0.7), lookback_years=[1])
    whole = run(asked)
    split = whole.splits[3]
    values = {t: p.to_numpy().copy() for t, p in PRICES.items()}
    values["A"][split.known] /= 3
    again = run(asked, {t: pd.Series(v, DAYS) for t, v in values.items()})
    here = slice(DAYS[split.trade + 1], DAYS[split.end])
    assert not np.allclose(again.returns.loc[here, 1], whole.returns.loc[here, 1])


def test_combinations_are_judged_on_the_same_returns_and_labelled():
    asked = combinations(
        spec(max_weight=0.8),
        objective=["min_volatility", "max_return"],
        estimator=["sample", "ledoit_wolf"],
        lookback_years=[1, 2],
    )
    found = run(asked)
    assert len(found.table) == 9
    assert found.returns.shape[1] == 9
    assert found.returns.notna().all().all()
    assert DAYS[found.splits[0].known] >= DAYS[0] + pd.DateOffset(years=2) - pd.Timedelta("10D")
    got = found.table.loc[1:, ["objective", "estimator", "lookback_years"]]
    assert [tuple(r) for r in got.to_numpy()] == [
        (one.objective, one.estimator, one.lookback_years) for one in asked
    ]
    # a label is what was asked: each alone gives the same numbers, over the same sessions
    alone = run([asked[0], asked[-1]])
    assert alone.returns[1].to_numpy() == pytest.approx(found.returns[1].to_numpy(), abs=1e-12)


def test_no_order_of_tickers_has_a_say():
    asked = combinations(spec(objective="max_return", max_weight=0.6), lookback_years=[1, 2])
    turned = combinations(
        spec(NAMES[::-1], objective="max_return", max_weight=0.6), lookback_years=[1, 2]
    )
    one, other = run(asked), run(turned, names=NAMES[::-1])
    assert one.returns.to_numpy() == pytest.approx(other.returns.to_numpy(), abs=1e-9)


def test_decisions_without_an_answer_are_counted_and_keep_what_is_held():
    """A budget that the least volatile portfolio of some windows is over, by a grid of weights."""
    free = run(combinations(spec(), lookback_years=[1]))
    steps = np.linspace(0, 1, 101)
    grid = np.array([(a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1 + 1e-12])
    least = []
    for split in free.splits:
        parts = [s.until(DAYS[split.known].date()) for s in together().series]
        covariance = estimate(parts, 1).covariance
        least.append(float(np.sqrt(((grid @ covariance) * grid).sum(axis=1).min())))
    ordered = np.sort(least)
    widest = int(np.argmax(np.diff(ordered)))
    budget = float(ordered[widest : widest + 2].mean())
    asked = combinations(spec(objective="max_return", risk_budget=budget), lookback_years=[1])
    found = run(asked)
    row = found.table.iloc[1]
    assert 0 < row["unanswered"] == sum(v > budget for v in least) < len(least)
    assert "is below the least attainable volatility" in row["reason"]
    assert np.isfinite(row["cagr"])


def test_before_the_first_answer_there_are_equal_weights():
    late = {t: p.copy() for t, p in PRICES.items()}
    asked = combinations(
        spec(objective="max_return", risk_budget=1e-4), lookback_years=[1]
    ) + combinations(spec(), lookback_years=[1])
    found = run(asked, late)
    assert found.table.iloc[1]["unanswered"] == len(found.splits)
    assert found.returns[1].isna().all()
    assert any("risk budget 0.0001 is below" in r for r in found.remarks)


def test_turnover_is_against_what_is_held():
    loose = run(combinations(spec(objective="max_return", max_weight=0.9), lookback_years=[1]))
    asked = combinations(
        spec(
            objective="max_return",
            max_weight=0.9,
            max_turnover=0.05,
            holdings={"A": 1 / 3, "B": 1 / 3, "C": 1 / 3},
        ),
        lookback_years=[1],
    )
    tight = run(asked)
    years = len(tight.splits) / 4
    assert not tight.table.iloc[1]["unanswered"]
    assert tight.table.iloc[1]["turnover"] <= 0.05 * (len(tight.splits) - 1) / years * 1.1
    assert tight.table.iloc[1]["turnover"] < loose.table.iloc[1]["turnover"]


@pytest.mark.parametrize("years", [4, 5, 9])
def test_a_year_must_be_left_to_judge_on(years):
    with pytest.raises(InsufficientDataError, match="ask for shorter lookbacks"):
        run(combinations(spec(), lookback_years=[1, years]))


def test_what_is_bought_once_cannot_be_validated():
    with pytest.raises(ValueError, match="rebalance must not be never"):
        run(combinations(spec(rebalance="never"), lookback_years=[1]))


def test_hindsight_is_told():
    given = {"method": "given", "returns": {"A": 0.04, "B": 0.05, "C": 0.06}}
    found = run(combinations(spec(expected_returns=given), lookback_years=[1, 2]))
    assert [r for r in found.remarks if "hindsight" in r] == [
        "hindsight: the given returns are today's at every past rebalance"
    ]
    assert found.table.loc[1:, "expected_returns"].tolist() == ["given", "given"]


def test_what_short_positions_would_have_cost_is_told():
    asked = spec(min_weight=-0.3, gross_exposure=1.6)
    found = run(combinations(asked, lookback_years=[1, 2]))
    assert len([r for r in found.remarks if "no fee for short positions" in r]) == 1
    assert not any("short" in r for r in run(combinations(spec(), lookback_years=[1])).remarks)


def test_a_band_saves_trades_and_half_spreads_cost():
    plain, banded = (
        run(combinations(spec(half_spreads={"A": 50.0}, **more), lookback_years=[1]))
        for more in ({}, {"band": 0.5})
    )
    assert plain.table.iloc[0]["cost"] > 0
    assert banded.table.iloc[0]["turnover"] == banded.table.iloc[0]["cost"] == 0


def test_a_ticker_that_ends_early_ends_all():
    short = PRICES | {"B": PRICES["B"].iloc[:1000]}
    found = run(combinations(spec(), lookback_years=[1]), short)
    assert found.returns.index[-1] == DAYS[999]


def test_holes_of_one_are_no_session_of_all():
    holed = PRICES | {"B": PRICES["B"].drop(DAYS[700:705])}
    found = run(combinations(spec(), lookback_years=[1]), holed)
    assert not found.returns.index.isin(DAYS[700:705]).any()
    base = run(combinations(spec(), lookback_years=[1]))
    grown = (1 + found.returns[0]).prod() / (1 + base.returns[0]).prod()
    assert grown == pytest.approx(1, abs=1e-9)


def test_remarks_of_the_conversion_are_handed_on():
    told = replace(together(), remarks=("rates are stale",))
    found = validated(combinations(spec(), lookback_years=[1]), told, 1, 0.0)
    assert found.remarks[-1] == "rates are stale"


def test_what_is_in_cash_earns_the_risk_free_rate():
    """Half in tickers, half in cash, by hand: units in between, cash by calendar days."""
    pinned = {"A": (0.2, 0.2), "B": (0.2, 0.2), "C": (0.1, 0.1)}
    asked = combinations(spec(bounds=pinned, net_exposure=(0.5, 0.5)), lookback_years=[1])
    found = validated(asked, together(), 1, 0.05)
    frame, parts = pd.DataFrame(PRICES), np.array([0.2, 0.2, 0.1])
    trades = {s.trade for s in found.splits}
    value, units, cash, money = 1.0, np.zeros(3), 0.0, []
    for at in range(found.splits[0].trade, len(frame)):
        row = frame.iloc[at].to_numpy()
        if money:
            cash *= 1.05 ** ((DAYS[at] - DAYS[at - 1]).days / 365.25)
            value = float(units @ row) + cash
        if at in trades:
            units, cash = value * parts / row, value / 2
        money.append(value)
    wealth = np.array(money)
    assert found.returns[1].to_numpy() == pytest.approx(wealth[1:] / wealth[:-1] - 1, abs=1e-12)


def test_a_course_that_loses_everything_is_none():
    """Short of a ticker that rises fivefold in a night."""
    jump = PRICES | {"A": PRICES["A"] * np.where(np.arange(1300) < 800, 1.0, 5.0)}
    pinned = {"A": (-1.0, -1.0), "B": (1.0, 1.0), "C": (1.0, 1.0)}
    asked = combinations(
        spec(bounds=pinned, gross_exposure=3.0, min_weight=-1.0), lookback_years=[1]
    )
    found = run(asked, jump)
    assert found.returns[1].isna().all() and np.isnan(found.table.iloc[1]["cagr"])
    assert f"all of it was lost on {DAYS[800].date()}" in found.table.iloc[1]["reason"]
    assert any("has no course: all of it was lost" in r for r in found.remarks)
    assert any(r.startswith("what is lent and borrowed costs the risk-free") for r in found.remarks)


def test_it_begins_when_the_benchmark_has_its_years():
    late = PriceSeries(
        "X", pd.Series(walk(700, seed=77), DAYS[600:]), NONE, NONE, "files", "AUD", "XASX"
    )
    asked = combinations(
        spec(objective="min_tracking_error", benchmark={"X": 1.0}), lookback_years=[1]
    )
    found = validated(asked, replace(together(), beside=(late,)), 1, 0.0)
    decided = [DAYS[s.known] for s in found.splits]
    a_year_later = DAYS[600] + pd.DateOffset(years=1)
    assert a_year_later <= decided[0] < a_year_later + pd.DateOffset(months=3, days=3)
    assert found.table["unanswered"].tolist() == [0, 0]
    early = run(combinations(spec(), lookback_years=[1]))
    assert early.splits[0].known < found.splits[0].known
