"""`etf events archive`, and others that archive beside it."""

import threading

import pytest
from typer.testing import CliRunner

from etf_pipeline.cli.app import app
from etf_pipeline.errors import LockTimeoutError
from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.writer import locked
from etf_pipeline_tests.events_support import embedded_settings, ids, queries


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ETF_DATA_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("EVENT_STORE_TYPE", "embedded")
    made = Layout(tmp_path / "store")
    events = Embedded(made, embedded_settings())
    events.append(queries(7))
    events.close()
    return made


def archive():
    return CliRunner().invoke(app, ["events", "archive"])


def test_one_archives_at_a_time(layout, monkeypatch):
    lock = layout.lock("events", "archive")
    monkeypatch.setenv("ETF_LOCK_TIMEOUT_SECONDS", "0")
    with locked(lock, 1):
        refused = archive()
    assert isinstance(refused.exception, LockTimeoutError)
    assert "ETF_LOCK_TIMEOUT_SECONDS" in str(refused.exception)
    assert Archive(layout).files() == []
    # whoever comes second waits, and finds what the first one wrote
    monkeypatch.setenv("ETF_LOCK_TIMEOUT_SECONDS", "60")
    said = []
    with locked(lock, 1):
        waiting = threading.Thread(target=lambda: said.append(archive().output))
        waiting.start()
    waiting.join(60)
    said.append(archive().output)
    assert [s.split()[0] for s in said] == ["7", "0"]
    assert len(ids(Archive(layout).read())) == 7
