"""What the commands `etf events …` show: bodies for JSON, lines for people."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etf_pipeline.events.log.parked import ParkedRecord
    from etf_pipeline.events.log.retention import Pruned
    from etf_pipeline.events.model.envelope import Event
    from etf_pipeline.events.model.heads import Kept
    from etf_pipeline.events.model.state import SystemState
    from etf_pipeline.events.proof.heads import Signed
    from etf_pipeline.events.proof.losses import Missing
    from etf_pipeline.events.proof.rebuild import Rebuilt
    from etf_pipeline.events.proof.verify import Verification
    from etf_pipeline.events.status import EventsStatus


def status_body(status: EventsStatus) -> dict[str, Any]:
    """How events are recorded, for JSON."""
    return {
        "mode": status.mode,
        "why": status.why,
        "store": status.store,
        "store_id": status.store_id,
        "events": status.events,
        "types": status.types,
        "waiting": status.waiting,
        "relay": status.relay,
        "relays": status.relays,
        "parked": status.parked,
        "parked_missing": status.parked_missing,
        "signing": status.signing,
        "waiting_since": status.since,
        "problem": status.problem,
        "undeliverable": status.undeliverable,
    }


def status_line(status: EventsStatus, now: dt.datetime) -> str | None:
    """The same in one line; None when there is nothing to tell."""
    if not status.events and not status.asked and not status.parked:
        return None
    parts = [f"Events: {status.mode}", f"{status.events} in the local log"]
    if status.why:
        parts.append(status.why)
    if status.waiting:
        since = f" since {status.since:%Y-%m-%d %H:%M} UTC" if status.since else ""
        parts.append(f"{status.waiting} wait for Kafka{since}")
    if status.undeliverable:
        parts.append(undeliverable_words(status.undeliverable))
    if status.parked:
        parts.append(parked_words(status))
    if status.signing:
        parts.append(status.signing)
    relay = status.relay
    if relay is not None:
        age = now - dt.datetime.fromisoformat(relay["at"])
        ago = f"last ran {age.total_seconds():.0f} s ago"
        parts.append(f"relay {_behind(relay)}, {ago}")
        if relay["problem"]:
            parts.append(str(relay["problem"]))
    return "; ".join(parts)


def undeliverable_words(counts: Mapping[str, int]) -> str:
    """How many events a broker refused, and why."""
    why = ", ".join(f"{n} {code}" for code, n in counts.items())
    return f"{sum(counts.values())} refused by Kafka ({why}), in the local log only"


def relay_line(relay: dict[str, Any]) -> str:
    """How far behind one instance of Dagster was when its log was last read."""
    at = dt.datetime.fromisoformat(relay["at"])
    said = f"; {relay['problem']}" if relay["problem"] else ""
    where = f"{relay['where']} ({relay['instance']})"
    return f"  Dagster {where}: {_behind(relay)} at {at:%Y-%m-%d %H:%M:%S} UTC{said}"


def _behind(relay: dict[str, Any]) -> str:
    more = " or more" if relay.get("more") else ""
    return f"{relay['behind']}{more} behind"


def parked_words(status: EventsStatus) -> str:
    """How many records could not be read, and whether an event is missing for it."""
    text = f"{sum(status.parked.values())} records parked (etf events parked)"
    missing = status.parked_missing
    return f"{text}, events are missing for {missing} of them" if missing else text


def verification_body(found: Verification) -> list[dict[str, Any]]:
    """Checks for JSON; the first one has the head to keep, null where the chain is broken."""
    checks = [asdict(c) for c in found.checks]
    checks[0]["head"] = None if found.head is None else found.head.text()
    return checks


def head_lines(head: Kept | None) -> list[str]:
    """The head in a form to keep, if there is an event."""
    if head is None or head.event == 0:
        return []
    return [f"keep this elsewhere: {head.text()}"]


def signed_body(made: Signed) -> dict[str, Any]:
    """A signed head for JSON: what is signed, where it is kept, and its signature."""
    assert made.head is not None
    return {
        "event": made.head.event,
        "hash": made.head.hash,
        "time": made.head.time,
        "key": made.head.key,
        "files": len(made.head.files),
        "path": str(made.path),
        "signature": (made.signature or b"").hex(),
    }


def signed_line(made: Signed) -> str:
    """The same for people."""
    assert made.head is not None
    return f"signed the head of event {made.head.event} with key {made.head.key[:16]}: {made.path}"


def others_line(others: dict[str, int]) -> str:
    """How many records of other stores were left out."""
    stores = ", ".join(source.removeprefix("/etf_pipeline/") for source in others)
    return f"{sum(others.values())} records of other stores were left out: {stores}"


def parked_body(record: ParkedRecord) -> dict[str, Any]:
    """A parked record for JSON; `raw` is base64."""
    return {
        "kind": record.spot.kind,
        "name": record.spot.name,
        "partition": record.spot.partition,
        "position": record.spot.position,
        "reason": record.reason,
        "detail": record.detail,
        "missing": record.missing,
        "parked": record.at,
        "size": record.size,
        "sha256": record.digest,
        "raw": base64.b64encode(record.raw).decode(),
    }


def parked_line(record: ParkedRecord) -> str:
    """A parked record for people."""
    spot = record.spot
    lost = "; its event is missing" if record.missing else ""
    return (
        f"{record.at:%Y-%m-%d %H:%M:%S} UTC  {spot.kind} {spot.name}"
        f"[{spot.partition}] {spot.position}: {record.reason}, {record.size} bytes{lost}; "
        f"{record.detail}"
    )


def state_body(state: SystemState) -> dict[str, Any]:
    """A folded state for JSON."""
    return {
        "events": len(state),
        "digest": state.digest(),
        "etfs": {
            t: {
                "batches": [b.batch_id for b in e.batches],
                "last_date": e.updated.last_date if e.updated else None,
                "content_hash": e.updated.content_hash if e.updated else None,
                "currency": e.updated.currency if e.updated else None,
                "rejected": e.rejected.reason if e.rejected else None,
                "failed": e.failed.reason if e.failed else None,
            }
            for t, e in state.etfs.items()
        },
        "risk": {t: r.model_dump(mode="json") for t, r in state.risk.items()},
        "portfolios": {n: p.model_dump(mode="json") for n, p in state.portfolios.items()},
        "failed_stages": {n: s.model_dump(mode="json") for n, s in state.failed_stages.items()},
        "query_counts": dict(state.query_counts),
        "unreadable": dict(state.unreadable),
    }


def state_lines(state: SystemState) -> list[str]:
    """A folded state for people."""
    lines = [f"{len(state)} events, digest {state.digest()}"]
    lines += [
        f"  {t}: to {e.updated.last_date if e.updated else None}, {len(e.batches)} batches"
        for t, e in state.etfs.items()
    ]
    lines += [
        f"  {name}: "
        + ("" if p.success else f"failed: {p.message}; ")
        + (f"in {p.currency}: " if p.currency else "")
        + ", ".join(f"{t} {w:z.2%}" for t, w in (p.weights or {}).items() if w)
        for name, p in state.portfolios.items()
    ]
    lines += [
        f"  {where} failed ({s.reason_code}) in run {s.run_id}: {s.reason}"
        for where, s in state.failed_stages.items()
    ]
    lines += [f"  {t}: asked for {n} times" for t, n in state.query_counts.items()]
    lines += [f"  not readable here: {name} of {why}" for name, why in state.unreadable.items()]
    return lines


def rebuilt_line(rebuilt: Rebuilt) -> str:
    """How the rebuilding of one history went."""
    rows = f"{rebuilt.rows} rows from {rebuilt.batches} batches"
    end = f"; {rebuilt.reason}" if rebuilt.reason else f", {str(rebuilt.content_hash)[:16]}"
    return f"{rebuilt.status:<8} {rebuilt.ticker}: {rows}{end}"


def event_body(event: Event) -> dict[str, Any]:
    """One event for JSON."""
    return {
        "time": event.time,
        "recorded": event.recorded,
        "type": event.type,
        "version": event.version,
        "subject": event.subject,
        "id": event.id,
        "data": json.loads(event.data),
    }


def event_line(event: Event) -> str:
    """One event for people."""
    return f"{event.time:%Y-%m-%d %H:%M:%S} UTC  {event.type:<24} {event.subject}"


def missing_lines(found: Missing) -> list[str]:
    """What is missing, a gap a line."""
    numbers = [str(g) for g in found.numbers]
    offsets = [
        f"{g.channel}[{g.partition}] offsets {g.first} to {g.last}, gone before they were archived"
        for g in found.offsets
    ]
    return numbers + offsets


def pruned_lines(done: Pruned) -> list[str]:
    """What left the local log, what stays and why."""
    kept = [f"  {reason}" for reason in done.why]
    return [f"{done.events} events left the local log, {done.kept} stay", *kept]
