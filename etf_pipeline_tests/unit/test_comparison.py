"""What brokers have against what was recorded here, while both are read once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from etf_pipeline.events.factory import open_events
from etf_pipeline.events.log.archive import TOPICS, Archive, Origin
from etf_pipeline.events.log.comparison import Comparison
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.model.envelope import Event, lineage_event
from etf_pipeline.events.model.positions import Delivery
from etf_pipeline.events.model.types import CHANNELS, LINEAGE
from etf_pipeline.events.proof.archiving import read_all
from etf_pipeline.events.proof.delivery import all_sent, same_there
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import embedded_settings, queries


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Outbox]:
    one = Outbox(Layout(tmp_path).event_log)
    yield one
    one.close()


@pytest.fixture
def comparison(tmp_path: Path, log: Outbox) -> Comparison:
    log.append(queries(6))
    confirm(log, rows(log))
    return Comparison(log, Archive(Layout(tmp_path)))


def rows(log: Outbox) -> list[Event]:
    return [e for batch in log.read() for e in batch]


def confirm(log: Outbox, events: Sequence[Event], start: int = 0) -> None:
    """Each is at the next offset of partition 0."""
    places = [Delivery(0, start + i) for i in range(len(events))]
    assert log.delivered(events, places, log.epoch())


def told(log: Outbox, comparison: Comparison) -> tuple[bool, bool, int]:
    """Whether all was sent, and as it was recorded; how much is gone."""
    gone = comparison.gone()
    return all_sent(log, gone).ok, same_there(comparison.sums).ok, gone


def test_brokers_that_have_all_are_as_they_should_be(log, comparison):
    comparison.recorded(rows(log))
    comparison.there(rows(log))
    assert told(log, comparison) == (True, True, 0)


def test_what_was_confirmed_and_is_gone_is_counted_where_brokers_should_have_it(log, comparison):
    comparison.recorded(rows(log))
    comparison.there(rows(log)[3:])
    assert told(log, comparison) == (False, True, 3)
    comparison.ranges = {("query-events", 0): (2, 6)}  # two went by retention
    assert told(log, comparison) == (False, True, 1)
    comparison.ranges = {("query-events", 0): (3, 6)}
    assert told(log, comparison) == (True, True, 0)


def test_what_is_recorded_and_sent_after_the_log_was_read_is_known(log, comparison):
    comparison.recorded(rows(log))
    log.append(queries(2, start=6))
    comparison.there(rows(log))
    assert told(log, comparison)[1:] == (True, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"data": "{}"},
        {"time_us": 1},
        {"recorded_us": 1},
        {"subject": "T9"},
        {"source": "/etf_pipeline/x"},
        {"version": 1},
        {"type": "PortfolioOptimized"},
    ],
)
def test_a_copy_that_says_something_else_is_found(log, comparison, changes):
    comparison.recorded(rows(log))
    there = rows(log)
    comparison.there([*there[:2], there[2]._replace(**changes), *there[3:]])
    assert told(log, comparison) == (True, False, 0)
    assert list(comparison.sums.differing) == [there[2].id]


def test_another_event_under_a_number_is_not_the_one_that_was_sent(log, comparison):
    comparison.recorded(rows(log))
    there = rows(log)
    other = queries(1, start=40)[0]._replace(log=there[2].log, number=there[2].number)
    comparison.there([*there[:2], other, *there[3:]])
    assert told(log, comparison) == (False, False, 1)
    assert list(comparison.sums.differing) == [other.id]


def test_an_event_that_the_log_never_had_is_found(log, comparison):
    comparison.recorded(rows(log))
    beyond = rows(log)[5]._replace(number=7, id=queries(1, start=40)[0].id)
    comparison.there([*rows(log), beyond])
    assert told(log, comparison) == (True, False, 0)
    assert list(comparison.sums.lacking) == [beyond.id]


def test_what_went_under_a_former_id_of_the_log_is_told_by_the_ids_of_its_events(tmp_path, log):
    log.append(queries(4))
    before = rows(log)
    confirm(log, before)
    log.begin_anew()
    log.append(queries(3, start=4))
    confirm(log, rows(log)[4:], 4)
    for missing in ([], [0], [0, 5]):
        comparison = Comparison(log, Archive(Layout(tmp_path)))
        comparison.recorded(rows(log))
        sent = [*before, *rows(log)[4:]]
        comparison.there([e for i, e in enumerate(sent) if i not in missing])
        assert told(log, comparison)[1:] == (True, len(missing))


def test_what_was_sent_keeps_its_number_under_each_id_that_the_log_had(log):
    """And nothing after it does: its number may have been given to another event."""
    ids = [log.id]
    for start, count, sent in ((0, 5, 3), (5, 4, 4), (9, 6, 0)):
        log.append(queries(count, start=start))
        if sent:
            confirm(log, rows(log)[start : start + sent], start)
        log.begin_anew()
        ids.append(log.id)
    log.append(queries(2, start=15))
    a, b, _, d = ids
    wanted = [(a, 1), (a, 2), (a, 3), (d, 0), (d, 0), (b, 1), (b, 2), (b, 3), (b, 4)]
    wanted += [(d, 0)] * 6 + [(d, 1), (d, 2)]
    assert [(e.log, e.number) for e in rows(log)] == wanted
    assert [(e.log, e.number) for e in log.newest(99, CHANNELS, None, None)] == wanted[::-1]
    assert log.names_before() == [e.id for e in queries(15)]


def test_what_was_archived_from_topics_proves_nothing_of_the_log(tmp_path, log):
    """Somebody wrote to a topic as this log, and the topic was archived."""
    log.append(queries(4))
    layout = Layout(tmp_path)
    forged = queries(1, start=40)[0]._replace(
        log=log.id, number=4, partition=0, position=1, source=rows(log)[0].source
    )
    Archive(layout).add(Origin(TOPICS), [forged], "1")
    with_store = open_events(layout, embedded_settings(event_store_id="instance"))
    comparison = Comparison(log, Archive(layout))
    read = [e for b in read_all(with_store, Archive(layout), CHANNELS, comparison) for e in b]
    with_store.close()
    assert forged.id in {e.id for e in read}
    comparison.there([*rows(log)[:3], forged])
    assert list(comparison.sums.differing) == [forged.id]


def test_lineage_is_compared_too(tmp_path, log):
    body = '{"eventType": "COMPLETE"}'
    log.append([lineage_event((str(i),), "job", i, body, "instance") for i in range(3)])
    there = [e for batch in log.read([LINEAGE]) for e in batch]
    confirm(log, there)
    comparison = Comparison(log, Archive(Layout(tmp_path)))
    comparison.recorded(there)
    comparison.there([there[0], there[1]._replace(data="{}")])
    assert told(log, comparison) == (False, False, 1)
    assert list(comparison.sums.differing) == [there[1].id]
