"""What file names are made of: ticker ids, encoded reversibly, and times."""

from __future__ import annotations

import re
from urllib.parse import unquote

from etf_pipeline.errors import StoreError

_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
# Windows opens a device for these names, whatever the extension.
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])(?=$|[.])")
_MAX_NAME = 180


# A time in UTC that a file's name begins with, so that names sort by it; strftime's and DuckDB's.
STAMP = "%Y%m%dT%H%M%S%fZ"


def encode_ticker(ticker: str) -> str:
    """File-name stem of a ticker id; `decode_ticker` gives the id back.

    Upper-case letters, digits, `-` and `_` stand for themselves, as does a dot between two of
    them; every other byte is percent-encoded. So `vas` and `VAS` stay apart on disks that ignore
    case, no id can leave the folder, and no id is a Windows device name.

    Raises:
        StoreError: the id is empty or too long for a file name.
    """
    if not ticker:
        raise StoreError("a ticker id may not be empty; check the universe file")
    parts: list[str] = []
    for i, char in enumerate(ticker):
        inner_dot = (
            char == "."
            and 0 < i < len(ticker) - 1
            and ticker[i - 1] in _SAFE
            and ticker[i + 1] in _SAFE
        )
        if char in _SAFE or inner_dot:
            parts.append(char)
        else:
            parts.extend(f"%{byte:02X}" for byte in char.encode())
    name = "".join(parts)
    if _RESERVED.match(name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    if len(name) > _MAX_NAME:
        raise StoreError(f"ticker id {ticker[:40]!r}… is too long for a file name; shorten it")
    return name


def decode_ticker(stem: str) -> str:
    """Ticker id of a file-name stem made by `encode_ticker` (or of a plain name of a user)."""
    return unquote(stem, errors="strict")


def slug(text: str) -> str:
    """`text` with everything but ASCII letters, digits, `-` and `_` replaced; not reversible."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)
