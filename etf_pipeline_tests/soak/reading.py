"""What is left of events, read with sqlite3, pyarrow and confluent_kafka alone."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from etf_pipeline_tests.soak.ledger import CHANNELS, LINEAGE

_PATIENCE = 30.0


@dataclass(frozen=True)
class Row:
    """An event of the local log."""

    seq: int
    id: str
    channel: str
    subject: str
    type: str
    run_id: str
    number: int = 0

    @property
    def mine(self) -> bool:
        """Whether a recorder of the cycle made it, who calls its runs after itself."""
        return self.run_id.startswith("recorder")


def local_log(store: Path) -> list[Row]:
    """In order of recording; empty without a log."""
    path = store / "events" / "events.sqlite"
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(path, timeout=30.0)) as db:
        rows = db.execute(
            "SELECT seq, id, channel, subject, type, data, number FROM events ORDER BY seq"
        )
        return [Row(*r[:5], _run_id(r[5]), r[6]) for r in rows]


def store_id(store: Path) -> str:
    return _fact(store, "instance")


def _fact(store: Path, name: str) -> str:
    path = store / "events" / "events.sqlite"
    with contextlib.closing(sqlite3.connect(path, timeout=30.0)) as db:
        found = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return "" if found is None else str(found[0])


def numbered(store: Path) -> dict[tuple[str, str, int], str]:
    """Ids of the local log's events by log, channel and number.

    Those of before the log took another id are named under each id that it had.
    """
    before, named = int(_fact(store, "unnumbered") or 0), _fact(store, "log")
    former = json.loads(_fact(store, "former_logs") or "[]")
    found = {}
    for row in local_log(store):
        for log in former if row.seq <= before else (named,):
            found[log, row.channel, row.number] = row.id
    return found


def archived(store: Path) -> dict[str, Row]:
    """What the archive holds, by id."""
    found: dict[str, Row] = {}
    for path in sorted((store / "events" / "archive").glob("topic=*/day=*/*.parquet")):
        columns = ["position", "id", "channel", "subject", "type", "data"]
        for row in pq.ParquetFile(path).read(columns).to_pylist():
            found[row["id"]] = Row(*[row[c] for c in columns[:5]], _run_id(row["data"]))
    return found


def _run_id(data: str) -> str:
    """That of a payload of ours, or of an OpenLineage run event."""
    body = json.loads(data)
    return str(body.get("run_id") or body.get("run", {}).get("runId", ""))


def parked(store: Path, prefix: str) -> set[tuple[str, int, int]]:
    """Channel, partition and offset of the records of topics that were put aside."""
    path = store / "events" / "events.sqlite"
    if not path.exists():
        return set()
    with contextlib.closing(sqlite3.connect(path, timeout=30.0)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'parked'").fetchone():
            return set()
        rows = db.execute("SELECT name, partition, position FROM parked WHERE kind = 'kafka'")
        return {(n.removeprefix(f"{prefix}."), p, o) for n, p, o in rows}


@dataclass
class ReadModels:
    """The tables of `etf events project`."""

    ids: set[str] = field(default_factory=set)
    rows: int = 0
    queries: int = 0
    counted: int = 0
    newest: dict[tuple[str, str], str] = field(default_factory=dict)


def read_models(path: Path) -> ReadModels:
    if not path.exists():
        return ReadModels()
    with contextlib.closing(sqlite3.connect(path, timeout=30.0)) as db:
        rows = db.execute("SELECT id, type FROM audit_trail").fetchall()
        counted = db.execute("SELECT coalesce(sum(queries), 0) FROM query_counts").fetchone()[0]
        newest = db.execute("SELECT type, subject, id FROM latest_state").fetchall()
    return ReadModels(
        {i for i, _ in rows},
        len(rows),
        sum(t == "PriceDataQueried" for _, t in rows),
        counted,
        {(t, s): i for t, s, i in newest},
    )


@dataclass(frozen=True)
class Record:
    """A record of a topic; its id is empty when it has none that can be read."""

    channel: str
    partition: int
    offset: int
    key: bytes | None
    id: str
    source: str


def topics(servers: str, prefix: str) -> list[Record]:
    """Every record below the end offsets of now, in order within a partition."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "soak-checker",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )
        try:
            return _drain(consumer, prefix)
        except KafkaException:  # topics that were just made have no leader yet
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        finally:
            consumer.close()


def _drain(consumer: Consumer, prefix: str) -> list[Record]:
    names = {f"{prefix}.{c}": c for c in (*CHANNELS, LINEAGE)}
    there = consumer.list_topics(timeout=_PATIENCE).topics
    ends: dict[tuple[str, int], int] = {}
    starts: list[TopicPartition] = []
    for topic in sorted(names):
        for partition in there[topic].partitions if topic in there else ():
            low, high = consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=_PATIENCE
            )
            if low < high:
                ends[topic, partition] = high
                starts.append(TopicPartition(topic, partition, low))
    found: list[Record] = []
    if starts:
        consumer.assign(starts)
    deadline = time.monotonic() + _PATIENCE
    while ends:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no end of {sorted(ends)} within {_PATIENCE:g} s")
        for message in consumer.consume(5_000, timeout=0.05):
            place = (message.topic() or "", message.partition() or 0)
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                continue
            offset = message.offset() or 0
            if place in ends and error is None and offset < ends[place]:
                found.append(_record(names[place[0]], message))
            if offset + (error is None) >= ends.get(place, 2**62):
                del ends[place]
    return found


def _record(channel: str, message) -> Record:
    headers = {k: v for k, v in message.headers() or () if isinstance(v, bytes)}
    name = headers.get("ce_id") or headers.get("etf_id") or b""
    source = headers.get("ce_source") or headers.get("etf_source") or b""
    return Record(
        channel,
        message.partition(),
        message.offset(),
        message.key(),
        name.decode(errors="replace"),
        source.decode(errors="replace"),
    )
