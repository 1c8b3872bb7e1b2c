"""A log that may not be written any more while a process has it open."""

import os
import subprocess
import sys
import uuid

import pytest

from etf_pipeline_tests.soak.nursery import can_forbid_writing, without_rights

_RECORDER = """
import os, sys
from pathlib import Path
from etf_pipeline.events.factory import open_events
from etf_pipeline.events.settings import load_event_settings
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import query
events = open_events(Layout(Path(sys.argv[1])), load_event_settings())
events.append([query()])
print("recorded", flush=True)
sys.stdin.readline()
if os.fork() == 0:  # no connection crosses a fork, so the log is opened anew
    os._exit(0)
events.close()
print("closed", flush=True)
"""


pytestmark = pytest.mark.skipif(not can_forbid_writing(), reason="root may write everything here")


def record_and_close_without_rights(servers, folder):
    """What the process that recorded said at its end, and what it said was wrong."""
    env = os.environ | {
        "EVENT_STORE_TYPE": "kafka",
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "KAFKA_TOPIC_PREFIX": f"t{uuid.uuid4().hex[:10]}",
    }
    with subprocess.Popen(
        [*without_rights(), sys.executable, "-c", _RECORDER, str(folder)],
        env=env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as recorder:
        assert recorder.stdout.readline() == "recorded\n"
        events = folder / "events"
        for path in events.iterdir():
            path.chmod(0o444)
        events.chmod(0o555)
        try:
            return recorder.communicate("\n", timeout=60)
        finally:
            events.chmod(0o755)


def test_who_recorded_before_ends_well(broker, tmp_path):
    """What was recorded is on the disk, and the sender's role passes on by itself."""
    said, told = record_and_close_without_rights(broker.servers, tmp_path)
    assert said == "closed\n", told


def test_the_same_while_no_broker_answers(tmp_path):
    said, told = record_and_close_without_rights("127.0.0.1:1", tmp_path)
    assert said == "closed\n", told
