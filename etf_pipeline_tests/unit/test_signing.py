"""Signed heads: what is signed, by which key, and what openssl alone says of it."""

import datetime as dt
import hashlib
import logging
import shutil
import subprocess

import pytest

from etf_pipeline.errors import SettingsError
from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.model.envelope import lineage_event
from etf_pipeline.events.model.heads import FIRST, Head, Kept, read_head, read_kept
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.proof.heads import (
    Reached,
    check_heads,
    sign_daily,
    sign_head,
    signature_of,
    signed_heads,
)
from etf_pipeline.events.proof.signing import load_signer, load_verifier
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import T0, embedded_settings, queries, query

DAY = dt.timedelta(days=1)


def openssl(*words, **options):
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture
def keys(tmp_path):
    """Makes pairs of keys with openssl: paths of the private and the public one."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")

    def make(name, *more, algorithm="ed25519"):
        private, public = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"
        openssl("genpkey", "-algorithm", algorithm, "-out", private, *more)
        secret = ("-passin", "pass:hush") if more else ()
        openssl("pkey", "-in", private, "-pubout", "-out", public, *secret)
        return private, public

    return make


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


def opened(layout, key=None, **more):
    return Embedded(layout, embedded_settings(event_signing_key=key, **more))


def reached(events):
    """What the log came to, by the rows of its file."""
    with events.log._db.reading() as db:
        rows = dict(db.execute("SELECT seq, lower(hex(hash)) FROM events"))
    return Reached(events.instance, frozenset({events.log.id}), rows, max(rows, default=0))


def checked(events, layout, *public, now=T0):
    return check_heads(events, layout, reached(events), [load_verifier(p) for p in public], now)


def test_what_is_signed_is_read_back_and_nothing_else_is():
    files = (
        ("a" * 64, "topic=x/day=2025-01-01/embedded 1.parquet"),
        ("b" * 64, "é".encode().hex()),
    )
    head = Head("store", "log", 12, "c" * 64, T0, "d" * 64, "e" * 64, files)
    text = head.text()
    assert text == (
        "etf_pipeline head 1\nstore store\nlog log\nevent 12\n"
        f"hash {'c' * 64}\ntime 2025-11-12T06:00:00Z\nkey {'d' * 64}\nprevious {'e' * 64}\n"
        f"file {'a' * 64}  topic=x/day=2025-01-01/embedded 1.parquet\n"
        f"file {'b' * 64}  c3a9\n"
    )
    assert read_head(text) == head
    assert head.digest() == hashlib.sha256(text.encode()).hexdigest()
    for other in (
        text + "\n",
        text[:-1],
        text.replace("event 12", "event 012"),
        text.replace("event 12", "event twelve"),
        text.replace("\n", "\r\n"),
        text.replace("-11-12T", "-13-12T"),
        text.replace("head 1\n", "head 2\n"),
        text.upper(),
        "",
    ):
        assert read_head(other) is None, other


def test_a_kept_head_is_read_with_or_without_its_place():
    digest = "0123456789abcdef" * 4
    kept = Kept("3f0c-1", 12, digest)
    assert read_kept(kept.text()) == kept
    assert read_kept(f" {digest.upper()}\n") == Kept("", 0, digest)
    assert read_kept(f"12:{digest}") == Kept("", 12, digest)
    for other in ("", digest[:-1], f"{digest}0", "head", f"x:y:z:{digest}", f"log:12:{digest}:"):
        assert read_kept(other) is None


def test_openssl_alone_proves_a_signed_head(layout, keys, tmp_path):
    private, public = keys("mine")
    events = opened(layout, private)
    events.append(queries(5))
    made = sign_head(events, layout, load_signer(events.settings), T0)
    openssl(
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        public,
        "-rawin",
        "-in",
        made.path,
        "-sigfile",
        signature_of(made.path),
    )
    lines = dict(line.split(" ", 1) for line in made.path.read_text().splitlines())
    der = openssl("pkey", "-pubin", "-in", public, "-outform", "DER")
    assert lines["key"] == hashlib.sha256(der).hexdigest()
    assert (lines["event"], lines["previous"]) == ("5", FIRST)
    assert lines["hash"] == reached(events).hashes[5]
    (check,) = checked(events, layout, public)
    assert check.ok, check
    forged = made.path.read_text().replace("event 5", "event 4")
    (tmp_path / "forged").write_text(forged)
    with pytest.raises(AssertionError):
        openssl(
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            public,
            "-rawin",
            "-in",
            tmp_path / "forged",
            "-sigfile",
            signature_of(made.path),
        )
    events.close()


def test_a_head_is_signed_once_a_day_and_only_if_the_log_went_on(layout, keys):
    private, public = keys("mine")
    events = opened(layout, private)
    assert sign_daily(events, layout, T0) is None
    assert signed_heads(layout) == []
    events.append(queries(3))
    assert sign_daily(events, layout, T0) is None
    events.append(queries(1, start=3))
    assert sign_daily(events, layout, T0 + DAY / 4) is None
    assert [s.head.event for s in signed_heads(layout)] == [3]
    assert sign_daily(events, layout, T0 + DAY) is None
    assert sign_daily(events, layout, T0 + 2 * DAY) is None  # the log stands still
    first, second = (s.head for s in signed_heads(layout))
    assert (first.event, second.event, second.previous) == (3, 4, first.digest())
    events.append(queries(1, start=4))
    assert sign_daily(events, layout, T0 - 3 * DAY) is None  # a clock that went back
    assert [s.head.event for s in signed_heads(layout)] == [3, 4, 5]
    (check,) = checked(events, layout, public)
    assert check.ok, check
    events.close()


def test_another_key_goes_on_where_the_one_before_ended(layout, keys):
    old, new = keys("old"), keys("new")
    for n, (private, _) in enumerate((old, new)):
        events = opened(layout, private)
        events.append(queries(2, start=2 * n))
        assert sign_daily(events, layout, T0 + n * DAY) is None
        events.close()
    events = opened(layout, new[0])
    (check,) = checked(events, layout, old[1], new[1])
    assert check.ok, check
    (check,) = checked(events, layout, new[1])
    assert not check.ok
    assert "which was not given" in check.detail
    (check,) = checked(events, layout, keys("stranger")[1])
    assert not check.ok
    events.close()


def test_a_key_with_a_passphrase(layout, keys):
    private, public = keys("locked", "-aes-256-cbc", "-pass", "pass:hush")
    events = opened(layout, private, event_signing_passphrase="hush")
    assert "hush" not in repr(events.settings)
    events.append(queries(1))
    assert sign_daily(events, layout, T0) is None
    (check,) = checked(events, layout, public)
    assert check.ok, check
    events.close()
    for phrase, words in ((None, "set EVENT_SIGNING_PASSPHRASE"), ("no", "not its passphrase")):
        settings = embedded_settings(event_signing_key=private, event_signing_passphrase=phrase)
        with pytest.raises(SettingsError, match=words):
            load_signer(settings)
    plain = embedded_settings(event_signing_key=keys("open")[0], event_signing_passphrase="x")
    with pytest.raises(SettingsError, match="not encrypted; unset EVENT_SIGNING_PASSPHRASE"):
        load_signer(plain)


def test_a_key_that_cannot_be_used_loses_no_event_and_is_said(layout, keys, tmp_path, caplog):
    _, public = keys("mine")
    text = tmp_path / "text.pem"
    text.write_text("no key")
    other, _ = keys("other", algorithm="x25519")
    for path, words in (
        (tmp_path / "gone.pem", "cannot be read"),
        (tmp_path, "cannot be read"),
        (text, "no private key in PEM"),
        (public, "no private key in PEM"),
        (other, "no Ed25519 key"),
    ):
        caplog.clear()
        events = opened(layout, path)
        events.append(queries(1, start=events.log.last()))
        last = events.log.last()
        for _ in range(3):
            with caplog.at_level(logging.WARNING):
                assert words in sign_daily(events, layout, T0)
        assert len(caplog.records) == 1
        assert str(path) in caplog.text
        assert words in events.log.fact("signing")
        assert events.log.last() == last
        (check,) = checked(events, layout)
        assert not check.ok
        assert words in check.detail
        events.close()
    assert signed_heads(layout) == []
    with pytest.raises(SettingsError, match=r"--key .* no public key"):
        load_verifier(text)


def test_what_was_done_to_signed_heads_is_found(layout, keys):
    private, public = keys("mine")
    events = opened(layout, private)
    for n in range(4):
        events.append(queries(1, start=n))
        sign_daily(events, layout, T0 + n * DAY)
    paths = [s.path for s in signed_heads(layout)]
    now = T0 + 3 * DAY

    def wrong():
        (check,) = checked(events, layout, public, now=now)
        return None if check.ok else check.detail

    assert wrong() is None
    whole = {p: p.read_bytes() for one in paths for p in (one, signature_of(one))}

    def restored():
        for path, body in whole.items():
            path.write_bytes(body)
        assert wrong() is None

    paths[1].unlink()
    assert "signed head before" in wrong()
    restored()
    paths[0].unlink()
    assert str(paths[1]) in wrong()
    restored()
    signature_of(paths[2]).unlink()
    assert "is gone" in wrong()
    restored()
    signature_of(paths[2]).write_bytes(whole[signature_of(paths[1])])
    assert "not by key" in wrong()
    restored()
    paths[3].write_bytes(whole[paths[3]].replace(b"event 4", b"event 3"))
    assert "not what it was" in wrong()
    restored()
    paths[3].write_bytes(b"\xff")
    assert "not what was signed" in wrong()
    restored()
    # a head of the same log by another key, as one makes who has the log and not the key
    stranger, _ = keys("stranger")
    body = whole[paths[3]].decode()
    forged = read_head(body)._replace(
        key=load_signer(embedded_settings(event_signing_key=stranger)).key
    )
    paths[3].write_text(forged.text())
    assert "which was not given" in wrong()
    events.close()


def test_a_log_that_is_not_the_one_that_was_signed(layout, keys):
    private, public = keys("mine")
    events = opened(layout, private)
    events.append(queries(5))
    sign_daily(events, layout, T0)
    known = reached(events)
    verifier = [load_verifier(public)]
    for other, words in (
        (known._replace(store="another"), "is of store"),
        (known._replace(logs=frozenset({"another"})), "is of log"),
        (known._replace(last=4), "ends at 4"),
        (known._replace(hashes={5: "0" * 64}), "not what it was"),
    ):
        (check,) = check_heads(events, layout, other, verifier, T0)
        assert not check.ok
        assert words in check.detail
    events.close()


def test_heads_vouch_for_the_files_of_the_archive(layout, keys):
    private, public = keys("mine")
    events = opened(layout, private)
    archive = Archive(layout)
    for n in range(2):
        events.append(queries(5, start=5 * n))
        events.archive(archive, T0 + n * DAY)
        sign_daily(events, layout, T0 + n * DAY)
    first, second = (s.head.files for s in signed_heads(layout))
    assert first
    assert second
    assert not set(first) & set(second)
    sums = "".join(f"{digest}  {path}\n" for digest, path in (*first, *second))
    subprocess.run(
        ["sha256sum", "--check", "--strict", "-"], input=sums.encode(), cwd=archive.root, check=True
    )
    assert {p for _, p in (*first, *second)} == {
        p.relative_to(archive.root).as_posix() for p in archive.root.rglob("*.parquet")
    }
    path = archive.root / first[0][1]
    body = path.read_bytes()
    path.write_bytes(body + b" ")
    (check,) = checked(events, layout, public, now=T0 + DAY)
    assert not check.ok
    assert "vouches for" in check.detail
    path.unlink()
    (check,) = checked(events, layout, now=T0 + DAY)
    assert "is gone" in check.detail
    events.close()


@pytest.mark.parametrize("gone", ["one", "the last", "of a channel", "all"])
def test_files_that_heads_vouch_for_are_made_again_as_they_were(layout, keys, gone):
    """While the log has their events: in runs that others join, over days and channels."""
    private, public = keys("mine")
    events, archive = opened(layout, private), Archive(layout)
    for n in range(4):
        run = lineage_event(("run", str(n)), "job", n, "{}", events.instance)
        late = [
            e._replace(recorded_us=e.recorded_us + k * 10**11) for k, e in enumerate(queries(5))
        ]
        events.append([query(), run, *(e._replace(id=f"{n}-{e.id}") for e in late)])
        events.archive(archive, T0 + n * DAY)
        sign_daily(events, layout, T0 + n * DAY)
    files = sorted(archive.files(), key=lambda f: f.last)
    before = {f.path: f.path.read_bytes() for f in files}
    assert len(before) > 8
    chosen = {
        "one": files[3:4],
        "the last": files[-2:],
        "of a channel": [f for f in files if f.channel != "lineage-events"],
        "all": files,
    }[gone]
    for file in chosen:
        file.path.unlink()
    (check,) = checked(events, layout, public, now=T0 + 4 * DAY)
    assert "is gone; the head of event" in check.detail
    assert "etf events archive" in check.detail
    events.append([query()])
    done = events.archive(archive, T0 + 5 * DAY)
    assert done.events == sum(f.rows for f in chosen) + 1
    assert {p: p.read_bytes() for p in before} == before
    (check,) = checked(events, layout, public, now=T0 + 4 * DAY)
    assert check.ok, check.detail
    assert events.archive(archive, T0 + 6 * DAY).events == 0
    events.close()


def test_a_file_whose_events_the_log_let_go_of_is_not_made_up(layout, keys):
    private, _ = keys("mine")
    events, archive = opened(layout, private), Archive(layout)
    for n in range(2):
        events.append(queries(5, start=5 * n))
        events.archive(archive, T0 + n * DAY)
        sign_daily(events, layout, T0 + n * DAY)
    events.log.prune(5)
    (path,) = [f.path for f in archive.files() if f.first == 1]
    path.unlink()
    assert events.archive(archive, T0 + 2 * DAY).events == 0
    (check,) = checked(events, layout, now=T0 + DAY)
    assert f"{path} is gone" in check.detail
    events.close()


def test_days_without_a_signature_are_said(layout, keys):
    private, public = keys("mine")
    events = opened(layout, private)
    assert [c.ok for c in checked(events, layout)] == [True]
    events.append(queries(2))
    (check,) = checked(events, layout)
    assert not check.ok
    assert "etf events sign" in check.detail
    sign_daily(events, layout, T0)
    (check,) = checked(events, layout, public, now=T0 + 9 * DAY)
    assert check.ok  # nothing happened since
    events.append(queries(1, start=2))
    (check,) = checked(events, layout, public, now=T0 + DAY)
    assert check.ok
    (check,) = checked(events, layout, public, now=T0 + 3 * DAY)
    assert not check.ok
    assert "none since 2025-11-12" in check.detail
    events.close()
    unsigned = opened(Layout(layout.root.parent / "other"))
    unsigned.append(queries(2))
    assert checked(unsigned, Layout(layout.root.parent / "other")) == []
    unsigned.close()
