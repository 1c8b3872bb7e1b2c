"""Whether files of the store are what events tell of, and whether events tell of all of them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping, Set

import pyarrow as pa
import pyarrow.parquet as pq

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.events.model.checks import Check, first_few
from etf_pipeline.events.model.state import EtfState
from etf_pipeline.model import assets
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.outcomes import GOOD
from etf_pipeline.model.schemas import HISTORY, RAW
from etf_pipeline.store.batches import (
    BatchReader,
    collected_at,
    list_batch_ids,
    partitions_with_batches,
)
from etf_pipeline.store.hashing import content_hash, file_hash
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifest_checks import damaged_manifests
from etf_pipeline.store.origins import incomplete
from etf_pipeline.store.reader import file_info, read_table
from etf_pipeline.store.watermark import Watermark

# A download is told by the next tick; for this long it is not missed.
_SOON = dt.timedelta(days=1)
_NAMES = ("subject", "partition", "outcome", "batch_id")
_SUM = 2**64
Etfs = Mapping[str, EtfState]
Batch = tuple[str, str]  # partition and id


class _Told:
    """What events tell of, in one pass over them: of batches, and of histories.

    For each batch `counts` has how many tickers are told to be in it, and a sum of their names that
    changes with any of them.
    """

    def __init__(self, etfs: Etfs) -> None:
        self.hashes: dict[Batch, str | None] = {}
        self.counts: dict[Batch, tuple[int, int]] = {}
        self.histories: dict[str, str | None] = {}
        self.untold: list[str] = []
        for ticker, etf in etfs.items():
            for told in etf.batches:
                batch = (told.partition, told.batch_id)
                self.hashes[batch] = told.batch_hash
                n, total = self.counts.get(batch, (0, 0))
                self.counts[batch] = (n + 1, (total + _name_sum(ticker)) % _SUM)
            if etf.updated is not None:
                self.histories[ticker] = etf.updated.content_hash
            elif any(_old(b.batch_id) for b in etf.batches):
                self.untold.append(ticker)


def store_checks(layout: Layout, etfs: Etfs) -> list[Check]:
    """Every check of the store's files against what events tell of them."""
    told = _Told(etfs)
    return [
        _batches_whole(layout, told),
        _histories_recorded(layout, told),
        _downloads_told(layout, told, etfs),
        _manifests_whole(layout),
    ]


def _batches_whole(layout: Layout, told: _Told) -> Check:
    """Whether each raw batch that an event names, or a history stands on, is the file it was."""
    bad = []
    for (partition, batch_id), digest in sorted(told.hashes.items()):
        path = layout.of(RAW, partition, batch_id)
        if not path.exists():
            bad.append(f"{path} is gone")
        elif digest is not None and file_hash(path) != digest:
            bad.append(f"{path} was changed")
    bad += _gone(layout, {p for p, _ in told.hashes}, {b for _, b in told.hashes})
    # A run that was killed may have left a batch that no event names; a history's footer does.
    bad = bad or [text for ticker, text in incomplete(layout) if ticker in told.histories]
    text = first_few(bad) if bad else f"{len(told.hashes)} batches, as collected"
    return Check("raw batches whole", not bad, text)


def _manifests_whole(layout: Layout) -> Check:
    """Whether each run manifest can be read, and is what was written."""
    bad = list(damaged_manifests(layout))
    return Check("manifests whole", not bad, first_few(bad) if bad else "as runs left them")


def _gone(layout: Layout, partitions: set[str], named: set[str]) -> Iterator[str]:
    """Batches that histories hold, that no event names, and that are gone."""
    there = {batch_id for _, batch_id in _batches(layout)}
    for partition in sorted(partitions):
        for ticker, batch_id in sorted(Watermark.load(layout.watermark(partition)).last.items()):
            if batch_id not in there | named:
                yield f"batch {batch_id}, which the history of {ticker} stands on, is gone"


def _batches(layout: Layout) -> Iterator[Batch]:
    """Partition and id of every raw batch there is."""
    for folder in partitions_with_batches(layout):
        partition = decode_ticker(folder.name)
        for batch_id in list_batch_ids(layout, partition):
            yield partition, batch_id


def _histories_recorded(layout: Layout, told: _Told) -> Check:
    """Whether each history is the one that its newest event tells of."""
    bad = [
        f"{ticker}: no event tells what its history is"
        for ticker in told.untold
        if layout.of(HISTORY, ticker).exists()
    ]
    for ticker, digest in told.histories.items():
        try:
            held = file_info(layout.of(HISTORY, ticker)).content_hash
        except FileNotFoundError:
            bad.append(f"{ticker}: its history is gone; loading it rebuilds it")
            continue
        except CorruptFileError as error:
            bad.append(str(error))
            continue
        if held != digest:
            bad.append(f"{ticker}: its history is not the newest one that an event tells of")
        elif digest is not None and (why := _rewritten(layout, ticker, digest)):
            bad.append(why)
    text = first_few(bad) if bad else f"{len(told.histories)} histories, as the newest events say"
    return Check("histories as recorded", not bad, text)


def _rewritten(layout: Layout, ticker: str, digest: str) -> str | None:
    """What is wrong with the rows of a history whose footer is as recorded; None for nothing."""
    path = layout.of(HISTORY, ticker)
    try:
        same = content_hash(read_table(path).replace_schema_metadata(None)) == digest
    except CorruptFileError as error:
        return str(error)
    except FileNotFoundError:  # replaced or removed meanwhile
        return None
    if same or file_info(path).content_hash != digest:  # or a run published another meanwhile
        return None
    return (
        f"{ticker}: its rows were changed after they were written; move {path} away, and loading "
        "it rebuilds it"
    )


def _downloads_told(layout: Layout, told: _Told, etfs: Etfs) -> Check:
    """Whether an event names each download, from the first one on that an event names.

    A batch that no manifest names either is of a run that was killed before it could say so; its
    rows are in the history, which the next event tells of.
    """
    if not told.counts:
        return Check("downloads told", True, "no event names a download yet")
    doubted = dict(_otherwise(layout, told, min(batch_id for _, batch_id in told.counts)))
    for ticker, etf in etfs.items() if doubted else ():
        for one in etf.batches:
            doubted.get((one.partition, one.batch_id), set()).discard(ticker)
    untold = {(batch, ticker) for batch, tickers in doubted.items() for ticker in tickers}
    missed = untold & _said_by_manifests(layout, {b for b, _ in untold}) if untold else set()
    late = sorted(one for one in missed if _old(one[0][1]))
    if late:
        bad = [f"{ticker} in batch {batch_id}" for (_, batch_id), ticker in late]
        return Check("downloads told", False, f"no event tells of {first_few(bad)}")
    text = f"{sum(n for n, _ in told.counts.values())} downloads, each told"
    waiting, killed = len(missed), len(untold) - len(missed)
    text += f"; {waiting} of the last day not yet" if waiting else ""
    text += f"; {killed} of runs that were killed" if killed else ""
    return Check("downloads told", True, text)


def _otherwise(layout: Layout, told: _Told, first: str) -> Iterator[tuple[Batch, set[str]]]:
    """Batches from one id on that hold other tickers than events tell, and which they hold."""
    with BatchReader(layout) as reader:
        for batch in _batches(layout):
            if batch[1] < first:
                continue
            try:
                tickers = set(reader.batch(*batch).slices)
            except CorruptFileError:  # found by its hash
                continue
            if told.counts.get(batch) != (len(tickers), sum(map(_name_sum, tickers)) % _SUM):
                yield batch, tickers


def _said_by_manifests(layout: Layout, batches: Set[Batch]) -> set[tuple[Batch, str]]:
    """What manifests say was collected into some batches, by batch and ticker."""
    found = set()
    for path in layout.manifest_files(assets.RAW_PRICES):
        try:
            rows = pq.read_table(
                path, columns=list(_NAMES), page_checksum_verification=True
            ).to_pylist()
        except (OSError, pa.ArrowException):  # whoever tells of it parks it
            continue
        for row in rows:
            batch = (row["partition"], row["batch_id"])
            if batch in batches and row["outcome"] in GOOD:
                found.add((batch, row["subject"]))
    return found


def _name_sum(ticker: str) -> int:
    return int.from_bytes(hashlib.blake2b(ticker.encode(), digest_size=8).digest())


def _old(batch_id: str) -> bool:
    return dt.datetime.now(dt.UTC) - collected_at(batch_id) > _SOON
