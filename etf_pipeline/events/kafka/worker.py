"""A projection worker: one of a consumer group that shares the partitions."""

from __future__ import annotations

import logging
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from etf_pipeline.errors import EtfError, EventError, SettingsError
from etf_pipeline.events.kafka.claims import Claim, ClaimedError
from etf_pipeline.events.kafka.intake import Intake
from etf_pipeline.events.kafka.log import KafkaLog
from etf_pipeline.events.kafka.places import beginnings
from etf_pipeline.events.kafka.reader import consume
from etf_pipeline.events.kafka.refusals import in_words, refusal
from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.log.catching_up import Local
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.model.positions import Key
from etf_pipeline.events.model.types import QUERY

log = logging.getLogger(__name__)
_BATCH = 1_000
_WAIT_SECONDS = 0.2
# How often it is asked whether there is anything new, once there was not.
_IDLE_SECONDS = 0.5
_CLAIM_SECONDS = 5.0
# A group that gives no partition waits for members that are gone.
_JOIN_SECONDS = 60.0
# What a variable may change.
_DEFAULTS = {
    "session.timeout.ms": 6_000,
    "max.poll.interval.ms": 20_000,
    # How soon partitions are found that were added.
    "topic.metadata.refresh.interval.ms": 5_000,
}
_JOIN = "the brokers or a topic were gone; joining it anew"
_UNKNOWN = (
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
)
_PAUSE_SECONDS = 1.0
_LOST = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION)
# The time that stands for the end of a partition, and how long it is waited for.
_END, _END_SECONDS = -1, 5.0


class Worker:
    """Keeps read models up to date until it is stopped.

    What this machine recorded comes from its log and the archive, what others did from the topics.
    Positions come from the read models, not from the group, so that they are exactly as far as
    the rows. A partition whose last event is no longer where it was is read again from its
    beginning; event ids keep anything from counting twice.

    Args:
        broker: the topics.
        projections: the read models.
        group: of those that share the partitions; by default one that these read models alone have.
        local: the log and the archive of this machine.

    Attributes:
        assigned: the partitions that this worker has.
        resting: whether nothing was new when it was asked for last.
    """

    def __init__(
        self,
        broker: KafkaLog,
        projections: Projections,
        group: str | None = None,
        local: Local | None = None,
    ) -> None:
        self._broker = broker
        self._projections = projections
        self._named = group
        self._intake = Intake(broker, projections, local)
        self._names = self._intake.names
        self._stop = threading.Event()
        self._model = ""  # the id that the group is named after
        self._eof: set[Key] = set()
        # What callbacks leave to be done: they may not raise.
        self._gone = self._recheck = self._in_group = self._claims = False
        self._failed: Exception | None = None
        self._ever = False
        self._minded = 0.0
        self.resting = False
        self.assigned: set[Key] = set()

    @property
    def group(self) -> str:
        """The group that this worker joins."""
        return self._named or topic_name(self._broker.settings, f"projections.{self._model}")

    def stop(self) -> None:
        """Have `run` end after the batch under way."""
        self._stop.set()

    def run(self, once: bool = False) -> int:
        """Take events in; with `once`, up to the end of what is there.

        Without `once` it goes on after any trouble of the brokers, and when they refuse what they
        allowed before.

        Raises:
            EventError: the brokers cannot be reached at the start, or ever with `once`; the group
                is that of other read models; events are missing.
            SettingsError: they refuse this client.
        """
        self._intake.bind()
        self._model = self._projections.id
        if once:
            self._run_once()
            return self._intake.taken
        self._intake.look()
        self._broker.ensure_topics()
        while not self._stop.is_set():
            try:
                self._consume()
                break
            except ClaimedError:
                if self._named is not None:
                    raise
                self._leave("it is that of a copy of these read models")
            except (EtfError, KafkaException) as error:
                if isinstance(error, SettingsError) and not self._ever:
                    raise
                log.warning("%s; trying again in %g s", _words(error), _PAUSE_SECONDS)
            self._await_topics()
        self._intake.look()
        if self._intake.missing:
            raise EventError(self._intake.missing)
        return self._intake.taken

    def _run_once(self) -> None:
        """Read what is there outside of the group, which need not be waited for then."""
        try:
            if self._named is not None:
                self._take_group()
            self._intake.read_all(self._stop)
        except KafkaException as error:
            self._raise_if_refused(error.args[0])
            raise EventError(_words(error)) from None

    def _take_group(self) -> None:
        self._broker.ensure_topics()
        consumer = self._broker.reader.consumer(None, **{"group.id": self.group})
        try:
            self._claim().take(consumer, self._broker.timeouts.ask)
        finally:
            consumer.close()

    def _claim(self) -> Claim:
        topic = topic_name(self._broker.settings, QUERY)
        return Claim(self._projections, self.group, topic, self._broker.timeouts.ask)

    def _leave(self, why: str) -> None:
        """Go on in another group of our own."""
        before = self.group
        self._model = self._projections.renew_id(self._model)
        log.warning("group %s: %s; going on as group %s", before, why, self.group)

    def _await_topics(self) -> None:
        """Until the topics are there.

        librdkafka compares the topics that it finds with those of its last assignment. Topics
        that went and came back are equal, though the group was formed without them in between.
        So every worker joins the group again, once they are there.
        """
        while not self._stop.wait(_PAUSE_SECONDS):
            self._intake.look()
            try:
                self._broker.ensure_topics(again=True)
                return
            except EtfError as error:
                log.info("%s", error)

    def _consume(self) -> None:
        self._model = self._projections.id
        consumer = self._broker.reader.consumer(
            _DEFAULTS,
            **{
                "group.id": self.group,
                "error_cb": self._on_error,
                "partition.assignment.strategy": "range",
            },
        )
        self._gone = self._recheck = self._in_group = False
        self._failed, joining = None, time.monotonic()
        try:
            self._ask_claim(consumer)  # before it is joined, and others disturbed
            consumer.subscribe(
                list(self._names),
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_revoke,
            )
            while not self._stop.is_set():
                self._take(consumer, consume(consumer, _BATCH, _WAIT_SECONDS))
                self._mind(consumer)
                if not self._in_group and time.monotonic() - joining > _JOIN_SECONDS:
                    self._not_in_group()
                    joining = time.monotonic()
                if self.assigned and self._eof >= self.assigned:
                    self._rest(consumer)
        finally:
            self.assigned = set()
            consumer.close()

    def _not_in_group(self) -> None:
        why = f"no partition was given within {_JOIN_SECONDS:g} s"
        why += ", as brokers wait for members that are gone"
        if self._named is None:
            self._leave(why)
            raise EventError(f"group {self.group}: joining it")
        log.warning("group %s: %s; delete it with Kafka's tools or name another", self.group, why)

    def _mind(self, consumer: Consumer) -> None:
        """What is to be done between two batches."""
        if self._failed is not None:
            raise self._failed
        if self._gone:
            raise EventError(f"group {self.group}: {_JOIN}")
        if self._recheck:
            self._recheck = False
            self._seek(consumer, self.assigned)
        now = time.monotonic()
        if now - self._intake.looked >= _IDLE_SECONDS:
            self._intake.look()
        if self._in_group and (self._claims or now - self._minded >= _CLAIM_SECONDS):
            self._minded = now
            self._mind_group(consumer)
            if self._eof >= self.assigned and (gaps := self._intake.mind_gaps()):
                self._seek(consumer, self._intake.read_again(gaps, self.assigned))

    def _mind_group(self, consumer: Consumer) -> None:
        if self._named is None and self._projections.id != self._model:
            raise EventError(f"group {self.group}: other workers of {self._projections.path} left")
        held = self._ask_claim(consumer)
        if held is not None and (not held or self._claims) and (QUERY, 0) in self.assigned:
            self._claim().renew(consumer)
        self._claims = False

    def _ask_claim(self, consumer: Consumer) -> bool | None:
        """Whether the group is ours; None when brokers do not say."""
        try:
            return self._claim().held(consumer)
        except KafkaException as error:
            self._raise_if_refused(error.args[0])
            log.info("group %s: %s", self.group, _words(error))
            return None

    def _rest(self, consumer: Consumer) -> None:
        """Wait for something new.

        Some brokers answer at once that there is nothing, and the client would ask again at once.
        So nothing is fetched before the end of a partition has moved.
        """
        held = frozenset(self.assigned)
        places = [TopicPartition(topic_name(self._broker.settings, c), p) for c, p in held]
        consumer.pause(places)
        self.resting = True
        try:
            while not self._stop.is_set() and self.assigned == held:
                if moved := self._moved(consumer):
                    # Nothing was fetched meanwhile that could have failed.
                    self._seek(consumer, moved)
                    self._eof -= moved
                    break
                self._take(consumer, consume(consumer, _BATCH, _IDLE_SECONDS))
                self._mind(consumer)
        finally:
            self.resting = False
            if self.assigned == held:
                consumer.resume(places)

    def _moved(self, consumer: Consumer) -> set[Key]:
        """Partitions that do not end where they were read up to."""
        wanted = [
            TopicPartition(topic_name(self._broker.settings, c), p, _END)
            for c, p in sorted(self.assigned)
        ]
        try:
            ends = consumer.offsets_for_times(wanted, timeout=_END_SECONDS)
        except KafkaException as error:
            self._raise_if_refused(error.args[0])
            return set()
        moved = set()
        for end in ends:
            key = (self._names[end.topic], end.partition)
            if end.error is not None:
                self._raise_if_refused(end.error)
                self._gone |= end.error.code() in _UNKNOWN
            elif end.offset != self._intake.next.get(key) and end.offset >= 0:
                moved.add(key)
        return moved

    def _take(self, consumer: Consumer, messages: list[Message]) -> None:
        good = []
        for message in messages:
            topic, error = message.topic() or "", message.error()
            key = (self._names.get(topic, ""), message.partition() or 0)
            if error is None:
                good.append(message)
                self._eof.discard(key)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._eof.add(key)
                self._intake.next[key] = message.offset() or 0
            elif error.code() in _LOST and topic:
                log.warning("%s[%d]: the broker lost events; reading it again", *key)
                low = self._broker.reader.ranges([key[0]]).get(key, (0, 0))[0]
                consumer.seek(TopicPartition(topic, key[1], low))
                self._intake.next[key] = low
            else:
                self._complain(error)
        self._intake.apply(good)

    def _complain(self, error: KafkaError) -> None:
        self._raise_if_refused(error)
        if error.fatal():
            raise EventError(f"Kafka: {error.str()}")
        log.warning("Kafka: %s; going on", error.str())
        self._gone |= error.code() in _UNKNOWN

    def _raise_if_refused(self, error: KafkaError) -> None:
        if refusal(error) is not None:
            raise SettingsError(f"group {self.group}: Kafka refuses: {in_words(error)}")

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        keys = {(self._names[p.topic], p.partition) for p in partitions}
        try:
            begin = beginnings(self._broker.reader, self._projections, keys) if keys else {}
        except (EtfError, KafkaException) as error:
            self._failed = error
            consumer.assign([])
            return
        for place in partitions:
            place.offset = begin.get((self._names[place.topic], place.partition), 0)
        consumer.assign(partitions)
        consumer.resume(partitions)  # of an assignment before that was resting
        self._eof.clear()
        self._intake.next = {key: begin.get(key, 0) for key in keys}
        self.assigned = keys
        self._in_group = self._ever = self._claims = True
        log.info("group %s: reading %d partitions", self.group, len(partitions))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.assigned = set()

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
            self._recheck = True
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._gone = True

    def _seek(self, consumer: Consumer, keys: set[Key]) -> None:
        """Go on only where the broker is what it was: it may have lost events, or a topic."""
        try:
            begin = beginnings(self._broker.reader, self._projections, keys)
            for key, offset in sorted(begin.items()):
                if offset != self._intake.next.get(key):
                    topic = topic_name(self._broker.settings, key[0])
                    consumer.seek(TopicPartition(topic, key[1], offset))
                    self._intake.next[key] = offset
                    self._eof.discard(key)
        except (EventError, KafkaException):
            self._recheck = True  # not back yet


def _words(error: Exception) -> str:
    return in_words(error) if isinstance(error, KafkaException) else str(error)
