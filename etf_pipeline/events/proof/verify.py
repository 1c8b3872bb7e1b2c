"""Is everything there, and is it what was written? Each check says so in a line."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etf_pipeline.errors import CorruptFileError, EtfError, EventFormatError, TamperError
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.state import SystemState
from etf_pipeline.events.model.types import CHANNELS, REGISTRY
from etf_pipeline.events.proof.archive import archived_chain, check_seam
from etf_pipeline.model.schemas import HISTORY, RAW
from etf_pipeline.store.hashing import file_hash
from etf_pipeline.store.reader import file_info

if TYPE_CHECKING:
    from etf_pipeline.library.system import ETFSystem

_SHOWN = 5
_LATE = 0.5


@dataclass(frozen=True)
class Check:
    """One check: its name, whether it holds, and what was found."""

    name: str
    ok: bool
    detail: str


def verify(system: ETFSystem) -> list[Check]:
    """Every check of a store's events, in order."""
    checks = [_chain(system), _archive(system)]
    state = SystemState()
    bad: list[str] = []
    upto = system.recorder.log.last_recorded_before(2**62)
    try:
        for batch in system.events():
            state.apply(batch)
            bad += _unreadable(batch)
    except EtfError as error:
        return [*checks, Check("events readable", False, str(error))]
    names = _first(bad) if bad else f"{len(state)} events, each once"
    checks.append(Check("events readable", not bad, names))
    checks.append(_sent(system, state, upto))
    if system.mode == "kafka" and system.recorder.settings.event_store_retention_days > 0:
        checks.append(_archived_in_time(system))
    checks += [_batches(system, state), _histories(system, state)]
    return checks


def _chain(system: ETFSystem) -> Check:
    try:
        found = system.recorder.log.verify()
        seq, anchor = system.recorder.log.anchor()
        if system.mode == "embedded" and archived_chain(system.archive, seq) != anchor:
            raise TamperError(f"{system.archive.root}: does not lead up to the log")
    except EtfError as error:
        return Check("log untouched", False, str(error))
    return Check("log untouched", True, f"{found.events} events, head {found.head}")


def _unreadable(batch: list[Event]) -> Iterator[str]:
    for event in batch:
        try:
            REGISTRY.parse(event.type, event.version, event.data)
        except EventFormatError as error:
            yield f"{event.id}: {error}"


def _archive(system: ETFSystem) -> Check:
    try:
        files = system.archive.files()
        n = sum(len(batch) for batch in system.archive.read())
    except EtfError as error:
        return Check("archive untouched", False, str(error))
    return Check("archive untouched", True, f"{n} events in {len(files)} files")


def _sent(system: ETFSystem, state: SystemState, upto: int) -> Check:
    """Whether all that was recorded here up to number `upto` is among what was read."""
    if system.mode != "kafka":
        return Check("all sent", True, "nothing is to be sent in this mode")
    there = state.event_ids
    gone = [
        e.id
        for batch in system.recorder.log.read()
        for e in batch
        if e.position <= upto and e.id not in there
    ]
    if gone:
        text = f"Kafka confirmed {len(gone)} events and has them no longer; they are sent again"
        return Check("all sent", False, f"{text} while any process that records is open")
    waiting = system.recorder.log.count_pending()
    if not waiting:
        return Check("all sent", True, "every event of this machine is in Kafka or the archive")
    return Check("all sent", False, f"{waiting} events wait for Kafka; none is lost")


def _archived_in_time(system: ETFSystem) -> Check:
    """Whether the archive is far enough ahead of the brokers' retention."""
    days = system.recorder.settings.event_store_retention_days
    late = []
    try:
        start = check_seam(system.store, system.archive)
        reader = system.recorder.kafka.reader
        for (channel, partition), (low, high) in reader.ranges(CHANNELS).items():
            first = max(low, start.get((channel, partition), 0))
            event = reader.event_at(channel, partition, first) if first < high else None
            if event is not None:
                age = (dt.datetime.now(dt.UTC) - event.recorded).total_seconds() / 86_400
                if age > _LATE * days:
                    late.append(f"{channel}[{partition}]: {age:.0f} days old of {days}")
    except EtfError as error:
        return Check("archived in time", False, str(error))
    text = "run `etf events archive`: " + _first(late) if late else "well before retention"
    return Check("archived in time", not late, text)


def _batches(system: ETFSystem, state: SystemState) -> Check:
    named = {
        (b.partition, b.batch_id): b.batch_hash for e in state.etfs.values() for b in e.batches
    }
    bad = []
    for (partition, batch_id), digest in sorted(named.items()):
        path = system.layout.of(RAW, partition, batch_id)
        if not path.exists():
            bad.append(f"{path} is gone")
        elif digest is not None and file_hash(path) != digest:
            bad.append(f"{path} was changed")
    text = _first(bad) if bad else f"{len(named)} batches, as collected"
    return Check("raw batches whole", not bad, text)


def _histories(system: ETFSystem, state: SystemState) -> Check:
    bad, n = [], 0
    for ticker, etf in state.etfs.items():
        if etf.updated is None:
            continue
        path = system.layout.of(HISTORY, ticker)
        n += 1
        try:
            held = file_info(path).content_hash
        except FileNotFoundError:
            bad.append(f"{ticker}: its history is gone; loading it rebuilds it")
            continue
        except CorruptFileError as error:
            bad.append(str(error))
            continue
        if held != etf.updated.content_hash:
            bad.append(f"{ticker}: its history is not the newest one that an event tells of")
    text = _first(bad) if bad else f"{n} histories, as the newest events say"
    return Check("histories as recorded", not bad, text)


def _first(problems: list[str]) -> str:
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more
