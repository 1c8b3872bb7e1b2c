"""Which files lie below a folder.

Not `pathlib` or `glob`: for them a folder that cannot be opened is one in which nothing is, and a
table without rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from etf_pipeline.errors import StoreError

_WILD = frozenset("*?[")
_NOT_THERE = (FileNotFoundError, NotADirectoryError)  # or gone while it is looked at


def matching(root: Path, pattern: str) -> list[Path]:
    """What lies below a folder by a pattern, in order of name; nothing where there is no folder.

    Args:
        root: the folder.
        pattern: with `/` between folders; `*`, `?` and `[…]` never stand for a leading dot.

    Raises:
        StoreError: a folder on the way cannot be opened.
    """
    return sorted(_below(root, pattern.split("/")))


def any_matching(root: Path, pattern: str) -> bool:
    """Whether anything does; every folder is opened, and no file is.

    Raises:
        StoreError: a folder on the way cannot be opened.
    """
    *way, last = pattern.split("/")
    folders = _below(root, way) if way else (root,)
    found = [_names(folder, last) for folder in folders]  # not only up to the first
    return any(found)


def _below(folder: Path, parts: list[str]) -> Iterator[Path]:
    here, *rest = parts
    for name in _names(folder, here):
        if not rest:
            yield folder / name
        else:
            yield from _below(folder / name, rest)


def _names(folder: Path, part: str) -> list[str]:
    try:
        if _WILD.isdisjoint(part):
            (folder / part).lstat()
            return [part]
        return [
            name
            for name in os.listdir(folder)  # noqa: PTH208
            if not name.startswith(".") and fnmatchcase(name, part)
        ]
    except _NOT_THERE:
        return []
    except OSError as error:
        raise StoreError(
            f"cannot open {folder}: {error.strerror}; nobody can tell what is in it: make it "
            "readable"
        ) from error
