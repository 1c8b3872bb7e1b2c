"""Heads of the log that were signed: made, kept in `events/archive/heads/`, and proven."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from etf_pipeline.errors import EtfError, SettingsError
from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.model.checks import Check, first_few
from etf_pipeline.events.model.heads import FIRST, Head, read_head
from etf_pipeline.events.proof.former import Place
from etf_pipeline.events.proof.signing import Signer, Verifier, load_signer
from etf_pipeline.events.proof.walk import let_go_unproven
from etf_pipeline.events.protocol import Events
from etf_pipeline.model.file_names import STAMP
from etf_pipeline.store.hashing import file_hash
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.writer import atomic_file, locked

log = logging.getLogger(__name__)
# Fact beside the events: why the last head was not signed, empty when it was.
SIGNING = "signing"
_LOCK_SECONDS = 10.0
# A log that goes on is signed once a day; two days without are said.
_LATE = dt.timedelta(days=2)
_warned: set[str] = set()


class Signed(NamedTuple):
    """A file of heads: the head in it (None when it is not one), and its signature."""

    path: Path
    head: Head | None
    signature: bytes | None


def signed_heads(layout: Layout) -> list[Signed]:
    """Every signed head that is kept, in order of name."""
    return [_read(path) for path in layout.head_files()]


def _read(path: Path) -> Signed:
    try:
        head = read_head(path.read_bytes().decode("ascii"))
    except UnicodeDecodeError:
        head = None
    try:
        signature = signature_of(path).read_bytes()
    except FileNotFoundError:
        signature = None
    return Signed(path, head, signature)


def signature_of(path: Path) -> Path:
    """Where the 64 bytes of a head's signature lie."""
    return path.with_suffix(".sig")


def sign_head(
    events: Events, layout: Layout, signer: Signer, now: dt.datetime, *, daily: bool = False
) -> Signed | None:
    """Sign the head of the local log; None when that was done, or `daily` and done today.

    Raises:
        StoreError: it cannot be written.
        EventError: the log cannot be read.
    """
    name = events.log.id
    with locked(layout.lock("heads", name), _LOCK_SECONDS):
        kept = signed_heads(layout)
        ours = [s.head for s in kept if s.head is not None and s.head.log == name]
        newest = _newest(ours)
        number, digest = events.log.head()
        if number == 0 or (newest is not None and newest.event == number):
            return None
        today = now.astimezone(dt.UTC)
        if daily and newest is not None and newest.time.date() == today.date():
            return None
        head = Head(
            events.instance,
            name,
            number,
            digest.hex(),
            today.replace(microsecond=0),
            signer.key,
            FIRST if newest is None else newest.digest(),
            tuple(_new_files(Archive(layout), ours)),
            let_go_unproven(events.log, Archive(layout)),
        )
        path = layout.head(name, f"{number:012d}-{today.strftime(STAMP)}")
        text = head.text().encode("ascii")
        signature = signer.sign(text)
        for place, body in ((signature_of(path), signature), (path, text)):
            with atomic_file(place) as handle:
                handle.write(body)
        return Signed(path, head, signature)


def sign_daily(events: Events, layout: Layout, now: dt.datetime) -> str | None:
    """Sign the head if that was not done today; why it could not be, None when all is well.

    Never raises, as events must be recorded whatever becomes of a signature. What is wrong is
    logged once, and kept beside the events until it is mended.
    """
    if events.settings.event_signing_key is None or not events.recording:
        return None
    problem = None
    try:
        signer = load_signer(events.settings)
        if signer is not None:
            sign_head(events, layout, signer, now, daily=True)
    except (EtfError, OSError) as error:
        problem = f"the head of the event log was not signed: {error}"
    try:
        if (events.log.fact(SIGNING) or None) != problem:
            events.log.append([], facts={SIGNING: problem or ""})
    except EtfError as error:
        problem = problem or str(error)
    if problem is not None and problem not in _warned:
        _warned.add(problem)
        log.warning(problem)
    return problem


def _newest(heads: Sequence[Head]) -> Head | None:
    """The head that no other follows."""
    followed = {h.previous for h in heads}
    return max((h for h in heads if h.digest() not in followed), default=None, key=_place)


def _place(head: Head) -> tuple[int, dt.datetime]:
    return head.event, head.time


def _new_files(archive: Archive, heads: Sequence[Head]) -> Iterator[tuple[str, str]]:
    """Hash and path of the archive's files that no head named yet."""
    named = {path for head in heads for _, path in head.files}
    for file in archive.files():
        path = file.path.relative_to(archive.root).as_posix()
        if path not in named:
            yield file_hash(file.path), path


class Reached(NamedTuple):
    """What a log came to when its chain was recomputed.

    Attributes:
        store: id of the store.
        logs: ids of the log, those it had before too.
        hashes: by the numbers of the signed heads.
        last: number of the last event.
        unproven: events up to this number could not be recomputed.
        former: by hash, where it is in what the archive has of the log as it was before an older
            copy of it was put back.
    """

    store: str
    logs: frozenset[str]
    hashes: Mapping[int, str]
    last: int
    unproven: int = 0
    former: Mapping[str, Place] = MappingProxyType({})


def check_heads(
    events: Events,
    layout: Layout,
    reached: Reached,
    keys: Sequence[Verifier],
    now: dt.datetime,
) -> list[Check]:
    """Whether every signed head is of this log; nothing where none was signed or is to be."""
    kept = signed_heads(layout)
    wanted = bool(keys) or events.settings.event_signing_key is not None
    if not kept and not wanted:
        return []
    bad = [why for one in kept for why in _wrong(one, reached, {k.key: k for k in keys})]
    heads = [s.head for s in kept if s.head is not None]
    bad += _missing_links(kept)
    bad += _wrong_files(Archive(layout), heads)
    # An older copy that was put back is another log, with heads of its own.
    own = [h for h in heads if h.log == events.log.id]
    newest = _newest(own or [h for h in heads if h.log in reached.logs])
    if wanted:
        bad += _late(events, newest, reached.last, now)
    if bad:
        return [Check("signed heads", False, first_few(bad))]
    if newest is None:
        return [Check("signed heads", True, "there is nothing to sign yet")]
    count = f"{len(kept)} signed heads, to event {newest.event} of {newest.time:%Y-%m-%d}"
    if not keys:
        return [Check("signed heads", True, f"{count}; --key PUBLIC.pem proves who signed them")]
    who = ", ".join(sorted({h.key[:16] for h in heads}))
    return [Check("signed heads", True, f"{count}; signed by {who}")]


def _wrong(one: Signed, reached: Reached, keys: Mapping[str, Verifier]) -> Iterator[str]:
    head = one.head
    if head is None:
        yield f"{one.path} is not what was signed: restore it from a backup"
        return
    yield from _wrong_place(one.path, head, reached)
    if one.signature is None:
        yield f"{signature_of(one.path)} is gone: restore it from a backup"
    elif keys:
        key = keys.get(head.key)
        if key is None:
            yield (
                f"{one.path} is signed by key {head.key[:16]}, which was not given: give its "
                "public key with another --key, or do not trust it"
            )
        elif not key.verify(head.text().encode("ascii"), one.signature):
            yield f"{one.path}: its signature is not by key {head.key[:16]}"


def _wrong_place(path: Path, head: Head, reached: Reached) -> Iterator[str]:
    if head.store != reached.store:
        yield f"{path} is of store {head.store}, and this is {reached.store}"
    elif head.log not in reached.logs:
        yield (
            f"{path} is of log {head.log}, which is not the one here: put that log back; if it is "
            "lost for good, keep the folder elsewhere as the proof of what it was"
        )
    elif reached.former.get(head.hash) == (head.log, head.event):
        return  # all that it vouches for is in the archive
    elif head.event > reached.last:
        yield (
            f"{path}: the log had {head.event} events on {head.time:%Y-%m-%d} and ends at "
            f"{reached.last} now"
        )
    elif reached.unproven > head.unproven:
        yield f"{path}: events up to {reached.unproven} cannot be recomputed, and could be then"
    elif reached.hashes.get(head.event) != head.hash:
        yield (
            f"{path}: event {head.event}, or one before it, is not what it was on "
            f"{head.time:%Y-%m-%d}"
        )


def _missing_links(kept: Sequence[Signed]) -> Iterator[str]:
    """Heads that name one before them which is not there, and second beginnings."""
    there = {s.head.digest() for s in kept if s.head is not None}
    begun: set[str] = set()
    for path, head, _ in kept:
        if head is None:
            continue
        if head.previous == FIRST:
            if head.log in begun:
                yield f"{path} does not follow on the heads before it: some were removed"
            begun.add(head.log)
        elif head.previous not in there:
            yield f"the signed head before {path} is gone: restore it from a backup"


def _wrong_files(archive: Archive, heads: Sequence[Head]) -> Iterator[str]:
    """Archive files that are not what a head vouched for."""
    named = {path: (digest, head) for head in heads for digest, path in head.files}
    for path, (digest, head) in sorted(named.items()):
        file = archive.root / path
        if not file.exists():
            yield (
                f"{file} is gone; the head of event {head.event} vouches for it: `etf events "
                "archive` makes it again while the log has its events, else restore it from a "
                "backup"
            )
        elif file_hash(file) != digest:
            yield f"{file} is not what the head of event {head.event} vouches for"


def _late(events: Events, newest: Head | None, last: int, now: dt.datetime) -> Iterator[str]:
    if last == 0 or (newest is not None and newest.event >= last):
        return
    if newest is not None and abs(now - newest.time) < _LATE:
        return
    since = "no head was signed yet" if newest is None else f"none since {newest.time:%Y-%m-%d}"
    try:
        load_signer(events.settings)
        why = "run `etf events sign`"
    except SettingsError as error:
        why = str(error)
    yield f"{since}: {why}"
