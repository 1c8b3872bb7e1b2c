"""Writes the JSON Schemas of all events: `python -m etf_pipeline.events.schemas docs/events`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from etf_pipeline.events.model import json_schemas


def write(folder: Path) -> None:
    """One file per version of each type."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in json_schemas().items():
        (folder / name).write_text(json.dumps(schema, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
