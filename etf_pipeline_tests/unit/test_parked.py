"""Records that could not be read: put aside once, counted, shown, and bounded in size."""

import base64
import hashlib
import json
import sqlite3

import pytest
from typer.testing import CliRunner

from etf_pipeline.cli.app import app
from etf_pipeline.errors import ReasonCode
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.log.parked import (
    KAFKA,
    MAX_RAW,
    ORCHESTRATOR,
    RAW_RECORDS,
    Parked,
    Spot,
    parked_record,
)
from etf_pipeline.library.doctor import examine
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import linked, queries

TOPIC = Spot(KAFKA, "etf.query-events", 2, 17)
RECORD = Spot(ORCHESTRATOR, "one instance", 0, 4711)


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


@pytest.fixture
def parked(layout):
    made = Parked(layout.event_log)
    yield made
    made.close()


def foreign(spot=TOPIC, raw=b"\x00\xff not ours"):
    return parked_record(spot, ReasonCode.FOREIGN_RECORD, "no header ce_type", raw)


def lost(spot=RECORD):
    return parked_record(spot, ReasonCode.CORRUPT_FILE, "damaged", b"{", missing=True)


def test_looking_makes_no_file(layout, parked):
    assert (parked.counts(), parked.missing(), parked.newest(5)) == ({}, {}, [])
    assert not layout.event_log.exists()


def test_a_record_is_parked_once_however_often_it_is_met(parked):
    assert parked.add([foreign(), lost()]) == 2
    assert parked.add([foreign()]) == 0
    assert parked.counts() == {ReasonCode.CORRUPT_FILE: 1, ReasonCode.FOREIGN_RECORD: 1}
    assert parked.missing() == {ReasonCode.CORRUPT_FILE: 1}


def test_another_record_in_the_same_place_is_another(parked):
    assert parked.add([foreign(), foreign(raw=b"of the topic made anew")]) == 2
    assert {r.raw for r in parked.newest(9)} == {b"\x00\xff not ours", b"of the topic made anew"}


def test_what_is_kept_says_where_why_and_what(parked):
    raw = bytes(range(256)) * 1_000
    parked.add([foreign(raw=raw)])
    (found,) = parked.newest(5)
    assert found.spot == TOPIC
    assert (found.reason, found.detail) == (ReasonCode.FOREIGN_RECORD, "no header ce_type")
    assert found.raw == raw[:MAX_RAW]
    assert (found.size, found.digest) == (256_000, hashlib.sha256(raw).hexdigest())
    assert found.missing is False


def test_a_flood_of_them_keeps_no_more_bytes_but_is_counted(parked):
    spots = [TOPIC._replace(position=i) for i in range(RAW_RECORDS + 50)]
    assert parked.add([foreign(s, b"x" * 10) for s in spots]) == RAW_RECORDS + 50
    assert parked.counts() == {ReasonCode.FOREIGN_RECORD: RAW_RECORDS + 50}
    found = parked.newest(RAW_RECORDS + 50)
    assert sum(len(r.raw) for r in found) == 10 * RAW_RECORDS
    assert {r.size for r in found} == {10}


def test_what_could_be_read_after_all_is_let_go(parked):
    parked.add([foreign(), lost()])
    assert parked.release(RECORD) == 1
    assert parked.release(RECORD) == 0
    assert [r.spot for r in parked.newest(9)] == [TOPIC]


def test_it_lies_beside_the_log_and_leaves_it_alone(layout, parked):
    log = Outbox(layout.event_log)
    log.append(queries(3))
    parked.add([foreign()])
    assert linked(log) == 3
    log.close()
    with sqlite3.connect(layout.event_log) as db:
        assert db.execute("SELECT count(*) FROM parked").fetchone() == (1,)


def run(layout, *args):
    done = CliRunner().invoke(app, ["events", *args, "--data-dir", str(layout.root)])
    assert done.exit_code == 0, done.output
    return done.output


def test_commands_tell_of_them(layout, parked):
    log = Outbox(layout.event_log)
    log.append(queries(1))
    log.close()
    assert "no record is parked" in run(layout, "parked")
    parked.add([foreign()])
    assert "1 records parked (etf events parked)" in run(layout, "status")
    parked.add([lost()])
    assert "events are missing for 1 of them" in run(layout, "status")
    body = json.loads(run(layout, "status", "--json"))
    assert body["parked"] == {"corrupt_file": 1, "foreign_record": 1}
    assert body["parked_missing"] == 1
    shown = run(layout, "parked")
    assert "kafka etf.query-events[2] 17: foreign_record, 11 bytes; no header ce_type" in shown
    assert "its event is missing; damaged" in shown
    bodies = {b["kind"]: b for b in json.loads(run(layout, "parked", "--json"))}
    assert base64.b64decode(bodies["kafka"]["raw"]) == b"\x00\xff not ours"
    assert bodies["orchestrator"]["missing"] is True


def test_the_doctor_minds_only_those_whose_event_is_missing(layout, parked):
    def finding():
        return next(f for f in examine(layout.root) if f.name == "parked records")

    assert (finding().ok, finding().detail) == (True, "none")
    parked.add([foreign()])
    assert (finding().ok, finding().detail) == (True, "1 foreign_record")
    parked.add([lost()])
    assert not finding().ok
    assert "missing for 1 of them" in finding().detail
