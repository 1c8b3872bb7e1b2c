"""A log as it was before an older copy of it was put back: its chain, in the archive alone.

The copy goes on as another log. What it lacks stays in the archive under the id from before, and
leads to the heads that were kept then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Set

from etf_pipeline.errors import TamperError
from etf_pipeline.events.log.archive import Archive, archived_chain
from etf_pipeline.events.log.retention import origins_of
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.chain import GENESIS

# Id of a log, and number of an event of it.
Place = tuple[str, int]


def beginnings(log: SqliteLog, archive: Archive) -> dict[str, int]:
    """By the ids that the log had before: the number before the first event archived under it."""
    found = {}
    for origin in origins_of(log)[1:]:
        if origin.log and (files := archive.files_of(origin)):
            found[origin.log] = min(f.first for f in files) - 1
    return found


def former_places(
    log: SqliteLog,
    archive: Archive,
    begun: Mapping[str, int],
    hashes: Mapping[int, str],
    wanted: Set[str],
    unproven: int,
) -> dict[str, Place]:
    """Where hashes are in the archived chains of a log under the ids that it had before.

    Args:
        log: the local log.
        archive: of the store.
        begun: as `beginnings` tells.
        hashes: of the log's chain as it is now, with those of the numbers in `begun`.
        wanted: hashes (hex) to look for.
        unproven: events up to this number could not be recomputed.
    """
    found: dict[str, Place] = {}
    for origin in origins_of(log)[1:]:
        start = begun.get(origin.log, -1)
        if not wanted or start < 0 or (start and (unproven or start not in hashes)):
            continue
        after = (start, bytes.fromhex(hashes[start]) if start else GENESIS)
        with contextlib.suppress(TamperError):  # which says so by itself where files are read
            for number, head in archived_chain(archive, origin, after):
                if head.hex() in wanted:
                    found[head.hex()] = (origin.log, number)
    return found
