"""How far the histories of a partition have come: the newest raw batch that each of them holds."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from etf_pipeline.store.writer import write_text


@dataclass(frozen=True)
class Watermark:
    """The newest batch id that a ticker's history holds, by ticker; a file per partition.

    Losing the file costs time only: the histories are then rebuilt from the raw batches.
    """

    path: Path
    last: dict[str, str]

    @classmethod
    def load(cls, path: Path) -> Watermark:
        """Read it; an absent or damaged file is an empty one."""
        try:
            return cls(path, {str(k): str(v) for k, v in json.loads(path.read_text()).items()})
        except (OSError, ValueError, AttributeError):
            return cls(path, {})

    def save(self) -> None:
        """Replace the file, if it would change."""
        text = json.dumps(self.last, sort_keys=True, indent=0)
        if not self.path.exists() or self.path.read_text() != text:
            write_text(self.path, text)


@dataclass(frozen=True)
class Looked:
    """Which batches each ticker was looked for in, and which of them its history still lacks.

    A ticker without anything new for years, or one that is refused night after night, would have
    every batch since then opened each night. What is kept holds as long as the batches are the
    same up to the last that was looked at; losing the file costs time only.
    """

    path: Path
    ids: tuple[str, ...]
    lacking: dict[str, list[str]]

    @classmethod
    def load(cls, path: Path, ids: Sequence[str]) -> Looked:
        """Read it; nothing of it counts where the batches `ids` (ascending) are not those then."""
        try:
            body = json.loads(path.read_text())
            upto = ids[: bisect_right(ids, body["upto"])]
            if body["ids"] == _hash(upto):
                lacking = {str(k): [str(one) for one in v] for k, v in body["lacking"].items()}
                return cls(path, tuple(upto), lacking)
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            pass
        return cls(path, (), {})

    def save(self) -> None:
        """Replace the file, if it would change."""
        if not self.ids:
            return
        body = {"upto": self.ids[-1], "ids": _hash(self.ids), "lacking": self.lacking}
        text = json.dumps(body, sort_keys=True, indent=0)
        if not self.path.exists() or self.path.read_text() != text:
            write_text(self.path, text)


def _hash(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()
