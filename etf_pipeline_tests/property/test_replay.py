"""Folding events: any order, any repetition, any split gives one state."""

import datetime as dt
import json
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.events.cursor import OVERLAP, Cursor
from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.model.envelope import micros
from etf_pipeline.events.model.state import SystemState, fold
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.orchestrator import Open
from etf_pipeline.events.proof.archiving import read_all
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import (
    T0,
    collected,
    embedded_settings,
    ids,
    optimised,
    query,
    updated,
)

moments = st.integers(0, 20).map(lambda s: T0 + dt.timedelta(seconds=s))
tickers = st.sampled_from(["VAS", "VGS", "VAF"])
events = st.one_of(
    st.builds(query, st.integers(0, 30), tickers, moments),
    st.builds(lambda t, n, m: collected(t, f"batch{n}", m), tickers, st.integers(0, 5), moments),
    st.builds(lambda t, n, m: updated(t, f"{n:064x}", m), tickers, st.integers(0, 5), moments),
    st.builds(
        lambda n, w, m: optimised(n, w / 8, m),
        st.sampled_from(["a", "b"]),
        st.integers(0, 8),
        moments,
    ),
)


@st.composite
def histories(draw):
    """Events, each id with one content, as an append-only log has them."""
    found = draw(st.lists(events, max_size=40))
    return list({e.id: e for e in reversed(found)}.values())


@given(histories(), st.randoms(), st.integers(1, 7))
def test_order_repetition_and_batching_do_not_matter(log, random, size):
    again = [*log, *random.sample(log, len(log) // 2)]
    random.shuffle(again)
    one = fold([log])
    other = fold(again[i : i + size] for i in range(0, len(again), size))
    assert one == other
    assert one.query_counts == other.query_counts
    assert one.audit_trail == other.audit_trail
    assert one.etfs == other.etfs
    assert one.portfolios == other.portfolios


@given(histories(), st.randoms(), st.data())
def test_of_two_copies_the_one_recorded_first_counts(log, random, data):
    """A machine that tells an event again does so later, or by a clock that is behind."""
    moved = data.draw(st.lists(st.integers(-5, 5), min_size=len(log), max_size=len(log)))
    other = [e._replace(recorded_us=e.recorded_us + s) for e, s in zip(log, moved, strict=True)]
    first = [min(pair, key=lambda e: e.recorded_us) for pair in zip(log, other, strict=True)]
    copies = [*log, *other]
    random.shuffle(copies)
    state, plain = fold([[e] for e in copies]), fold([first])
    assert state.audit_trail == plain.audit_trail
    assert [micros(e.recorded) for e in state.audit_trail] == [
        e.recorded_us for e in sorted(first, key=lambda e: (e.time_us, e.id))
    ]
    told = {e.id: e for e in first}
    for key, event in state._latest.items():
        assert key == (event.type, event.subject)
        assert event.recorded_us == told[event.id].recorded_us


@given(histories())
def test_the_state_is_what_a_plain_reading_gives(log):
    state = fold([log])
    asked = Counter(e.subject for e in log if e.type == "PriceDataQueried")
    assert state.query_counts == dict(sorted(asked.items()))
    for name, found in state.portfolios.items():
        mine = [e for e in log if e.type == "PortfolioOptimized" and e.subject == name]
        newest = max(mine, key=lambda e: (e.time, e.id))
        assert found.weights == json.loads(newest.data)["weights"]
    for ticker, etf in state.etfs.items():
        mine = [e for e in log if e.type == "ETFDataCollected" and e.subject == ticker]
        mine.sort(key=lambda e: (e.time, e.id))
        assert [b.batch_id for b in etf.batches] == [json.loads(e.data)["batch_id"] for e in mine]
    trail = [(e.time, e.id) for e in state.audit_trail]
    assert trail == sorted((e.time, e.id) for e in log)


@given(histories(), st.data())
def test_two_states_are_equal_only_if_their_events_are(log, data):
    """Against the log itself, and against it with one event gone, one more, or one changed."""
    state = fold([log])
    assert state == fold([list(reversed(log))])
    if log:
        n = data.draw(st.integers(0, len(log) - 1))
        assert fold([log[:n] + log[n + 1 :]]) != state
        newest = max(
            (e for e in log if (e.type, e.subject) == (log[n].type, log[n].subject)),
            key=lambda e: (e.time_us, e.id),
        )
        changed = newest._replace(data=newest.data.replace("}", ', "more": 1}', 1))
        assert fold([[changed if e is newest else e for e in log]]) != state
    more = data.draw(events)
    assert (fold([[*log, more]]) == state) == (more.id in state.event_ids)


@settings(max_examples=25)
@given(histories(), st.randoms(), st.integers(1, 9))
def test_the_read_models_say_what_the_state_says(log, random, size):
    again = [*log, *random.sample(log, len(log) // 2)]
    random.shuffle(again)
    with tempfile.TemporaryDirectory() as folder:
        projections = Projections(Path(folder) / "p.sqlite")
        new = 0
        for i in range(0, len(again), size):
            new += projections.apply(
                [e._replace(partition=0, position=i) for e in again[i : i + size]]
            )
            if random.random() < 0.3:  # a worker that dies and another that goes on
                projections.close()
                projections = Projections(Path(folder) / "p.sqlite")
        state = fold([log])
        assert new == len(log)
        assert projections.event_ids() == state.event_ids
        assert projections.query_counts() == state.query_counts
        latest = {n: p.model_dump(mode="json") for n, p in state.portfolios.items()}
        assert projections.latest("PortfolioOptimized") == latest
        projections.close()


@settings(max_examples=25)
@given(histories(), st.lists(st.integers(0, 40), max_size=3))
def test_archive_and_store_together_have_every_event_once(log, cuts):
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder))
        store, archive = Embedded(layout, embedded_settings()), Archive(layout)
        edges = [0, *sorted(min(c, len(log)) for c in cuts), len(log)]
        for n, (begin, end) in enumerate(pairwise(edges)):
            store.append(log[begin:end])
            store.archive(archive, T0 + dt.timedelta(days=n))
            if n == 0:
                store.log.prune(end)
        found = ids(read_all(store, archive))
        assert sorted(found) == sorted(e.id for e in log)
        assert fold(read_all(store, archive)) == fold([log])
        store.close()


OVERLAPS = st.integers(1, 60)


def relay(visible, overlap):
    """Ids become visible in turns and are relayed after each; returns what was, and the cursor."""
    cursor, relayed, there = Cursor(0, 0), [], set()
    for fresh in visible:
        there |= set(fresh)
        wanted = [i for i in sorted(there) if i > cursor.begin(overlap) and cursor.wants(i)]
        relayed += wanted
        cursor = Cursor.load(cursor.after(wanted, overlap).dump())
    return relayed, cursor


@st.composite
def late_ids(draw):
    """An overlap, and ids far beyond it of which each is at most that late, in turns."""
    overlap = draw(OVERLAPS)
    ids = draw(st.lists(st.integers(1, 4_000), unique=True, max_size=60).map(sorted))
    visible = [[] for _ in ids]
    for turn, i in enumerate(ids):
        # held back for some turns, as long as no greater id of them is too far ahead
        last = turn
        while last + 1 < len(ids) and ids[last + 1] < i + overlap:
            last += 1
        visible[draw(st.integers(turn, last))].append(i)
    return overlap, visible


@given(late_ids())
def test_the_cursor_passes_over_nothing_within_the_overlap(case):
    """Ids become visible in any order; each is relayed exactly once."""
    overlap, visible = case
    relayed, _ = relay(visible, overlap)
    assert sorted(relayed) == sorted(i for turn in visible for i in turn)


@given(late_ids())
def test_the_cursor_remembers_no_more_than_the_overlap(case):
    overlap, visible = case
    _, cursor = relay(visible, overlap)
    assert len(cursor.seen) <= overlap
    assert all(cursor.position - overlap < i <= cursor.position for i in cursor.seen)
    assert cursor.position == max((i for turn in visible for i in turn), default=0)


def test_an_id_that_is_later_than_the_overlap_is_passed_over():
    """What the overlap is for: one later than it is not looked for any more."""
    assert relay([[100], [91]], 10)[0] == [100, 91]
    assert relay([[100], [90]], 10)[0] == [100]
    assert OVERLAP == 1_000
    assert relay([[5_000], [4_001]], OVERLAP)[0] == [5_000, 4_001]
    assert relay([[5_000], [4_000]], OVERLAP)[0] == [5_000]


@st.composite
def transactions(draw):
    """Of each id: the turns at which it was given out and at which that was over; and whether well.

    Ids are given out in order, and far apart.
    """
    turns = sorted(draw(st.lists(st.integers(0, 30), max_size=40)))
    ids = sorted(draw(st.sets(st.integers(1, 4_000), min_size=len(turns), max_size=len(turns))))
    return {
        i: (turn, turn + draw(st.integers(0, 20)), draw(st.booleans()))
        for i, turn in zip(ids, turns, strict=True)
    }


@given(transactions(), st.integers(1, 60), st.integers(1, 5))
def test_what_is_open_for_however_long_is_relayed_once(made, overlap, at_once):
    """Where a database tells what is open; records are read a turn after that was looked at."""
    cursor, relayed = Cursor(0, 0), []
    for turn in range(100):
        there = [
            [i for i, (_, e, good) in made.items() if good and e <= t] for t in (turn, turn + 1)
        ]
        held = frozenset(str(i) for i, (b, e, _) in made.items() if b <= turn < e)
        cursor = cursor.looked(Open(max(there[0], default=0), held))
        wanted = [i for i in there[1] if i > cursor.begin(overlap) and cursor.wants(i)]
        left = wanted[at_once] if len(wanted) > at_once else None
        relayed += wanted[:at_once]
        cursor = Cursor.load(cursor.after(wanted[:at_once], overlap, left).dump())
    assert sorted(relayed) == sorted(i for i, (_, _, good) in made.items() if good)
    assert len(cursor.seen) <= overlap, "what is over is remembered no longer"


def test_a_cursor_of_another_make_is_none():
    for text in (None, "", "17", "{}", '{"position": "x", "since": 1, "seen": []}', "null"):
        assert Cursor.load(text) is None


def test_states_of_different_events_differ():
    one, other = SystemState(), SystemState()
    one.apply([query(1)])
    other.apply([query(2)])
    assert one != other
    assert one != "a state"
