"""Events and stores for tests."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etf_pipeline.events.log.archive import read_batches
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.envelope import Event, make_event
from etf_pipeline.events.model.types import (
    ETFDataCollected,
    ETFDataUpdated,
    PortfolioOptimized,
    PriceDataQueried,
)
from etf_pipeline.events.settings import EventSettings

T0 = dt.datetime(2025, 11, 12, 6, 0, tzinfo=dt.UTC)
_numbers = itertools.count()
# A program that keeps read models up to date until SIGTERM: servers, prefix, file of the models.
WORKER = """
import signal
import sys
from pathlib import Path
from etf_pipeline.events.kafka.log import KafkaLog
from etf_pipeline.events.kafka.worker import Worker
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.settings import EventSettings
settings = EventSettings(event_store_type="kafka", kafka_bootstrap_servers=sys.argv[1],
                         kafka_topic_prefix=sys.argv[2], kafka_topic_partitions=3)
projections, workers, stopped = Projections(Path(sys.argv[3])), [], []


def stop(*_):
    stopped.append(True)
    for worker in workers:
        worker.stop()


signal.signal(signal.SIGTERM, stop)
while not stopped:
    try:
        workers[:] = [Worker(KafkaLog(settings), projections, "readers")]
        if not stopped:
            workers[0].run()
    except Exception as error:
        print(error, file=sys.stderr)
"""


def kafka_settings(servers: str, **changes: Any) -> EventSettings:
    """Settings with topics of their own."""
    values: dict[str, Any] = {
        "event_store_type": "kafka",
        "kafka_bootstrap_servers": servers,
        "kafka_topic_prefix": f"t{uuid.uuid4().hex[:10]}",
        "kafka_topic_partitions": 3,
    }
    return EventSettings(**(values | changes))


def embedded_settings(**changes: Any) -> EventSettings:
    return EventSettings(**({"event_store_type": "embedded"} | changes))


def query(i: int | None = None, ticker: str = "VAS", time: dt.datetime | None = None) -> Event:
    """A query event, one of a kind for each `i` of this process."""
    number = f"{os.getpid()}-{next(_numbers)}" if i is None else str(i)
    data = PriceDataQueried(
        ticker=ticker,
        run_id=f"call{number}",
        operation="load_etf_data",
        rows=10,
        first_date=dt.date(2025, 1, 2),
        last_date=dt.date(2025, 1, 15),
        content_hash="ab" * 32,
    )
    when = time or T0
    return make_event(data, ticker, (f"call{number}",), when, "instance", when)


def read_file(path: Path) -> list[Event]:
    """The events of one archive file."""
    return [event for batch in read_batches(path) for event in batch]


def linked(log: SqliteLog) -> int:
    """How many events the file of a log holds, in a chain that is whole."""
    return sum(1 for _ in log.links())


def queries(n: int, tickers: int = 5, start: int = 0) -> list[Event]:
    """Numbered query events over some tickers, a second apart."""
    return [
        query(i, f"T{i % tickers}", T0 + dt.timedelta(seconds=i)) for i in range(start, start + n)
    ]


def collected(ticker: str, batch: str, time: dt.datetime = T0) -> Event:
    data = ETFDataCollected(
        ticker=ticker,
        run_id="run",
        partition="XASX",
        source="yahoo",
        batch_id=batch,
        batch_hash="cd" * 32,
        rows_added=3,
        rows_revised=0,
        first_date=dt.date(2025, 1, 2),
        last_date=dt.date(2025, 1, 6),
    )
    return make_event(data, ticker, ("run", batch), time, "instance", time)


def updated(ticker: str, digest: str, time: dt.datetime = T0) -> Event:
    data = ETFDataUpdated(
        ticker=ticker,
        run_id="run",
        partition="XASX",
        source="yahoo",
        content_hash=digest,
        batch_id="b",
        rules_version=1,
        rows_added=3,
        rows_revised=0,
        rows_quarantined=0,
        first_date=dt.date(2025, 1, 2),
        last_date=dt.date(2025, 1, 6),
    )
    return make_event(data, ticker, ("run", digest), time, "instance", time)


def optimised(name: str, weight: float, time: dt.datetime = T0) -> Event:
    data = PortfolioOptimized(
        portfolio=name,
        origin="pipeline",
        run_id="run",
        as_of=dt.date(2025, 11, 11),
        content_hash="ef" * 32,
        parameters={"objective": "max_return"},
        success=True,
        message="optimal",
        weights={"VAS": weight, "VGS": 1 - weight},
        expected_return=0.08,
        volatility=0.1,
        sharpe_ratio=0.8,
        optimality_gap=1e-12,
    )
    return make_event(data, name, ("run", repr(weight)), time, "instance", time)


def ids(batches: Any) -> list[str]:
    """Event ids in order of reading."""
    return [e.id for batch in batches for e in batch]


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for a condition, which must come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def put_back(log: Path, copy: bytes) -> None:
    """Put an older copy of a local log in its place, as a restore does while nobody has it open."""
    for path in log.parent.glob(f"{log.name}*"):
        path.unlink()
    log.write_bytes(copy)
