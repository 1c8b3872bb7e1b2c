"""What holds ids, trails and payloads by the million, against Python's own sets and lists."""

import hashlib
import itertools
import uuid

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.events.model.ids import IdSet, Packed
from etf_pipeline.events.model.kept import KeptEvents
from etf_pipeline.events.model.numbered import Numbered
from etf_pipeline.events.model.numbers import Held
from etf_pipeline.events.model.state import SystemState
from etf_pipeline.events.model.sums import Sums
from etf_pipeline.store.hashing import content_hash
from etf_pipeline_tests.events_support import T0, collected, query

# Few of each half, so that ids share one, and the same numbers in other spellings.
numbers = st.builds(
    lambda high, low: (high << 64) | low, st.sampled_from([0, 1, 7 << 60]), st.integers(0, 5)
)
spellings = st.sampled_from(
    [str, lambda u: str(u).upper(), lambda u: u.hex, lambda u: f"{u}\n", lambda u: f" {u}"]
)
ids = st.one_of(
    st.builds(lambda n: str(uuid.UUID(int=n)), numbers),
    st.builds(lambda n, spell: spell(uuid.UUID(int=n)), numbers, spellings),
    st.sampled_from(["", "\n", "é", "\ud800", "x" * 36, "-" * 36, "a\n" * 18, "\n" * 37]),
    st.text(max_size=40),
)


def taken(batches):
    """An id set of batches; the number of each id is told as by a plain dict."""
    found, seen = IdSet(), {}
    for batch in batches:
        for one in batch:
            seen.setdefault(one, len(seen))
        assert found.add(batch, Packed(batch)).tolist() == [seen[one] for one in batch]
        assert len(found) == len(seen)
    return found, set(seen)


@given(st.lists(st.lists(ids, max_size=12), max_size=12), st.lists(ids, max_size=12))
def test_an_id_set_is_a_set(batches, others):
    found, seen = taken(batches)
    assert list(found) == sorted(seen)
    assert found == seen
    assert seen == found
    assert found.missing(others) == [i for i in others if i not in seen]
    assert found - set(others) == seen - set(others)
    assert set(others) - found == set(others) - seen
    assert (found < set(others)) == (seen < set(others))
    joined = "".join(sorted(seen)).encode("utf-8", "surrogatepass")
    assert b"".join(found.joined()) == joined


@given(st.lists(st.lists(numbers, max_size=60), max_size=20))
def test_ids_that_are_all_uuids_are_held_in_arrays(batches):
    found, seen = taken([[str(uuid.UUID(int=n)) for n in batch] for batch in batches])
    assert list(found) == sorted(seen)
    halves = {uuid.UUID(i).int >> 64 for i in seen}
    assert sum(len(high) for high, _, _ in found._levels) == len(halves)


def test_a_copy_does_not_grow():
    found, _ = taken([["a", str(uuid.UUID(int=3))]])
    before = found.copy()
    more = ["b", str(uuid.UUID(int=4))]
    found.add(more, Packed(more))
    assert (len(before), len(found)) == (2, 4)
    assert found >= before
    assert before.missing(more) == more


@given(st.lists(st.tuples(ids, st.integers(0, 3)), max_size=30, unique_by=lambda p: p[0]))
def test_the_trail_is_in_order_of_time_and_then_of_id(pairs):
    events = [query(n, "VAS", T0)._replace(id=i, time_us=t) for n, (i, t) in enumerate(pairs)]
    state = SystemState()
    for i in range(0, len(events), 7):
        state.apply(events[i : i + 7])
    trail = state.audit_trail
    plain = sorted(events, key=lambda e: (e.time_us, e.id))
    assert [e.id for e in trail] == [e.id for e in plain]
    assert [tuple(e) for e in trail] == [
        (e.time, e.recorded, e.type, e.subject, e.id) for e in plain
    ]
    assert [trail[i] for i in range(len(plain))] == list(trail)
    assert trail[1:4] == list(trail)[1:4]
    assert trail == list(trail)
    assert (trail == list(trail)[1:]) == (not plain)


@given(st.lists(st.sampled_from(["VAS", "VGS"]), max_size=80), st.integers(1, 40_000))
def test_kept_events_come_back_as_they_were(tickers, size):
    kept, plain = KeptEvents(size), {}
    for n, ticker in enumerate(tickers):
        event = collected(ticker, f"b{n}\u2028\x85é")
        kept.add([event])
        plain.setdefault(ticker, []).append(event)
    for ticker in ("VAS", "VGS", "none"):
        assert list(kept.of(ticker)) == plain.get(ticker, [])


def test_a_state_of_many_batches_gives_them_all_and_the_same_digest():
    events = [collected(f"T{n % 3}", f"b{n:05}") for n in range(60_000)]
    state = SystemState()
    for i in range(0, len(events), 5_000):
        state.apply(events[i : i + 5_000])
    assert state._collected._packed  # what this test is about
    assert list(state.etfs) == ["T0", "T1", "T2"]
    for n, ticker in enumerate(state.tickers):
        mine = sorted(events[n::3], key=lambda e: (e.time_us, e.id))
        told = [b.batch_id for b in state.etf(ticker).batches]
        assert told == [e.payload().batch_id for e in mine]
    expected = hashlib.sha256("".join(sorted(e.id for e in events)).encode())
    for n in range(3):
        newest = max(events[n::3], key=lambda e: (e.time_us, e.id))
        expected.update(f"{newest.id}\x1f{newest.time_us}\x1f{newest.data}\x1e".encode())
    assert state.digest() == expected.hexdigest()


@given(st.lists(st.one_of(st.none(), st.text(max_size=8)), max_size=40), st.integers(0, 40))
def test_the_hash_of_texts_is_that_of_their_bytes_each_with_a_zero_after_it(texts, cut):
    texts = [t if t is None else t.encode("utf-8", "replace").decode() for t in texts]
    column = pa.chunked_array(
        [pa.array(texts[:cut], pa.string()), pa.array(texts[cut:], pa.string())]
    )
    bits = np.packbits(np.array([t is None for t in texts], bool)).tobytes()
    plain = b"".join(t.encode() + b"\0" for t in texts if t is not None)
    head = f"x:string:{len(texts)}\0".encode()
    expected = hashlib.sha256(head + bits + plain).hexdigest()
    assert content_hash(pa.table({"x": column})) == expected


def test_what_was_read_of_a_log_is_told_by_number_and_id():
    log = "a" * 8
    events = [query(n)._replace(log=log, number=n + 1) for n in range(5)]
    held = Held(log)
    held.saw(events[:2])
    held.saw([events[3], query(9)._replace(log="another", number=7), query(8)])
    channel = events[0].channel
    told = held.which(channel, [e.number for e in events], [e.id for e in events])
    assert told == [True, True, False, True, False]
    wrong = [(1, events[1].id), (0, query(8).id), (-1, events[3].id), (4, ""), (2**62, "")]
    assert not any(held.which(channel, *map(list, zip(*wrong, strict=True))))
    assert held.which("another-channel", [1], [events[0].id]) == [False]
    foreign = events[0]._replace(log="another")
    assert held.others([*events, foreign]) == [events[2], events[4], foreign]


far = st.sampled_from([1, 2**20 - 1, 2**20, 2**20 + 40, 17 * 2**20, 2**40, 2**61, 2**63 - 9])
dense = st.one_of(st.integers(1, 40), st.builds(lambda base, n: base + n, far, st.integers(0, 8)))
values = st.integers(1, 2**64 - 1)


@given(st.lists(st.lists(st.tuples(dense, values), min_size=1, max_size=30), max_size=12))
def test_values_by_number_are_a_dictionary_wherever_the_numbers_lie(batches):
    found, told = Numbered(np.uint64), {}
    for batch in batches:
        found.put(*zip(*batch, strict=True))
        told |= dict(batch)
    asked = [*told, *(n + 1 for n in told if n + 1 < 2**63), 0, -1, 5]
    assert found.values(asked).tolist() == [told.get(n, 0) for n in asked]
    spans = found.spans()
    assert [n for a, b in spans for n in range(a, b + 1)] == sorted(told)
    assert all(b + 1 < a for (_, b), (a, _) in itertools.pairwise(spans))


def test_a_number_that_no_log_gives_takes_no_room():
    log = "a" * 8
    events = [query(n)._replace(log=log, number=n + 1, position=n + 1) for n in range(3)]
    events.append(query(3)._replace(log=log, number=2**61, position=2**61))
    held, sums = Held(log), Sums(log)
    held.saw(events)
    sums.saw(events)
    assert held.others(events) == []
    assert held.which(events[0].channel, [2**61 - 1], [events[3].id]) == [False]
    sums.compare([*events[:2], events[3]._replace(data="{}"), events[2]._replace(number=2**61 + 1)])
    assert (list(sums.differing), list(sums.lacking)) == ([events[3].id], [events[2].id])
    assert sums.not_same([1, 2, 3, 2**61]) == [3, 2**61]
