"""Bringing read models up to date with what lies on this machine: the local log, and the archive.

They are asked first in every mode: what this machine recorded is in one of them, whatever brokers
have kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from etf_pipeline.errors import EventError
from etf_pipeline.events.log.archive import Archive, read_batches
from etf_pipeline.events.log.projections import Place, Projections
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.numbers import Held, missing
from etf_pipeline.events.model.types import CHANNELS

# What became of the events that are there, when others are missing.
TAKEN_IN = "what there is was taken in"


class Local:
    """The local log and the archive of a store, as read models take them in.

    Args:
        log: the local log.
        archive: the archive.
        store: id of the store.
    """

    def __init__(self, log: SqliteLog, archive: Archive, store: str) -> None:
        self.log = log
        self.archive = archive
        self.store = store
        self._held: Held | None = None
        self._listed_at = -1  # up to where the log was pruned when the archive was listed

    @property
    def held(self) -> Held:
        """What this process took in of the log, whose copies elsewhere may be passed over."""
        if self._held is None or self._held.log != self.log.id.encode():
            self._held = Held(self.log.id)
        return self._held

    def given(self) -> dict[tuple[str, str], int]:
        """The last number that is known to be given, by log and channel."""
        return {key: n for key, n in self.log.given().items() if key[1] in CHANNELS}

    def take_in(self, projections: Projections) -> int:
        """Take in what is new; returns how many events were new.

        The archive is listed after the log was read, as things only move from the log to it, and
        not again before something has.
        """
        place = projections.log_place(self.log.id)
        before = 0 if place is None else place.next
        if self._listed_at >= 0 and self.log.last() < max(before, self._listed_at + 1):
            return 0
        new = 0
        for batch in self._new(place):
            projections.own(self.log.own_ids)  # after it was read, as a log may begin anew
            if batch:
                upto = Place(batch[-1].position + 1, batch[-1].id)
                new += projections.apply(batch, local=(self.log.id, upto))
                self.held.saw(batch)
        projections.own(self.log.own_ids)
        pruned = self.log.anchor()[0]
        if self._listed_at < 0 or pruned > max(before - 1, self._listed_at):
            new += project_archive(projections, self.archive)
            self._listed_at = pruned
        return new

    def _new(self, place: Place | None) -> Iterator[list[Event]]:
        """The log from a place on; from its beginning when it is not the log that it was."""
        if place is not None:
            begin = dict.fromkeys(((c, 0) for c in CHANNELS), place.next - 1)
            batches = self.log.read(start=begin)
            first = next((b for b in batches if b), [])
            if not first or first[0].position >= place.next:  # pruned since, and so archived
                same = self.log.anchor()[0] >= place.next - 1
            else:
                same = first[0].id == place.last_id
            if same:
                yield [e for e in first if e.position >= place.next]
                yield from batches
                return
        yield from self.log.read()


def project_archive(projections: Projections, archive: Archive) -> int:
    """Take in the archive files not taken in before; returns how many events were new.

    A file is noted with the last of its parts: after an end in between it comes again, and what
    was taken in of it is known by its ids.
    """
    new = 0
    known = projections.files()
    for file in archive.files():
        name = file.path.relative_to(archive.root).as_posix()
        if name not in known and file.channel in CHANNELS:
            taken = 0
            for batch in read_batches(file.path):
                taken += len(batch)
                whole = name if taken >= file.rows else None
                new += projections.apply(batch, file=whole, places={})
    return new


def prove_whole(projections: Projections, given: dict[tuple[str, str], int] | None = None) -> None:
    """Show that nothing is missing.

    Args:
        projections: the read models.
        given: numbers that are known to have been given, by log and channel.

    Raises:
        EventError: events are missing, with what and the remedy.
    """
    gaps = projections.gaps(given)
    if gaps:
        raise EventError(missing(gaps, TAKEN_IN))
