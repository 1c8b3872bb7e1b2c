"""What the local log says of an event counts, whatever copies elsewhere say."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.envelope import Event


def own_first(batches: Iterable[list[Event]], log: SqliteLog) -> Iterator[list[Event]]:
    """The same events without copies of those that the local log recorded.

    A copy that another machine sent, or anybody who may, tells another time of recording, by which
    the event would have been known earlier than it was here.

    Args:
        batches: of all places, what the local log recorded first.
        log: the local log.
    """
    own, mine = log.own_ids, array("q")
    known: np.ndarray | None = None
    for batch in batches:
        others = [e for e in batch if e[11] not in own]
        if len(others) < len(batch):
            mine.extend([hash(e[0]) for e in batch if e[11] in own])
            known = None
        if not others:
            yield batch
            continue
        if known is None:
            known = np.unique(np.array(mine, np.int64))
        names = np.array([hash(e[0]) for e in others], np.int64)
        copies = {others[i].id for i in np.flatnonzero(np.isin(names, known)).tolist()}
        yield [e for e in batch if e[11] in own or e[0] not in copies]
