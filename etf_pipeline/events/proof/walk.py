"""The hash chain of a local log from its first event to its last, through the archive."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import NamedTuple

from etf_pipeline.errors import TamperError
from etf_pipeline.events.log.archive import TOPICS, Archive, Archived, read_batches
from etf_pipeline.events.log.links import Link
from etf_pipeline.events.log.retention import origins_of
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.chain import GENESIS, chain
from etf_pipeline.events.model.envelope import Event
from etf_pipeline.events.model.numbered import holes, joined

_REMEDY = (
    "Put the newest log back; if there is only an older copy, `etf events archive` has it go on as "
    "another log, and what it lacks stays in the archive"
)


class Walked(NamedTuple):
    """A chain that is whole.

    Attributes:
        events: how many of its events are in the log.
        last: number of the last one.
        head: its hash (hex).
        archived: how many events from the first one on the archive holds too.
        hashes: of the events whose numbers were asked for.
        numbers: of the events whose hashes were asked for.
        unproven: events up to this number cannot be recomputed, as an earlier release let them go
            without archiving them in their order; 0 for none.
        missing: the first event that the archive lacks although it has later ones; 0 for none.
        files: of the archive that were read, and found to hold what their footers vouch for.
        names: hashes of the ids of the events that the archive leads through.
    """

    events: int
    last: int
    head: str
    archived: int
    hashes: Mapping[int, str]
    numbers: Mapping[str, int]
    unproven: int = 0
    missing: int = 0
    files: frozenset[Path] = frozenset()
    names: array[int] = array("q")


class _Wanted:
    """What to note along the way."""

    def __init__(self, numbers: Set[int], hashes: Set[str]) -> None:
        self._numbers = numbers
        self._hashes = {bytes.fromhex(h) for h in hashes}
        self.hashes: dict[int, str] = {}
        self.numbers: dict[str, int] = {}

    def pass_by(self, link: Link) -> None:
        number, head = link
        if number in self._numbers:
            self.hashes[number] = head.hex()
        if head in self._hashes:
            self.numbers[head.hex()] = number


def walk(
    log: SqliteLog,
    archive: Archive,
    numbers: Set[int] = frozenset(),
    hashes: Set[str] = frozenset(),
) -> Walked:
    """Recompute the chain, and compare log and archive where both have an event.

    Args:
        log: the local log.
        archive: what it was archived into.
        numbers: of events whose hashes are wanted.
        hashes: in hex; of which events they are is wanted.

    Raises:
        TamperError: naming the first event that is missing, or not what was written.
    """
    return _walk(log, archive, _Wanted(numbers, hashes))


def _walk(log: SqliteLog, archive: Archive, wanted: _Wanted) -> Walked:
    # What is recorded from now on is for the next time: who records is not to be run after.
    until, read = log.ever(), _Read()
    # As far as was walked, and as far as the archive has it too.
    at = both = (0, GENESIS)
    unproven = 0
    while True:
        anchors = log.anchors()
        pruned = max(anchors, default=0)
        archived, end = _archived(log, archive, read, both)
        while both[0] < pruned:
            there = next(archived, None)
            if there is None:
                gone = min(n for n in anchors if n > both[0])
                unproven = _excused(log, archive, both[0], gone)
                both = (unproven, anchors[unproven])
                archived, end = _archived(log, archive, read, both)
                continue
            both = there
            if anchors.get(both[0], both[1]) != both[1]:
                raise TamperError(
                    f"{archive.root}: it does not lead up to {log.path}: event {both[0]}, or one "
                    "before it, is not what it was when the log let it go"
                )
            _compare(log, archive, at, both)
            wanted.pass_by(both)
        if at[0] < pruned:
            at = (pruned, anchors[pruned])
        for link in log.links(at, until):
            at = link
            wanted.pass_by(at)
            kept = next(archived, None)
            if kept is not None:
                both = kept
                _compare(log, archive, at, both)
        if at[0] >= until:
            break
        # Events moved from the log to the archive meanwhile.
    beyond = next(archived, None)
    if beyond is not None and beyond[0] > log.ever():
        raise TamperError(
            f"{log.path}: it ends at event {at[0]}, and {archive.root} has event {beyond[0]}: "
            f"events were removed at its end. {_REMEDY}"
        )
    missing = both[0] + 1 if both[0] < min(end, at[0]) else 0
    named = (wanted.hashes, wanted.numbers)
    files = frozenset(read.files)
    count = at[0] - pruned
    return Walked(count, at[0], at[1].hex(), both[0], *named, unproven, missing, files, read.names)


def _compare(log: SqliteLog, archive: Archive, here: Link, there: Link) -> None:
    if here[0] == there[0] and here != there:
        raise TamperError(
            f"{archive.root}: event {there[0]} is another one there than in {log.path}. {_REMEDY}"
        )


def _excused(log: SqliteLog, archive: Archive, seq: int, pruned: int) -> int:
    """The number up to which nothing can be recomputed, where an earlier release is why.

    That is the first pruning after `seq`, which is not in the archive: what was let go of later is
    there in its order.

    Raises:
        TamperError: it is not.
    """
    earlier = pruned <= log.begun_after and "" in log.former_ids
    if earlier and any(f.origin == TOPICS for f in archive.files()):
        return pruned
    raise TamperError(
        f"{archive.root}: event {seq + 1} is missing, and {log.path} let go of all up to {pruned}"
    )


def let_go_unproven(log: SqliteLog, archive: Archive) -> int:
    """The number up to which a walk could recompute nothing; told by footers, without a walk."""
    if "" not in log.former_ids:
        return 0
    files = [f for origin in origins_of(log) for f in archive.files_of(origin)]
    pruned = sorted(n for n in log.anchors() if n <= log.begun_after)
    found = 0
    for first, _ in holes(joined(sorted((f.first, f.last) for f in files)), max(pruned, default=0)):
        found = next((n for n in pruned if n >= max(first, found)), found)
    return found


class _Read:
    """What was read of an archive: files, and hashes of the ids of the events in the chain."""

    def __init__(self) -> None:
        self.files: set[Path] = set()
        self.names = array("q")


def _archived(
    log: SqliteLog, archive: Archive, read: _Read, after: Link = (0, GENESIS)
) -> tuple[Iterator[Link], int]:
    """Number and hash of the log's archived events, from one on until one is missing; the last.

    Of the files that are there now; `read` takes what was read. Under the ids that the log had
    before, too: where two have an event, the newer one counts.

    Raises:
        TamperError: a file was changed, or has an event of the log otherwise than another file.
    """
    ranked: list[tuple[int, Archived]] = []
    for rank, origin in enumerate(origins_of(log)):
        ranked += [(rank, file) for file in archive.files_of(origin)]
    ranked.sort(key=lambda one: one[1].first, reverse=True)
    end = max((file.last for rank, file in ranked if rank == 0), default=0)
    return _chained(ranked, log.begun_after, read, after), end


def _chained(
    ranked: list[tuple[int, Archived]], before: int, read: _Read, after: Link
) -> Iterator[Link]:
    waiting: dict[int, tuple[int, Event]] = {}
    seq, head = after
    passed = _Passed(seq)
    while True:
        while ranked and ranked[-1][1].first <= seq + 1:
            rank, file = ranked.pop()
            if file.last <= seq and (rank or file.path in read.files):
                continue
            read.files.add(file.path)
            for event in (e for batch in read_batches(file.path) for e in batch):
                number = event.position
                if rank and not seq < number <= before:
                    continue
                there = waiting.get(number)
                if rank == 0:
                    passed.compare(event, there, file.path)
                if number > seq and (there is None or there[0] > rank):
                    waiting[number] = (rank, event)
        found = waiting.pop(seq + 1, None)
        if found is None:
            return
        seq, head = seq + 1, chain(head, found[1])
        passed.add(found[1])
        read.names.append(hash(found[1].id))
        yield seq, head


class _Passed:
    """What the events of a log were after one number, 8 bytes each: files may have them twice."""

    def __init__(self, after: int) -> None:
        self._first, self._sums = after + 1, array("q")

    def add(self, event: Event) -> None:
        self._sums.append(hash(event[:9]))

    def compare(self, event: Event, waiting: tuple[int, Event] | None, path: Path) -> None:
        """Show that a file has an event as another one had it.

        Args:
            event: of the file.
            waiting: one of the same number that is not passed yet, and the rank of its log.
            path: of the file.

        Raises:
            TamperError: it is another one.
        """
        at = event.position - self._first
        if 0 <= at < len(self._sums):
            same = self._sums[at] == hash(event[:9])
        else:
            same = waiting is None or waiting[0] > 0 or waiting[1][:9] == event[:9]
        if not same:
            raise TamperError(
                f"{path}: event {event.position} ({event.id}) is another one in a file beside it: "
                "one of the two was changed or put there; restore events/archive from a backup"
            )
