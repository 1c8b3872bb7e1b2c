"""Histories that are older than the share's, as after a restore from a backup, give way to it.

Neither what was pulled nor what a step made, they would pass for what a step made last, and be
published in the place of newer ones.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.share.copy import Copy, digest_of, each, read_whole
from etf_pipeline.share.publishing import unpublished
from etf_pipeline.share.pulling import pull
from etf_pipeline.store.origins import Origin
from etf_pipeline.store.reader import FileInfo, file_info
from etf_pipeline.store.writer import META_KEY

log = logging.getLogger(__name__)
# What decides, besides the batches, what a history is.
_RULES = ("ticker", "rules", "listed_since", "aliases", "corrections", "source")


def older_give_way(copy: Copy) -> None:
    """Pull the share's in the place of local histories that were made of fewer raw batches.

    The marks stay: they speak of what was published.

    Raises:
        ShareAwayError: the share does not answer.
    """
    entries = copy.index.entries()
    changed = [
        name
        for name in unpublished(copy, (HISTORY,))
        if name in entries
        and digest_of(read_whole(copy.names.path(name)) or b"") != entries[name].digest
    ]
    found = each(lambda name: _older(copy, name), changed)
    older = [name for name, is_so in zip(changed, found, strict=True) if is_so]
    if not older:
        return
    log.warning(
        "%d histories are older than what this machine had pulled or published, as after a restore "
        "from a backup (%s): the share's come in their place",
        *(len(older), ", ".join(sorted(older)[:3])),
    )
    layout = copy.layout
    theirs = [layout.of(QUARANTINE, decode_ticker(copy.names.path(n).stem)) for n in older]
    wanted = frozenset((*older, *copy.names.of(theirs)))
    copy.index.drop(wanted)  # else they would be taken for what a step made of it
    pull(copy, (QUARANTINE, HISTORY), wanted.__contains__, writer=True)


def _older(copy: Copy, name: str) -> bool:
    """Whether a local history rests on less than the share's, and else on the same."""
    try:
        ours = file_info(copy.names.path(name))
        theirs = _footer(copy.bytes_of(name))
    except (FileNotFoundError, CorruptFileError, ValueError, pa.ArrowException):
        return False  # what is damaged is found where it is published or pulled
    if not ours.ours or any(ours.meta.get(key) != theirs.get(key) for key in _RULES):
        return False
    return _rests_on(ours.meta) < _rests_on(theirs)


def _rests_on(meta: Mapping[str, Any]) -> frozenset[str]:
    origin = Origin.of(FileInfo(Path(), dict(meta), 0))
    return frozenset((*origin.batches, *origin.superseded))


def _footer(data: bytes) -> dict[str, Any]:
    found = (pq.read_metadata(pa.BufferReader(data)).metadata or {}).get(META_KEY, b"{}")
    return dict(json.loads(found))
