"""Spikes on hardly any volume, and the real moves that must stay."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.history.basis import Basis
from etf_pipeline.history.peers import NOBODY
from etf_pipeline.history.quality import assess
from etf_pipeline.history.spikes import spikes
from etf_pipeline.model.calendars import sessions
from etf_pipeline_tests.support import Others, asx_days, bars, walk

XASX = sessions("XASX")
DAYS = asx_days("2023-01-03", 300)
NONE = np.zeros(300)
VOLUME = np.round(np.exp(np.random.default_rng(4).normal(10, 0.6, 300)))


QUIET = Others(0.012)
HEAVY = VOLUME.copy()
HEAVY[150] = 6 * np.median(VOLUME)


def continued(*middle, at=150, base=15.7, seed=3):
    """A walk to `base` the day before `at`, these closes, and a walk from the last of them."""
    rng = np.random.default_rng(seed)
    before = base / np.cumprod(1 + rng.normal(0, 0.01, at))[::-1]
    before *= base / before[-1]
    after = middle[-1] * np.cumprod(1 + rng.normal(0, 0.01, 300 - at - len(middle)))
    return np.r_[before, middle, after]


def thin(*positions, volume=366.0):
    out = VOLUME.copy()
    out[list(positions)] = volume
    return out


def found(close, volume=VOLUME, peers=QUIET, splits=NONE):
    return [
        int(np.searchsorted(DAYS, day)) for day, _ in spikes(close, volume, splits, DAYS, peers)
    ]


def test_15_7_then_20_7_with_volume_366_then_16():
    close = continued(20.7, 16.0)
    assert found(close, thin(150)) == [150]
    ((_, text),) = spikes(close, thin(150), NONE, DAYS, QUIET)
    assert "close 20.7 between 15.7 and 16" in text
    assert "volume 366 where" in text
    assert "12 peers moved by 1.2% that day" in text


@pytest.mark.parametrize("peers", [NOBODY, Others(0.01, 2)])
def test_without_peers_its_own_scale_and_volume_decide(peers):
    close = continued(15.7 * 1.19, 15.8)
    ((_, text),) = spikes(close, thin(150), NONE, DAYS, peers)
    assert "peers to compare with" in text
    # More strictly: 15 % of the usual volume and ten deviations are not enough.
    assert found(close, thin(150, volume=0.15 * np.median(VOLUME)), peers) == []
    assert found(close, thin(150, volume=0.15 * np.median(VOLUME))) == [150]
    weaker = continued(15.7 * 1.12, 15.7)
    assert found(weaker, thin(150), peers) == []
    assert found(weaker, thin(150)) == [150]


@pytest.mark.parametrize("factor", [1.6, 1.3, 0.6])
@pytest.mark.parametrize("peers", [QUIET, NOBODY], ids=["peers", "alone"])
def test_traded_as_ever_and_undone_on_the_next_day(factor, peers):
    """Nobody else moved, and what is left of it is less than a tenth: no news is like that."""
    close = continued(15.7 * factor, 15.8)
    assert found(close, VOLUME, peers) == [150]
    # A fund that moves by 4 % a day may do so.
    wild = np.exp(np.log(close / 15.7) * 4)
    wild[150] = 15.7 * factor
    assert found(wild, VOLUME, peers) == []


def test_the_next_day_settles_what_the_newest_close_left_open():
    """A flag while it may last, a quarantined row when it does not, and no flag then."""
    rows = bars(DAYS, continued(15.7 * 1.5, 15.8), volume=VOLUME)
    told = {}
    for until in (151, 152):
        told[until] = [
            (str(f.date), f.rule) for f in assess(rows[:until], Basis(XASX, peers=QUIET))
        ]
    assert told == {151: [(str(DAYS[150]), "large_move")], 152: [(str(DAYS[150]), "spike")]}


@pytest.mark.parametrize("bars_away", [1, 2, 3])
@pytest.mark.parametrize("factor", [1.32, 1 / 1.32])
def test_up_to_three_bars(bars_away, factor):
    away = range(150, 150 + bars_away)
    close = continued(*[15.7 * factor] * bars_away, 15.8)
    assert found(close, thin(*away)) == list(away)


@pytest.mark.parametrize(
    ("close", "volume", "peers"),
    [
        (continued(20.7, 16.0), HEAVY, QUIET),  # six times the volume: news of some kind
        (continued(20.7, 16.3), VOLUME, QUIET),  # traded as ever, and an eighth of it stays
        (continued(20.7, 20.6, 20.8), thin(150), QUIET),  # it stays there
        (continued(20.7, 20.7, 20.7, 20.7, 15.8), thin(150, 151, 152, 153), QUIET),  # four bars
        (continued(20.7, 16.0), thin(150), Others(0.06)),  # a market that moved
        (continued(20.7, 18.5), thin(150), QUIET),  # half of it stays
        (continued(16.2, 15.8), thin(150), QUIET),  # an ordinary move
    ],
    ids=["news", "an eighth", "lasts", "four bars", "market", "half", "ordinary"],
)
def test_what_is_no_spike(close, volume, peers):
    assert found(close, volume, peers) == []


@pytest.mark.parametrize("volume", [VOLUME, thin(150, 151, 152)])
def test_a_geared_fund_on_a_day_when_shares_fall_by_six_per_cent(volume):
    """−24.9 %, then +23.4 % three days on: genuine, even on little volume."""
    fall = 15.7 * (1 - 0.249)
    close = continued(fall, fall * 1.01, fall * 0.99, fall * 0.99 * 1.234)
    assert found(close, volume, Others(-0.06)) == []


def test_a_split_between_explains_it():
    splits = NONE.copy()
    splits[150] = 1.32
    assert found(continued(20.7, 16.0), thin(150), splits=splits) == []


def test_at_the_beginning_what_follows_is_the_measure():
    assert found(continued(20.7, 16.0, at=4), thin(4)) == [4]


def test_where_volume_is_never_known_the_move_must_be_larger():
    """A currency pair: a tenth away for a day, twenty of its daily moves."""
    rng = np.random.default_rng(5)
    close = 0.65 * np.cumprod(1 + rng.normal(0, 0.003, 300))
    close[150] *= 1.15
    assert found(close, NONE) == [150]
    assert found(close, NONE, NOBODY) == [150]
    close[150] /= 1.09
    assert found(close, NONE, NOBODY) == []


def test_the_bar_is_quarantined_and_its_neighbours_stay():
    close = continued(20.7, 16.0)
    rows = bars(DAYS, close, volume=thin(150))
    assert [(str(f.date), f.rule, f.severity) for f in assess(rows, Basis(XASX, peers=QUIET))] == [
        (str(DAYS[150]), "spike", "quarantined")
    ]


@given(
    st.integers(0, 10_000),
    st.sampled_from([1e-4, 1e-2, 10.0, 1e5]),
    st.sampled_from([1e-3, 1e4]),
    st.integers(25, 290),
    st.floats(1.06, 1.7),
)
def test_units_of_price_and_volume_do_not_matter(seed, unit, lots, at, factor):
    close = walk(300, seed=seed)
    close[at] *= factor
    volume = thin(at)
    assert found(close * unit, volume * lots) == found(close, volume)


@given(st.integers(0, 10_000), st.integers(90, 280), st.integers(5, 100))
def test_later_rows_take_no_finding_away(seed, at, more):
    """What is usual is told by the bars before it."""
    close = walk(300, seed=seed)
    close[at] *= 1.4
    until = min(300, at + 2 + more)
    early = spikes(close[:until], thin(at)[:until], NONE[:until], DAYS[:until], QUIET)
    assert set(early) <= set(spikes(close, thin(at), NONE, DAYS, QUIET))
    assert at in [int(np.searchsorted(DAYS, day)) for day, _ in early]
