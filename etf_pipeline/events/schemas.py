"""Writes the JSON Schemas of all events: `python -m etf_pipeline.events.schemas docs/events`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from etf_pipeline.events.model.types import json_schemas
from etf_pipeline.store.writer import write_text


def write(folder: Path) -> None:
    """One file per version of each type."""
    for name, schema in json_schemas().items():
        write_text(folder / name, json.dumps(schema, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
