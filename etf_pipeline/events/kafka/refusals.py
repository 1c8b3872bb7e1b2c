"""What a broker refuses: in words with the remedy, and what it is a matter of."""

from __future__ import annotations

from confluent_kafka import KafkaError

from etf_pipeline.events.model.positions import Delivery

AUTHENTICATION = (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)
_RIGHTS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "a right on the topic is missing (Describe and Write to "
    "send, Describe and Read to read, Create to make it)",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the right to Read the consumer group is missing",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the right to Write to any topic, or IdempotentWrite "
    "on the cluster, is missing",
}
_SETTINGS = {
    KafkaError.INVALID_REPLICATION_FACTOR: "KAFKA_REPLICATION_FACTOR is more than there are "
    "brokers: set it lower, or start the others",
    KafkaError.INVALID_PARTITIONS: "set KAFKA_TOPIC_PARTITIONS to what the broker takes",
    KafkaError.INVALID_TIMESTAMP: "this host's clock and the broker's differ by more than the "
    "topic takes: set the clock right, or raise the topic's message.timestamp.after.max.ms (a "
    "clock that is ahead) or message.timestamp.before.max.ms (behind)",
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE: "set KAFKA_COMPRESSION_TYPE to what the broker takes",
}
_WHERE = 'see "Rights" in docs/events.md'
NO_LOGIN = (
    "the broker refuses who this client says it is: check KAFKA_SASL_USERNAME, "
    "KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM"
)
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


def refusal(error: KafkaError) -> str | None:
    """In words; None when the error is no refusal of this client."""
    if error.code() in AUTHENTICATION:
        return NO_LOGIN
    right = _RIGHTS.get(error.code())
    return _SETTINGS.get(error.code()) if right is None else f"{right}; {_WHERE}"


def missing_right(operation: str, kind: str, name: str, user: str | None) -> str:
    """A right that is missing, and the command that gives it."""
    whose = f"User:{user}" if user else "User:NAME"
    flag = "--cluster" if kind == "cluster" else f"--{kind} {name}"
    on = kind if kind == "cluster" else f"{kind} {name}"
    return (
        f"{user or 'this client'} has no right to {operation} on {on}; an administrator gives it: "
        f"kafka-acls --add --allow-principal {whose} --operation {operation} {flag}"
    )


def in_words(error: Exception | KafkaError) -> str:
    """What an error of the client says; for a refusal the right that is missing, and the remedy."""
    inner = error.args[0] if isinstance(error, Exception) and error.args else error
    if not isinstance(inner, KafkaError):
        return str(inner) or type(error).__name__
    why = refusal(inner)
    return inner.str() if why is None else f"{inner.str()}: {why}"


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
