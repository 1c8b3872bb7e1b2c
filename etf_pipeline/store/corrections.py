"""Versions of the corrections: each content that a run saw is kept, to redo any day by."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from etf_pipeline.history.corrections import corrections_hash, declared_since, of_ticker
from etf_pipeline.model.corrections import Correction
from etf_pipeline.model.file_names import STAMP
from etf_pipeline.model.schemas import CORRECTIONS
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import file_info, read_table
from etf_pipeline.store.store import Store
from etf_pipeline.store.writer import locked, publish

_AFTER = "after"


@dataclass(frozen=True)
class Version:
    """What a run found declared.

    Attributes:
        path: its file.
        corrections: all that was declared.
        after: name of the version that it followed; empty for none.
    """

    path: Path
    corrections: tuple[Correction, ...]
    after: str

    @property
    def name(self) -> str:
        """Its own name; later ones are greater."""
        return self.path.stem

    @property
    def kept_at(self) -> dt.datetime:
        """When it was kept, aware."""
        return _stamp(self.path)


def versions_kept(layout: Layout) -> list[Version]:
    """Every version that was kept, in order.

    Raises:
        CorruptFileError: one is damaged.
    """
    found, before = list[Version](), ""
    for path in layout.files(CORRECTIONS):
        # Earlier releases do not say: they knew of one machine.
        after = str(file_info(path).meta.get(_AFTER, before))
        found.append(Version(path, _read(path), after))
        before = path.stem
    return found


def keep_corrections(
    store: Store, corrections: Sequence[Correction], now: dt.datetime
) -> tuple[Correction, ...]:
    """The corrections as they count from now on, kept as a version if they are new.

    Args:
        store: where versions are kept.
        corrections: as they are declared today.
        now: aware; a version is never older than the one before it.

    Raises:
        LockTimeoutError: another process is keeping a version.
        StoreError: the version cannot be written.
    """
    layout = store.layout
    with locked(layout.lock("corrections", "all"), store.lock_timeout):
        versions = layout.files(CORRECTIONS)
        before = _read(versions[-1]) if versions else ()
        known = before
        if {c.what for c in corrections} - {c.what for c in before}:
            # A file that was away for a while, or a line, counts from the day that it first did.
            known = tuple(c for path in versions for c in _read(path))
        new = tuple(sorted(declared_since(corrections, known, now.date())))
        if [c.identity for c in new] != [c.identity for c in before]:
            stamp = now.astimezone(dt.UTC)
            if versions:
                stamp = max(stamp, _stamp(versions[-1]) + dt.timedelta(microseconds=1))
            table = _table(new)
            name = f"{stamp.strftime(STAMP)}-{content_hash(table)[:8]}"
            after = versions[-1].stem if versions else ""
            publish(layout.of(CORRECTIONS, name), CORRECTIONS, table, {_AFTER: after})
    return new


def corrections_at(layout: Layout, instant: dt.datetime | None = None) -> tuple[Correction, ...]:
    """The newest version that was kept by an instant (aware); None for the newest of all."""
    for path in reversed(layout.files(CORRECTIONS)):
        if instant is None or _stamp(path) <= instant:
            return _read(path)
    return ()


def version_of(layout: Layout, corrections: Sequence[Correction]) -> str | None:
    """Name of the newest version that says just this; None where nothing was ever declared."""
    said = {c.identity for c in corrections}
    for path in reversed(layout.files(CORRECTIONS)):
        if {c.identity for c in _read(path)} == said:
            return path.stem
    return None


def versions_of(layout: Layout, ticker: str) -> Iterator[tuple[Correction, ...]]:
    """Every set of corrections that a ticker ever had, the newest first, each once; never none."""
    seen: set[str | None] = set()
    for path in reversed(layout.files(CORRECTIONS)):
        one = of_ticker(_read(path), ticker)
        if corrections_hash(one) not in seen:
            seen.add(corrections_hash(one))
            yield one
    if None not in seen:
        yield ()


def _stamp(path: Path) -> dt.datetime:
    return dt.datetime.strptime(path.stem.partition("-")[0], STAMP).replace(tzinfo=dt.UTC)


def _table(corrections: Sequence[Correction]) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {**vars(c), "value": None if math.isnan(c.value) else c.value} for c in corrections
    ]
    return pa.Table.from_pylist(rows, schema=CORRECTIONS.arrow)


def _read(path: Path) -> tuple[Correction, ...]:
    return tuple(
        Correction(**{**row, "value": math.nan if row["value"] is None else row["value"]})
        for row in read_table(path).to_pylist()
    )
