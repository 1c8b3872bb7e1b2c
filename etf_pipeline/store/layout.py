"""Paths of the store, and the reversible encoding of ticker ids as file names."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from etf_pipeline.errors import StoreError

_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
# Windows opens a device for these names, whatever the extension.
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])(?=$|[.])")
_MAX_NAME = 180


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


@dataclass(frozen=True)
class Layout:
    """Paths below one data folder. Computes, touches nothing."""

    root: Path

    @property
    def historical_dir(self) -> Path:
        """Folder of the current histories, one file per ticker."""
        return self.root / "historical"

    @property
    def raw_dir(self) -> Path:
        """Folder of the immutable download batches."""
        return self.root / "raw"

    @property
    def quarantine_dir(self) -> Path:
        """Folder of the quality findings, one file per ticker."""
        return self.root / "quarantine"

    def history(self, ticker: str) -> Path:
        """File of one ticker's current history."""
        return self.historical_dir / f"{encode_ticker(ticker)}.parquet"

    def find_history(self, ticker: str) -> Path:
        """The history file to read: ours, else one that a user named after the plain ticker."""
        ours = self.history(ticker)
        if not ours.exists() and "/" not in ticker and "\\" not in ticker:
            plain = self.historical_dir / f"{ticker}.parquet"
            if plain.exists():
                return plain
        return ours

    def quarantine(self, ticker: str) -> Path:
        """File of one ticker's quality findings."""
        return self.quarantine_dir / f"{encode_ticker(ticker)}.parquet"

    def batch(self, partition: str, batch_id: str) -> Path:
        """File of one raw batch."""
        return self.raw_dir / encode_ticker(partition) / f"{batch_id}.parquet"

    def applied(self, partition: str) -> Path:
        """File that says which raw batches the histories already hold."""
        return self.root / "manifests" / "price_history" / f"{encode_ticker(partition)}.applied"

    def manifest(self, asset: str, run_id: str, partition: str) -> Path:
        """File of one run's manifest."""
        name = f"{slug(run_id)}-{encode_ticker(partition or 'ALL')}.parquet"
        return self.root / "manifests" / asset / name

    def table(self, group: str, table: str, as_of: dt.date) -> Path:
        """File of one `as_of` partition of a derived table."""
        return self.root / group / table / f"as_of={as_of:%Y-%m-%d}" / "part.parquet"

    def lock(self, kind: str, name: str) -> Path:
        """File on which writers of one `kind` of thing named `name` take turns."""
        return self.root / ".locks" / kind / f"{encode_ticker(name)}.lock"
