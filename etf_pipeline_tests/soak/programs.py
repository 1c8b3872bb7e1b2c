"""What the processes do that things happen to. Settings come from the environment alone."""

from __future__ import annotations

import asyncio
import datetime as dt
import faulthandler
import os
import random
import select
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from etf_pipeline.errors import EtfError
from etf_pipeline.events.factory import open_events
from etf_pipeline.events.model.envelope import Event, lineage_event, make_event
from etf_pipeline.events.model.types import PortfolioOptimized, PriceDataQueried
from etf_pipeline.events.protocol import Events
from etf_pipeline_tests.soak.ledger import Ledger

T0 = dt.datetime(2025, 11, 12, 6, 0, tzinfo=dt.UTC)
TICKERS = ("VAS", "VGS", "BRK.B", "Ä/Ö", "7203")
TOO_LARGE = 500_233
_ROUND_SECONDS = 0.015
_EVENTS_AT_FULL_SPEED = 500
_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM)


def _store() -> Path:
    return Path(os.environ["ETF_DATA_DIR"])


def _query(ticker: str, call: str, when: dt.datetime, kept: dict[str, Any]) -> Event:
    data = PriceDataQueried(
        ticker=ticker,
        run_id=call,
        operation="load_etf_data",
        rows=10,
        first_date=dt.date(2025, 1, 2),
        last_date=dt.date(2025, 1, 15),
        content_hash="ab" * 32,
    )
    return make_event(data, ticker, (call,), when, **kept)


def _portfolio(name: str, call: str, when: dt.datetime, kept: dict[str, Any], text: str) -> Event:
    data = PortfolioOptimized(
        portfolio=name,
        origin="library",
        run_id=call,
        as_of=dt.date(2025, 11, 11),
        content_hash="ef" * 32,
        parameters={"objective": "max_return"},
        success=True,
        message=text,
        weights={"VAS": 0.5, "VGS": 0.5},
        expected_return=0.08,
        volatility=0.1,
        sharpe_ratio=0.8,
        optimality_gap=1e-12,
    )
    return make_event(data, name, (call,), when, **kept)


class Recorder:
    """Records from several threads until it is told to stop; forks and the like by signals.

    SIGUSR1: fork, the parent ends and the child goes on. SIGUSR2: fork, the child records a
    little and ends, the parent goes on. SIGHUP: record an event that is too large for a broker.
    """

    def __init__(self, name: str, ledgers: str, seed: int, threads: int, fresh: float) -> None:
        self.asked: list[int] = []
        for number in _SIGNALS:
            signal.signal(number, lambda n, _: self.asked.append(n))
        # Whoever sees the ledger may send signals.
        self.name, self.ledger = name, Ledger(Path(ledgers), name)
        self.stop_file = Path(ledgers) / "stop"
        self.threads, self.fresh = threads, fresh
        self.choose = random.Random(f"{seed}-{name}-{os.getpid()}")
        self.number = 0
        self.guard = threading.Lock()
        self.events: Events = open_events(_store())

    def run(self) -> None:
        helpers = [threading.Thread(target=self._loop) for _ in range(self.threads - 1)]
        for helper in helpers:
            helper.start()
        self.ledger.write("started", os.getpid())
        self._loop(leading=True)
        for helper in helpers:
            helper.join()
        for number in _SIGNALS:  # they may come too late
            signal.signal(number, signal.SIG_IGN)
        self.events.close()
        self.ledger.write("ended", os.getpid())

    def _ending(self) -> bool:
        return signal.SIGTERM in self.asked or self.stop_file.exists()

    def _loop(self, leading: bool = False) -> None:
        pid = os.getpid()
        while not self._ending():
            self._some()
            if leading and self.asked:
                self._obey(self.asked.pop(0))
            if os.getpid() == pid:
                # Slower by and by, or a machine that is slow would have more to read in the end.
                _pause(1 + self.number // _EVENTS_AT_FULL_SPEED)

    def _obey(self, asked: int) -> None:
        if asked == signal.SIGTERM:
            self.asked.append(asked)
        elif asked == signal.SIGHUP:
            self._large()
        elif asked == signal.SIGUSR1 and (child := os.fork()):
            self.ledger.write("forked", child)
            self.asked.append(signal.SIGTERM)  # the parent ends in order
        elif asked == signal.SIGUSR2 and os.fork() == 0:
            for _ in range(5):
                self._some()
            self.asked.append(signal.SIGTERM)

    def _next(self) -> str:
        with self.guard:
            self.number += 1
            return f"{self.name}-{os.getpid()}-{self.number}"

    def _kept(self) -> dict[str, Any]:
        young = self.choose.random() < self.fresh
        return {"instance": self.events.instance, "recorded": None if young else T0}

    def _some(self) -> None:
        try:
            found = [self._one() for _ in range(self.choose.choice((1, 1, 2, 5, 20)))]
        except EtfError as error:  # the store's id is in the log, which may be out of reach
            now = time.monotonic()
            self.ledger.write("fail", now - 30.0, now, _told(error))
            return
        self.record(found)

    def _one(self) -> Event:
        call = self._next()
        when = T0 + dt.timedelta(milliseconds=self.choose.randrange(100_000_000))
        ticker, kept = self.choose.choice(TICKERS), self._kept()
        kind = self.choose.random()
        if kind < 0.7:
            return _query(ticker, call, when, kept)
        if kind < 0.85:
            return _portfolio(f"P{ticker}", call, when, kept, "optimal")
        body = f'{{"eventType": "COMPLETE", "run": {{"runId": "{call}"}}}}'
        return lineage_event(
            (call,), ticker, int(when.timestamp() * 1_000_000), body, self.events.instance
        )

    def _large(self) -> None:
        call = self._next()
        event = _portfolio("large", call, T0, self._kept(), "漢" * TOO_LARGE)
        self.record([event])

    def record(self, found: list[Event]) -> None:
        began = time.monotonic()
        try:
            self.ledger.intend(found)
            self.events.append(found)
            self.ledger.acknowledge([e.id for e in found])
        except EtfError as error:
            self.ledger.write("fail", began, time.monotonic(), _told(error))
            _pause()
        except BaseException:
            self.ledger.write("crash", traceback.format_exc())
            raise


def _pause(rounds: int = 1) -> None:
    # libfaketime takes a sleep whose end is past already for an error
    select.select([], [], [], rounds * _ROUND_SECONDS)


def _told(error: EtfError) -> str:
    return f"{type(error).__name__}: {error}"


def recorder(*args: str) -> None:
    """Arguments: name, folder of ledgers, seed, threads, share of events recorded now."""
    name, ledgers, seed, threads, fresh = args
    Recorder(name, ledgers, int(seed), int(threads), float(fresh)).run()


def replayer(name: str, ledgers: str, seed: str, once: str = "") -> None:
    """Replays again and again, each from the beginning or from some event time on."""
    from etf_pipeline.library.system import get_etf_system

    ledger, choose = Ledger(Path(ledgers), name), random.Random(f"{seed}-{os.getpid()}")
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda n, _: stopped.append(n))
    system = None
    while not stopped and not (not once and (Path(ledgers) / "stop").exists()):
        from_time = T0 + dt.timedelta(seconds=choose.randrange(100_000))
        first = from_time if choose.random() < 0.3 and not once else None
        from_us = None if first is None else int(first.timestamp() * 1_000_000)
        began = time.monotonic()
        try:
            system = system or get_etf_system(_store())
            state = asyncio.run(system.replay_events(first))
            ids = [entry.id for entry in state.audit_trail]
            queries = sum(state.query_counts.values())
            ledger.write("replay", began, time.monotonic(), from_us, ids, queries)
        except EtfError as error:
            ledger.write("replay", began, time.monotonic(), from_us, [], 0, _told(error))
        except BaseException:
            ledger.write("crash", traceback.format_exc())
            raise
        if once:
            break
        time.sleep(0.2)
    if system is not None:
        system.close()


def sender(ledgers: str) -> None:
    """Has the log open, as any program of the store would, until it is told to end."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda n, _: stopped.append(n))
    events = open_events(_store())
    while not stopped:
        time.sleep(0.05)
    events.close()


def orchestrator(ledgers: str, files: str, *runs: str) -> None:
    """Downloads on a Dagster instance of DAGSTER_HOME, then looks at its log as the sensor does."""
    import dagster as dg

    from etf_pipeline.events.settings import load_event_settings
    from etf_pipeline.events.tailer import Tailer
    from etf_pipeline.orchestration.build import build_definitions
    from etf_pipeline.orchestration.event_log import DagsterLog
    from etf_pipeline.orchestration.resources import Pipeline
    from etf_pipeline.settings import load_settings
    from etf_pipeline.store.layout import Layout
    from etf_pipeline_tests.soak.prices import grow

    ledger = Ledger(Path(ledgers), "orchestrator")
    Path(os.environ["DAGSTER_HOME"]).mkdir(parents=True, exist_ok=True)
    pipeline = Pipeline(load_settings(data_dir=_store()))
    definitions = build_definitions(pipeline.settings, load_event_settings(), pipeline)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    events = open_events(_store())
    with dg.DagsterInstance.get() as instance:
        tailer = Tailer(Layout(_store()), events, DagsterLog(instance))
        _until_recorded(tailer)  # the sensor is on before the first run
        for day in map(int, runs):
            grow(Path(files), day)
            job = definitions.get_repository_def().get_job("ingest")
            done = job.execute_in_process(quiet, instance, "XASX", raise_on_error=False)
            if done.success:
                ledger.write("run", time.monotonic(), done.run_id, sync=True)
        _until_recorded(tailer)
    events.close()


def _until_recorded(tailer: Any) -> None:
    deadline = time.monotonic() + 90.0
    while (tick := tailer.tick()).behind:
        if time.monotonic() > deadline:
            raise RuntimeError(tick.summary)
        time.sleep(0.1)


def cli(*argv: str) -> None:
    """The command `etf`."""
    from etf_pipeline.cli.app import main

    sys.argv = ["etf", *argv]
    main()


PROGRAMS = {
    "recorder": recorder,
    "replayer": replayer,
    "sender": sender,
    "orchestrator": orchestrator,
    "cli": cli,
}

if __name__ == "__main__":
    faulthandler.register(signal.SIGQUIT, file=2, all_threads=True)
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
