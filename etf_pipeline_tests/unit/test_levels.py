"""Level shifts on closes alone: what is a fault, what a market did, and which level is the own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.history.levels import level_shifts

DAYS = np.arange(np.datetime64("2024-01-01"), np.datetime64("2024-01-01") + 400)
NONE = np.zeros(400)


def walk(n=100, seed=3):
    return 50 * np.cumprod(1 + np.random.default_rng(seed).normal(0.0003, 0.008, n))


def shifts(close, splits=None):
    """Rule by position, of the closes."""
    close = np.asarray(close, float)
    splits = np.zeros(len(close)) if splits is None else splits
    found = level_shifts(close, splits, DAYS[: len(close)])
    return {int((date - DAYS[0]).astype(int)): rule for date, rule, _, _ in found}


def split_at(position, ratio, n=100):
    splits = np.zeros(n)
    splits[position] = ratio
    return splits


@pytest.mark.parametrize("close", [[], [5.0], [5.0, 5.1], walk(), [np.nan, 5.0], [0.0, -1.0, 5.0]])
def test_nothing_to_find(close):
    assert shifts(close) == {}


@pytest.mark.parametrize("factor", [1.2, 1.7, 0.6])
def test_a_move_that_markets_make_is_not_looked_at(factor):
    close = walk()
    close[50:] *= factor
    assert shifts(close) == {}


@pytest.mark.parametrize("factor", [1.9, 3.0, 4.9, 0.25, 0.5])
def test_a_large_move_that_lasts_is_flagged_once(factor):
    close = walk()
    close[50:] *= factor
    assert shifts(close) == {50: "large_move"}


@pytest.mark.parametrize(
    ("factor", "rule"),
    [
        (5.5, "level_shift"),
        (15, "level_shift"),
        (100, "unit_change"),
        (0.01, "unit_change"),
        (1000, "level_shift"),
        (0.1, "level_shift"),
    ],
)
@pytest.mark.parametrize("part", [slice(0, 20), slice(80, 100), slice(40, 60)])
def test_an_impossible_factor_is_a_fault_of_the_smaller_part(factor, rule, part):
    close = walk()
    close[part] *= factor
    assert shifts(close) == dict.fromkeys(range(*part.indices(100)), rule)


@pytest.mark.parametrize("factor", [10, 0.1])
def test_of_two_halves_the_newer_is_the_own_level(factor):
    close = walk()
    close[:50] *= factor
    assert shifts(close) == dict.fromkeys(range(50), "level_shift")


@pytest.mark.parametrize("ratio", [2.0, 3.0, 0.5])
def test_a_recorded_split_that_was_not_applied_is_a_fault_however_small(ratio):
    """Rows before a 2-for-1 split that was not applied to them are twice as high."""
    close = walk()
    close[:30] *= ratio
    assert shifts(close, split_at(30, ratio)) == dict.fromkeys(range(30), "level_shift")


def test_a_split_stored_upside_down_is_told():
    close = walk()
    close[:30] *= 4
    found = level_shifts(close, split_at(30, 0.25), DAYS[:100])
    (told,) = [f for f in found if f[1] == "inverted_split"]
    assert told[0] == DAYS[30]
    assert told[3].endswith("the ratio is 4")
    assert {f[1] for f in found} == {"level_shift", "inverted_split"}


def test_a_split_that_was_applied_is_no_fault():
    assert shifts(walk(), split_at(30, 10.0)) == {}


@pytest.mark.parametrize(
    ("gap", "rule"), [(1, "level_shift"), (30, "level_shift"), (31, "large_move")]
)
def test_a_small_factor_is_a_fault_when_undone_within_thirty_bars(gap, rule):
    close = walk()
    close[40 : 40 + gap] *= 2
    found = shifts(close)
    assert set(found.values()) == {rule}
    expected = range(40, 40 + gap) if rule == "level_shift" else (40, 40 + gap)
    assert sorted(found) == list(expected)


def test_rows_without_a_usable_close_are_passed_over():
    close = walk()
    close[40:60] *= 10
    close[[10, 45, 70]] = np.nan, 0.0, np.inf
    assert shifts(close) == dict.fromkeys([i for i in range(40, 60) if i != 45], "level_shift")


def test_evidence_names_the_factor_and_the_split():
    close = np.r_[np.full(3, 40.0), np.full(10, 10.0)]
    (first, *_) = level_shifts(close, split_at(3, 4.0, 13), DAYS[:13])
    assert first[2] == "quarantined"
    assert first[3] == (
        "close 40 is about 4 times the level of the other rows; the split of 4 on 2024-01-04 was "
        "not applied to it"
    )


@given(st.integers(0, 2**31), st.sampled_from([1e-6, 1e-2, 1e3]), st.integers(1, 99))
def test_the_unit_of_the_price_does_not_matter(seed, unit, cut):
    close = walk(seed=seed)
    close[:cut] *= 10
    assert shifts(close * unit) == shifts(close)


def crash(factor, after=200, heavy=6.0, calm=1.0):
    """A fall overnight after 200 bars, on `heavy` times the volume, `calm` times it afterwards."""
    close = walk(200 + after)
    close[200:] *= factor
    rng = np.random.default_rng(8)
    volume = np.exp(rng.normal(10, 0.4, 200 + after))
    volume[201:] *= calm
    volume[200] = heavy * np.exp(10)
    return close, volume


@pytest.mark.parametrize("after", [1, 11, 200])
@pytest.mark.parametrize("factor", [0.06, 0.17, 6.5])
def test_a_crash_on_large_volume_without_a_rebound_is_real(factor, after):
    """−94 % overnight, and the rows that are left of it: none leaves."""
    close, volume = crash(factor, after)
    found = level_shifts(close, np.zeros(len(close)), DAYS[: len(close)], volume)
    assert [(d, r, s) for d, r, s, _ in found] == [(DAYS[200], "large_move", "flagged")]
    assert "volume" in found[0][3]


@pytest.mark.parametrize(
    ("factor", "heavy", "calm"),
    [
        (0.06, 1.0, 1.0),  # on the usual volume
        (1 / 15, 15.0, 15.0),  # after a split that was not applied, volume stays higher
        (0.1, 6.0, 1.0),  # a power of ten is a unit
        (0.01, 6.0, 1.0),
    ],
)
def test_a_fall_that_was_not_traded_through_is_a_fault(factor, heavy, calm):
    close, volume = crash(factor, 11, heavy, calm)
    found = level_shifts(close, np.zeros(len(close)), DAYS[: len(close)], volume)
    assert {s for _, _, s, _ in found} == {"quarantined"}
    assert [d for d, _, _, _ in found] == list(DAYS[200:211])


def test_a_crash_that_is_undone_was_none():
    close, volume = crash(0.06, 20)
    close[205:] /= 0.06
    found = level_shifts(close, np.zeros(220), DAYS[:220], volume)
    assert [d for d, _, s, _ in found if s == "quarantined"] == list(DAYS[200:205])


@pytest.mark.parametrize("ratio", [-2.0, 1e9, np.inf])
def test_an_impossible_split_explains_nothing(ratio):
    close = walk()
    close[:30] *= 1e9 if ratio == 1e9 else 2
    found = level_shifts(close, split_at(30, ratio), DAYS[:100])
    assert all("the split of" not in text for _, _, _, text in found)


@pytest.mark.parametrize(("ratio", "fall"), [(2.0, 0.5), (3.0, 0.34), (4.0, 0.26)])
def test_a_crash_of_the_size_of_a_split_of_years_ago_is_a_crash(ratio, fall):
    """The old split was applied; a later fall by as much has nothing to do with it."""
    close, volume = crash(fall)
    splits = split_at(50, ratio, len(close))
    days = DAYS[: len(close)]
    (told,) = level_shifts(close, splits, days, volume)
    assert (told[0], told[1]) == (DAYS[200], "large_move")
    # Also one that comes years after the crash, when the crash was traded through.
    (told,) = level_shifts(close, split_at(350, ratio, len(close)), days, volume)
    assert told[1] == "large_move"
    # Rows before a split that lack it are a fault wherever they end.
    lacking = level_shifts(close, split_at(350, ratio, len(close)), days)
    assert {rule for _, rule, _, _ in lacking} >= {"level_shift"}


def test_what_falls_and_rises_on_many_times_the_volume_is_news():
    """Oil in April 2020: halved on twelve times the volume, +95 % ten days on."""
    close, volume = walk(300), np.exp(np.random.default_rng(8).normal(10, 0.4, 300))
    close[150:] *= 0.5
    close[160:] *= 1.95
    volume[[150, 160]] = 12 * np.exp(10)
    found = level_shifts(close, np.zeros(300), DAYS[:300], volume)
    assert [(day, rule) for day, rule, _, _ in found] == [
        (DAYS[150], "large_move"),
        (DAYS[160], "large_move"),
    ]
    volume[160] = np.exp(10)  # one day alone is not enough
    found = level_shifts(close, np.zeros(300), DAYS[:300], volume)
    assert {rule for _, rule, _, _ in found} == {"level_shift"}


def test_what_a_move_beside_a_tenfold_segment_leaves_is_no_level():
    """The jump into the segment is by 7.75 then, and the one out of it by ten."""
    close = walk()
    close[50] *= 1.29
    close[51:54] *= 10
    assert {i for i, rule in shifts(close).items() if rule == "level_shift"} == {51, 52, 53}
