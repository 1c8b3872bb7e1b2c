"""Events: what recording costs a caller, and how fast they are written and replayed."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from etf_pipeline_tests.benchmarks.memory import peak_mib
from etf_pipeline_tests.brokers import Broker, Noida
from etf_pipeline_tests.brokers.apache import Apache

EVENTS, CALLS, BATCH = 100_000, 2_000, 100


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _store(folder: Path) -> Path:
    """A store with one user's file of 4,000 sessions."""
    (folder / "historical").mkdir(parents=True, exist_ok=True)
    days = pd.bdate_range("2008-01-01", periods=4000, name="Date")
    prices = 100 * np.cumprod(1 + np.random.default_rng(1).normal(0, 0.01, 4000))
    frame = pd.DataFrame({"Close": prices, "Adj Close": prices}, index=days)
    frame.to_parquet(folder / "historical" / "VAS.parquet")
    return folder


def _calls(folder: Path) -> dict[str, float]:
    """Milliseconds of one tracked call over the same call in direct mode."""
    from etf_pipeline import ETFDataProvider

    environ = {k: os.environ.pop(k) for k in list(os.environ) if k.startswith(("EVENT_", "KAFKA_"))}
    direct = ETFDataProvider(folder)
    os.environ.update(environ)
    tracked = ETFDataProvider(folder)
    assert tracked.use_event_sourcing
    took: dict[str, list[float]] = {"direct": [], "tracked": []}
    for provider in (direct, tracked):
        for _ in range(50):
            provider.load_etf_data("VAS")
    for _ in range(CALLS):
        for name, provider in (("direct", direct), ("tracked", tracked)):
            started = time.perf_counter()
            provider.load_etf_data("VAS")
            took[name].append((time.perf_counter() - started) * 1e3)
    more = np.array(took["tracked"]) - np.median(took["direct"])
    return {"p50": float(np.percentile(more, 50)), "p99": float(np.percentile(more, 99))}


def _direct(folder: Path) -> dict[str, float]:
    """A call in direct mode over the same call with no recording code in it."""
    from etf_pipeline import ETFDataProvider

    provider = ETFDataProvider(folder)
    provider.load_etf_data("VAS")
    ratios = []
    for _ in range(200):
        with_it = _seconds(lambda: [provider.load_etf_data("VAS") for _ in range(50)])
        bare = _seconds(lambda: [provider._load("VAS") for _ in range(50)])
        ratios.append(with_it / bare)
    return {"ratio": statistics.median(ratios)}


def _sqlite(folder: Path) -> dict[str, float]:
    """Ours against the eventsourcing library's SQLite recorder: batches of 100, then all read."""
    from eventsourcing.persistence import StoredEvent
    from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

    from etf_pipeline.events.log.sqlite import SqliteLog
    from etf_pipeline.events.model.state import fold
    from etf_pipeline_tests.events_support import queries

    events = queries(EVENTS, tickers=50)
    store = SqliteLog(folder / "events.sqlite")
    theirs = SQLiteApplicationRecorder(SQLiteDatastore(str(folder / "theirs.sqlite")))
    theirs.create_table()
    import uuid

    stored = [
        StoredEvent(uuid.uuid5(uuid.NAMESPACE_OID, e.subject), i, e.type, e.data.encode())
        for i, e in enumerate(events)
    ]

    def write_ours() -> None:
        for i in range(0, EVENTS, BATCH):
            store.append(events[i : i + BATCH])

    def write_theirs() -> None:
        for i in range(0, EVENTS, BATCH):
            theirs.insert_events(stored[i : i + BATCH])

    def read_theirs() -> None:
        position = 1
        while found := theirs.select_notifications(position, 5_000):
            position = found[-1].id + 1

    ours_w, theirs_w = _seconds(write_ours), _seconds(write_theirs)
    bare = min(_seconds(lambda: sum(len(b) for b in store.read())) for _ in range(3))
    replay = min(_seconds(lambda: fold(store.read())) for _ in range(3))
    return {
        "write": EVENTS / ours_w,
        "write_theirs": EVENTS / theirs_w,
        "read": EVENTS / bare,
        "replay": EVENTS / replay,
        "read_theirs": EVENTS / min(_seconds(read_theirs) for _ in range(3)),
        "verify": EVENTS / _seconds(store.verify),
    }


def _kafka(servers: str) -> dict[str, float]:
    """Replay from Kafka, against bare consumption of the same topic."""
    from confluent_kafka import TopicPartition

    from etf_pipeline.events.kafka.log import KafkaLog
    from etf_pipeline.events.kafka.topics import topic_name
    from etf_pipeline.events.model.state import fold
    from etf_pipeline.events.model.types import QUERY
    from etf_pipeline_tests.events_support import kafka_settings, queries

    store = KafkaLog(kafka_settings(servers, kafka_topic_partitions=6))
    events = queries(EVENTS, tickers=50)
    write = _seconds(
        lambda: [store.append(events[i : i + 10_000], 60) for i in range(0, EVENTS, 10_000)]
    )

    def bare() -> None:
        ranges = store.reader.ranges([QUERY])
        consumer = store.reader.consumer()
        topic = topic_name(store.settings, QUERY)
        consumer.assign([TopicPartition(topic, p, 0) for _, p in ranges])
        left = sum(high for _, high in ranges.values())
        while left > 0:
            left -= sum(m.error() is None for m in consumer.consume(5_000, 0.03))
        consumer.close()

    result = {
        "write": EVENTS / write,
        "bare": EVENTS / min(_seconds(bare) for _ in range(3)),
        "replay": EVENTS / min(_seconds(lambda: fold(store.read())) for _ in range(3)),
    }
    store.close()
    return result


def _memory(folder: Path) -> dict[str, float]:
    """Growth of memory, MiB, over 200,000 recorded events after the first 20,000."""
    from etf_pipeline.events.factory import open_events
    from etf_pipeline.events.settings import load_event_settings
    from etf_pipeline_tests.events_support import queries

    recorder = open_events(folder, load_event_settings())

    first = 0.0
    for i in range(0, 220_000, 1_000):
        recorder.append(queries(1_000, start=i))
        if recorder.count_pending() > 20_000:
            recorder.drain(60)
        if i == 20_000:
            first = peak_mib()
    recorder.drain(60)
    return {"growth": peak_mib() - first}


@contextmanager
def _running(kind: type[Broker], folder: Path) -> Iterator[str]:
    with kind(folder) as broker:
        yield broker.servers


def report(folder: Path, child: Callable[..., dict[str, float]], line: Callable[..., None]) -> None:
    """Print every ratio and rate."""
    folder.mkdir(parents=True, exist_ok=True)
    store = _store(folder / "store")
    direct = child("events", "direct", str(store))
    line("direct mode / no recording code", direct["ratio"], "x", "<= 1.02", "cached load")
    cost = "milliseconds on top of a direct call, durable"
    kinds: list[type[Broker]] = [k for k in (Noida, Apache) if k.missing() is None]  # type: ignore[attr-defined]
    os.environ["EVENT_STORE_TYPE"] = "embedded"
    _overhead(child, line, store, "embedded", cost)
    for kind in kinds:
        with _running(kind, folder / kind.name) as servers:
            os.environ |= {"EVENT_STORE_TYPE": "kafka", "KAFKA_BOOTSTRAP_SERVERS": servers}
            _overhead(child, line, store, f"{kind.name} up", cost)
    os.environ |= {"EVENT_STORE_TYPE": "kafka", "KAFKA_BOOTSTRAP_SERVERS": "10.255.255.1:9092"}
    _overhead(child, line, store, "black-holed broker", cost)
    for name in ("EVENT_STORE_TYPE", "KAFKA_BOOTSTRAP_SERVERS"):
        del os.environ[name]
    (folder / "sqlite").mkdir()
    r = child("events", "sqlite", str(folder / "sqlite"))
    line(
        "SQLite replay to state, thousand events/s",
        r["replay"] / 1e3,
        "k/s",
        ">= 100",
        f"bare read {r['read'] / 1e3:.0f}k/s, verify {r['verify'] / 1e3:.0f}k/s",
    )
    line(
        "SQLite replay / bare read of eventsourcing",
        r["replay"] / r["read_theirs"],
        "x",
        "> 1",
        f"theirs {r['read_theirs'] / 1e3:.0f}k/s",
    )
    line(
        "SQLite write / eventsourcing, batches of 100",
        r["write"] / r["write_theirs"],
        "x",
        "> 1",
        f"{r['write'] / 1e3:.0f}k/s against {r['write_theirs'] / 1e3:.0f}k/s",
    )
    for kind in kinds:
        with _running(kind, folder / f"{kind.name}-replay") as servers:
            r = child("events", "kafka", servers)
            line(
                f"Kafka replay to state, {kind.name}",
                r["replay"] / 1e3,
                "k/s",
                ">= 50",
                f"{r['replay'] / r['bare']:.2f} of bare consumption; "
                f"write {r['write'] / 1e3:.0f}k/s",
            )
            os.environ |= {"EVENT_STORE_TYPE": "kafka", "KAFKA_BOOTSTRAP_SERVERS": servers}
            r = child("events", "memory", str(folder / f"{kind.name}-memory"))
            line(f"memory over 200,000 events, {kind.name}", r["growth"], "MiB", "flat", "")
            for name in ("EVENT_STORE_TYPE", "KAFKA_BOOTSTRAP_SERVERS"):
                del os.environ[name]


def _overhead(child: Any, line: Any, store: Path, name: str, detail: str) -> None:
    r = child("events", "calls", str(store))
    line(f"tracked call, {name}: p50", r["p50"], "ms", "<= 0.5", detail)
    line(f"tracked call, {name}: p99", r["p99"], "ms", "<= 5", detail)


if __name__ == "__main__":
    what, where = sys.argv[1], sys.argv[2]
    work: dict[str, Callable[[], dict[str, float]]] = {
        "calls": lambda: _calls(Path(where)),
        "direct": lambda: _direct(Path(where)),
        "sqlite": lambda: _sqlite(Path(where)),
        "kafka": lambda: _kafka(where),
        "memory": lambda: _memory(Path(where)),
    }
    print(json.dumps(work[what]()))
