"""Dagster's own records: which runs may go, and letting them go by Dagster's API.

Belongs here: runs with their events and logs, ticks, and the SQLite files that they lay in.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import url2pathname

import dagster as dg
from dagster import AssetRecordsFilter, DagsterEventType

from etf_pipeline.orchestration.jobs import STORE_TAG, store_tags
from etf_pipeline.orchestration.kept_open import sqlite_files

# When a run began by the pipeline's clock; Dagster's own times are those of its database.
CLOCK_TAG = "etf/clock"
_PAGE = 500
# SQLite keeps pages of what was deleted for what comes: below this they are few.
_FREE_SHARE, _FREE_BYTES = 0.25, 2**20
# Writing a file anew locks others out; Dagster waits for 30 seconds.
_LARGEST = 256 * 2**20
_BUSY_SECONDS = 2.0


@dataclass(frozen=True)
class OldRun:
    """A run that may go: when it was, and the bytes of its own files."""

    run_id: str
    day: dt.date
    size: int


@dataclass
class Runs:
    """The runs of one store in an instance.

    Attributes:
        expired: may go, oldest first.
        kept: how many stay.
        waiting: how many are older than is kept and stay, by why.
        elsewhere: runs of other stores and of others' jobs, which are never touched.
    """

    expired: list[OldRun] = field(default_factory=list)
    kept: int = 0
    waiting: dict[str, int] = field(default_factory=dict)
    elsewhere: int = 0


class Records:
    """What one Dagster instance has recorded of one store."""

    def __init__(self, instance: dg.DagsterInstance, root: Path) -> None:
        self._instance = instance
        self._root = root.resolve()
        self._tags = store_tags(root)

    def judged(self, before: dt.datetime, held: Callable[[str], str | None]) -> Runs:
        """Which runs may go.

        A run stays when it is unfinished, began at `before` or later, has the newest
        materialisation of an asset or of a partition of one, or is held.

        Args:
            before: aware.
            held: why a run has to stay, by its id, however old it is.
        """
        found, newest = Runs(), self._newest()
        for record in self._all():
            run = record.dagster_run
            if not self._ours(run):
                found.elsewhere += 1
                continue
            began = _began(record)
            if not run.is_finished or began >= before or run.run_id in newest:
                found.kept += 1
            elif (why := held(run.run_id)) is not None:
                found.kept += 1
                found.waiting[why] = found.waiting.get(why, 0) + 1
            else:
                size = sum(_size(p) for p in self._files(run.run_id))
                found.expired.append(OldRun(run.run_id, began.date(), size))
        found.expired.sort(key=lambda r: (r.day, r.run_id))
        return found

    def let_go(self, run_id: str) -> None:
        """Delete a run, its events and its logs; what a killed process left of it goes next time.

        The run itself goes last: it is what all else is found by.
        """
        instance = self._instance
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.event_log_storage.delete_events(run_id)
        instance.delete_run(run_id)
        for path in self._files(run_id):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            Path(instance.storage_directory(), run_id).rmdir()

    def leftovers(self) -> list[Path]:
        """Files of runs that are no longer there: Dagster leaves one when it deletes a run."""
        found = []
        for path in self._shards():
            try:
                uuid.UUID(path.stem)
            except ValueError:
                continue
            if not self._instance.has_run(path.stem):
                found += self._files(path.stem)
        return found

    def purge_ticks(self, before: dt.datetime) -> int:
        """Delete ticks of schedules and sensors, but the newest of each; returns how many."""
        gone = 0
        for state in self._instance.all_instigator_state():
            ticks = self._instance.get_ticks(state.instigator_origin_id, state.selector_id)
            old = [t for t in ticks[1:] if t.timestamp < before.timestamp()]
            if old:
                upto = min(before.timestamp(), ticks[0].timestamp)
                self._instance.purge_ticks(state.instigator_origin_id, state.selector_id, upto)
                gone += len(old)
        return gone

    def give_back(self) -> tuple[int, list[str]]:
        """Give the disk back what was deleted from SQLite files; bytes, and what was not."""
        freed, left = 0, []
        for path in sqlite_files(self._instance):
            before = _size(path)
            try:
                if _vacuumed(path):
                    freed += max(0, before - _size(path))
            except sqlite3.OperationalError as error:
                left.append(f"{path.name}: {error}; its free pages are used for what comes")
        return freed, left

    def size(self) -> int:
        """Bytes of all files in the instance's folder; 0 for one elsewhere."""
        home = Path(self._instance.root_directory)
        return sum(_size(p) for p in home.rglob("*") if p.is_file())

    def _all(self) -> Iterator[dg.RunRecord]:
        cursor = None
        while page := self._instance.get_run_records(limit=_PAGE, cursor=cursor):
            yield from page
            cursor = page[-1].dagster_run.run_id

    def _ours(self, run: dg.DagsterRun) -> bool:
        """Whether a run says that it worked on this store; its id decides where it has one."""
        for tag in reversed(self._tags):
            if tag in run.tags:
                return run.tags[tag] == self._tags[tag]
        # Of the UI, which gives no tags: by the files that it says it wrote.
        return STORE_TAG not in run.tags and self._wrote_here(run.run_id)

    def _wrote_here(self, run_id: str) -> bool:
        made = self._instance.get_records_for_run(
            run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION, limit=_PAGE
        ).records
        places = []
        for record in made:
            materialisation = record.asset_materialization
            uri = materialisation.metadata.get("dagster/uri") if materialisation else None
            places.append(str(getattr(uri, "value", "")))
        return bool(places) and all(_below(self._root, p) for p in places)

    def _newest(self) -> set[str]:
        """Runs with the newest materialisation of an asset, or of a partition of one."""
        found = set()
        for key in self._instance.all_asset_keys():
            last = self._instance.get_latest_materialization_event(key)
            if last is not None:
                found.add(last.run_id)
            ids = self._instance.event_log_storage.get_latest_storage_id_by_partition(
                key, DagsterEventType.ASSET_MATERIALIZATION
            )
            numbers = sorted(ids.values())
            for i in range(0, len(numbers), _PAGE):
                chosen = AssetRecordsFilter(key, storage_ids=numbers[i : i + _PAGE])
                page = self._instance.fetch_materializations(chosen, _PAGE)
                found |= {r.run_id for r in page.records}
        return found

    def _files(self, run_id: str) -> list[Path]:
        """Files that hold nothing but events of a run; none where Dagster has a database."""
        if self._path_of is None:
            return []
        shard = Path(self._path_of(run_id))
        beside = [shard.with_name(f"{shard.name}{end}") for end in ("", "-wal", "-shm")]
        return [p for p in beside if p.exists()]

    @property
    def _path_of(self) -> Callable[[str], str] | None:
        """Where events of a run are, for a storage that has a file for each: SQLite's."""
        return getattr(self._instance.event_log_storage, "path_for_shard", None)

    def _shards(self) -> list[Path]:
        if self._path_of is None:
            return []
        return sorted(Path(self._path_of("any")).parent.glob("*.db"))


def clock_tags(now: dt.datetime) -> dict[str, str]:
    """Tags of a run that say when it began by the pipeline's clock."""
    return {CLOCK_TAG: now.isoformat()}


def _began(record: dg.RunRecord) -> dt.datetime:
    told = record.dagster_run.tags.get(CLOCK_TAG)
    with contextlib.suppress(ValueError):
        if told is not None and (moment := dt.datetime.fromisoformat(told)).tzinfo is not None:
            return moment.astimezone(dt.UTC)
    return record.create_timestamp.astimezone(dt.UTC)


def _below(root: Path, uri: str) -> bool:
    _, scheme, rest = uri.partition("file://")
    return bool(scheme) and Path(url2pathname(rest)).is_relative_to(root)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _vacuumed(path: Path) -> bool:
    """Write a database anew if much of it is free; whether that was done.

    Raises:
        sqlite3.OperationalError: others are writing, or the disk has no room for it.
    """
    with contextlib.closing(sqlite3.connect(path, _BUSY_SECONDS, isolation_level=None)) as db:
        free, pages, page = (
            int(db.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("freelist_count", "page_count", "page_size")
        )
        if free * page < _FREE_BYTES or free < _FREE_SHARE * pages or pages * page > _LARGEST:
            return False
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return True
