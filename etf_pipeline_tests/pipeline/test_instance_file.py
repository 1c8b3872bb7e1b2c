"""`dagster.yaml` and the settings that ask something of it."""

from pathlib import Path

import pytest
import yaml

from etf_pipeline.errors import SettingsError
from etf_pipeline.orchestration.broker import broker_url, shown
from etf_pipeline.orchestration.instance_file import Brought, brought_up, first_text
from etf_pipeline.settings.defaults import default_text

PLAIN = default_text("dagster.yaml")
DATABASE = {"DAGSTER_POSTGRES_URL": "postgresql://x@127.0.0.1/x"}
BROKER = DATABASE | {"ETF_CELERY_BROKER": "redis://:hidden@127.0.0.1:6379/0"}
HERE = Path("dagster.yaml")
OURS = {"module": "etf_pipeline.orchestration.launcher", "class": "WatchedLauncher"}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in BROKER:
        monkeypatch.delenv(name, raising=False)


def put(monkeypatch, values):
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_without_a_setting_it_is_what_it_was():
    assert first_text() == PLAIN
    assert brought_up("mine: 1", HERE) == Brought("mine: 1")


def test_a_broker_brings_the_launcher_and_what_follows_a_lost_run(monkeypatch):
    put(monkeypatch, BROKER)
    text = first_text()
    found, plain = yaml.safe_load(text), yaml.safe_load(PLAIN)
    assert found.pop("run_launcher") == OURS | {"config": {"broker": {"env": "ETF_CELERY_BROKER"}}}
    retries = {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}
    assert found.pop("run_retries") == retries
    monitoring = found.pop("run_monitoring")
    assert monitoring["enabled"] and monitoring["poll_interval_seconds"] <= 30
    assert set(found.pop("storage")) == {"postgres"}
    del plain["run_monitoring"]
    assert found == plain  # all the rest is as before
    assert text.count("run_monitoring:") == 1
    assert brought_up(text, HERE).added == ()
    assert "hidden" not in text


def test_settings_that_come_later_add_what_the_file_lacks_and_leave_the_rest(monkeypatch):
    put(monkeypatch, DATABASE)
    mine = first_text().replace("purge_after_days: 90", "purge_after_days: 7 # mine")
    put(monkeypatch, BROKER)
    brought = brought_up(mine, HERE)
    assert set(brought.added) == {"run_launcher", "run_retries", "run_monitoring"}
    assert "purge_after_days: 7 # mine" in brought.text
    assert yaml.safe_load(brought.text)["retention"]["schedule"]["purge_after_days"] == 7
    assert brought_up(brought.text, HERE).added == ()


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ("run_launcher:\n  module: dagster_k8s\n  class: K8sRunLauncher\n", "run_launcher"),
        ("run_monitoring:\n  enabled: false\n", "run_monitoring"),
        ("run_monitoring:\n  enabled: true\n", "run_monitoring"),  # looks every two minutes
        ("storage:\n  sqlite:\n    base_dir: here\n", "storage"),
        ("run_storage:\n  module: x\n  class: Y\n", "run_storage"),
        ("a: [\n", "no YAML"),
        ("- a\n", "no sections"),
    ],
)
def test_what_contradicts_a_setting_is_named(monkeypatch, section, names):
    put(monkeypatch, BROKER)
    with pytest.raises(SettingsError, match=names) as told:
        brought_up(section, HERE)
    assert "hidden" not in str(told.value)


def test_a_file_of_a_broker_does_not_go_without(monkeypatch):
    put(monkeypatch, BROKER)
    text = first_text()
    monkeypatch.delenv("ETF_CELERY_BROKER")
    with pytest.raises(SettingsError, match="ETF_CELERY_BROKER, which is not set"):
        brought_up(text, HERE)


@pytest.mark.parametrize("url", ["redis", "127.0.0.1:6379", "redis://", "redis://[::1/0"])
def test_what_is_no_url_of_a_broker_is_a_wrong_setting(monkeypatch, url):
    put(monkeypatch, BROKER | {"ETF_CELERY_BROKER": url})
    with pytest.raises(SettingsError, match="ETF_CELERY_BROKER"):
        broker_url()


def test_a_broker_needs_the_database_that_machines_share(monkeypatch):
    put(monkeypatch, {"ETF_CELERY_BROKER": BROKER["ETF_CELERY_BROKER"]})
    with pytest.raises(SettingsError, match="DAGSTER_POSTGRES_URL"):
        broker_url()
    put(monkeypatch, BROKER)
    assert shown(broker_url()) == "redis://127.0.0.1:6379/0"
