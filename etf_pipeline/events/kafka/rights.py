"""What a broker does not let a client do: the right or setting that is amiss, and the remedy."""

from __future__ import annotations

from confluent_kafka import KafkaError

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
