"""The universe for the library: kept while its file is unchanged, none when it is unusable."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from etf_pipeline.errors import EtfError
from etf_pipeline.settings import environment

if TYPE_CHECKING:
    from etf_pipeline.model.instruments import Universe


def known_universe() -> Universe | None:
    """That of ETF_UNIVERSE_FILE; None without a usable one, as the library needs none."""
    path = environment.universe_file()
    try:
        found = path.stat()
    except OSError:
        return None
    return _universe_in(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4)
def _universe_in(path: Path, modified: int, size: int) -> Universe | None:
    """That of a file as it was when it was changed last."""
    from etf_pipeline.model.universe import load_universe

    try:
        return load_universe(path)
    except (EtfError, OSError):
        return None
