"""What is older than is kept: which dated tables and manifests may go, and letting them go.

Only what this package wrote is ever looked at: a file with its name, in its place, whose footer
says so. Ages are those of the data, by the sessions in names and the times in footers; the times
of files say nothing.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from etf_pipeline.errors import CorruptFileError, StoreError
from etf_pipeline.model import assets
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.schemas import DATED, MANIFEST, Granularity, Table
from etf_pipeline.store.batches import list_batch_ids, open_batch, partitions_with_batches
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifest_footers import manifest_footer
from etf_pipeline.store.reader import file_info, read_table


@dataclass(frozen=True)
class Held:
    """A file of ours: the day that it counts from, its size in bytes, its content."""

    path: Path
    day: dt.date
    size: int
    content_hash: str


@dataclass
class Judged:
    """The files of one kind: a table, or the manifests of an asset.

    Attributes:
        expired: may go, oldest first.
        kept: how many stay, of `kept_bytes`.
        waiting: how many are older than is kept and stay, by why.
        others: files in these places that this package did not write; they are never touched.
        damaged: files that cannot be read; they are not touched either.
    """

    kind: str
    expired: list[Held] = field(default_factory=list)
    kept: int = 0
    kept_bytes: int = 0
    waiting: dict[str, int] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)

    def keep(self, held: Held, why: str | None = None) -> None:
        """Count a file that stays; `why` when it is older than is kept."""
        self.kept += 1
        self.kept_bytes += held.size
        if why is not None:
            self.waiting[why] = self.waiting.get(why, 0) + 1


def newest_session(layout: Layout) -> dt.date | None:
    """The newest day of any dated table; None before the first."""
    days = [day for table in DATED for day, _ in _days(layout, table)]
    return max(days, default=None)


def overdue(layout: Layout, days: int) -> int:
    """How many dated files are beyond what is kept; opened only where their names say so."""
    count = 0
    for table in DATED:
        found = [day for day, _ in _days(layout, table)]
        last_of_month = {(d.year, d.month): d for d in found}
        old = [d for d in found if d < found[-1] - dt.timedelta(days=days)]
        if any(d != last_of_month[d.year, d.month] for d in old):
            count += len(judged_days(layout, table, days).expired)
    return count


def judged_days(layout: Layout, table: Table, days: int, needed: Iterable[Path] = ()) -> Judged:
    """The dated files of a table.

    A file stays when it is not more than `days` days older than the table's newest one, or is the
    last of its month.

    Args:
        layout: of the store.
        table: which one, of `DATED`.
        days: calendar days that dailies are kept.
        needed: files that somebody has to read yet.
    """
    found, held = Judged(table.name, others=layout.strays(table)), list[Held]()
    for day, path in _days(layout, table):
        try:
            ours = _ours(path, table, day)
        except CorruptFileError:
            found.damaged.append(path)
            continue
        if ours is not None:
            held.append(ours)
        elif path.exists():
            found.others.append(path)
    last_of_month = {(h.day.year, h.day.month): h.day for h in held}
    waited_for = frozenset(needed)
    for one in held:
        old = one.day < held[-1].day - dt.timedelta(days=days)
        if not old or one.day == last_of_month[one.day.year, one.day.month]:
            found.keep(one)
        elif one.path in waited_for:
            found.keep(one, "the events of their run are not recorded yet")
        else:
            found.expired.append(one)
    return found


def judged_manifests(
    layout: Layout, asset: str, before: dt.date, waits: Callable[[Path], bool]
) -> Judged:
    """The manifests of an asset.

    A manifest stays when it was recorded on `before` or later, when it is the newest of its
    partition, when it names a raw batch (it says of which run and of whom those are, and tells
    when one is lost), and when its events wait to be recorded.

    Args:
        layout: of the store.
        asset: whose manifests.
        before: day (UTC) from which on all stay.
        waits: whether the events of a manifest are to be recorded yet.
    """
    found = Judged(f"manifests of {asset}")
    newest: dict[str, tuple[dt.datetime, Path]] = {}
    footers = []
    for path in layout.manifest_files(asset):
        footer = None
        try:
            footer = None if path.is_symlink() else manifest_footer(path)
        except CorruptFileError:
            found.damaged.append(path)
            continue
        except FileNotFoundError:
            continue
        if footer is None or footer.asset != asset or footer.recorded_at is None:
            found.others += [path] if path.exists() else []
            continue
        footers.append((footer.recorded_at, footer))
        mine = (footer.recorded_at, path)
        newest[footer.partition] = max(newest.get(footer.partition, mine), mine)
    stay = {path for _, path in newest.values()} | _of_newest_batches(layout, asset)
    for recorded_at, footer in sorted(footers, key=lambda one: (one[0], one[1].path.name)):
        held = Held(footer.path, recorded_at.date(), footer.size, footer.content_hash)
        if held.day >= before or held.path in stay:
            found.keep(held)
        elif asset == assets.RAW_PRICES and footer.names_batch:
            found.keep(held, "they name raw batches, which are kept for ever")
        elif waits(held.path):
            found.keep(held, "their events are not recorded yet")
        else:
            found.expired.append(held)
    return found


def files_of(layout: Layout, manifest: Path) -> Iterator[Path]:
    """The dated files that what a manifest tells is told from: all of the day that it names.

    Raises:
        CorruptFileError: the manifest is not readable Parquet.
    """
    for named in set(read_table(manifest, ["path"]).column("path").to_pylist()) - {None}:
        with contextlib.suppress(ValueError):
            day = layout.as_of(layout.absolute(named))
            yield from (layout.of(table, day) for table in DATED)


def let_go(held: Held, table: Table) -> bool:
    """Remove a file that is still what was judged; whether it is gone by that.

    On POSIX whoever has it open reads on. Its folder goes with the last file in it.

    Raises:
        StoreError: it cannot be removed.
    """
    try:
        info = file_info(held.path)
        if info.content_hash != held.content_hash or info.meta.get("table") != table.name:
            return False
        held.path.unlink()
    except (FileNotFoundError, CorruptFileError):
        return False
    except OSError as error:
        raise StoreError(
            f"{held.path} cannot be removed: {error.strerror or error}; make its folder writable, "
            "or end who has it open, and run `etf maintain` again"
        ) from error
    if table.granularity is Granularity.AS_OF:
        with contextlib.suppress(OSError):  # somebody else's file is in it
            held.path.parent.rmdir()
    return True


def _days(layout: Layout, table: Table) -> list[tuple[dt.date, Path]]:
    """Files of a table where ours would be, by day; nothing is read."""
    return sorted((layout.as_of(path), path) for path in layout.files(table))


def _ours(path: Path, table: Table, day: dt.date) -> Held | None:
    """A file of a table, if this package wrote it; what a link leads to is somebody else's.

    Raises:
        CorruptFileError: it cannot be read.
    """
    if _linked(path):
        return None
    try:
        info, size = file_info(path), path.stat().st_size
    except FileNotFoundError:
        return None
    digest, named = info.content_hash, info.meta.get("table")
    return Held(path, day, size, digest) if digest is not None and named == table.name else None


def _linked(path: Path) -> bool:
    """Whether a file, or the folder of its day, is a link to somewhere else."""
    return path.is_symlink() or path.parent.is_symlink()


def _of_newest_batches(layout: Layout, asset: str) -> set[Path]:
    """Manifests without which the newest batch of a partition would count as a killed run's."""
    found: set[Path] = set()
    for folder in partitions_with_batches(layout) if asset == assets.RAW_PRICES else ():
        partition = decode_ticker(folder.name)
        for batch_id in list_batch_ids(layout, partition)[-1:]:
            with contextlib.suppress(CorruptFileError, FileNotFoundError):
                said = open_batch(layout, partition, batch_id).run
                if said is not None:
                    found.add(layout.of(MANIFEST, asset, said["run_id"], partition))
    return found
