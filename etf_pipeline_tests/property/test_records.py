"""Whatever comes in a Kafka record: an event, or an error that says in which way it is none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import EventFormatError, ReasonCode
from etf_pipeline.events.model.envelope import lineage_event, to_kafka
from etf_pipeline.events.model.records import from_kafka
from etf_pipeline.events.model.types import CHANNELS, LINEAGE
from etf_pipeline_tests.events_support import query

RUN = json.dumps({"eventTime": "2025-11-12T06:00:00Z", "job": {"name": "prices"}})
TIME_US = 1_762_927_200_000_000  # of 2025-11-12T06:00:00Z
CODES = (ReasonCode.FOREIGN_RECORD, ReasonCode.UNREADABLE_RECORD)
NAMES = ("ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "ce_recordedtime")
NAMES += ("ce_sequence", "ce_logid", "etf_id", "etf_source", "etf_sequence", "etf_logid")
VALUES = st.none() | st.binary(max_size=40) | st.sampled_from([b"etf_pipeline.X.v1", b"1", b"-1"])


@given(
    st.dictionaries(st.sampled_from(NAMES), VALUES),
    st.none() | st.binary(max_size=60) | st.just(RUN.encode()),
    st.sampled_from([*CHANNELS, LINEAGE]),
)
def test_nothing_but_an_event_or_that_error_comes_out(changes, value, channel):
    headers = {**to_kafka(query(1)).headers, **changes}
    event, refused = None, None
    try:
        event = from_kafka([*headers.items()], value, channel, 0, 7, 0)
    except EventFormatError as error:
        refused = error
    if event is None:
        assert refused.code in CODES
        assert f"{channel}[0] offset 7" in str(refused)
        return
    said = headers["etf_id" if channel == LINEAGE else "ce_id"]
    assert event.id == said.decode()  # nothing was made up
    assert event.data.encode() == value
    assert event.number >= 0
    assert (event.number > 0) == (event.log != "")


def test_lineage_comes_back_as_it_was_recorded():
    event = lineage_event(("run",), "prices", TIME_US, RUN, "a store")
    event = event._replace(log="a log", number=3, partition=1, position=9)
    sent = to_kafka(event)
    assert from_kafka([*sent.headers.items()], sent.value, LINEAGE, 1, 9, 0) == event


def test_lineage_of_an_earlier_release_is_read():
    event = from_kafka([("etf_id", b"an id")], RUN.encode(), LINEAGE, 0, 0, 17)
    assert (event.id, event.subject, event.time_us) == ("an id", "prices", TIME_US)
    assert (event.recorded_us, event.log, event.number) == (17_000, "", 0)


@pytest.mark.parametrize(
    ("headers", "value", "code"),
    [
        ([], RUN.encode(), ReasonCode.FOREIGN_RECORD),
        ([("etf_id", None)], RUN.encode(), ReasonCode.FOREIGN_RECORD),
        ([("etf_id", b"i")], b"{", ReasonCode.UNREADABLE_RECORD),
        ([("etf_id", b"i")], b"[]", ReasonCode.UNREADABLE_RECORD),
        ([("etf_id", b"i")], b'{"job": {"name": "x"}}', ReasonCode.UNREADABLE_RECORD),
    ],
)
def test_lineage_of_another_program_is_told_from_ours_that_is_damaged(headers, value, code):
    with pytest.raises(EventFormatError) as caught:
        from_kafka(headers, value, LINEAGE, 0, 0, 0)
    assert caught.value.code is code
