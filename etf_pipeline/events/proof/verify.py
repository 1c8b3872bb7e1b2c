"""Is everything there, and is it what was written? Each check says so in a line."""

from __future__ import annotations

import datetime as dt
import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from etf_pipeline.errors import EtfError, EventFormatError
from etf_pipeline.events.log.archive import LOG, Archive, Archived, read_batches
from etf_pipeline.events.log.comparison import Comparison
from etf_pipeline.events.log.identity import BEGUN, SHARED
from etf_pipeline.events.log.large import unkept
from etf_pipeline.events.log.parked import Parked
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.checks import Check, first_few
from etf_pipeline.events.model.copies import Copies
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.heads import Kept
from etf_pipeline.events.model.state import SystemState
from etf_pipeline.events.model.types import CHANNELS, LINEAGE, REGISTRY
from etf_pipeline.events.proof.archiving import read_all
from etf_pipeline.events.proof.former import Place, beginnings, former_places
from etf_pipeline.events.proof.heads import Reached, check_heads, signed_heads
from etf_pipeline.events.proof.numbering import numbering
from etf_pipeline.events.proof.relayed import relayed
from etf_pipeline.events.proof.signing import Verifier
from etf_pipeline.events.proof.stored import store_checks
from etf_pipeline.events.proof.walk import Walked, walk
from etf_pipeline.events.protocol import Events
from etf_pipeline.store.layout import Layout


@dataclass(frozen=True)
class Verification:
    """Every check, in order, and the head of the log; None where the chain is broken."""

    checks: list[Check]
    head: Kept | None


def verify(events: Events, layout: Layout) -> list[Check]:
    """Every check of a store's events, in order."""
    return examine(events, layout).checks


def examine(
    events: Events,
    layout: Layout,
    kept: Sequence[Kept] = (),
    keys: Sequence[Verifier] = (),
) -> Verification:
    """The same, with what somebody kept to compare with.

    Args:
        events: of the store.
        layout: of the store.
        kept: heads that somebody kept elsewhere; each must be in the chain.
        keys: public keys, one of which each signed head must be by.
    """
    archive, now = Archive(layout), dt.datetime.now(dt.UTC)
    signed = [s.head for s in signed_heads(layout) if s.head is not None]
    walked: Walked | None = None
    try:
        begun = beginnings(events.log, archive) if signed or kept else {}
        numbers = {h.event for h in signed} | {k.event for k in kept} | set(begun.values())
        walked = walk(events.log, archive, numbers, {k.hash for k in kept})
        wanted = ({k.hash for k in kept} | {h.hash for h in signed}) - {
            *walked.hashes.values(),
            *walked.numbers,
        }
        former = former_places(events.log, archive, begun, walked.hashes, wanted, walked.unproven)
        checks = [_untouched(walked, events.log.fact(BEGUN))]
        checks.append(numbering(events.log, archive, events.instance))
        checks += [_kept_head(one, events.log.id, walked, former.get(one.hash)) for one in kept]
        logs = frozenset({events.log.id, *events.log.former_ids})
        till = (walked.hashes, walked.last, walked.unproven)
        reached = Reached(events.instance, logs, *till, former)
        checks += check_heads(events, layout, reached, keys, now)
    except EtfError as error:
        checks = [Check("log untouched", False, str(error))]
    checks += [_archive(archive, walked, events.log), _parked(events)]
    head = None if walked is None else _head(events.log.id, walked)
    state = SystemState()
    try:
        comparison = events.comparison(archive)
        checks.append(_readable(events, archive, state, walked, comparison))
    except EtfError as error:
        return Verification([*checks, Check("events readable", False, str(error))], head)
    checks += [*_declared(state), *events.delivery_checks(archive, comparison)]
    checks += relayed(events, layout, state.event_ids, now)
    checks += store_checks(layout, state.etfs)
    return Verification(checks, head)


def _head(log: str, walked: Walked) -> Kept:
    return Kept(log, walked.last, walked.head, walked.unproven)


def _untouched(walked: Walked, begun: str | None) -> Check:
    text = f"{walked.events} events, {walked.archived} archived, head {walked.head}"
    if walked.unproven:
        text += (
            f"; the first {walked.unproven} were let go by an earlier release and cannot be "
            "recomputed in their order"
        )
    if begun is not None:
        text += (
            f"; it was begun on {begun} in a store that had a log before, whose events are in the "
            "archive or in Kafka, or gone"
        )
    return Check("log untouched", True, text)


def _kept_head(kept: Kept, log: str, walked: Walked, former: Place | None) -> Check:
    name, found = f"head {kept.hash[:16]}", walked.numbers.get(kept.hash)
    if found is not None and kept.event in (0, found):
        if walked.unproven > kept.unproven:
            then = f"after the first {kept.unproven} " if kept.unproven else ""
            why = (
                f"is that of event {found}, and says that all {then}could be recomputed when it "
                f"was kept: now the first {walked.unproven} cannot, see `log untouched`. If a "
                "release before this had let them go already, give the head with "
                f"`:{walked.unproven}` at its end"
            )
            return Check(name, False, why)
        after = walked.last - found
        text = f"is that of event {found}; {after} events were recorded since"
        if walked.unproven:
            text += f"; whether the first {walked.unproven} are there it cannot say, see above"
        return Check(name, True, text)
    if former is not None and kept.log in ("", former[0]) and kept.event in (0, former[1]):
        text = (
            f"is that of event {former[1]} of log {former[0]}, of which an older copy was put back "
            "since; the archive has all up to there as they were"
        )
        return Check(name, True, text)
    if kept.log not in ("", log):
        why = f"it is of log {kept.log}, and the log here is {log}"
    elif kept.event > walked.last:
        why = f"the log had {kept.event} events then and ends at {walked.last} now"
    elif (kept.event and kept.event <= walked.unproven) or (not kept.event and walked.unproven):
        why = f"events up to {walked.unproven} cannot be recomputed, see `log untouched`"
    elif kept.event:
        why = f"event {kept.event}, or one before it, is not what it was then"
    else:
        why = "no event here has it: the log was rewritten, cut, or replaced since it was kept"
    return Check(name, False, why)


def _readable(
    events: Events,
    archive: Archive,
    state: SystemState,
    walked: Walked | None,
    comparison: Comparison | None,
) -> Check:
    """Whether every event can be read; they are folded into `state`.

    Raises:
        EtfError: some are missing, or cannot be reached.
    """
    bad: list[str] = []
    lineage: set[str] = set()
    logs, copies = {events.log.id, *events.log.former_ids}, Copies(events.log.id)
    for batch in read_all(events, archive, (*CHANNELS, LINEAGE), comparison):
        bad += _unreadable(batch)
        told = [e for e in batch if e.channel != LINEAGE]
        copies.saw(told)
        # Those of other machines lie there.
        bad += unkept((e for e in batch if e.log in logs), events.log.path)
        lineage.update(e.id for e in batch if e.channel == LINEAGE)
        state.apply(told)
    bad += (
        f"{name} does not say the same in all its copies: one was changed"
        for name in copies.differing(read_all(events, archive))
    )
    less = f"; of {len(copies.fewer)} another machine tells less" if copies.fewer else ""
    more = f", and {len(lineage)} of lineage{less}" if lineage else less
    proven = array("q") if walked is None else walked.names + _names(events.log)
    if walked is not None and (unproven := copies.unproven(proven)):
        more += f"; {unproven} of them are not of this log, and under no chain here"
    text = first_few(bad) if bad else f"{len(state)} events, each once{more}"
    return Check("events readable", not bad, text)


def _names(log: SqliteLog) -> array[int]:
    """Hashes of the ids of the log's events that were sent under an id that it had before."""
    return array("q", map(hash, log.names_before()))


def _declared(state: SystemState) -> list[Check]:
    """What somebody declared lost, which is no fault any more and must stay known."""
    if not state.losses:
        return []
    told = [f"{d.channel} {d.first} to {d.last}, by {d.who}: {d.why}" for d in state.losses]
    return [Check("declared lost", True, first_few(told))]


def _unreadable(batch: list[Event]) -> Iterator[str]:
    for event in batch:
        try:
            if event.channel == LINEAGE:
                json.loads(event.data)
            else:
                REGISTRY.parse(event.type, event.version, event.data)
        except (EventFormatError, ValueError) as error:
            yield f"{event.id}: {error}"


def _archive(archive: Archive, walked: Walked | None, log: SqliteLog) -> Check:
    try:
        files = archive.files()
        for file in files:
            if walked is None or file.path not in walked.files:
                next(read_batches(file.path), None)  # its hash is checked first
    except EtfError as error:
        return Check("archive untouched", False, str(error))
    if strange := list(_of_no_log(files, log)):
        return Check("archive untouched", False, first_few(strange))
    if walked is not None and walked.missing:
        text = (
            f"event {walked.missing} is missing in {archive.root}, which has later ones; the log "
            "has it still, and `etf events archive` adds it"
        )
        return Check("archive untouched", False, text)
    return Check(
        "archive untouched", True, f"{sum(f.rows for f in files)} events in {len(files)} files"
    )


def _of_no_log(files: Sequence[Archived], log: SqliteLog) -> Iterator[str]:
    """Files of logs that a store never had which has had one log, on one machine."""
    if log.fact(SHARED) is not None or log.fact(BEGUN) is not None:
        return
    known = {"", log.id, *log.former_ids}
    for file in files:
        if file.origin == LOG and file.log not in known:
            yield (
                f"{file.path} is of log {file.log}, and this store never had another than "
                f"{log.id}: it was put there; move it away"
            )


def _parked(events: Events) -> Check:
    parked = Parked(events.log.path)
    try:
        total, missing = sum(parked.counts().values()), sum(parked.missing().values())
    finally:
        parked.close()
    if missing:
        text = f"{missing} records of this store are no events, as they cannot be read"
        return Check("nothing parked", False, f"{text}: etf events parked")
    text = f"{total} records that are not of this store: etf events parked" if total else "none"
    return Check("nothing parked", True, text)
