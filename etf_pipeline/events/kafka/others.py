"""What other machines recorded for a store, as its topics have it."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etf_pipeline.errors import EventError
from etf_pipeline.events.kafka.restored import begin_anew
from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.log.archive import (
    TOPICS,
    Archive,
    Archived,
    ArchiveReport,
    Origin,
    ends_of,
    read_batches,
)
from etf_pipeline.events.log.comparison import Comparison
from etf_pipeline.events.log.identity import SHARED
from etf_pipeline.events.log.sqlite import OTHERS
from etf_pipeline.events.model.checks import first_few
from etf_pipeline.events.model.envelope import Event, source_of
from etf_pipeline.events.model.numbers import Held, Series
from etf_pipeline.events.model.positions import Batches, Gone, Key, Range
from etf_pipeline.events.model.types import CHANNELS, LINEAGE

if TYPE_CHECKING:
    from confluent_kafka import Message

    from etf_pipeline.events.kafka.log import KafkaLog
    from etf_pipeline.events.log.outbox import Outbox

log = logging.getLogger(__name__)
_ORIGIN = Origin(TOPICS)
# Fact: how far topics are archived.
_ARCHIVED = "archived_topics"
_PARTS = 3
# Numbers that a log gives are smaller.
_NUMBERS = 2**62
_ALL = (*CHANNELS, LINEAGE)
_Ends = dict[Key, tuple[int, str]]


class Others:
    """Reads the topics for what the local log does not have.

    Attributes:
        foreign: how many events of other stores were passed over, by their source.
    """

    def __init__(self, broker: KafkaLog, local: Outbox, store: str) -> None:
        self._broker = broker
        self._local = local
        self._mine = source_of(store)
        self._shared = False
        self.foreign: Counter[str] = Counter()

    def start(self, archive: Archive) -> dict[Key, int]:
        """Where the topics go on after what is archived; from the start where one lost its end.

        Raises:
            EventError: what other machines recorded may have gone before it was archived.
        """
        ends, reader = self._ends(archive), self._broker.reader
        ranges = reader.ranges(_ALL)
        if gone := self._gone(ends, ranges):
            named = [f"{g.channel}[{g.partition}] offsets {g.first} to {g.last}" for g in gone]
            raise EventError(
                f"{first_few(named)} went by retention before they were archived here, and other "
                "machines record for this store; restore events/ from a backup, or raise "
                "EVENT_STORE_RETENTION_DAYS and archive more often. `etf events missing` lists "
                "what is missing, and declares it lost when it is"
            )
        found: dict[Key, int] = {}
        for key, (low, high) in ranges.items():
            after, last_id = ends.get(key, (0, ""))
            intact = after == 0 or (
                high >= after and (low >= after or reader.id_at(*key, after - 1) == last_id)
            )
            found[key] = after if intact else 0
        return found

    def _gone(self, ends: _Ends, ranges: dict[Key, Range]) -> list[Gone]:
        self._shared = self._local.fact(SHARED) is not None
        if not self._shared:
            return []
        spans = {key: (ends.get(key, (0, ""))[0], low) for key, (low, _) in ranges.items()}
        return [
            Gone(*key, first, after - 1)
            for key, span in spans.items()
            for first, after in self._local.unconfirmed(key, span)
        ]

    def gone(self, archive: Archive) -> list[Gone]:
        """What retention took before it was archived, and may have been other machines'."""
        return self._gone(self._ends(archive), self._broker.reader.ranges(_ALL))

    def pass_over(self, archive: Archive, gone: Sequence[Gone]) -> None:
        """Go on after what is gone."""
        ends = self._ends(archive)
        ends |= {(g.channel, g.partition): (g.last + 1, "") for g in sorted(gone)}
        self._keep(archive, ends)

    def read(
        self,
        channels: Sequence[str],
        start: dict[Key, int],
        held: Held | None = None,
        comparison: Comparison | None = None,
    ) -> Batches:
        """Events of this store from these positions on.

        Args:
            channels: which channels.
            start: first position wanted by (channel, partition).
            held: events of the local log that need not be given.
            comparison: is told of all that there is, from the beginning on.
        """
        reader = self._broker.reader
        names = {topic_name(self._broker.settings, c): c for c in channels}
        for messages in reader.messages(channels, start if comparison is None else {}):
            if comparison is not None:
                events = reader.events(messages, names)
                comparison.there(events)
                yield list(self._of_store(_after(start, events, held)))
                continue
            if held is not None:
                messages = not_held(messages, names, held)
            yield list(self._of_store(reader.events(messages, names)))

    def besides(self, channels: Sequence[str], start: dict[Key, int]) -> Batches:
        """Events of this store where not all are known to have been sent from here."""
        reader = self._broker.reader
        names = {topic_name(self._broker.settings, c): c for c in channels}
        rest: dict[Key, list[Range]] = {}
        for key, (low, high) in reader.ranges(channels).items():
            spans = self._local.unconfirmed(
                key, (max(low, start.get(key, low)), high), roughly=True
            )
            # Many small parts take longer than what lies between them.
            rest[key] = spans if len(spans) <= _PARTS else [(spans[0][0], spans[-1][1])]
        while now := {key: spans.pop() for key, spans in rest.items() if spans}:
            for messages in reader.between(now):
                yield list(self._of_store(reader.events(messages, names)))

    def _of_store(self, batch: Iterable[Event]) -> Iterator[Event]:
        mine, own = self._mine, self._local.id
        for event in batch:
            if event.source != mine:
                if not self.foreign:
                    log.warning(
                        "topics %s.* hold events of another store too (%s); they are passed over",
                        self._broker.settings.kafka_topic_prefix,
                        event.source,
                    )
                self.foreign[event.source] += 1
                continue
            if event.log not in (own, "") and not self._shared:
                self._local.settle(SHARED, "1")
                self._shared = True
            yield event

    def archive(self, archive: Archive, now: dt.datetime) -> ArchiveReport:
        """Copy into the archive what the topics have, and neither it nor the local log has.

        Raises:
            EventError: as `start`.
        """
        start = self.start(archive)
        ends: _Ends = {k: e for k, e in self._ends(archive).items() if start.get(k) == e[0]}
        told = self._told(archive)
        done = archive.add_all(_ORIGIN, self._new(archive, start, ends, told), now)
        self._keep(archive, ends, told)
        return done

    def _told(self, archive: Archive) -> dict[Series, int]:
        """The last numbers of other machines' logs that were archived, by log and channel."""
        text = self._local.fact(OTHERS)
        if text is not None:
            return {(log, channel): int(number) for log, channel, number in json.loads(text)}
        found: dict[Series, int] = {}
        for file in archive.files_of(_ORIGIN):  # by an earlier release
            for batch in read_batches(file.path):
                self._note(found, batch)
        return found

    def _note(self, told: dict[Series, int], events: Sequence[Event]) -> None:
        mine = {"", self._local.id, *self._local.former_ids}
        for event in events:
            if event.log not in mine:
                key = (event.log, event.channel)
                told[key] = max(event.number, told.get(key, 0))

    def _keep(
        self, archive: Archive, ends: _Ends, told: Mapping[Series, int] | None = None
    ) -> None:
        """Note how far topics are archived, and what files of them are there to show it.

        And the numbers by which the events are missed should the files go, with `told`.
        """
        files = archive.files_of(_ORIGIN)
        filed, rows = ends_of(files), _rows(files)
        noted = [[*k, *end, filed.get(k, (0, ""))[0], rows[k]] for k, end in sorted(ends.items())]
        facts = {_ARCHIVED: json.dumps(noted)}
        if told is not None:
            facts[OTHERS] = json.dumps([[*key, number] for key, number in sorted(told.items())])
        self._local.append([], facts=facts)

    def _new(
        self, archive: Archive, start: dict[Key, int], ends: _Ends, told: dict[Series, int]
    ) -> Batches:
        own, filed, begun = self._local.id, _filed(archive, start), False
        for batch in self._broker.read(_ALL, start):
            for event in batch:
                ends[(event.channel, event.partition)] = (event.position + 1, event.id)
            mine = list(self._of_store(batch))
            self._note(told, mine)
            known = self._local.known(mine)
            given = self._local.numbers()
            # Of an event that another machine told too, its number there is kept.
            here = {"", own, *self._local.former_ids}
            new = [e for e in mine if e.id not in known or e.log not in here]
            ahead = (e.log == own and e.number > given.get(e.channel, 0) for e in new)
            if not begun and any(ahead):
                log.warning("%s is older than what it sent: it begins anew", self._local.path)
                begin_anew(self._local, self._broker)
                begun = True
            yield [e for e in new if (e.log, e.id) not in filed]

    def _ends(self, archive: Archive) -> _Ends:
        """How far topics are archived, as far as the files are there still."""
        files = archive.files_of(_ORIGIN)
        there, rows = ends_of(files), _rows(files)
        text = self._local.fact(_ARCHIVED)
        if text is None:
            return there
        found = dict(there)
        # Noted before it was noted what is filed: then only the files count.
        for channel, partition, after, name, *filed in json.loads(text):
            key = (channel, partition)
            if len(filed) > 1 and rows[key] < filed[1]:
                found.pop(key, None)  # a file is gone, and all is to be looked for again
            elif filed and there.get(key, (0, ""))[0] >= filed[0]:
                found[key] = (after, name)
        return found


def _rows(files: Iterable[Archived]) -> Counter[Key]:
    """By channel and partition, how many events these files have."""
    found: Counter[Key] = Counter()
    for file in files:
        for partition in file.ranges:
            found[(file.channel, partition)] += file.rows
    return found


def _filed(archive: Archive, start: Mapping[Key, int]) -> set[tuple[str, str]]:
    """Log and id of what is archived of topics at or after these positions."""
    return {
        (event.log, event.id)
        for file in archive.files_of(_ORIGIN)
        if any(after > start.get((file.channel, p), 0) for p, (_, after) in file.ranges.items())
        for batch in read_batches(file.path)
        for event in batch
    }


def _after(start: Mapping[Key, int], events: list[Event], held: Held | None) -> Iterator[Event]:
    """Events from these positions on, without those that are held."""
    for event in events if held is None else held.others(events):
        if event.position >= start.get((event.channel, event.partition), 0):
            yield event


def not_held(messages: Sequence[Message], names: Mapping[str, str], held: Held) -> list[Message]:
    """Those messages that are no events that were read already, in their order.

    Most are: to take them apart would cost more than to fetch them.
    """
    rest, log = [], held.log
    groups: dict[str, tuple[list[int], list[int], list[str]]] = {}
    for i, message in enumerate(messages):
        headers: dict[str, Any] = dict(message.headers() or ())
        if headers.get("ce_logid") != log:
            rest.append(i)
            continue
        try:
            number, name = int(headers["ce_sequence"]), headers["ce_id"].decode()
        except (KeyError, ValueError, AttributeError, TypeError):
            rest.append(i)  # whoever takes it apart says what is wrong with it
            continue
        group = groups.setdefault(message.topic() or "", ([], [], []))
        group[0].append(i)
        group[1].append(number if 0 < number < _NUMBERS else 0)
        group[2].append(name)
    for topic, (places, numbers, ids) in groups.items():
        was = held.which(names[topic], numbers, ids)
        rest += [i for i, known in zip(places, was, strict=True) if not known]
    return [messages[i] for i in sorted(rest)]
