"""What a failed delivery is a matter of: the event itself, its topic, or the connection."""

from __future__ import annotations

from confluent_kafka import KafkaError

from etf_pipeline.events.kafka.client import in_words
from etf_pipeline.events.model.positions import Delivery

# Sent again as it is, the event would be refused again. A batch is refused as a whole, so that
# only an event that was sent alone is known to be meant.
OF_THE_EVENT = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError._INVALID_DIFFERENT_RECORD,
    }
)
# A topic that is not there cannot be made: not by this client, or not as it asks for it.
NOT_TO_BE_MADE = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_CONFIG,
        KafkaError.POLICY_VIOLATION,
    }
)
# Other topics may do.
OF_THE_TOPIC = NOT_TO_BE_MADE | {
    # Of the moment of sending, which is another one the next time.
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
}
_EVENT_NAMES = frozenset(KafkaError(code).name() for code in OF_THE_EVENT)
_TOPIC_NAMES = frozenset(KafkaError(code).name() for code in OF_THE_TOPIC)
LOST = "LOST"


def failure(error: KafkaError) -> Delivery:
    """The delivery that a client reports with this error."""
    return Delivery(-1, -1, in_words(error), error.name())


def lost() -> Delivery:
    """That of what a broker confirmed and no longer has."""
    return Delivery(-1, -1, "the broker lost it after it had confirmed it", LOST)


def refuses_event(delivery: Delivery) -> bool:
    """Whether the event itself was refused, or one that was sent in the same batch."""
    return delivery.code in _EVENT_NAMES


def refuses_topic(delivery: Delivery) -> bool:
    """Whether its topic is closed to this client, or not there."""
    return delivery.code in _TOPIC_NAMES


def unsure(delivery: Delivery) -> bool:
    """Whether the broker may have it, or may get it yet."""
    return not (delivery.ok or refuses_event(delivery) or refuses_topic(delivery))
