"""Whether DuckDB itself can read a file, alone."""

from __future__ import annotations

from pathlib import Path

import duckdb

from etf_pipeline.sql.text import quoted


def readable(path: Path) -> bool:
    """Whether it reads every value of a Parquet file; a file that is gone holds nobody up."""
    with duckdb.connect() as db:
        try:
            db.execute(f"SELECT count(COLUMNS(*)) FROM read_parquet({quoted(str(path))})")
        except (duckdb.Error, UnicodeDecodeError):  # of bytes that are no text it cannot say so
            return not path.exists()
    return True
