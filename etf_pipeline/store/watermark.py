"""How far the histories of a partition have come: the newest raw batch that each of them holds."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etf_pipeline.model.instruments import Instrument
from etf_pipeline.store.writer import write_text

_SEEN = ""


@dataclass(frozen=True)
class Watermark:
    """The newest batch id that a ticker's history holds, by ticker; a file per partition.

    Losing the file costs time only: the histories are then rebuilt from the raw batches.

    `seen` are the batches that were there when it was kept, where several machines share a store:
    one that appears later may have a smaller id than what a history holds. None elsewhere.
    """

    path: Path
    last: dict[str, str]
    seen: frozenset[str] | None = None

    @classmethod
    def load(cls, path: Path) -> Watermark:
        """Read it; an absent or damaged file is an empty one."""
        try:
            return cls.parsed(path, path.read_text())
        except (OSError, ValueError, AttributeError):
            return cls(path, {})

    def of(self, instrument: Instrument) -> str | None:
        """What it says of a ticker."""
        return self.last.get(instrument.ticker)

    def note(self, instruments: Iterable[Instrument], found: Iterable[str | None]) -> None:
        """Say something else of each ticker, but of those of which there is nothing to say."""
        told = zip(instruments, found, strict=True)
        self.last.update({i.ticker: one for i, one in told if one is not None})

    @classmethod
    def parsed(cls, path: Path, text: str) -> Watermark:
        """Read the text of one.

        Raises:
            ValueError: it is no JSON.
            AttributeError: it is no object.
        """
        last = {str(k): str(v) for k, v in json.loads(text).items()}
        # No ticker has an empty name; earlier releases ask for tickers only.
        seen = last.pop(_SEEN, None)
        return cls(path, last, None if seen is None else frozenset(seen.split()))

    @property
    def text(self) -> str:
        """What the file says."""
        seen = {} if self.seen is None else {_SEEN: " ".join(sorted(self.seen))}
        return json.dumps(self.last | seen, sort_keys=True, indent=0)

    def save(self) -> None:
        """Replace the file, if it would change."""
        text = self.text
        if not self.path.exists() or self.path.read_text() != text:
            write_text(self.path, text)


class PublishedHashes(Watermark):
    """The content hash that each ticker's history was published with last; a file per partition.

    A history that has another, and is no newer, is an older copy or another store's. Losing the
    file costs only that this is not noticed.
    """


@dataclass(frozen=True)
class Looked:
    """In which batches of one partition tickers were looked for, and in which of them they are.

    Attributes:
        ids: the batches that there were, ascending.
        found: of each ticker by its names, the newest that its history held, and those after it
            that it lacked.
    """

    ids: tuple[str, ...] = ()
    found: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class LookedFile:
    """What the histories of one partition were looked for in, by partition of the batches.

    A ticker without anything new for years, or one that is refused night after night, would have
    every batch since then opened each night. Losing the file costs time only.
    """

    path: Path
    body: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> LookedFile:
        """Read it; an absent or damaged file is an empty one."""
        try:
            return cls(path, dict(json.loads(path.read_text())))
        except (OSError, ValueError, TypeError):
            return cls(path, {})

    def of(self, partition: str, ids: Sequence[str]) -> Looked:
        """What it says of a partition; nothing where batches are not those that they were then."""
        try:
            part = self.body[partition]
            upto = ids[: bisect_right(ids, part["upto"])]
            if part["ids"] == _hash(upto):
                found = {str(k): [str(one) for one in v] for k, v in part["found"].items()}
                return Looked(tuple(upto), found)
        except (KeyError, TypeError, AttributeError):
            pass
        return Looked()

    def put(self, partition: str, looked: Looked) -> None:
        """Say something else of a partition."""
        if looked.ids:
            upto, ids = looked.ids[-1], _hash(looked.ids)
            self.body[partition] = {"upto": upto, "ids": ids, "found": looked.found}

    def save(self) -> None:
        """Replace the file, if it would change."""
        text = json.dumps(self.body, sort_keys=True, indent=0)
        if self.body and not (self.path.exists() and self.path.read_text() == text):
            write_text(self.path, text)


def _hash(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()
