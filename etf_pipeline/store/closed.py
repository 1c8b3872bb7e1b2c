"""Files and folders that may not be opened: what is in them may be whole, so no damage is told."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from etf_pipeline.errors import UnreadableFileError

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EBADF)
_REMEDIES = {
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.ELOOP),
        "make it, and the folders that it lies in, readable",
    ),
    **dict.fromkeys(
        (errno.EMFILE, errno.ENFILE),
        "end programs that have many files open, or raise the limit (`ulimit -n`)",
    ),
}


def cannot_open(path: Path | str, error: BaseException) -> UnreadableFileError | None:
    """The error that says so of a file or folder; None where another is what is wrong.

    Args:
        path: which.
        error: what came of opening it, by Python or Arrow.
    """
    code = getattr(error, "errno", None)
    remedy = _REMEDIES.get(code) if code is not None else None
    if code is None or remedy is None:
        return None
    return UnreadableFileError(
        f"cannot open {path}: {os.strerror(code)}; nobody can tell what is in it: {remedy}"
    )


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder.

    Raises:
        UnreadableFileError: nobody can tell, as a folder on the way may not be opened.
    """
    try:
        path.stat()
    except OSError as error:
        if error.errno in _NOT_THERE:
            return False
        raise cannot_open(path, error) or error from error
    return True
