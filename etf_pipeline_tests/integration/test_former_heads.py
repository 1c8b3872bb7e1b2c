"""Heads that were kept or signed before an older copy of the log was put back."""

import datetime as dt

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.model.heads import Kept
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.proof.heads import sign_head
from etf_pipeline.events.proof.signing import load_signer
from etf_pipeline.events.proof.verify import examine
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import T0, embedded_settings, queries

DAY = dt.timedelta(days=1)


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


@pytest.fixture
def events(layout, tmp_path):
    key, form = tmp_path / "key.pem", (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.write_bytes(Ed25519PrivateKey.generate().private_bytes(*form))
    settings = embedded_settings(
        event_store_id="instance", event_signing_key=key, event_store_retention_days=1
    )
    made = Embedded(layout, settings)
    yield made
    made.close()


def recorded(events, first, last):
    events.append(queries(last - first + 1, start=first))


def signed(events, layout, now):
    """Sign the head, and keep it; both say the same."""
    head = sign_head(events, layout, load_signer(events.settings), now).head
    return Kept(head.log, head.event, head.hash)


def copied(events, layout):
    """The file of the log, as it is now."""
    events.log.close()
    return layout.event_log.read_bytes()


def bad(events, layout, *kept):
    return {c.name: c.detail for c in examine(events, layout, kept).checks if not c.ok}


def test_what_the_archive_has_is_vouched_for_by_the_heads_of_then(layout, events):
    archive = Archive(layout)
    recorded(events, 1, 5)
    early = signed(events, layout, T0)
    older = copied(events, layout)
    recorded(events, 6, 9)
    events.archive(archive, T0)
    late = signed(events, layout, T0 + DAY)
    events.log.close()
    layout.event_log.write_bytes(older)
    recorded(events, 10, 11)
    events.archive(archive, T0 + 2 * DAY)  # it is another log from here on
    assert events.log.id != late.log
    anew = signed(events, layout, dt.datetime.now(dt.UTC))
    by_hash = Kept("", 0, late.hash)
    assert bad(events, layout, early, late, by_hash, anew) == {}
    # until it is as long as it was, and longer
    recorded(events, 12, 16)
    assert bad(events, layout, early, late, by_hash, anew) == {}
    # nothing but those events does
    other = late._replace(event=late.event - 1)
    assert set(bad(events, layout, other)) == {f"head {late.hash[:16]}"}
    (path,) = [f.path for f in archive.files() if f.log == late.log]
    path.unlink()
    assert set(bad(events, layout, late)) == {f"head {late.hash[:16]}", "signed heads"}


def test_what_no_archive_had_stays_missing(layout, events):
    archive = Archive(layout)
    recorded(events, 1, 5)
    older = copied(events, layout)
    recorded(events, 6, 7)
    events.archive(archive, T0)
    recorded(events, 8, 9)
    lost = signed(events, layout, T0 + DAY)
    events.log.close()
    layout.event_log.write_bytes(older)
    recorded(events, 10, 11)
    events.archive(archive, T0 + 2 * DAY)
    assert events.log.id != lost.log
    assert set(bad(events, layout, lost)) == {f"head {lost.hash[:16]}", "signed heads"}


def test_of_a_log_that_was_pruned_and_put_back_twice(layout, events):
    archive, kept = Archive(layout), []
    recorded(events, 1, 6)
    events.archive(archive, T0)
    assert events.prune(archive).events == 6
    for n in (1, 2):
        older = copied(events, layout)
        recorded(events, 10 * n, 10 * n + 3)
        events.archive(archive, T0 + n * DAY)
        kept.append(signed(events, layout, T0 + n * DAY))
        events.log.close()
        layout.event_log.write_bytes(older)
        recorded(events, 10 * n + 5, 10 * n + 6)
        events.archive(archive, T0 + n * DAY + DAY / 2)
        assert events.log.id != kept[-1].log
    signed(events, layout, dt.datetime.now(dt.UTC))
    assert [(k.event, k.log == kept[0].log) for k in kept] == [(10, True), (12, False)]
    assert bad(events, layout, *kept) == {}
