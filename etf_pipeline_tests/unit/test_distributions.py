"""Rules on distributions: each fault that was seen somewhere, and what must not be taken for one.

Prices are made here: an ordinary walk that falls by what was really paid on each ex-date.
"""

import datetime as dt
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.history.basis import Basis
from etf_pipeline.history.build import build
from etf_pipeline.history.evidence import NOTHING_SAID, Evidence
from etf_pipeline.history.merge import merge_full
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.corrections import Correction
from etf_pipeline.model.rows import empty_rows
from etf_pipeline.risk.tables import metrics_row
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.prices import load_prices
from etf_pipeline.store.publishing import NewHistory, publish_history
from etf_pipeline_tests.support import asx_days, bars

BASIS = Basis(sessions("XASX"))
N = 1000
DAYS = asx_days("2019-01-02", N)


def prices(paid, noise=0.008, seed=0, last=30.0, n=N):
    """Closes whose last one is `last`, which fall by `paid` ({row: currency per unit})."""
    moves = np.random.default_rng(seed).normal(0.0, noise, n)
    closes = np.empty(n)
    closes[-1] = last
    for i in range(n - 1, 0, -1):
        # close = (before − paid) · (1 + move)
        closes[i - 1] = closes[i] / (1 + moves[i]) + paid.get(i, 0.0)
    return closes


def prices_at(row, close, paid, noise=0.008, seed=0):
    """The same with a given close on one row: closes are linear in the last one."""
    zero, one = (prices(paid, noise, seed, last) for last in (0.0, 1.0))
    return prices(paid, noise, seed, (close - zero[row]) / (one[row] - zero[row]))


def quarterly(amount, n=N, first=50, every=63):
    return {i: amount * (1 + 0.3 * np.sin(i)) for i in range(first, n - 10, every)}


def rows_of(closes, told, **columns):
    dividends = np.zeros(len(closes))
    for i, amount in told.items():
        dividends[i] = amount
    return bars(DAYS[: len(closes)], closes, dividends=dividends, **columns)


def source_close(rows, counted):
    """The adjusted close of a source that counted `counted` ({row: currency per unit})."""
    closes, factor = rows["close"].to_numpy(), np.ones(len(rows))
    for i, amount in counted.items():
        factor[:i] *= 1 - amount / closes[i - 1]
    return closes * factor


def said(rows, counted=None, notes=None, currency="AUD"):
    theirs = np.nan if counted is None else source_close(rows, counted)
    answer = rows.assign(adj_close_source=theirs)
    return NOTHING_SAID.and_then(answer, notes or {}, currency, True)


def first_ratio(built):
    first = built.history.slice(0, 1).to_pylist()[0]
    return first["adj_close"] / first["close"]


def product(closes, counted):
    return np.prod([1 - amount / closes[i - 1] for i, amount in counted.items()])


def found(built):
    return {(r["date"], r["rule"]): r["severity"] for r in built.quarantine.to_pylist()}


def day(i):
    return DAYS[i].astype("datetime64[D]").astype(object)


def withheld_rule(built, i):
    (rule,) = (rule for (d, rule), s in found(built).items() if d == day(i) and s == "withheld")
    return rule


def test_good_distributions_are_kept_as_they_are():
    paid = quarterly(0.25)
    closes = prices(paid)
    rows = rows_of(closes, paid)
    for evidence in (NOTHING_SAID, said(rows), said(rows, paid)):
        built = build(rows, BASIS, evidence)
        assert found(built) == {}
        assert first_ratio(built) == pytest.approx(product(closes, paid), rel=1e-12)
    assert build(rows, BASIS, said(rows, paid)).adj_close_gap < 1e-9


@pytest.mark.parametrize("many", [1, 11])
def test_d1_pounds_for_pence(many):
    """Close 27.55, dividend 7.5294 where .075294 was paid, once or on eleven ex-dates."""
    paid = dict.fromkeys(range(50, 50 + 63 * 15, 63), 0.075294)
    wrong = sorted(paid)[-many:]
    closes = prices_at(wrong[0] - 1, 27.55, paid, noise=0.012)
    rows = rows_of(closes, paid | dict.fromkeys(wrong, 7.5294))
    built = build(rows, BASIS)
    assert built.withheld == tuple(day(i) for i in wrong)
    right = {i: a for i, a in paid.items() if i not in wrong}
    assert first_ratio(built) == pytest.approx(product(closes, right), rel=1e-12)
    assert len(built.history) == N  # every price is there
    row = built.history.to_pylist()[wrong[0]]
    # Where most are of that size, only the price says that they are none.
    rule = "distribution_scale" if many == 1 else "distribution_without_fall"
    assert (row["dividends"], row["flag"]) == (0.0, rule)
    held = built.quarantine.to_pylist()[0]
    assert (held["dividends"], held["severity"]) == (7.5294, "withheld")


def test_d1_where_no_distribution_is_of_the_right_size():
    """Eleven of 7.5294 and no other: the price says that none of them was paid."""
    wrong = range(50, 50 + 63 * 11, 63)
    closes = prices_at(49, 27.55, dict.fromkeys(wrong, 0.075294), noise=0.012)
    rows = rows_of(closes, dict.fromkeys(wrong, 7.5294))
    for evidence in (NOTHING_SAID, said(rows, dict.fromkeys(wrong, 7.5294))):
        built = build(rows, BASIS, evidence)
        assert built.withheld == tuple(day(i) for i in wrong)
        assert len(built.history) == N
        assert first_ratio(built) == 1.0


def test_d2_a_hundred_times():
    """Close 14.35, dividend 1.76, .0176 meant: with others of the right size, and alone."""
    others = dict.fromkeys(range(37, 560, 63), 0.0176)
    closes = prices_at(599, 14.35, others | {600: 0.0176})
    built = build(rows_of(closes, others | {600: 1.76}), BASIS)
    assert withheld_rule(built, 600) == "distribution_scale"
    assert first_ratio(built) == pytest.approx(product(closes, others), rel=1e-12)
    alone = build(rows_of(closes, {600: 1.76}), BASIS)
    assert withheld_rule(alone, 600) == "distribution_without_fall"


@pytest.mark.parametrize(
    ("close", "amount"), [(24.15, 35.5), (1.448, 2.8), (9000.0, 5_411_920.0), (5.0, 5.001)]
)
def test_d3_d4_d5_not_below_the_price(close, amount):
    closes = prices_at(599, close, {}, noise=0.01)
    built = build(rows_of(closes, {600: amount}), BASIS)
    assert withheld_rule(built, 600) == "distribution_above_price"
    assert first_ratio(built) == 1.0


def test_d6_on_the_basis_of_before_a_split_of_the_same_day():
    """Split 5, dividend 275, close before 4,206: 55 on the new basis, so 1 − 55/4206."""
    paid = dict.fromkeys(range(40, 600, 120), 55.0)
    closes = prices_at(639, 4206.0, paid | {640: 55.0}, noise=0.012)
    splits = np.zeros(N)
    splits[640] = 5.0
    built = build(rows_of(closes, paid | {640: 275.0}, stock_splits=splits), BASIS)
    expected = product(closes, paid) * (1 - 55 / 4206)
    assert first_ratio(built) == pytest.approx(expected, rel=1e-12)
    assert found(built) == {(day(640), "distribution_basis"): "flagged"}
    assert built.history.to_pylist()[640]["dividends"] == pytest.approx(55.0)
    assert built.quarantine.to_pylist()[0]["dividends"] == 275.0
    right = build(rows_of(closes, paid | {640: 55.0}, stock_splits=splits), BASIS)
    assert found(right) == {}


def test_d7_a_duplicate_on_the_next_session():
    """1.813539, then 1.95426 a session later, for which the price does not fall."""
    closes = prices_at(599, 25.0, {600: 1.813539}, noise=0.01)
    rows = rows_of(closes, {600: 1.813539, 601: 1.95426})
    built = build(rows, BASIS)
    assert withheld_rule(built, 601) == "distribution_twice"
    assert first_ratio(built) == pytest.approx(1 - 1.813539 / closes[599], rel=1e-12)


def test_of_two_the_one_that_the_price_did_not_fall_for_is_the_copy():
    closes = prices({601: 2.0}, noise=0.004, last=25.0)
    built = build(rows_of(closes, {600: 2.0, 601: 2.0}), BASIS)
    assert withheld_rule(built, 600) == "distribution_twice"


def test_two_that_the_price_fell_for_twice_are_kept():
    paid = {600: 2.0, 602: 2.1}
    closes = prices(paid, noise=0.004, last=25.0)
    assert found(build(rows_of(closes, paid), BASIS)) == {}


def test_a_weekly_payer_has_no_duplicates():
    paid = dict.fromkeys(range(20, 980, 5), 0.03)
    assert found(build(rows_of(prices(paid), paid), BASIS)) == {}


@pytest.mark.parametrize("seed", range(8))
def test_d8_before_a_split_and_not_on_its_basis(seed):
    """Found by the source's adjusted close together with the yields of the years after."""
    paid = quarterly(0.25)
    closes = prices(paid, seed=seed)
    splits = np.zeros(N)
    splits[500] = 4.0
    told = {i: a * (4.0 if i < 500 else 1.0) for i, a in paid.items()}
    rows = rows_of(closes, told, stock_splits=splits)
    built = build(rows, BASIS, said(rows, paid))
    assert first_ratio(built) == pytest.approx(product(closes, paid), rel=1e-9)
    assert {d for d, rule in found(built)} == {day(i) for i in paid if i < 500}
    assert {rule for _, rule in found(built)} == {"distribution_basis"}


def test_d9_another_currency_is_never_taken_as_the_prices():
    paid = quarterly(0.25)
    closes = prices(paid)
    rows = rows_of(closes, paid)
    built = build(rows, BASIS, said(rows, notes={day(50): "USD", day(113): "AUD"}))
    assert withheld_rule(built, 50) == "dividend_currency"
    assert "USD" in built.quarantine.to_pylist()[0]["evidence"]
    assert built.withheld == (day(50),)


@pytest.mark.parametrize(
    ("own", "other", "factor"),
    [("GBp", "GBP", 100), ("ZAc", "ZAR", 100), ("ILA", "ILS", 100), ("GBP", "GBp", 0.01)],
)
def test_d10_minor_units_are_scaled_with_the_currency_as_evidence(own, other, factor):
    paid = quarterly(2.5)
    closes = prices(paid, last=300.0)
    told = {i: a / factor for i, a in paid.items()}
    rows = rows_of(closes, told)
    notes = {day(i): other for i in paid}
    built = build(rows, BASIS, said(rows, notes=notes, currency=own))
    assert {rule for _, rule in found(built)} == {"dividend_unit"}
    assert first_ratio(built) == pytest.approx(product(closes, paid), rel=1e-12)
    assert built.history.to_pylist()[50]["flag"] == "dividend_unit"


def test_d10_a_hundredth_without_the_currency_needs_evidence():
    paid = quarterly(2.5)
    closes = prices(paid, last=300.0)
    small = paid | {302: paid[302] / 100}
    rows = rows_of(closes, small)
    told = build(rows, BASIS, said(rows, paid))
    assert withheld_rule(told, 302) == "distribution_scale"
    assert told.adj_close_gap < 1e-9  # the finding explains it
    assert found(build(rows, BASIS)) == {}  # cannot be told from noise: kept


def test_a_hundredth_that_a_quiet_price_fell_for_in_full_is_withheld():
    paid = quarterly(0.25)
    closes = prices(paid, noise=0.0005)
    built = build(rows_of(closes, paid | {302: paid[302] / 100}), BASIS)
    assert withheld_rule(built, 302) == "distribution_scale"


@pytest.mark.parametrize("seed", range(20))
def test_d11_large_ones_that_the_price_fell_for_are_kept(seed):
    """16 % and 15 % of the price in July among small ones."""
    paid = quarterly(0.15) | {400: 5.0, 652: 4.7}
    closes = prices(paid, noise=0.012, seed=seed)
    assert found(build(rows_of(closes, paid), BASIS)) == {}


def test_large_ones_whose_ex_date_is_two_sessions_off_are_kept():
    paid = quarterly(0.15) | {400: 5.0}
    closes = prices(paid, noise=0.01)
    told = {(402 if i == 400 else i): a for i, a in paid.items()}
    assert found(build(rows_of(closes, told), BASIS)) == {}


@pytest.mark.parametrize("amount", [-1.0, np.inf])
def test_negative_and_infinite(amount):
    built = build(rows_of(prices({}), {600: amount}), BASIS)
    assert withheld_rule(built, 600) == "negative_distribution"
    assert first_ratio(built) == 1.0


GAINS = {400: 6.42}


def with_gains(closes, dividends):
    rows = rows_of(closes, dividends)
    rows["capital_gains"] = [GAINS.get(i, 0.0) for i in range(N)]
    return merge_full(empty_rows(), rows.assign(adj_close_source=np.nan)).rows


def test_a_gain_inside_the_dividend_is_no_income():
    """7.857 of which 6.42 is gain: income 1.437, both columns together what was paid."""
    closes = prices({400: 7.857}, last=60.0)
    built = build(with_gains(closes, {400: 7.857}), BASIS)
    row = built.history.to_pylist()[400]
    assert row["dividends"] == pytest.approx(1.437, rel=1e-12)
    assert row["capital_gains"] == 6.42
    assert first_ratio(built) == pytest.approx(1 - 7.857 / closes[399], rel=1e-12)


@pytest.mark.parametrize(
    ("dividend", "counted", "rule", "income"),
    [
        (7.857, 7.857, None, 1.437),
        (7.857, 7.857 + 6.42, "capital_gain_apart", 7.857),
        (1.437, 6.42, "capital_gain_overlap", 0.0),
        (1.437, 7.857, None, 1.437),
    ],
)
def test_the_source_tells_whether_a_gain_comes_on_top(dividend, counted, rule, income):
    closes = prices({400: counted}, last=60.0)
    rows = with_gains(closes, {400: dividend})
    built = build(rows, BASIS, said(rows, {400: counted}))
    assert [r for _, r in found(built)] == ([] if rule is None else [rule])
    row = built.history.to_pylist()[400]
    assert row["dividends"] == pytest.approx(income, rel=1e-12, abs=1e-12)
    assert row["capital_gains"] == 6.42
    assert first_ratio(built) == pytest.approx(1 - counted / closes[399], rel=1e-9)
    assert built.adj_close_gap < 1e-9


def test_implied_distributions_are_kept_and_said():
    paid = quarterly(0.25)
    rows = rows_of(prices(paid), paid)
    built = build(rows, BASIS, said(rows, paid, notes={day(50): "implied"}))
    assert found(built) == {(day(50), "implied_distribution"): "flagged"}
    assert built.history.to_pylist()[50]["flag"] == "implied_distribution"
    assert built.history.to_pylist()[50]["dividends"] == paid[50]


@given(
    st.integers(0, 10_000),
    st.sampled_from([1, 5, 21, 63, 126, 252]),
    st.sampled_from([0.0001, 0.002, 0.008, 0.02, 0.04]),
    st.sampled_from([0.05, 1.0, 30.0, 5000.0]),
    st.sampled_from([30, 120, N]),
    st.floats(0.5, 1.1),
)
def test_no_false_alarm(seed, every, noise, last, n, tax):
    """Any payer, any price, any noise: yields that vary tenfold, and falls of half to all of it.

    Whatever counts, counts; of a large one that noise hides it may be said.
    """
    random = np.random.default_rng(seed)
    per_year = 0.04 * every / 252 * last
    paid = {
        i: per_year * float(np.exp(random.uniform(-1.2, 1.2)))
        for i in range(int(random.integers(1, every + 1)), n - 1, every)
    }
    closes = prices({i: tax * a for i, a in paid.items()}, noise, seed, last, n)
    built = build(rows_of(closes, paid), BASIS)
    assert set(found(built)) <= {
        (day(i), "distribution_unseen")
        for i, a in paid.items()
        if a > 0.005 * closes[i - 1] and closes[i] > closes[i - 1] - 0.8 * a
    }
    assert set(found(built).values()) <= {"flagged"}
    assert first_ratio(built) == pytest.approx(product(closes, paid), rel=1e-9)


@pytest.mark.parametrize(("noise", "most"), [(0.002, 0), (0.008, 1), (0.02, 3)])
def test_doubt_of_what_was_really_paid_is_rare(noise, most):
    """Of 1,500 distributions that prices fell for by 0.75 to 1.05 of them, yields vary fourfold."""
    said_of = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        paid = {i: 0.3 * float(np.exp(random.uniform(-0.7, 0.7))) for i in range(20, N, 63)}
        fell = {i: amount * float(random.uniform(0.75, 1.05)) for i, amount in paid.items()}
        built = build(rows_of(prices(fell, noise, seed), paid), BASIS)
        assert built.withheld == ()
        said_of += len(found(built))
    assert said_of <= most


@given(
    st.integers(0, 10_000),
    st.sampled_from([21, 63, 126]),
    st.sampled_from([0.0001, 0.002, 0.008, 0.015]),
    st.sampled_from([0.05, 1.0, 30.0, 5000.0]),
)
def test_a_hundred_times_is_found_alone(seed, every, noise, last):
    paid = dict.fromkeys(range(every, N - 5, every), 0.04 * every / 252 * last)
    closes = prices(paid, noise, seed, last)
    one = sorted(paid)[int(np.random.default_rng(seed).integers(len(paid)))]
    built = build(rows_of(closes, paid | {one: 100 * paid[one]}), BASIS)
    assert built.withheld == (day(one),)


def test_evidence_goes_through_a_footer_and_stays_after_a_window():
    paid = quarterly(0.25)
    rows = rows_of(prices(paid), paid)
    notes = {day(50): "USD", day(932): "implied"}
    whole = said(rows, paid, notes)
    assert Evidence.from_json(whole.as_json()) == whole
    window = rows[900:].assign(adj_close_source=source_close(rows, paid)[900:])
    later = whole.and_then(window, {}, "AUD", False)
    assert later.notes == {day(50): "USD"}  # the window takes back what it covers
    assert not whole.differs(whole)
    assert later.differs(whole)
    assert {d: pytest.approx(f) for d, f in whole.factors.items()} == later.factors
    assert whole.factors[day(50)] == pytest.approx(1 - paid[50] / rows["close"].iloc[49])


def test_a_gap_that_no_finding_explains_is_told():
    paid = quarterly(0.25)
    rows = rows_of(prices(paid), paid)
    missed = {i: a for i, a in paid.items() if i != 302}
    built = build(rows, BASIS, said(rows, missed))
    assert built.adj_close_gap == pytest.approx(paid[302] / rows["close"].iloc[301], rel=1e-6)
    assert pd.Timestamp(day(302)).date() == dt.date.fromisoformat(str(day(302)))


@pytest.mark.parametrize("times", [10, 20, 40])
@pytest.mark.parametrize("seed", range(3))
def test_one_wrong_amount_takes_no_other_with_it(times, seed):
    """A single large share decides no question that is about many distributions."""
    paid = quarterly(0.25)
    wrong = sorted(paid)[7]
    rows = rows_of(prices(paid, seed=seed), paid | {wrong: paid[wrong] * times})
    built = build(rows, BASIS, said(rows, paid | {wrong: paid[wrong] * times}))
    assert built.withheld == (day(wrong),)
    rest = {i: amount for i, amount in paid.items() if i != wrong}
    assert first_ratio(built) == pytest.approx(product(rows["close"].to_numpy(), rest), rel=1e-12)


def test_an_amount_that_the_price_fell_for_in_part_is_not_kept_in_silence():
    """39 % of the price, which fell by 8 % as was really paid: five times too much."""
    paid = dict.fromkeys(range(50, N, 126), 0.1) | {600: 0.08 * 30}
    closes = prices_at(599, 30.0, paid, noise=0.01)
    rows = rows_of(closes, paid | {600: 0.39 * 30})
    assert build(rows, BASIS).withheld == (day(600),)
    assert build(rows_of(closes, paid), BASIS).withheld == ()


def test_a_large_one_that_noise_hides_is_said():
    """6 % of the price of a fund that moves by 4 % a day, and that rose by 2 % on the day."""
    closes = prices({}, noise=0.04, seed=5)
    closes[600:] *= closes[599] * 1.02 / closes[600]
    told = {i: 0.005 * closes[i - 1] for i in range(50, 600, 63)} | {600: 0.06 * closes[599]}
    built = build(rows_of(closes, told), BASIS)
    assert found(built)[(day(600), "distribution_unseen")] == "flagged"
    assert built.withheld == ()


@pytest.mark.parametrize("n", [15, 400])
def test_half_of_the_price_without_a_fall_is_withheld_in_a_new_fund(n):
    closes = prices({}, noise=0.01, n=n)
    for i in (1, n // 2, n - 1):
        told = {i: 0.5 * closes[i - 1]}
        assert build(rows_of(closes, told), BASIS).withheld == (day(i),)


def test_a_copy_on_the_day_of_payment():
    """The same amount to the last digit, eight sessions on, in a fund that pays each quarter."""
    paid = quarterly(0.25)
    row = sorted(paid)[5]
    rows = rows_of(prices(paid, noise=0.004), paid | {row + 8: paid[row]})
    built = build(rows, BASIS)
    assert withheld_rule(built, row + 8) == "distribution_twice"
    assert len(built.withheld) == 1


@pytest.mark.parametrize("share", [0.82, 0.9, 0.95])
@pytest.mark.parametrize("at", [750, N - 1])
def test_a_fund_that_is_wound_up_pays_nearly_all_of_its_price(share, at):
    """The price falls by what is paid: no change of level, and a return like any other."""
    paid = quarterly(0.25)
    closes = prices(paid)
    total = share * closes[at - 1]
    closes[at:] *= (closes[at - 1] - total) / closes[at - 1]
    told = {i: amount for i, amount in paid.items() if i < at} | {at: total}
    rows = rows_of(closes, told)
    built = build(rows, BASIS, said(rows, told))
    assert found(built) == {}
    assert built.history.num_rows == N
    assert first_ratio(built) == pytest.approx(product(closes, told), rel=1e-12)


@pytest.mark.parametrize("split", [2.0, 1.5])
def test_small_splits_on_the_day_of_a_distribution_of_a_steady_payer(split):
    """An amount on the basis of before a split of 2:1 or 3:2, where all others are alike."""
    rows = list(range(50, N - 10, 63))
    closes = prices({}, noise=0.006)
    paid = {i: 0.012 * closes[i - 1] for i in rows}
    for i in rows:
        closes[i:] *= 1 - 0.012
        paid[i] = 0.012 * closes[i - 1]
    at = rows[8]
    splits = np.where(np.arange(N) == at, split, 0.0)
    told = paid | {at: paid[at] * split}
    built = build(rows_of(closes, told, stock_splits=splits), BASIS)
    assert found(built) == {(day(at), "distribution_basis"): "flagged"}
    assert first_ratio(built) == pytest.approx(product(closes, paid), rel=1e-12)


@pytest.mark.parametrize(("times", "silent"), [(3, 8), (5, 1), (8, 0), (12, 0), (20, 0)])
def test_too_large_by_a_factor_is_hardly_counted_in_silence(times, silent):
    """1.2 % of the price each quarter in a fund that moves by 0.5 % a day."""
    told = 0
    paid = {i: 0.36 * (1 + 0.2 * np.sin(i)) for i in range(50, N, 63)}
    closes = prices(paid, noise=0.005)
    for wrong in paid:
        rows = rows_of(closes, paid | {wrong: times * paid[wrong]})
        built = build(rows, BASIS)
        assert {d for d, _ in found(built)} <= {day(wrong)}
        told += len(found(built))
        assert times < 8 or built.withheld == (day(wrong),)
    assert told >= len(paid) - silent


def test_the_metrics_say_what_may_be_a_fault_until_somebody_accepts_it(tmp_path):
    paid = {i: 0.36 * (1 + 0.2 * np.sin(i)) for i in range(50, N, 63)}
    closes = prices(paid, noise=0.008)
    row = sorted(paid)[12]
    rows = rows_of(closes, paid | {row: 0.045 * closes[row - 1]})
    line = Correction("VAS", day(row), "accept", "distribution_unseen", math.nan, "special", "ann")

    def series(*corrections):
        built = build(rows, Basis(sessions("XASX"), corrections=corrections))
        new = NewHistory("VAS", built, "VAS.AX", "XASX", "AUD", "yahoo")
        publish_history(Layout(tmp_path), new)
        return load_prices(Layout(tmp_path), "VAS")

    said = f"1 distribution may be a fault ({day(row)})"
    assert metrics_row(series(), 3)["reason"] == said
    assert metrics_row(series().until(day(row - 1)), 1)["reason"] is None
    assert metrics_row(series(line), 3)["reason"] is None
    assert series().prices.iloc[0] == series(line).prices.iloc[0]  # it counts either way


@pytest.mark.parametrize("n", [4, 8, 15, 19])
@pytest.mark.parametrize("share", [0.2, 0.5])
@pytest.mark.parametrize("noise", [0.002, 0.01, 0.03])
def test_a_new_fund_s_large_amount_without_a_fall_is_never_counted_in_silence(n, share, noise):
    closes = prices({}, noise=noise, n=n)
    for at in {1, n // 2, n - 1}:
        built = build(rows_of(closes, {at: share * closes[at - 1]}), BASIS)
        assert {d for d, _ in found(built)} == {day(at)}
        paid = {at: share * closes[at - 1]}
        fell = prices(paid, noise=noise, n=n, last=30.0)
        told = {at: share * fell[at - 1]}
        fell[at:] *= (1 - share) * fell[at - 1] / fell[at]
        assert found(build(rows_of(fell, told), BASIS)) == {}


def test_a_fall_within_days_of_far_less_than_the_amount_does_not_confirm_it():
    """40 % of the price, which fell by 12 % in the week of its ex-date."""
    paid = quarterly(0.25)
    closes = prices(paid, noise=0.009)
    wrong = sorted(paid)[8]
    closes[wrong + 3 :] *= 0.88
    built = build(rows_of(closes, paid | {wrong: 0.4 * closes[wrong - 1]}), BASIS)
    assert built.withheld == (day(wrong),)


@pytest.mark.parametrize("apart", [5, 10])
def test_a_new_fund_may_pay_the_same_each_week(apart):
    paid = dict.fromkeys(range(20, 20 + 4 * apart, apart), 0.05)
    assert found(build(rows_of(prices(paid, n=80), paid), BASIS)) == {}
    twice = rows_of(prices({20: 0.9}, noise=0.003, n=80), {20: 0.9, 20 + apart: 0.9})
    assert build(twice, BASIS).withheld == (day(20 + apart),)


@pytest.mark.parametrize("hundredths", [1, 8, 15])
@pytest.mark.parametrize("noise", [0.0005, 0.01])
def test_an_amount_that_is_a_hundredth_of_what_its_source_took_off_is_withheld(hundredths, noise):
    """Pounds on a pence listing without a currency: however many, and whatever the others are."""
    paid = quarterly(2.5)
    closes = prices(paid, noise, 0, 300.0)
    wrong = sorted(paid)[:hundredths]
    rows = rows_of(closes, paid | {i: paid[i] / 100 for i in wrong})
    built = build(rows, BASIS, said(rows, paid, currency="GBp"))
    assert [withheld_rule(built, i) for i in wrong] == ["distribution_scale"] * hundredths
    right = [i for i in sorted(paid) if i not in wrong]
    assert first_ratio(built) == pytest.approx(product(closes, {i: paid[i] for i in right}))
