"""Whether a history is of another store: nothing that it was made from was ever in the share."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from etf_pipeline.model.assets import PRICE_HISTORY
from etf_pipeline.model.schemas import RAW
from etf_pipeline.share.copy import Copy
from etf_pipeline.store.origins import Origin
from etf_pipeline.store.reader import FileInfo
from etf_pipeline.store.watermark import Watermark


class Known:
    """The raw batches that the share has, or had when histories were made; looked up once."""

    def __init__(self, copy: Copy) -> None:
        self._copy = copy

    def is_strange(self, meta: Mapping[str, Any]) -> bool:
        """Whether a history's footer names batches, and none of them is known here."""
        origin = Origin.of(FileInfo(self._copy.layout.root, dict(meta), 0))
        named = {*origin.batches, *origin.superseded}
        return bool(named) and not named & self._there and not named & self._seen

    @cached_property
    def _there(self) -> frozenset[str]:
        names = self._copy.place.list(self._copy.names.folder(RAW))
        return frozenset(PurePosixPath(name).stem for name in names)

    @cached_property
    def _seen(self) -> frozenset[str]:
        """Those that histories were made from and that may be lost since; asked for by a doubt."""
        copy, found = self._copy, set[str]()
        for name in copy.place.list(copy.layout.relative(copy.layout.manifests(PRICE_HISTORY))):
            if fnmatchcase(name, copy.layout.watermark_pattern):
                with contextlib.suppress(FileNotFoundError, ValueError, AttributeError):
                    mark = Watermark.parsed(Path(), copy.bytes_of(name).decode())
                    found |= {*(mark.seen or ()), *mark.last.values()}
        return frozenset(found)
