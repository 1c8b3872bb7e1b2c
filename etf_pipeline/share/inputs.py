"""Files that each machine has for itself and makes shared tables from: a difference is told of.

Such are the files that people edit and the price files that a user has put into one working copy
alone. Nobody can tell which is right, and machines would publish other numbers in turn: so each
leaves in the share what it works with (`machines/….json`), and warns of whoever works with other.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from etf_pipeline.errors import CorruptFileError, UnreadableFileError
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.share.copy import Copy, digest_of, read_whole
from etf_pipeline.share.place import TakenError
from etf_pipeline.share.publishing import unpublished
from etf_pipeline.store.processes import HOST
from etf_pipeline.store.reader import file_info

log = logging.getLogger(__name__)
_FOLDER = "machines"
_DAYS = 7  # a machine that has made nothing for longer is not spoken of


@dataclass(frozen=True)
class _Machine:
    """What a machine works with: `files` are SHA-256 (hex) by what the file is."""

    name: str
    day: dt.date
    files: Mapping[str, str]

    @property
    def text(self) -> str:
        said = {"name": self.name, "day": self.day.isoformat(), "files": dict(self.files)}
        return json.dumps(said, sort_keys=True)

    @classmethod
    def parsed(cls, text: str) -> _Machine:
        said = json.loads(text)
        files = {str(k): str(v) for k, v in said["files"].items()}
        return cls(str(said["name"]), dt.date.fromisoformat(said["day"]), files)


def tell_differences(copy: Copy, files: Mapping[str, Path], now: dt.datetime) -> None:
    """Warn of files that this machine and another make tables from, and that are not the same.

    Args:
        copy: the working copy; the share's histories have been pulled.
        files: those that people edit, by what they are.
        now: aware.

    Raises:
        ShareAwayError: the share does not answer.
    """
    ours = _Machine(_own_name(copy), now.date(), _digests(copy, files))
    mine = _record_of(ours.name)
    there = copy.place.list(_FOLDER)
    known = None
    for name in sorted(there):
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            text = copy.bytes_of(name).decode()
            if name == mine:
                known = text
                continue
            other = _Machine.parsed(text)
            if abs((ours.day - other.day).days) <= _DAYS:
                _compare(copy, files, ours, other)
    if known != ours.text:
        with suppress(TakenError, FileNotFoundError):  # another process of this machine did it
            if mine in there:
                copy.place.replace(mine, ours.text.encode(), there[mine])
            else:
                copy.place.create(mine, ours.text.encode())


def is_as_recorded(copy: Copy, what: str, path: Path) -> bool:
    """Whether a file of people's is the one that this machine made tables from last.

    Raises:
        ShareAwayError: the share does not answer.
    """
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        known = _Machine.parsed(copy.bytes_of(_record_of(_own_name(copy))).decode())
        return known.files.get(what) == digest_of(read_whole(path) or b"")
    return False


def _own_name(copy: Copy) -> str:
    return f"{HOST}:{copy.layout.root.resolve()}"


def _record_of(name: str) -> str:
    return f"{_FOLDER}/{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


def _compare(copy: Copy, files: Mapping[str, Path], ours: _Machine, other: _Machine) -> None:
    for what in sorted({*ours.files, *other.files}):
        if ours.files.get(what) == other.files.get(what):
            continue
        path = files.get(what, copy.layout.absolute(what))
        log.warning(
            "%s (%s) is not the same on this machine (%s) as on %s: tables in the share %s come "
            "out differently by who makes them; make it equal on both, or put a file of prices "
            "into the share, or move it away",
            *(path, what, ours.name, other.name, copy.url),
        )


def _digests(copy: Copy, files: Mapping[str, Path]) -> dict[str, str]:
    found = {what: digest_of(read_whole(path) or b"") for what, path in files.items()}
    return found | {
        name: digest_of(read_whole(copy.names.path(name)) or b"") for name in _own(copy)
    }


def _own(copy: Copy) -> Iterator[str]:
    """Histories here that a user wrote, and that are not what the share has under their names."""
    for name in unpublished(copy, (HISTORY,)):
        with suppress(CorruptFileError, UnreadableFileError, FileNotFoundError):
            if not file_info(copy.names.path(name)).ours:
                yield name
