"""Which mode the settings lead to, and what is one object for a process."""

import subprocess
import sys

import pytest

from etf_pipeline.errors import EventError, SettingsError
from etf_pipeline.events.factory import asked_for, detect, examine, open_events, shared_events
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.modes.kafka import Kafka
from etf_pipeline.events.modes.off import Off
from etf_pipeline.events.modes.waiting import Waiting
from etf_pipeline.events.settings import EventSettings
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.brokers import free_port
from etf_pipeline_tests.events_support import query


def settings(kind, servers=None):
    return EventSettings(event_store_type=kind, kafka_bootstrap_servers=servers)


def nobody():
    return f"127.0.0.1:{free_port()}"


@pytest.mark.parametrize(
    ("kind", "servers", "made", "asked", "recording"),
    [
        ("none", None, Off, False, False),
        ("none", "there", Off, False, False),
        ("auto", None, Off, False, False),
        ("auto", "there", Waiting, True, False),
        ("embedded", None, Embedded, True, True),
        ("embedded", "there", Embedded, True, True),
        ("kafka", "there", Kafka, True, True),
    ],
)
def test_the_mode_follows_from_the_settings(tmp_path, kind, servers, made, asked, recording):
    chosen = settings(kind, servers and nobody())
    events = open_events(tmp_path, chosen, publish=False)
    assert type(events) is made
    assert events.recording is recording
    assert asked_for(chosen) is asked
    assert events.name == detect(chosen).mode
    events.close(0)
    assert events.closed


def test_all_is_well_or_it_is_said_what_is_not():
    assert examine(settings("none")) == "off (direct mode)"
    assert examine(settings("auto")) == "off (direct mode)"
    assert examine(settings("embedded")) == "embedded"
    with pytest.raises(EventError, match="refuses connections; events are not being recorded"):
        examine(settings("auto", nobody()))
    with pytest.raises(EventError, match="refuses connections; events wait for it"):
        examine(settings("kafka", nobody()))


def test_a_process_shares_the_events_of_a_store_until_they_are_closed(tmp_path, monkeypatch):
    monkeypatch.setenv("EVENT_STORE_TYPE", "embedded")
    first = shared_events(tmp_path)
    assert shared_events(tmp_path) is first
    assert shared_events(tmp_path / "other") is not first
    first.close()
    again = shared_events(tmp_path)
    assert again is not first
    again.append([query()])
    assert len([e for batch in again.read() for e in batch]) == 1
    again.close()
    shared_events(tmp_path / "other").close()


def test_a_setting_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("EVENT_STORE_TYPE", "kafka")
    with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP_SERVERS"):
        open_events(tmp_path)


def test_who_waits_touches_no_file_and_stops_when_closed(tmp_path):
    events = open_events(Layout(tmp_path), settings("auto", nobody()))
    events.append([query()])
    assert list(events.read()) == []
    assert not Layout(tmp_path).event_log.exists()
    events.close()
    events.close()
    assert not events.recording


AT_EXIT = """
import resource, sys, time
from pathlib import Path
from etf_pipeline.events.factory import open_events
from etf_pipeline_tests.events_support import kafka_settings, query
events = open_events(Path(sys.argv[1]), kafka_settings("127.0.0.1:1"))
events.append([query()])
while events.problem is None:
    time.sleep(0.01)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
"""


def test_a_log_that_cannot_be_written_leaves_no_traceback_at_exit(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
