"""How far the histories of a partition have come: the newest raw batch that each of them holds."""

from __future__ import annotations

import json
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
