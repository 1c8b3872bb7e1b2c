"""Where the rows of `etf sql` go: a file (whole or not at all), a pipe, or the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from etf_pipeline.errors import SettingsError

if TYPE_CHECKING:
    import pyarrow as pa

    from etf_pipeline.sql.safe import Answer


def write(answer: Answer, kind: str, target: Path | None) -> None:
    """Write rows to a file (whole or not at all), or to standard output."""
    from etf_pipeline.sql.output import rendered, show

    if target is not None:
        from etf_pipeline.store.writer import write_text

        write_text(target, rendered(answer, kind))
    elif kind == "table":
        show(answer)
    else:
        sys.stdout.write(rendered(answer, kind))


def write_parquet(table: pa.Table, target: Path | None) -> None:
    """Write a table as Parquet to a file, or to a pipe.

    Raises:
        SettingsError: it would go to a terminal.
    """
    from etf_pipeline.store.writer import atomic_file, parquet_bytes

    if target is None and sys.stdout.isatty():
        raise SettingsError("--format parquet needs --output FILE, or a pipe")
    content = parquet_bytes(table)
    if target is None:
        sys.stdout.buffer.write(content)
    else:
        with atomic_file(target) as handle:
            handle.write(content)
