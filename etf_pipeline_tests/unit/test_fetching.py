"""What a reader of Kafka has on its way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.events.kafka.client import base_config
from etf_pipeline.events.kafka.fetching import defaults, parts
from etf_pipeline.events.kafka.reader import KafkaReader
from etf_pipeline.events.kafka.timeouts import Timeouts
from etf_pipeline_tests.events_support import kafka_settings

spans = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.integers(0, 9)),
    st.tuples(st.integers(0, 2**40), st.one_of(st.integers(1, 30_000), st.integers(1, 2**30))),
)


@given(spans)
def test_partitions_are_read_one_by_one_but_for_small_ones(lengths):
    begin = {key: first for key, (first, _) in lengths.items()}
    ends = {key: first + length for key, (first, length) in lengths.items()}
    found = list(parts(begin, ends))
    assert [pair for part in found for pair in part.items()] == list(ends.items())
    for part in found:
        assert len(part) == 1 or sum(lengths[key][1] for key in part) <= 20_000


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"KAFKA_MESSAGE_MAX_BYTES": "5000000"},
        {"KAFKA_RECEIVE_MESSAGE_MAX_BYTES": "2000000"},
        {"KAFKA_FETCH_MAX_BYTES": "60000000"},
        {"KAFKA_MAX_PARTITION_FETCH_BYTES": "2000000"},
        {"KAFKA_QUEUED_MIN_MESSAGES": "5"},
    ],
)
def test_what_bounds_a_reader_goes_with_every_variable(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = kafka_settings("localhost:9")
    config = base_config(settings)
    consumer = KafkaReader(settings, config, Timeouts()).consumer()  # librdkafka refuses no value
    consumer.close()
    assert ("fetch.max.bytes" in defaults(config)) == ("KAFKA_MESSAGE_MAX_BYTES" not in variables)
