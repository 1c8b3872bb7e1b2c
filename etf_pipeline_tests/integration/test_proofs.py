"""What was done to a record, who finds it, and what nobody finds without a head that was kept."""

import contextlib
import datetime as dt
import hashlib
import itertools
import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from etf_pipeline.cli.app import app
from etf_pipeline.errors import ReasonCode
from etf_pipeline.events.log.archive import TOPICS, Archive, Origin
from etf_pipeline.events.log.parked import KAFKA, ORCHESTRATOR, Parked, Spot, parked_record
from etf_pipeline.events.model.envelope import lineage_event, source_of
from etf_pipeline.events.model.heads import Kept, read_kept
from etf_pipeline.events.model.table import to_table
from etf_pipeline.events.model.types import LINEAGE
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.modes.kafka import Kafka
from etf_pipeline.events.proof.archiving import read_all
from etf_pipeline.events.proof.heads import sign_daily
from etf_pipeline.events.proof.signing import load_verifier
from etf_pipeline.events.proof.verify import examine
from etf_pipeline.model.schemas import EVENTS
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.writer import META_KEY, publish
from etf_pipeline_tests.conftest import BROKERS
from etf_pipeline_tests.events_support import (
    T0,
    embedded_settings,
    kafka_settings,
    queries,
    read_file,
)

_SECONDS = 30.0
_FIELDS = "id, type, version, source, subject, time_us, recorded_us, data, channel"


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


# That of the events that are recorded here.
MINE = {"event_store_id": "instance"}
STORE = MINE | {"event_store_retention_days": 30}


@pytest.fixture(params=["embedded", *BROKERS])
def events(request, layout):
    """An empty store in each mode that records."""
    if request.param == "embedded":
        made = Embedded(layout, embedded_settings(**STORE))
    else:
        servers = request.getfixturevalue("shared_brokers")(request.param).servers
        made = Kafka(layout, kafka_settings(servers, **STORE), publish=False)
    yield made
    made.close(0)


@pytest.fixture
def local(layout):
    made = Embedded(layout, embedded_settings(**STORE))
    yield made
    made.close()


def recorded(events, first, last):
    """Numbered events, sent where they are to be sent."""
    events.append(queries(last - first + 1, start=first))
    assert events.drain(_SECONDS) == 0


@contextlib.contextmanager
def at(layout):
    """The file of the log, for one transaction."""
    with contextlib.closing(sqlite3.connect(layout.event_log)) as db, db:
        yield db


def by_hand(layout, upto=None):
    """The head as an auditor computes it: from the file, with nothing of ours."""
    head = b"\0" * 32
    with at(layout) as db:
        for row in db.execute(f"SELECT {_FIELDS} FROM events ORDER BY seq LIMIT ?", (upto or -1,)):
            head = hashlib.sha256(head + "\x1f".join(map(str, row)).encode()).digest()
    return head.hex()


def tampered(layout, *statements):
    """Change the file as one does who may, and leave its triggers as they were."""
    with at(layout) as db:
        triggers = db.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            db.execute(*statement) if isinstance(statement, tuple) else db.execute(statement)
        for _, sql in triggers:
            db.execute(sql)


def chained_anew(layout):
    """Give every event of the file the hash that follows from the events there are."""
    with at(layout) as db:
        anchor = db.execute("SELECT hash FROM anchors ORDER BY seq DESC LIMIT 1").fetchone()
        rows = db.execute(f"SELECT {_FIELDS}, seq FROM events ORDER BY seq").fetchall()
    head, changes = anchor[0] if anchor else b"\0" * 32, []
    for *fields, seq in rows:
        head = hashlib.sha256(head + "\x1f".join(map(str, fields)).encode()).digest()
        changes.append(("UPDATE events SET hash = ? WHERE seq = ?", (head, seq)))
    tampered(layout, *changes)


def cut(layout, last):
    """Remove the events after one, and every number in the file that tells of them."""
    tampered(
        layout,
        ("DELETE FROM events WHERE seq > ?", (last,)),
        ("UPDATE sqlite_sequence SET seq = ? WHERE name = 'events'", (last,)),
        "UPDATE channels SET number = coalesce("
        "(SELECT max(number) FROM events e WHERE e.channel = channels.channel), 0)",
    )


def rewritten(path, change):
    """An archive file with other content, and a footer that vouches for it."""
    import pyarrow.parquet as pq

    meta = json.loads(pq.read_metadata(path).metadata[META_KEY])
    found = [change(e) for e in read_file(path)]
    path.unlink()
    extra = {k: meta[k] for k in ("channel", "ranges", "last_ids", "store", "log") if k in meta}
    publish(path, EVENTS, to_table(found), extra)
    assert read_file(path) == found


def bad(events, layout, *kept, keys=()):
    """Names and words of the checks that do not hold."""
    found = examine(events, layout, kept, keys)
    return {c.name: c.detail for c in found.checks if not c.ok}


def kept_now(events, layout):
    return examine(events, layout).head


def test_a_head_that_was_kept_is_found_years_later(events, layout):
    archive = Archive(layout)
    recorded(events, 1, 10)
    kept = kept_now(events, layout)
    assert kept == Kept(events.log.id, 10, by_hand(layout))
    recorded(events, 11, 20)
    later = kept_now(events, layout)
    events.archive(archive, T0)
    events.prune(archive)
    assert events.log.anchor()[0] == 20
    recorded(events, 21, 25)
    events.archive(archive, T0 + dt.timedelta(days=1))
    found = examine(events, layout, [kept, later, Kept("", 0, kept.hash)])
    told = {c.name: c for c in found.checks}
    assert all(c.ok for c in found.checks), found
    assert (
        told[f"head {later.hash[:16]}"].detail
        == "is that of event 20; 5 events were recorded since"
    )
    assert (found.head.event, found.head.log) == (25, kept.log)
    for wrong, words in (
        (kept._replace(event=11), "not what it was"),
        (kept._replace(hash="0" * 64), "not what it was"),
        (Kept("", 0, "0" * 64), "no event here has it"),
        (kept._replace(event=26, hash="0" * 64), "ends at 25"),
        (kept._replace(log="another", hash="0" * 64), "of log another"),
    ):
        assert words in bad(events, layout, wrong)[f"head {wrong.hash[:16]}"]


def test_the_command_prints_the_head_and_takes_it(layout, local, monkeypatch):
    monkeypatch.setenv("EVENT_STORE_TYPE", "embedded")
    monkeypatch.setenv("EVENT_STORE_ID", STORE["event_store_id"])
    monkeypatch.setenv("ETF_DATA_DIR", str(layout.root))
    recorded(local, 1, 3)
    run = CliRunner().invoke(app, ["events", "verify"])
    assert run.exit_code == 0, run.output
    line = run.output.splitlines()[-1]
    text = line.removeprefix("keep this elsewhere: ")
    assert read_kept(text) == Kept(local.log.id, 3, by_hand(layout))
    recorded(local, 4, 5)
    for form in (text, text.rsplit(":", 1)[1]):
        run = CliRunner().invoke(app, ["events", "verify", "--head", form, "--json"])
        assert run.exit_code == 0, run.output
        body = json.loads(run.output)
        assert body[0]["head"] == f"{local.log.id}:5:{by_hand(layout)}"
        assert next(c for c in body if c["name"].startswith("head "))["ok"]
    run = CliRunner().invoke(app, ["events", "verify", "--head", "0" * 64])
    assert run.exit_code == 1
    assert "FAIL head 0000000000000000: no event here has it" in run.output
    run = CliRunner().invoke(app, ["events", "verify", "--head", "that one"])
    assert run.exception is not None
    assert "is no head" in str(run.exception)


def test_the_command_that_signs(signed_store, layout, monkeypatch):
    run = CliRunner().invoke(app, ["events", "sign"], catch_exceptions=False)
    assert (run.exit_code, run.output) == (0, "the head of the log is signed already\n")
    events = Embedded(layout, embedded_settings(**STORE))
    recorded(events, 7, 8)
    events.close()
    run = CliRunner().invoke(app, ["events", "sign", "--json"], catch_exceptions=False)
    body = json.loads(run.output)
    said = dict(line.split(" ", 1) for line in Path(body["path"]).read_text().splitlines())
    assert (body["event"], said["event"], body["hash"]) == (8, "8", by_hand(layout))
    assert body["key"] == said["key"]
    assert bytes.fromhex(body["signature"]) == Path(body["path"]).with_suffix(".sig").read_bytes()
    monkeypatch.setenv("EVENT_SIGNING_KEY", "gone.pem")
    run = CliRunner().invoke(app, ["events", "sign"])
    assert "gone.pem: cannot be read" in str(run.exception)
    # archiving goes on, says so, and status and verify do until it is mended
    events = Embedded(layout, embedded_settings(**STORE))
    recorded(events, 9, 9)
    events.close()
    run = CliRunner().invoke(app, ["events", "archive"], catch_exceptions=False)
    assert run.exit_code == 0
    assert "3 events archived" in run.output
    assert "warning: the head of the event log was not signed" in run.stderr
    run = CliRunner().invoke(app, ["events", "status", "--json"], catch_exceptions=False)
    assert "gone.pem" in json.loads(run.output)["signing"]
    run = CliRunner().invoke(app, ["events", "status"], catch_exceptions=False)
    assert "gone.pem" in run.output
    monkeypatch.delenv("EVENT_SIGNING_KEY")
    run = CliRunner().invoke(app, ["events", "sign"])
    assert "openssl genpkey" in str(run.exception)


def test_a_forged_anchor_is_found(layout, local):
    recorded(local, 1, 10)
    with at(layout) as db:
        (five,) = db.execute("SELECT hash FROM events WHERE seq = 5").fetchone()
        (last,) = db.execute("SELECT hash FROM events WHERE seq = 10").fetchone()
    whole = layout.event_log.with_suffix(".whole")
    local.log.close()
    shutil.copy(layout.event_log, whole)

    def restored():
        local.log.close()
        for end in ("", "-wal", "-shm"):
            layout.event_log.with_name(layout.event_log.name + end).unlink(missing_ok=True)
        shutil.copy(whole, layout.event_log)

    # five events gone, as if they had been archived
    tampered(
        layout,
        "DELETE FROM events WHERE seq <= 5",
        ("INSERT INTO anchors VALUES (5, ?, 0)", (five,)),
    )
    assert "event 1 is missing" in bad(local, layout)["log untouched"]
    restored()
    # all of them gone
    tampered(layout, "DELETE FROM events", ("INSERT INTO anchors VALUES (10, ?, 0)", (last,)))
    assert "event 1 is missing" in bad(local, layout)["log untouched"]
    restored()
    # none gone, so that what lies below the anchor is looked at by nobody
    tampered(
        layout,
        ("INSERT INTO anchors VALUES (5, ?, 0)", (five,)),
        "UPDATE events SET subject = 'OTHER' WHERE seq = 3",
    )
    assert "log untouched" in bad(local, layout)
    restored()
    # the archive has them, and the log goes on from another past
    archive = Archive(layout)
    local.archive(archive, T0)
    local.prune(archive)
    recorded(local, 11, 12)
    assert bad(local, layout) == {}
    tampered(layout, ("UPDATE anchors SET hash = ?", (five,)))
    chained_anew(layout)
    assert "does not lead up" in bad(local, layout)["log untouched"]


def test_an_archive_file_with_another_content_and_footer_is_found(events, layout):
    archive = Archive(layout)
    recorded(events, 1, 10)
    events.archive(archive, T0)
    path = archive.files()[0].path
    whole = path.read_bytes()

    def other(event):
        return event._replace(data=event.data.replace('"rows":10', '"rows":11'))

    rewritten(path, other)
    assert "is another one there than in" in bad(events, layout)["log untouched"]
    path.write_bytes(whole)
    events.prune(archive)
    assert bad(events, layout) == {}
    rewritten(path, other)
    assert "does not lead up" in bad(events, layout)["log untouched"]


def other_rows(event):
    return event._replace(data=event.data.replace('"rows":10', '"rows":11'))


def invented(event):
    """Another event in its place, with an id that nobody has seen."""
    return other_rows(event)._replace(id=str(uuid.uuid4()))


@pytest.mark.parametrize("change", [other_rows, invented])
def test_a_file_that_has_events_of_the_log_once_more_and_otherwise_is_found(layout, local, change):
    archive = Archive(layout)
    recorded(local, 1, 10)
    local.archive(archive, T0)
    local.prune(archive)
    recorded(local, 11, 12)
    events = read_file(archive.files()[0].path)
    again = archive.add(Origin("embedded", local.log.id), events[2:5], "20240101T000000000000Z")
    assert bad(local, layout) == {}, "as two who archive at once would leave it"
    again[0].unlink()
    archive.add(Origin("embedded", local.log.id), map(change, events[2:5]), again[0].stem)
    assert "is another one in a file beside it" in bad(local, layout)["log untouched"]


@pytest.mark.parametrize("origin", [Origin("embedded", "of another machine"), Origin(TOPICS)])
def test_what_is_said_otherwise_under_another_name_is_found(layout, local, origin):
    """Of two copies one counts: neither may say something else."""
    archive = Archive(layout)
    recorded(local, 1, 10)
    local.archive(archive, T0)
    local.prune(archive)
    mine = source_of(local.instance)
    theirs = [
        e._replace(log=origin.log, number=0, source=mine)
        for e in read_file(archive.files()[0].path)[:3]
    ]
    (path,) = archive.add(origin, map(invented, theirs), "20240101T000000000000Z")
    (told,) = [c for c in examine(local, layout).checks if c.name == "events readable"]
    assert (told.ok, told.detail) == (
        True,
        "13 events, each once; 3 of them are not of this log, and under no chain here",
    )
    path.unlink()
    archive.add(origin, map(other_rows, theirs), "20240101T000000000000Z")
    found = bad(local, layout)["events readable"]
    assert all(f"{e.id} does not say the same in all its copies" in found for e in theirs)


def test_a_file_of_a_log_that_a_store_of_one_machine_never_had(layout):
    local, archive = Embedded(layout, embedded_settings()), Archive(layout)
    local.append([e._replace(source=source_of(local.instance)) for e in queries(5)])
    local.archive(archive, T0)
    assert bad(local, layout) == {}
    theirs = [
        e._replace(log="invented", number=n, position=n, partition=0, id=str(uuid.uuid4()))
        for n, e in enumerate(read_file(archive.files()[0].path), 1)
    ]
    (path,) = archive.add(Origin("embedded", "invented"), theirs, "20240101T000000000000Z")
    told = bad(local, layout)["archive untouched"]
    assert f"{path} is of log invented" in told
    path.unlink()
    # a log that begins anew in the store has what the one before archived
    local.close()
    for part in layout.event_log.parent.glob("events.sqlite*"):
        part.unlink()
    again = Embedded(layout, embedded_settings())
    again.append([e._replace(source=source_of(again.instance)) for e in queries(2, start=9)])
    assert bad(again, layout) == {}
    again.close()


def test_what_another_producer_says_otherwise_is_found(layout, broker):
    """Under a known id, and without saying which log it is of."""
    events = Kafka(layout, kafka_settings(broker.servers, **MINE), publish=False)
    told = [e._replace(source=source_of(events.instance)) for e in queries(5)]
    events.append(told)
    assert events.drain(_SECONDS) == 0
    assert bad(events, layout) == {}
    assert all(d.ok for d in events.broker.append([other_rows(told[2])]))
    assert f"{told[2].id} does not say the same" in bad(events, layout)["events readable"]
    events.close(0)


def test_a_log_that_was_chained_anew_is_found_by_a_kept_head_alone(layout, local):
    recorded(local, 1, 10)
    kept = kept_now(local, layout)
    tampered(
        layout, "UPDATE events SET data = replace(data, '\"rows\":10', '\"rows\":11') WHERE seq = 4"
    )
    assert "event 4" in bad(local, layout)["log untouched"]
    chained_anew(layout)
    assert bad(local, layout) == {}, "a check finds it by itself: say so in the docs"
    assert "not what it was" in bad(local, layout, kept)[f"head {kept.hash[:16]}"]


def test_a_log_that_was_chained_anew_is_found_by_what_kafka_has(layout, broker):
    settings = kafka_settings(broker.servers, **MINE)
    events = Kafka(layout, settings, publish=False)
    recorded(events, 1, 10)
    assert bad(events, layout) == {}
    tampered(
        layout, "UPDATE events SET data = replace(data, '\"rows\":10', '\"rows\":11') WHERE seq = 4"
    )
    chained_anew(layout)
    assert "1 events otherwise" in bad(events, layout)["as sent"]
    events.close(0)


def test_a_log_that_was_chained_anew_is_found_by_the_archive(layout, local):
    recorded(local, 1, 10)
    local.archive(Archive(layout), T0)
    tampered(
        layout, "UPDATE events SET data = replace(data, '\"rows\":10', '\"rows\":11') WHERE seq = 4"
    )
    chained_anew(layout)
    assert "event 4 is another one there" in bad(local, layout)["log untouched"]


def test_an_archive_file_that_is_gone_while_the_log_has_its_events(layout, local):
    archive = Archive(layout)
    for n in range(3):
        recorded(local, 5 * n + 1, 5 * n + 5)
        local.archive(archive, T0 + n * dt.timedelta(days=1))
    assert bad(local, layout) == {}
    (path,) = [f.path for f in archive.files() if f.first == 6]
    path.unlink()
    assert "event 6 is missing" in bad(local, layout)["archive untouched"]
    local.prune(archive)
    assert local.log.anchor()[0] == 5
    # the command that is named makes it again, and once
    assert local.archive(archive, T0 + dt.timedelta(days=4)).events == 5
    assert local.archive(archive, T0 + dt.timedelta(days=5)).events == 0
    assert bad(local, layout) == {}
    local.prune(archive)
    assert local.log.anchor()[0] == 15
    assert bad(local, layout) == {}


def test_an_archive_that_lost_several_files_of_several_channels_is_made_whole(layout, local):
    archive = Archive(layout)
    for n in range(6):
        run = lineage_event(("run", str(n)), "job", n, "{}", local.instance)
        local.append([*queries(2, start=2 * n), run])
        local.archive(archive, T0 + n * dt.timedelta(days=1))
    whole = {e.id: e for f in archive.files() for e in read_file(f.path)}
    assert len(whole) == 18
    gone = sorted(archive.files(), key=lambda f: f.first)[1:-1:2]
    assert {f.channel for f in gone} >= {LINEAGE}
    for file in gone:
        file.path.unlink()
    local.append(queries(1, start=20))
    done = local.archive(archive, T0 + dt.timedelta(days=9))
    assert done.events == sum(f.rows for f in gone) + 1
    there = [e for f in archive.files() for e in read_file(f.path)]
    assert len(there) == 19
    assert whole.items() <= {e.id: e for e in there}.items()
    assert bad(local, layout) == {}


NUMBERS = "numbers and store"


@pytest.mark.parametrize("archived", ["not", "beside", "pruned"])
def test_numbers_and_a_store_that_were_changed_are_found(layout, local, archived):
    """They are not under the hash; what follows from the order of events is."""
    archive = Archive(layout)
    run = lineage_event(("run", "1"), "job", 0, "{}", local.instance)
    old = run._replace(recorded_us=queries(1)[0].recorded_us)
    local.append([*queries(3), old, *queries(3, start=3)])
    if archived != "not":
        local.archive(archive, T0)
    if archived == "pruned":
        local.prune(archive)
        assert local.log.anchor()[0] == 7
    local.append(queries(3, start=6))
    assert bad(local, layout) == {}
    # two of a channel swapped, in the log
    last = [8, 9] if archived == "pruned" else [3, 5]
    with at(layout) as db:
        before = dict(db.execute("SELECT seq, number FROM events"))
    number = "UPDATE events SET number = ? WHERE seq = ?"
    swapped = [(number, (before[b], a)) for a, b in (last, last[::-1])]
    tampered(layout, *swapped)
    assert "numbers were changed" in bad(local, layout)[NUMBERS]
    tampered(
        layout, *(("UPDATE events SET number = ? WHERE seq = ?", (before[s], s)) for s in last)
    )
    assert bad(local, layout) == {}
    # none any more, and nobody counted
    tampered(layout, "UPDATE events SET number = 0", "DELETE FROM channels")
    assert "has the number 0" in bad(local, layout)[NUMBERS]
    tampered(layout, *((number, (n, s)) for s, n in before.items()))
    # another store's, in the file and in the log
    other = str(uuid.uuid4())
    layout.store_id.write_text(other)
    tampered(layout, ("UPDATE facts SET value = ? WHERE name = 'instance'", (other,)))
    again = Embedded(layout, embedded_settings())
    assert f"/etf_pipeline/instance, and this is store {other}" in bad(again, layout)[NUMBERS]
    again.close()


def test_numbers_that_were_changed_in_the_archive_are_found(layout, local):
    archive = Archive(layout)
    recorded(local, 1, 6)
    local.archive(archive, T0)
    local.prune(archive)
    rewritten(archive.files()[0].path, lambda e: e._replace(number=7 - e.number))
    assert "event 1 of" in bad(local, layout)[NUMBERS]


def let_go_by_an_earlier_release(layout):
    """As it left a log of ten events, without numbers and an id, five of which it let go."""
    with at(layout) as db:
        (five,) = db.execute("SELECT hash FROM events WHERE seq = 5").fetchone()
    tampered(
        layout,
        "DELETE FROM events WHERE seq <= 5",
        ("INSERT INTO anchors VALUES (5, ?, 0)", (five,)),
        "INSERT INTO facts VALUES ('unnumbered', '10')",
        "INSERT INTO facts VALUES ('former_logs', '[\"\"]')",
        "DELETE FROM channels",
    )


def test_a_log_that_an_earlier_release_pruned_without_an_archive_of_its_own(layout, local):
    """In Kafka mode: what it let go is in an archive of the topics, in another order."""
    recorded(local, 1, 10)
    kept = kept_now(local, layout)
    there = [e._replace(log="", number=0) for b in local.log.read() for e in b]
    other_way = [e._replace(position=n) for n, e in enumerate(reversed(there))]
    Archive(layout).add(Origin(TOPICS), other_way, "20250101T000000000000Z")
    let_go_by_an_earlier_release(layout)
    recorded(local, 11, 12)
    # kept when all could be recomputed: then an earlier release cannot have let them go
    for claim in (kept, Kept("", 0, kept.hash), kept._replace(unproven=4)):
        told = bad(local, layout, claim)[f"head {kept.hash[:16]}"]
        assert "now the first 5 cannot" in told and "`:5` at its end" in told
    kept = kept._replace(unproven=5)
    found = examine(local, layout, [kept])
    assert all(c.ok for c in found.checks), found
    assert found.head.text().endswith(":5") and read_kept(found.head.text()) == found.head
    assert "the first 5 were let go by an earlier release" in found.checks[0].detail
    assert "cannot be recomputed" in bad(local, layout, Kept("", 3, "0" * 64))[f"head {'0' * 16}"]
    head = next(c.detail for c in found.checks if c.name == f"head {kept.hash[:16]}")
    assert head.endswith("; whether the first 5 are there it cannot say, see above")
    archive = Archive(layout)
    for n in (1, 2):  # what this release lets go of is proven, also what was there before it
        local.archive(archive, T0 + dt.timedelta(days=n))
        local.prune(archive)
        assert local.log.anchor()[0] == local.log.last()
        now = examine(local, layout, [kept])
        assert all(c.ok for c in now.checks), now
        assert "the first 5 were let go by an earlier release" in now.checks[0].detail
        recorded(local, 12 + n, 12 + n)
    (path,) = [f.path for f in archive.files() if f.first == 6]
    whole = path.read_bytes()
    rewritten(path, other_rows)
    assert "does not lead up" in bad(local, layout)["log untouched"]
    path.write_bytes(whole)
    assert bad(local, layout) == {}
    for file in Archive(layout).files():
        file.path.unlink()
    assert "event 1 is missing" in bad(local, layout)["log untouched"]


def test_a_signed_head_says_what_could_not_be_proven_then(layout, tmp_path):
    """An excuse that is forged later is found by it, and a true one is signed with it."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    settings = embedded_settings(event_signing_key=tmp_path / "key.pem", **STORE)
    local = Embedded(layout, settings)
    recorded(local, 1, 10)
    assert sign_daily(local, layout, T0) is None
    (first,) = layout.head_files()
    assert "unproven" not in first.read_text()
    there = [e._replace(log="", number=0) for b in local.log.read() for e in b]
    Archive(layout).add(Origin(TOPICS), there[:1], "20250101T000000000000Z")
    let_go_by_an_earlier_release(layout)
    recorded(local, 11, 12)
    assert "up to 5 cannot be recomputed, and could be then" in bad(local, layout)["signed heads"]
    first.unlink()  # as one who upgraded before he signed
    first.with_suffix(".sig").unlink()
    assert sign_daily(local, layout, dt.datetime.now(dt.UTC)) is None
    (head,) = layout.head_files()
    assert "\nunproven 5\n" in head.read_text()
    assert bad(local, layout) == {}
    local.close()


def test_proving_while_others_record_archive_and_prune(layout, local):
    """What moves from the log to the archive meanwhile is in one of the two."""
    archive, stop, problems = Archive(layout), threading.Event(), []

    def others():
        other = Embedded(layout, embedded_settings(**STORE))
        for n in itertools.count():
            if stop.is_set():
                break
            recorded(other, 20 * n + 1, 20 * n + 20)
            other.archive(archive, T0 + n * dt.timedelta(seconds=1))
            other.prune(archive)
        other.close()

    recorder = threading.Thread(target=others)
    recorder.start()
    try:
        while local.log.last() < 1_000 and recorder.is_alive():
            problems += bad(local, layout).items()
    finally:
        stop.set()
        recorder.join()
    assert problems == []
    assert local.log.last() >= 1_000


def test_a_record_whose_event_is_missing_is_no_proof(layout, local):
    recorded(local, 1, 3)
    parked = Parked(layout.event_log)
    foreign = Spot(KAFKA, "etf.query-events", 0, 7)
    parked.add([parked_record(foreign, ReasonCode.FOREIGN_RECORD, "not ours", b"x")])
    found = {c.name: c for c in examine(local, layout).checks}["nothing parked"]
    assert (found.ok, found.detail) == (
        True,
        "1 records that are not of this store: etf events parked",
    )
    mine = Spot(ORCHESTRATOR, "instance", 0, 8)
    parked.add([parked_record(mine, ReasonCode.CORRUPT_FILE, "damaged", b"y", missing=True)])
    assert "1 records of this store are no events" in bad(local, layout)["nothing parked"]
    parked.release(mine)
    assert bad(local, layout) == {}
    parked.close()


def test_lineage_is_proven_too(layout, local):
    recorded(local, 1, 3)
    body = json.dumps({"eventType": "COMPLETE"})
    told = [lineage_event((str(n),), "job", 10**15 + n, body, "instance") for n in range(4)]
    local.append(told)
    archive = Archive(layout)
    local.archive(archive, T0)
    (path,) = [f.path for f in archive.files() if f.channel == LINEAGE]
    whole = path.read_bytes()
    found = {c.name: c for c in examine(local, layout).checks}
    assert found["events readable"].detail == "3 events, each once, and 4 of lineage"
    assert found["archive untouched"].detail == "7 events in 2 files"
    rewritten(path, lambda e: e._replace(data=e.data.replace("COMPLETE", "FAIL")))
    assert "event 4 is another one there" in bad(local, layout)["log untouched"]
    path.write_bytes(whole[:-5] + b"other")
    assert "archive untouched" in bad(local, layout)
    path.write_bytes(whole)
    assert bad(local, layout) == {}
    tampered(layout, ("UPDATE events SET data = 'no JSON' WHERE id = ?", (told[3].id,)))
    chained_anew(layout)
    assert told[3].id in bad(local, layout)["events readable"]


def test_events_removed_at_the_end(events, layout):
    recorded(events, 1, 10)
    kept = kept_now(events, layout)
    cut(layout, 7)
    found = bad(events, layout, kept)
    assert "ends at 7" in found[f"head {kept.hash[:16]}"]
    if events.name == "kafka":
        assert "3 events of this log that it lacks" in found["as sent"]
    else:
        assert found.keys() == {f"head {kept.hash[:16]}"}


def test_events_removed_at_the_end_that_the_archive_has(layout, local):
    recorded(local, 1, 10)
    local.archive(Archive(layout), T0)
    cut(layout, 7)
    assert "events were removed at its end" in bad(local, layout)["log untouched"]


def test_an_older_copy_put_back_loses_nothing_that_the_archive_has(layout, local):
    """Archived in three files and put back as of the first, then recorded on."""
    archive = Archive(layout)

    def read():
        return {e.id for batch in read_all(local, archive) for e in batch}

    recorded(local, 1, 5)
    local.archive(archive, T0)
    local.close()
    local.log.close()
    older = layout.event_log.read_bytes()
    for first, last in ((6, 8), (9, 10)):
        recorded(local, first, last)
        local.archive(archive, T0 + dt.timedelta(days=first))
    every = read()
    assert len(every) == 10
    local.log.close()
    layout.event_log.write_bytes(older)
    assert read() == every
    told = bad(local, layout)["log untouched"]
    assert "events were removed at its end" in told and "`etf events archive`" in told
    recorded(local, 11, 15)
    assert "is another one there than in" in bad(local, layout)["log untouched"]
    assert len(read()) == 15 and read() > every
    local.archive(archive, T0 + dt.timedelta(days=20))  # it is another log from here on
    assert len(read()) == 15 and read() > every
    assert bad(local, layout) == {}


def archive_of(local, archive):
    local.archive(archive, T0)
    return archive.files()


def test_an_archiving_that_was_stopped_half_way_is_mended_by_the_next(layout, local):
    archive = Archive(layout)
    run = lineage_event(("run", "1"), "job", 0, '{"eventType":"START"}', local.instance)
    local.append([*queries(5), run])
    (path,) = [f.path for f in archive_of(local, archive) if f.channel != LINEAGE]
    path.unlink()
    assert "`etf events archive`" in bad(local, layout)["archive untouched"]
    local.archive(archive, T0 + dt.timedelta(days=1))
    assert bad(local, layout) == {}


def test_a_log_that_was_replaced_as_a_whole(layout, local):
    recorded(local, 1, 10)
    kept = kept_now(local, layout)
    local.close()
    shutil.rmtree(layout.event_log.parent)
    other = Embedded(layout, embedded_settings(**STORE))
    recorded(other, 2, 11)
    assert bad(other, layout) == {}
    assert f"of log {kept.log}" in bad(other, layout, kept)[f"head {kept.hash[:16]}"]
    other.close()


def test_signed_heads_find_what_was_rewritten_everywhere(layout, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    for words in (
        ("genpkey", "-algorithm", "ed25519", "-out", private),
        ("pkey", "-in", private, "-pubout", "-out", public),
    ):
        subprocess.run(["openssl", *words], check=True, capture_output=True)
    settings = embedded_settings(event_signing_key=private, **STORE)
    events, archive = Embedded(layout, settings), Archive(layout)
    key = load_verifier(public)
    recorded(events, 1, 10)
    events.archive(archive, T0)
    events.prune(archive)
    recorded(events, 11, 15)
    assert sign_daily(events, layout, T0) is None
    assert bad(events, layout, keys=[key]) == {}

    def other(event):
        return event._replace(data=event.data.replace('"rows":10', '"rows":11'))

    # archive, anchor and log made anew, each in keeping with the others
    head = b"\0" * 32
    for file in archive.files():
        rewritten(file.path, other)
    for event in sorted((e for b in archive.read() for e in b), key=lambda e: e.position):
        head = hashlib.sha256(head + "\x1f".join(map(str, event[:9])).encode()).digest()
    tampered(layout, ("UPDATE anchors SET hash = ?", (head,)))
    chained_anew(layout)
    found = bad(events, layout, keys=[key])
    assert found.keys() == {"signed heads"}
    assert "not what it was" in found["signed heads"]
    assert "vouches for" in found["signed heads"]
    events.close()


AUDIT = Path(__file__).parents[2] / "docs" / "audit.md"


def lines_of(language):
    """The code blocks of the page for auditors."""
    return re.findall(rf"^```{language}\n(.*?)^```", AUDIT.read_text(), re.M | re.S)


def shell(command, where):
    """Run a line of the page as a stranger's shell does."""
    return subprocess.run(["bash", "-c", command], cwd=where, capture_output=True, check=False)


@pytest.fixture
def signed_store(tmp_path, monkeypatch, layout):
    """A store whose head was signed as the page says, its key and the head's file beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENT_STORE_TYPE", "embedded")
    monkeypatch.setenv("EVENT_STORE_ID", STORE["event_store_id"])
    monkeypatch.setenv("ETF_DATA_DIR", str(layout.root))
    events = Embedded(layout, embedded_settings(**STORE))
    recorded(events, 1, 6)
    events.archive(Archive(layout), T0)
    (block,) = [b for b in lines_of("console") if "genpkey" in b]
    for line in block.splitlines():
        command = line.removeprefix("$ ")
        if command.startswith("openssl"):
            assert shell(command, tmp_path).returncode == 0
        elif command.startswith("export"):
            monkeypatch.setenv(*command.removeprefix("export ").split("=", 1))
        else:
            run = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
            assert run.exit_code == 0, run.output
    (head,) = layout.head_files()
    shutil.copy(head, tmp_path / "HEAD.head")
    shutil.copy(head.with_suffix(".sig"), tmp_path / "HEAD.sig")
    yield tmp_path
    events.close()


def test_the_page_proves_a_signed_head_without_us(signed_store, layout):
    (block,) = [b for b in lines_of("console") if "pkeyutl" in b]
    proof, key, files = (line.removeprefix("$ ") for line in block.splitlines())
    assert shell(proof, signed_store).returncode == 0
    said = dict(
        line.split(" ", 1) for line in (signed_store / "HEAD.head").read_text().splitlines()
    )
    assert shell(key, signed_store).stdout.decode().split()[-1] == said["key"]
    assert shell(files, layout.archive).returncode == 0
    with (signed_store / "HEAD.head").open("a") as text:
        text.write("\n")
    assert shell(proof, signed_store).returncode != 0
    path = Archive(layout).files()[0].path
    path.write_bytes(path.read_bytes() + b" ")
    assert shell(files, layout.archive).returncode != 0


def test_the_page_computes_the_head_without_us(layout, local, tmp_path):
    recorded(local, 1, 6)
    (code,) = lines_of("python")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "etf").symlink_to(layout.root)
    run = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, check=True
    )
    assert run.stdout.decode().strip() == by_hand(layout) == kept_now(local, layout).hash


TSA_CONFIG = """
[tsa]
serial = serial
digests = sha256, sha512
signer_digest = sha256
default_policy = 1.2.3.4.1
accuracy = secs:1
ess_cert_id_alg = sha256
[ca]
basicConstraints = critical, CA:TRUE
[stamps]
extendedKeyUsage = critical, timeStamping
"""


def test_the_page_has_a_head_stamped_and_proves_the_stamp(signed_store):
    """With an authority of our own in place of the one that is asked over the network."""
    (signed_store / "tsa.cnf").write_text(TSA_CONFIG)
    (signed_store / "serial").write_text("01\n")
    for command in (
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=ca -keyout ca.key -out tsa.pem",
        "openssl req -newkey rsa:2048 -nodes -subj /CN=stamps -keyout s.key -out s.csr",
        "openssl x509 -req -in s.csr -CA tsa.pem -CAkey ca.key -CAcreateserial "
        "-extfile tsa.cnf -extensions stamps -out s.pem",
    ):
        done = shell(command, signed_store)
        assert done.returncode == 0, done.stderr.decode()
    (block,) = [b for b in lines_of("console") if "openssl ts" in b]
    ask, send, prove = (line.removeprefix("$ ") for line in block.splitlines())
    assert shell(ask, signed_store).returncode == 0
    assert send.startswith("curl ")
    assert shell(prove, signed_store).returncode != 0
    reply = (
        "openssl ts -reply -config tsa.cnf -section tsa -queryfile HEAD.tsq -signer s.pem "
        "-inkey s.key -out HEAD.tsr"
    )
    done = shell(reply, signed_store)
    assert done.returncode == 0, done.stderr.decode()
    done = shell(prove, signed_store)
    assert done.returncode == 0, done.stderr.decode()
    text = (signed_store / "HEAD.head").read_text()
    (signed_store / "HEAD.head").write_text(text.replace("event 6", "event 5"))
    assert shell(prove, signed_store).returncode != 0
