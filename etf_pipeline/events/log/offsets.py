"""Which offsets of a topic are those of events that were sent from here, and which are not."""

from __future__ import annotations

from etf_pipeline.events.log.database import Database
from etf_pipeline.events.model.numbered import joined
from etf_pipeline.events.model.positions import Key, Range

_PAGE = 5_000


def roughly_unconfirmed(notes: Database, key: Key, span: Range) -> list[Range]:
    """Parts of a span of offsets in which some are not confirmed: quick, whole pages of it."""
    query = (
        "SELECT count(DISTINCT position) FROM deliveries "
        "WHERE channel = ? AND partition = ? AND position >= ? AND position < ?"
    )
    found: list[Range] = []
    for begin in range(span[0], span[1], _PAGE):
        end = min(begin + _PAGE, span[1])
        with notes.reading() as db:
            count = db.execute(query, (*key, begin, end)).fetchone()[0]
        if count == end - begin:
            continue
        if found and found[-1][1] == begin:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found


def unconfirmed(notes: Database, key: Key, span: Range) -> list[Range]:
    """The offsets of a span that are not confirmed, as ranges."""
    query = (
        "SELECT DISTINCT position FROM deliveries "
        "WHERE channel = ? AND partition = ? AND position >= ? AND position < ? ORDER BY position"
    )
    found: list[Range] = []
    for low, high in roughly_unconfirmed(notes, key, span):
        for begin in range(low, high, _PAGE):
            end = min(begin + _PAGE, high)
            with notes.reading() as db:
                there = [(n, n) for (n,) in db.execute(query, (*key, begin, end))]
            for first, last in [*joined(there), (end, end)]:
                if first > begin:
                    found.append((begin, first))
                begin = last + 1
    touching = joined([(first, after - 1) for first, after in found])
    return [(first, last + 1) for first, last in touching]
