"""What a process costs that has sent everything and has nothing to do."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etf_pipeline_tests.brokers import Broker, Noida
from etf_pipeline_tests.brokers.apache import Apache

EVENTS, BATCH, SETTLE, SECONDS = 100_000, 5_000, 5.0, 20.0


def _cpu() -> float:
    """CPU seconds per second of this process, all its threads together."""
    time.sleep(SETTLE)
    started, before = time.perf_counter(), time.process_time()
    time.sleep(SECONDS)
    return (time.process_time() - before) / (time.perf_counter() - started)


def _ours(servers: str, folder: str) -> dict[str, float]:
    """A process that opens a store of which every event was sent."""
    from etf_pipeline.events.factory import open_events
    from etf_pipeline_tests.events_support import kafka_settings, queries

    settings = kafka_settings(servers)
    events = open_events(Path(folder), settings)
    for i in range(0, EVENTS, BATCH):
        events.append(queries(BATCH, start=i))
    assert events.drain(300) == 0
    events.close()
    again = open_events(Path(folder), settings)
    found = _cpu()
    again.close(0)
    return {"cpu": found}


def _bare(servers: str) -> dict[str, float]:
    """A producer of confluent-kafka with its poller, connected, and nothing else."""
    import threading

    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
    producer.list_topics(timeout=10)
    stop = threading.Event()

    def poll() -> None:
        while not stop.is_set():
            producer.poll(0.1)

    poller = threading.Thread(target=poll)
    poller.start()
    found = _cpu()
    stop.set()
    poller.join()
    return {"cpu": found}


def report(folder: Path, child: Callable[..., dict[str, float]], line: Callable[..., None]) -> None:
    """Print the share of a core for each broker, beside that of a bare producer."""
    kinds: list[type[Broker]] = [k for k in (Noida, Apache) if k.missing() is None]  # type: ignore[attr-defined]
    for kind in kinds:
        with kind(folder / kind.name) as broker:
            bare = child("idle", "bare", broker.servers)
            ours = child("idle", "ours", broker.servers, str(folder / f"{kind.name}-store"))
        line(
            f"idle with 100,000 events sent, {kind.name}",
            100 * ours["cpu"],
            "%",
            "<= 1",
            f"of a core; a bare producer {100 * bare['cpu']:.2f}%",
        )


if __name__ == "__main__":
    what, *where = sys.argv[1:]
    work: dict[str, Callable[..., Any]] = {"ours": _ours, "bare": _bare}
    print(json.dumps(work[what](*where)))
