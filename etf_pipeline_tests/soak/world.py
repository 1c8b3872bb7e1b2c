"""What is running in a cycle: stores, their processes, the broker, and what was noted of them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from etf_pipeline_tests.brokers import Broker
from etf_pipeline_tests.brokers.secured import Secured
from etf_pipeline_tests.soak.checker import Left, Loss
from etf_pipeline_tests.soak.ledger import count_acknowledged, read_ledgers
from etf_pipeline_tests.soak.nursery import Nursery
from etf_pipeline_tests.soak.prices import lay_out
from etf_pipeline_tests.soak.reading import (
    ReadModels,
    archived,
    local_log,
    parked,
    read_models,
    topics,
)
from etf_pipeline_tests.soak.script import EMBEDDED, Script

ROOT = Path(__file__).parents[2]
FAKETIME = next(
    iter(
        p
        for folder in ("/usr/lib", "/usr/local/lib")
        for p in sorted(Path(folder).glob("**/faketime/libfaketimeMT.so.1"))
    ),
    None,
)
USER = "etf"
PATIENCE = 60.0
_EVENTS_SECONDS = 15.0
_TRACE_SECONDS = 0.5
_AMBIENT = ("ETF_", "DAGSTER_", "EVENT_", "KAFKA_", "OPENLINEAGE_")


@dataclass
class Process:
    """One process; `killed` when its end is our doing, or when nobody cares how it ends."""

    pid: int
    program: str
    name: str
    out: Path
    store: Store
    argv: tuple[str, ...] = ()
    clocked: bool = False
    killed: bool = False
    began: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        return f"{self.name} ({self.pid})"

    @property
    def said(self) -> str:
        """The end of what it printed, warnings too."""
        return self.out.read_text(errors="replace")[-3000:] if self.out.exists() else ""


@dataclass
class Store:
    """One store, which may move from machine to machine."""

    name: str
    data: Path
    ledgers: Path
    env: dict[str, str]
    losses: list[Loss] = field(default_factory=list)
    runs: int = 0

    @property
    def log(self) -> Path:
        return self.data / "events" / "events.sqlite"

    @property
    def read_models(self) -> Path:
        return self.data / "events" / "projections.sqlite"


class World:
    """Everything of one cycle, in a folder of its own."""

    def __init__(self, folder: Path, script: Script, nursery: Nursery, broker: Broker | None):
        self.folder, self.script, self.nursery, self.broker = folder, script, nursery, broker
        self.prefix = f"soak{script.seed}-{os.getpid()}-{time.monotonic_ns() % 1_000_000}"
        self.choose = random.Random(script.seed)
        self.processes: list[Process] = []
        self.happened: list[str] = []
        self.faults: list[str] = []
        self.excused: list[tuple[float, float]] = []
        self.foreign = 0
        self.expired: set[str] = set()
        self.deleted: dict[tuple[str, int], int] = {}
        self.over = False
        self.clock = folder / "clock"
        self.set_clock("+0")
        self._began = time.monotonic()
        self._count = 0
        self.stores = [self._store("store")]
        if script.neighbour:
            self.stores.append(self._store("neighbour"))

    @property
    def main(self) -> Store:
        return self.stores[0]

    @property
    def servers(self) -> str:
        """The brokers for those who look on: with every right."""
        assert self.broker is not None
        if isinstance(self.broker, Secured):
            return self.broker.inside_servers
        return self.broker.servers

    def say(self, text: str) -> None:
        """Note what happened, for whoever reads a failure."""
        self.happened.append(f"{time.monotonic() - self._began:6.2f} s  {text}")

    def fault(self, text: str) -> None:
        self.faults.append(text)
        self.say(f"FAULT {text}")

    def _store(self, name: str) -> Store:
        folder = self.folder / name
        ledgers = folder / "ledgers"
        ledgers.mkdir(parents=True)
        data = folder / "data"
        env = {k: v for k, v in os.environ.items() if not k.startswith(_AMBIENT)}
        env |= {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "ETF_DATA_DIR": str(data),
            "DAGSTER_HOME": str(folder / "home"),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "EVENT_STORE_TYPE": "embedded" if self.script.mode == EMBEDDED else "kafka",
            "EVENT_STORE_RETENTION_DAYS": str(self.script.retention),
            "KAFKA_TOPIC_PREFIX": self.prefix,
            "KAFKA_TOPIC_PARTITIONS": str(self.script.partitions),
            **lay_out(folder / "given"),
        }
        if isinstance(self.broker, Secured):
            env |= self.broker.variables(USER)
        elif self.broker is not None:
            env["KAFKA_BOOTSTRAP_SERVERS"] = self.broker.servers
        return Store(name, data, ledgers, env)

    def set_clock(self, offset: str) -> None:
        """Have the clock of processes that heed it jump; whole, as they look at any moment."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{offset}\n")
        fresh.replace(self.clock)

    def start(
        self, store: Store, program: str, *args: str, name: str = "", clocked: bool = False
    ) -> Process:
        if self.over:
            raise RuntimeError("the cycle was ended from outside")
        self._count += 1
        name = name or f"{program}{self._count}"
        out = store.ledgers.parent / f"{name}.out"
        env = dict(store.env)
        if clocked and FAKETIME is not None:
            env |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "NO_FAKE_STAT": "1",
            }
        afresh = clocked or program == "orchestrator"
        pid = self.nursery.start(program, list(args), env, out, afresh=afresh)
        made = Process(pid, program, name, out, store, args, clocked)
        self.processes.append(made)
        return made

    def recorder(self, store: Store, *, clocked: bool = False) -> Process:
        self._count += 1
        name = f"recorder{self._count}"
        args = [name, str(store.ledgers), str(self.script.seed)]
        args += [str(self.script.threads), str(self.script.fresh)]
        return self.start(store, "recorder", *args, name=name, clocked=clocked)

    def replayer(self, store: Store, *, once: bool = False) -> Process:
        self._count += 1
        name = f"replayer{self._count}"
        args = [name, str(store.ledgers), str(self.script.seed), *(["once"] if once else [])]
        return self.start(store, "replayer", *args, name=name)

    def projector(self, store: Store) -> Process:
        return self.start(store, "cli", "events", "project")

    def command(self, store: Store, *argv: str) -> Process:
        """Start a command of `etf`."""
        return self.start(store, "cli", *argv)

    def running(self, program: str, store: Store | None = None) -> list[Process]:
        return [
            p
            for p in self.processes
            if p.program == program
            and (store is None or p.store is store)
            and self.nursery.ended(p.pid) is None
        ]

    def projectors(self, store: Store) -> list[Process]:
        return [p for p in self.running("cli", store) if p.argv == ("events", "project")]

    def kill(self, process: Process) -> None:
        """SIGKILL, with what it forked."""
        if self.nursery.ended(process.pid) is None:  # so that its number is its own still
            process.killed = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self.nursery.kill(process.pid)
        self.nursery.wait(process.pid, PATIENCE)

    def signal(self, process: Process, number: int) -> None:
        if self.nursery.ended(process.pid) is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def group(self, process: Process) -> list[int]:
        """What is alive of a process and what it forked."""
        return [pid for pid, group in self.nursery.family().items() if group == process.pid]

    def end(self, process: Process, seconds: float = PATIENCE) -> None:
        """SIGTERM, and wait."""
        self.signal(process, signal.SIGTERM)
        self.await_end(process, seconds)

    def await_end(self, process: Process, seconds: float = PATIENCE) -> int | None:
        code = self.nursery.wait(process.pid, seconds)
        if code is None:
            where = self.trace(process)
            self.fault(f"{process} did not end within {seconds:g} s: {process.argv}\n{where}")
            self.kill(process)
        return code

    def trace(self, process: Process) -> str:
        """Where a process is that runs, each of its threads, after what else it said last."""
        for pid, group in self.nursery.family().items():
            if group == process.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGQUIT)
        time.sleep(_TRACE_SECONDS)
        return process.said

    def await_started(self, process: Process) -> None:
        """Until a recorder has begun: signals before that would end it."""
        path = process.store.ledgers / f"{process.name}-{process.pid}.jsonl"
        self.poll(
            lambda: path.exists() or self.nursery.ended(process.pid) is not None,
            PATIENCE,
            f"{process} began",
        )

    def poll(self, there: Callable[[], bool], seconds: float, what: str) -> bool:
        deadline = time.monotonic() + seconds
        while not there():
            if time.monotonic() > deadline:
                self.fault(f"not within {seconds:g} s: {what}")
                return False
            time.sleep(0.02)
        return True

    def await_events(self, more: int) -> None:
        """Until so many more events were acknowledged; not for ever, as all may be stopped."""
        wanted = count_acknowledged(self.main.ledgers) + more
        deadline = time.monotonic() + _EVENTS_SECONDS
        while count_acknowledged(self.main.ledgers) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)

    @contextlib.contextmanager
    def excusing(self) -> Iterator[None]:
        """While this lasts, calls that record may fail; they must say so."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.excused.append((began, time.monotonic()))

    def settle_wal(self, store: Store) -> None:
        """Have the log's file hold what its WAL does, as a copy of the file alone needs."""
        with contextlib.closing(sqlite3.connect(store.log, timeout=30.0)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def look(self, store: Store, *, sent_only: bool = False) -> Left:
        """Read everything there is of a store; with `sent_only`, what tells whether all is sent."""
        kafka = self.script.mode != EMBEDDED
        return Left(
            read_ledgers(store.ledgers),
            local_log(store.data),
            {} if sent_only else archived(store.data),
            topics(self.servers, self.prefix) if kafka else [],
            ReadModels() if sent_only else read_models(store.read_models),
            store.losses,
            self.excused,
            parked(store.data, self.prefix),
            kafka,
            self.expired,
        )

    def abandon(self) -> list[str]:
        """Kill everything and wait for nothing; where each process was."""
        self.over = True
        found = [p for p in self.processes if self.nursery.ended(p.pid) is None]
        traces = [f"{p} {p.argv}:\n{self.trace(p)}" for p in found]
        self.nursery.kill(*(p.pid for p in self.processes))
        if self.broker is not None:
            self.broker.kill()
        self.nursery.restart()
        return traces

    def close(self) -> None:
        """End everything that was started here."""
        for process in self.processes:
            if self.nursery.ended(process.pid) is None:
                self.kill(process)
        # What these forked may have outlived them.
        self.nursery.kill(*(p.pid for p in self.processes))
