"""Rules on rows: free of scale, and of what comes later."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.history.basis import Basis
from etf_pipeline.history.quality import QUARANTINED, assess
from etf_pipeline.model.calendars import sessions
from etf_pipeline_tests.support import asx_days, bars, walk

N = 260
DAYS = asx_days("2023-01-03", N)
BASIS = Basis(sessions("XASX"))
PRICES = ["open", "high", "low", "close"]


@st.composite
def faulty_rows(draw, until=N):
    """A walk with any of the faults that the rules know, before position `until`."""
    seed = draw(st.integers(0, 10_000))
    volume = np.round(np.exp(np.random.default_rng(seed).normal(10, 0.5, N)))
    rows = bars(DAYS, walk(N, seed=seed), volume=volume)
    # Not both: at one place they are a change of level by three that nobody could tell apart.
    kinds = [draw(st.sampled_from(["level", "crash"])), "spike", "open", "high", "volume", "split"]
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=4, unique=True)):
        i = draw(st.integers(1, until - 5))
        match kind:
            case "spike":
                rows.iloc[i, :4] *= draw(st.sampled_from([1.3, 0.7]))
                rows.iloc[i, 4] = 3.0
            case "level":
                rows.iloc[i : i + 3, :4] *= draw(st.sampled_from([10.0, 0.01, 15.0]))
            case "crash":
                rows.iloc[i:, :4] *= 0.3
            case "open":
                rows.iloc[i, 0] = 0.0
            case "high":
                rows.iloc[i, 1] = np.inf
            case "volume":
                rows.iloc[i, 4] = -5.0
            case "split":
                rows.iloc[i, 6] = draw(st.sampled_from([-2.0, 1e9]))
    return rows


def told(findings):
    return [(str(f.date), f.rule, f.severity) for f in findings]


@given(faulty_rows(), st.sampled_from([1e-3, 0.01, 100.0, 1e5]))
def test_the_unit_of_prices_changes_no_finding(rows, unit):
    scaled = rows.assign(**{c: rows[c] * unit for c in PRICES})
    assert told(assess(scaled, BASIS)) == told(assess(rows, BASIS))


@given(faulty_rows(until=180), st.integers(210, N))
def test_later_rows_take_no_quarantine_away(rows, until):
    """Rows before the faults are most of all, so that the own level does not change sides."""
    early = {t for t in told(assess(rows[:until], BASIS)) if t[2] == QUARANTINED}
    later = set(told(assess(rows, BASIS)))
    assert sorted(early - later) == []


@given(faulty_rows())
def test_what_is_asked_of_nobody_is_what_was_asked(rows):
    """No peers, and no more sessions than there are: the same."""
    last = DAYS[-1]
    basis = replace(BASIS, sessions=BASIS.sessions[BASIS.sessions <= last])
    assert told(assess(rows, basis)) == told(assess(rows, BASIS))
