"""Is everything there, and is it what was written? Each check says so in a line."""

from __future__ import annotations

from collections.abc import Iterator

from etf_pipeline.errors import CorruptFileError, EtfError, EventFormatError
from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.model.checks import Check, first_few
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.state import SystemState
from etf_pipeline.events.model.types import REGISTRY
from etf_pipeline.events.proof.archiving import read_all
from etf_pipeline.events.protocol import Events
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.schemas import HISTORY, RAW
from etf_pipeline.store.batches import list_batch_ids, partitions_with_batches
from etf_pipeline.store.hashing import file_hash
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import file_info
from etf_pipeline.store.watermark import Watermark


def verify(events: Events, layout: Layout) -> list[Check]:
    """Every check of a store's events, in order."""
    archive = Archive(layout)
    checks = [_chain(events, archive), _archive(archive)]
    state = SystemState()
    bad: list[str] = []
    try:
        for batch in read_all(events, archive):
            state.apply(batch)
            bad += _unreadable(batch)
    except EtfError as error:
        return [*checks, Check("events readable", False, str(error))]
    names = first_few(bad) if bad else f"{len(state)} events, each once"
    checks.append(Check("events readable", not bad, names))
    checks += events.delivery_checks(archive)
    return [*checks, _batches(layout, state), _histories(layout, state)]


def _chain(events: Events, archive: Archive) -> Check:
    try:
        found = events.verify_log(archive)
    except EtfError as error:
        return Check("log untouched", False, str(error))
    return Check("log untouched", True, f"{found.events} events, head {found.head}")


def _unreadable(batch: list[Event]) -> Iterator[str]:
    for event in batch:
        try:
            REGISTRY.parse(event.type, event.version, event.data)
        except EventFormatError as error:
            yield f"{event.id}: {error}"


def _archive(archive: Archive) -> Check:
    try:
        files = archive.files()
        n = sum(len(batch) for batch in archive.read())
    except EtfError as error:
        return Check("archive untouched", False, str(error))
    return Check("archive untouched", True, f"{n} events in {len(files)} files")


def _batches(layout: Layout, state: SystemState) -> Check:
    named = {
        (b.partition, b.batch_id): b.batch_hash for e in state.etfs.values() for b in e.batches
    }
    bad = []
    for (partition, batch_id), digest in sorted(named.items()):
        path = layout.of(RAW, partition, batch_id)
        if not path.exists():
            bad.append(f"{path} is gone")
        elif digest is not None and file_hash(path) != digest:
            bad.append(f"{path} was changed")
    bad += _gone(layout, {partition for partition, _ in named}, {b for _, b in named})
    text = first_few(bad) if bad else f"{len(named)} batches, as collected"
    return Check("raw batches whole", not bad, text)


def _gone(layout: Layout, partitions: set[str], named: set[str]) -> Iterator[str]:
    """Batches that histories hold, that no event names, and that are gone."""
    there = {
        batch_id
        for folder in partitions_with_batches(layout)
        for batch_id in list_batch_ids(layout, decode_ticker(folder.name))
    }
    for partition in sorted(partitions):
        for ticker, batch_id in sorted(Watermark.load(layout.watermark(partition)).last.items()):
            if batch_id not in there | named:
                yield f"batch {batch_id}, which the history of {ticker} stands on, is gone"


def _histories(layout: Layout, state: SystemState) -> Check:
    bad, n = [], 0
    for ticker, etf in state.etfs.items():
        if etf.updated is None:
            continue
        path = layout.of(HISTORY, ticker)
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
    text = first_few(bad) if bad else f"{n} histories, as the newest events say"
    return Check("histories as recorded", not bad, text)
