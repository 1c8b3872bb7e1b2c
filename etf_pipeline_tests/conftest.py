"""Fixtures that several folders share."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings

from etf_pipeline.events import factory
from etf_pipeline.events.kafka import client
from etf_pipeline.events.proof import heads
from etf_pipeline_tests.brokers import Broker, External, Noida
from etf_pipeline_tests.brokers.apache import Apache
from etf_pipeline_tests.support import World
from etf_pipeline_tests.yahoo_standin import StandIn

settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60
)
settings.load_profile("default")

ROOT = Path(__file__).parents[1]
AMBIENT = ("ETF_", "DAGSTER_", "EVENT_", "KAFKA_", "OPENLINEAGE_")
_EXTERNAL = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
BROKERS = ("external",) if _EXTERNAL else ("noida-db", "apache")
_MEMORY = Path("/dev/shm")
_ROOM = 8 << 30  # bytes: what all tests together have written at once, several times over


def pytest_configure() -> None:
    """Have tests write to memory where it has room: nothing here outlives its machine's power.

    Disks take milliseconds for each of hundreds of thousands of commits. A folder that somebody
    chose stays: `--basetemp`, `PYTEST_DEBUG_TEMPROOT` or `TMPDIR`.
    """
    if "TMPDIR" not in os.environ and _has_room(_MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def pytest_collection_finish() -> None:
    """Garbage is looked for less often, and not in what is there before the first test.

    It took 8 to 17 % of the time of tests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _has_room(folder: Path) -> bool:
    """Whether programs can be installed and run there, and it will not fill the memory."""
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return False
    found = os.statvfs(folder)
    free = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available)
    return free >= _ROOM and not found.f_flag & os.ST_NOEXEC


@pytest.fixture(autouse=True)
def _no_ambient_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A developer's own ETF_… and DAGSTER_… variables must not reach the tests."""
    for name in list(os.environ):
        if name.startswith(AMBIENT) and name != "ETF_TEST_REAL_DATA":
            monkeypatch.delenv(name)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster-home"))


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is warned of once a process is warned of in each test that brings it about."""
    for module in (client, factory, heads):
        monkeypatch.setattr(module, "_warned", set())


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """Who hears signals, and the level of logging, are the same for the next test in a process.

    Dagster, Celery and our own commands take them for as long as a process lives.
    """
    heard = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    level = logging.getLogger().level
    yield
    for number, handler in heard.items():
        signal.signal(number, handler)
    logging.getLogger().setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def _migrations_read_once() -> Iterator[None]:
    """Alembic reads Dagster's migrations, ninety files, several times a run: here once a process.

    Dagster asks for them under a lock, and only to see which is the newest.
    """
    from alembic.script import ScriptDirectory

    read, known = ScriptDirectory.from_config, {}

    def from_config(config: Any) -> Any:
        location = config.get_main_option("script_location")
        if location not in known:
            known[location] = read(config)
        return known[location]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real ETF prices; set ETF_TEST_REAL_DATA, or keep it beside the checkout."""
    folder = Path(os.environ.get("ETF_TEST_REAL_DATA", ROOT.parent / "shared" / "data" / "asx"))
    if not (folder / "raw").is_dir():
        pytest.skip(f"the real prices are not in {folder} (set ETF_TEST_REAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def shared_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Broker]]:
    """Running brokers by name, one of each per session, for tests that do not disturb them."""
    running: dict[str, Broker] = {}

    def get(name: str) -> Broker:
        if name not in running:
            running[name] = new_broker(name, tmp_path_factory.mktemp(name)).start()
        return running[name]

    yield get
    for made in running.values():
        made.kill()


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest, shared_brokers: Callable[[str], Broker]) -> Broker:
    """A shared broker: each default in turn."""
    return shared_brokers(request.param)


@pytest.fixture(params=BROKERS)
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A broker that the test may stop, pause and kill."""
    if request.param == "external":
        pytest.skip("an external broker is not ours to disturb")
    made = new_broker(request.param, tmp_path / "broker")
    with made:
        yield made


def new_broker(name: str, folder: Path) -> Broker:
    """A broker by name, not started; skips plainly when it cannot be had here."""
    if name == "external":
        return External(_EXTERNAL or "")
    kind = Noida if name == "noida-db" else Apache
    if (why := kind.missing()) is not None:
        pytest.skip(why)
    return kind(folder)


@pytest.fixture
def yahoo() -> Iterator[StandIn]:
    """A running stand-in for Yahoo without any series."""
    with StandIn() as server:
        yield server


@pytest.fixture
def world(tmp_path: Path, yahoo: StandIn) -> World:
    """A store, a stand-in and a clock."""
    return World(tmp_path / "store", yahoo)


@pytest.fixture
def opened():
    """Opens a store without a thread that sends, and closes it in the end."""
    from etf_pipeline.events.factory import open_events

    made = []

    def get(folder, settings, **options):
        made.append(open_events(folder, settings, publish=False, **options))
        return made[-1]

    yield get
    for events in made:
        events.close(0)
