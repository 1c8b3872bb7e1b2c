"""What a share has to be able to do, whatever it is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from etf_pipeline.errors import ShareAwayError


@dataclass(frozen=True)
class Found:
    """An object as it is now: what changes when it is replaced, and its size in bytes.

    `version` is what some stores ask for besides the ETag, None where they do not.
    """

    etag: str
    size: int
    version: str | None = None


class TakenError(Exception):
    """An object is there already, or is not the one any more that was to be replaced."""


class Place(Protocol):
    """Objects by name, where `/` stands between folders.

    Every method raises `ShareAwayError` when the share does not answer, and `ShareError` when it
    refuses.
    """

    @property
    def url(self) -> str:
        """Where it is, as it may be printed."""
        ...

    def list(self, folder: str) -> dict[str, Found]:
        """Every object below a folder, by name; none where there is no such folder."""
        ...

    def fetch(self, name: str, into: BinaryIO) -> Found:
        """Copy an object into an open file, and say which version of it that was.

        Raises:
            FileNotFoundError: there is no such object.
        """
        ...

    def create(self, name: str, data: bytes) -> Found:
        """Make an object that is not there yet; of several who try, one does.

        Raises:
            TakenError: it is there.
        """
        ...

    def replace(self, name: str, data: bytes, known: Found) -> Found:
        """Put other bytes in the place of a version that is known.

        Raises:
            TakenError: another version is there by now.
            FileNotFoundError: the object is gone.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        ...


def said(error: BaseException) -> str:
    """What an error of a library says, in one line that holds no password and no signature."""
    lines = str(error).splitlines() or [type(error).__name__]
    return re.sub(r"\?[^\s]*", "", re.sub(r"//[^/@\s]*@", "//***@", lines[0])).strip()


def away(url: str, why: str) -> ShareAwayError:
    """The error for a share that does not answer."""
    return ShareAwayError(
        f"the share {url} (ETF_STORE_URL) does not answer: {why}; check the network, the endpoint "
        "and the credentials, then run again: what was made here is kept, and published then"
    )
