"""What the hash chain does not vouch for: the numbers that events have, and whose they are.

The order of a log does: within each channel its events are numbered from 1 on as they follow each
other, and each names the store it is of, under the hash.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.log.retention import origin_of, origins_of
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.checks import Check, first_few
from etf_pipeline.events.model.envelope import LINEAGE_SOURCE, source_of
from etf_pipeline.store.reader import read_table

I64 = npt.NDArray[np.int64]


class _Placed(NamedTuple):
    """Events of one channel: their numbers in the log, and those in the channel."""

    positions: list[I64]
    numbers: list[I64]


def numbering(log: SqliteLog, archive: Archive, store: str) -> Check:
    """Whether the log's events have the numbers that follow from their order, and are all its own.

    Args:
        log: the local log, whose chain is whole.
        archive: what it was archived into.
        store: id of the store.

    Raises:
        CorruptFileError: an archive file cannot be read.
    """
    placed: dict[str, _Placed] = {}
    sources = set(log.sources())
    begin = log.begun_after
    for channel, positions, numbers in _everything(log, archive, sources):
        after = positions > begin
        if after.any():
            there = placed.setdefault(channel, _Placed([], []))
            there.positions.append(positions[after])
            there.numbers.append(numbers[after])
    bad = [why for channel in sorted(placed) for why in _wrong(log, channel, placed[channel])]
    bad += _foreign(log, archive, store, sources)
    text = first_few(bad) if bad else f"as the order of events gives them, all of store {store}"
    return Check("numbers and store", not bad, text)


def _everything(
    log: SqliteLog, archive: Archive, sources: set[str]
) -> Iterator[tuple[str, I64, I64]]:
    """Channel, positions and numbers; `sources` takes what archived events say they are of."""
    for page in log.placing():
        channels = np.array([c for _, c, _ in page], object)
        positions = np.array([p for p, _, _ in page], np.int64)
        numbers = np.array([n for _, _, n in page], np.int64)
        for channel in set(channels.tolist()):
            mine = channels == channel
            yield channel, positions[mine], numbers[mine]
    for file in archive.files_of(origin_of(log)):
        table = read_table(file.path, ["position", "number", "source"])
        sources.update(pc.unique(table.column("source")).to_pylist())
        yield file.channel, *(table.column(n).to_numpy() for n in ("position", "number"))


def _wrong(log: SqliteLog, channel: str, placed: _Placed) -> Iterator[str]:
    pairs = np.stack([np.concatenate(column) for column in placed], axis=1)
    pairs = np.unique(pairs, axis=0)
    right = np.arange(1, len(pairs) + 1)
    wrong = np.flatnonzero(pairs[:, 1] != right)
    if len(wrong):
        position, number = pairs[wrong[0]].tolist()
        yield (
            f"event {position} of {log.path} has the number {number} in {channel}, and follows on "
            f"{int(wrong[0])} there: numbers were changed, in the log or in the archive"
        )


def _foreign(
    log: SqliteLog, archive: Archive, store: str, sources: AbstractSet[str]
) -> Iterator[str]:
    """Events of the log that say they are of another store."""
    found = set(sources)
    for origin in origins_of(log)[1:]:  # those of the first were read
        for file in archive.files_of(origin):
            found.update(pc.unique(read_table(file.path, ["source"]).column(0)).to_pylist())
    for source in sorted(found - {source_of(store), LINEAGE_SOURCE}):
        yield (
            f"{log.path} has events of {source}, and this is store {store}: the id of the store "
            "was changed, or the log is another's"
        )
