"""A log of a million events: what each command takes, in time and memory, and how both grow.

Every command is a process of its own, in turn with one that reads the same log bare (SQLite's rows
or Kafka's messages, made into nothing), over three sizes. `ETF_BENCH_EVENTS` is the largest.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from etf_pipeline.events.factory import open_events
from etf_pipeline.events.model.envelope import Event, make_event
from etf_pipeline.events.model.types import PriceDataQueried
from etf_pipeline.events.settings import EventSettings, load_event_settings
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.brokers import Broker, Noida
from etf_pipeline_tests.brokers.apache import Apache
from etf_pipeline_tests.events_support import collected, optimised, updated

LARGEST = int(os.environ.get("ETF_BENCH_EVENTS", "1000000"))
SIZES = (LARGEST // 10, LARGEST * 3 // 10, LARGEST)
TICKERS, BATCHES = 200, 500
_AT_ONCE = 10_000
_BEGIN = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
# Seconds that a command may take for a million events, and the mebibytes for any.
AIMS = {
    "replay": {"embedded": 12, "kafka": 25},
    "verify": {"embedded": 20, "kafka": 20},
    "project": {"embedded": 30, "kafka": 30},
    "list": {"embedded": 1, "kafka": 1},
}
MEBIBYTES = 300
COMMANDS = {
    "replay": ["events", "replay"],
    "verify": ["events", "verify"],
    "project": ["events", "project", "--once"],
    "list": ["events", "list", "--limit", "20"],
}


class Took(NamedTuple):
    """What a process took: seconds, seconds of processor, and mebibytes at its peak."""

    seconds: float
    busy: float
    mebibytes: float


def _events(count: int) -> Iterator[list[Event]]:
    """Nine queries of ten events, and of the rest data events and optimisations."""
    for begin in range(0, count, _AT_ONCE):
        yield [_event(i) for i in range(begin, min(begin + _AT_ONCE, count))]


def _event(i: int) -> Event:
    ticker, when = f"T{i % TICKERS}", _BEGIN + dt.timedelta(minutes=i)
    if i % 10:
        data = PriceDataQueried(
            ticker=ticker,
            run_id=f"call{i // 10}",
            operation="load_etf_data",
            rows=10,
            first_date=dt.date(2025, 1, 2),
            last_date=dt.date(2025, 1, 15),
            content_hash="ab" * 32,
        )
        return make_event(data, ticker, (f"call{i}",), when, "instance", when)
    if i % 30 == 0:
        return optimised(f"P{i % 7}", i % 11 / 10, when)
    if i % 30 == 10:
        return collected(ticker, f"b{i % BATCHES:04}", when)
    return updated(ticker, f"{i:064x}", when)


def _fill(folder: Path, count: int) -> None:
    """A store of so many events, all of them sent where they go somewhere."""
    events = open_events(Layout(folder), load_event_settings(), publish=False)
    for batch in _events(count):
        events.append([e._replace(source=f"/etf_pipeline/{events.instance}") for e in batch])
    deadline = time.monotonic() + 1_800
    while events.drain(60):
        if time.monotonic() > deadline:
            raise SystemExit("events were not sent within half an hour")
    events.close()


def _bare_sqlite(folder: Path) -> int:
    import sqlite3

    with sqlite3.connect(Layout(folder).event_log) as db:
        rows = db.execute("SELECT * FROM events ORDER BY seq")
        count = 0
        while page := rows.fetchmany(5_000):
            count += len(page)
    return count


def _bare_kafka(settings: EventSettings) -> int:
    from confluent_kafka import TopicPartition

    from etf_pipeline.events.kafka.log import KafkaLog
    from etf_pipeline.events.kafka.topics import topic_name
    from etf_pipeline.events.model.types import CHANNELS

    log = KafkaLog(settings)
    ranges = log.reader.ranges(CHANNELS)
    consumer = log.reader.consumer()
    places = [
        TopicPartition(topic_name(settings, c), p, low) for (c, p), (low, _) in ranges.items()
    ]
    consumer.assign(places)
    count = wanted = sum(high - low for low, high in ranges.values())
    while count > 0:
        count -= sum(m.error() is None for m in consumer.consume(5_000, 0.03))
    consumer.close()
    log.close()
    return wanted


_COMMAND = """
import atexit, sys
from etf_pipeline_tests.benchmarks.memory import peak_mib
atexit.register(lambda: print("\\npeak", peak_mib(), file=sys.stderr))
from etf_pipeline.cli.app import main
"""
_ETF = _COMMAND + "main()"
_OURS = _COMMAND + "from etf_pipeline_tests.benchmarks import load; load.work(*sys.argv[1:])"


def _took(code: str, *args: str) -> Took:
    """A process of its own, run to its end; `verify` may find what is not in such a store."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    told = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1) or "Traceback" in told:
        raise SystemExit(f"{args} failed:\n{told[-3000:]}")
    busy, peak = usage.ru_utime + usage.ru_stime, float(told.split()[-1])
    return Took(time.perf_counter() - started, busy, peak)


def _measure(folder: Path) -> dict[str, Took]:
    """Bare reading and every command."""
    found = {"bare": _took(_OURS, "bare", str(folder))}
    for name, command in COMMANDS.items():
        found[name] = _took(_ETF, *command, "--data-dir", str(folder))
    return found


def exponent(sizes: tuple[int, ...], values: list[float]) -> float:
    """The power of the size with which values grow: 1 for what doubles with it."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _tell(where: str, mode: str, by_size: list[dict[str, Took]], line: Callable[..., None]) -> None:
    largest, millions = by_size[-1], SIZES[-1] / 1e6
    for name in COMMANDS:
        took, bare = [m[name] for m in by_size], largest["bare"]
        last, aim = took[-1], AIMS[name][mode]
        line(
            f"{name}, {where}",
            last.seconds / (millions if name != "list" else 1),
            "s/M" if name != "list" else "s",
            f"<= {aim}",
            f"{last.seconds / bare.seconds:.1f} of bare reading ({bare.seconds:.1f} s), time ~ "
            f"n^{exponent(SIZES, [t.busy for t in took]):.2f}",
        )
        line(
            f"{name}, {where}: peak memory",
            last.mebibytes,
            "MiB",
            f"<= {MEBIBYTES}",
            f"bare {bare.mebibytes:.0f}, memory ~ "
            f"n^{exponent(SIZES, [t.mebibytes for t in took]):.2f}: "
            + ", ".join(f"{t.mebibytes:.0f}" for t in took),
        )


def report(folder: Path, child: Callable[..., object], line: Callable[..., None]) -> None:
    """Embedded, and on each broker there is."""
    kinds: list[type[Broker]] = [k for k in (Noida, Apache) if k.missing() is None]  # type: ignore[attr-defined]
    os.environ["EVENT_STORE_TYPE"] = "embedded"
    _tell("embedded", "embedded", [_one(folder / "embedded", n) for n in SIZES], line)
    for kind in kinds:
        with kind(folder / f"{kind.name}-broker") as broker:
            os.environ |= {"EVENT_STORE_TYPE": "kafka", "KAFKA_BOOTSTRAP_SERVERS": broker.servers}
            found = []
            for n in SIZES:
                os.environ["KAFKA_TOPIC_PREFIX"] = f"load{n}"
                found.append(_one(folder / kind.name, n))
            _tell(kind.name, "kafka", found, line)
    for name in ("EVENT_STORE_TYPE", "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC_PREFIX"):
        os.environ.pop(name, None)


def _one(folder: Path, count: int) -> dict[str, Took]:
    store = folder / str(count)
    _took(_OURS, "fill", str(store), str(count))
    return _measure(store)


def work(what: str, folder: str, count: str = "0") -> None:
    """What a process of its own does: fill a store, or read it bare."""
    settings = load_event_settings()
    if what == "fill":
        _fill(Path(folder), int(count))
    elif settings.kafka_bootstrap_servers is None:
        _bare_sqlite(Path(folder))
    else:
        _bare_kafka(settings)
