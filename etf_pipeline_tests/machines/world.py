"""All machines of a session of cycles, and the one that stands for itself."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from etf_pipeline.model.schemas import (
    BACKTEST_EVENTS,
    BACKTEST_WEIGHTS,
    BACKTESTS,
    FRONTIER,
    SUMMARY,
    UNCERTAINTY,
    WEIGHTS,
)
from etf_pipeline.orchestration.sharing import derived
from etf_pipeline.share.work import refresh
from etf_pipeline.steps import backtests, portfolios
from etf_pipeline.steps.derived import Assumptions
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.machines.clock import CLOCK_FILE
from etf_pipeline_tests.machines.hub import Hub
from etf_pipeline_tests.machines.services import Services
from etf_pipeline_tests.machines.source import PORTFOLIOS, SHARDS, Source
from etf_pipeline_tests.pipeline.machines import Worker
from etf_pipeline_tests.share.machines import COMPARED, Machine

TABLES = (
    *COMPARED,
    *(WEIGHTS, SUMMARY, FRONTIER, UNCERTAINTY, BACKTESTS, BACKTEST_WEIGHTS, BACKTEST_EVENTS),
)
_AMBIENT = ("ETF_", "DAGSTER_", "EVENT_", "KAFKA_", "OPENLINEAGE_", "AWS_")


class Box:
    """One machine with a worker: a home, a working copy, and a clock that may be off."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir()
        self.folder, self.store = folder, folder / "store"
        self._clock = folder / "clock"
        self._environment = environment | {
            "ETF_DATA_DIR": str(self.store),
            CLOCK_FILE: str(self._clock),
        }
        self.set_clock(0)
        self.worker = Worker(folder, self._environment)

    @property
    def layout(self) -> Layout:
        return Layout(self.store)

    def lose(self) -> None:
        """Every process of it ends at once."""
        self.worker.lose()

    def begin_again(self) -> None:
        """It is switched on again, with the disk that it had."""
        self.worker = Worker(self.folder, self._environment)

    def set_clock(self, offset: int) -> None:
        """By how many seconds its clock is off from now on."""
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(str(offset))
        fresh.replace(self._clock)


class Alone(Machine):
    """The one machine without a share that the others are compared with.

    Which batches there are is told by histories, and who was first decides it; so it has theirs.
    """

    def __init__(self, folder: Path, source: Source) -> None:
        folder.mkdir()
        changes = {
            "shards": SHARDS,
            "portfolios": PORTFOLIOS,
            "source": f"files:{source.prices}",
        }
        super().__init__(folder, now=dt.datetime.now(dt.UTC), changes=changes)

    def make(self, night: str, batches: Mapping[str, bytes]) -> None:
        """Everything of a night, of raw batches by their names."""
        for name, content in batches.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(content)
        for shard in self.pipeline.universe.partitions():
            self.update(night, shard)
        self.derive(night)

    def derive(self, run_id: str) -> None:
        super().derive(run_id)
        line = self.pipeline
        for asset, step in (
            ("optimised_portfolios", portfolios.optimised_portfolios),
            ("backtests", backtests.backtests),
        ):
            made = derived(
                line,
                asset,
                lambda step=step: step(
                    line.store,
                    self.run(run_id),
                    line.histories(),
                    line.portfolios(),
                    line.universe,
                    Assumptions.of(line.settings),
                ),
            )
            assert made is not None


class World:
    """Servers, source, hub, two machines, and the one that stands for itself."""

    def __init__(self, folder: Path, *, hurried: bool) -> None:
        self.folder, self.hurried = folder, hurried
        self._stack = contextlib.ExitStack()
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        self.source = self._closing(Source(self.folder))
        self.services = self._closing(Services(self.folder))
        environment = self.services.environment() | self.source.environment()
        environment |= {"EVENT_STORE_TYPE": "embedded", "ETF_WORKERS": "1", "OMP_NUM_THREADS": "1"}
        hub = self.folder / "hub"
        mine = {"DAGSTER_HOME": str(hub / "home"), "ETF_DATA_DIR": str(hub / "store")}
        self._stack.enter_context(_environment(environment | mine))
        self.boxes: list[Box] = []
        for name in ("one", "two"):
            self.boxes.append(Box(self.folder / name, environment))
            self._stack.callback(self.boxes[-1].lose)
        self.hub = self._closing(Hub(hurried=self.hurried))
        self.alone = Alone(self.folder / "alone", self.source)
        self.kept: list[Path] = []
        self._timers: list[threading.Timer] = []

    def _closing(self, made):
        self._stack.callback(made.close)
        return made

    def close(self) -> None:
        self._stack.close()

    def keep_copies(self) -> None:
        """Keep what the working copies are now, to be put back some time."""
        place = self.folder / f"kept{len(self.kept)}"
        for box in self.boxes:
            if box.store.exists():
                shutil.copytree(box.store, place / box.folder.name)
        self.kept.append(place)
        for old in self.kept[:-2]:
            shutil.rmtree(old, ignore_errors=True)

    def put_back(self, box: Box, nights: int) -> None:
        """Have a working copy be what it was some nights ago; empty, if that was before it was."""
        shutil.rmtree(box.store, ignore_errors=True)
        place = self.kept[-nights] / box.folder.name if nights <= len(self.kept) else None
        if place is not None and place.exists():
            shutil.copytree(place, box.store)

    def box_of(self, pid: int) -> Box | None:
        """The machine that a process is on."""
        return next((b for b in self.boxes if b.worker.has(pid)), None)

    def files(self, store: Path, tables: tuple = TABLES) -> dict[str, bytes]:
        """Every file of these tables of a store, by name."""
        layout = Layout(store)
        return {layout.relative(p): p.read_bytes() for t in tables for p in layout.files(t)}

    def pull(self, store: Path) -> None:
        """Bring a working copy up to date, as readers do."""
        line = self.hub.pipeline
        settings = line.settings.model_copy(update={"data_dir": store})
        copy = replace(line, settings=settings).working_copy
        assert copy is not None
        told = refresh(copy, raw=True)
        assert told.away is None, told.away

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something after a while; `all_given_back` waits for it."""
        timer = threading.Timer(seconds, do)
        timer.start()
        self._timers.append(timer)

    def all_given_back(self) -> None:
        """Until everything that was to come later has come."""
        while self._timers:
            self._timers.pop().join()

    def logs(self) -> str:
        """The end of what each worker said."""
        return "\n".join(f"{b.folder.name}: {b.worker.log.read_text()[-3000:]}" for b in self.boxes)


def until(condition: Callable[[], bool], seconds: float, every: float = 0.02) -> bool:
    """Whether something comes to hold within some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """The environment of the hub, which is in this process, and nothing of ours but that."""
    before = dict(os.environ)
    for name in [n for n in os.environ if n.startswith(_AMBIENT)]:
        del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
