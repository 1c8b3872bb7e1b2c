"""Marks of stages that are under way: one that is left over says that a run ended without a word.

A mark is made before a stage begins and goes when its end is recorded. A process that was killed
leaves it behind, and so does one that could record nothing, which then says so in it. It is made
beside the locks, so that it does not need the folder that could not be written. Where the disk is
full it is left empty, which takes no room; what it is about is in its name.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from etf_pipeline.errors import DiskFullError, ReasonCode
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.processes import FOREIGN_SECONDS, HOST, has_ended, process_name, started_at
from etf_pipeline.store.writer import write_text

_FULL = (
    "the disk was full, so that how it went could not be recorded; what was published is whole: "
    "free some space and run again"
)
# Of the file: the asset, the partition, and the run, whose id is a UUID.
_NAME = re.compile(r"([^-]+)-(.+)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.json")


@dataclass(frozen=True)
class Begun:
    """A stage that a run has begun.

    Attributes:
        asset: that the stage makes.
        partition: that it is about; empty for none.
        run_id: of the run.
        at: when it began, aware.
        over: the run that the stage had a record of then; None for none.
        unrecorded: why it did not come out, where that could not be recorded.
        code: of that.
        process: that carries it out; empty where the disk had no room for it.
        process_began: in seconds since 1970; None where that is not known.
        age: of the mark, in seconds.
    """

    asset: str
    partition: str
    run_id: str
    at: dt.datetime
    over: str | None = None
    unrecorded: str | None = None
    code: ReasonCode = ReasonCode.STORE_UNUSABLE
    process: str = field(default_factory=process_name)
    process_began: float | None = field(default_factory=lambda: started_at(os.getpid()))
    age: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether its process is gone; of another host's nothing is known, so after a day."""
        if not self.process:
            return True
        if not self.process.startswith(f"{HOST}-"):
            return self.age > FOREIGN_SECONDS
        return has_ended(self.process, self.process_began)


def write_mark(layout: Layout, begun: Begun) -> None:
    """Make the mark, in place of one of the same run.

    Raises:
        StoreError: it cannot be written; where the disk is full, an empty one is there.
    """
    path = layout.begun(begun.asset, begun.partition, begun.run_id)
    body = asdict(begun) | {"at": begun.at.isoformat()}
    del body["age"]
    try:
        write_text(path, json.dumps(body))
    except DiskFullError:
        with contextlib.suppress(OSError):
            path.touch()
            os.truncate(path, 0)
        raise


def read_marks(layout: Layout) -> list[Begun]:
    """Every mark that is there and can be read, the oldest first."""
    found = (_read(path) for path in layout.begun_files())
    return sorted((b for b in found if b is not None), key=lambda b: b.at)


def remove_marks(layout: Layout, asset: str, partition: str, run_id: str) -> None:
    """Remove the mark of a run, and those of the same stage whose processes are gone."""
    for path in layout.begun_files():
        begun = _read(path)
        if begun is None or (begun.asset, begun.partition) != (asset, partition):
            continue
        if begun.run_id == run_id or begun.ended:
            path.unlink(missing_ok=True)


def _read(path: Path) -> Begun | None:
    try:
        written = path.stat().st_mtime
        age = time.time() - written
        text = path.read_text(encoding="utf-8")
        if not text:
            return _empty(path, written, age)
        body = json.loads(text)
        told = {"at": dt.datetime.fromisoformat(body["at"]), "age": age}
        codes = (c for c in ReasonCode if c.value == body.get("code"))
        code = next(codes, ReasonCode.STORE_UNUSABLE)
        return Begun(**body | told | {"code": code})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _empty(path: Path, written: float, age: float) -> Begun | None:
    """What a mark says that the disk had no room for."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        return None
    asset, encoded, run_id = found.groups()
    partition = decode_ticker(encoded)
    return Begun(
        asset,
        "" if partition == "ALL" else partition,
        run_id,
        dt.datetime.fromtimestamp(written, dt.UTC),
        unrecorded=_FULL,
        code=ReasonCode.DISK_FULL,
        process="",
        process_began=None,
        age=age,
    )
