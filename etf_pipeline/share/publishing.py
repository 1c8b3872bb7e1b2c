"""From the working copy to the share: what was made here, unless another machine was first."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO

from etf_pipeline.errors import CorruptFileError, ShareError
from etf_pipeline.model.schemas import MANIFEST, Table
from etf_pipeline.share.copy import Copy, digest_of, each, read_whole
from etf_pipeline.share.dropping import forget_dropped
from etf_pipeline.share.fitness import Fitness, judged, pulled
from etf_pipeline.share.index import Entry, stamp_of
from etf_pipeline.share.manifests import tells_more
from etf_pipeline.share.names import IMMUTABLE, ORDER
from etf_pipeline.share.place import Found, TakenError
from etf_pipeline.share.pulling import other_bytes

log = logging.getLogger(__name__)
_AT_ONCE = 256
_TRIES = 20


@dataclass(frozen=True)
class _Sent:
    """What came of one file: what is known of it now, or that another machine was first.

    `made` says that there was no object before.
    """

    entry: Entry | None = None
    lost: bool = False
    made: bool = False


def publish(copy: Copy, names: Iterable[str], *, strict: bool = True) -> list[str]:
    """Publish local files, in an order that leaves no name without what it names.

    What the share has already, byte for byte, is left alone, and so is what is not here. A lost
    answer does no harm: what was sent twice is found to be the same.

    Args:
        copy: the working copy.
        names: the files; those that are no table's are signed heads.
        strict: whether a damaged file is an error; else it is told of and passed over.

    Returns:
        The names that another machine changed since they were pulled. Nothing was published that
        comes after them: pull, make them anew, and publish again.

    Raises:
        ShareAwayError: the share does not answer; what was not published stays to be.
        ShareError: an immutable object has other bytes, or the share refuses.
        CorruptFileError: a file is damaged or was changed by hand; it was not published.
    """
    wanted = set(names)
    by_table: dict[Table | None, list[str]] = {}
    for name in sorted(wanted):
        by_table.setdefault(copy.names.table_of(name), []).append(name)
    lost = list[str]()
    for table in (*ORDER, None):
        lost += _publish_table(copy, table, by_table.get(table, []), strict)
        if lost:
            break
    return lost


def unpublished(copy: Copy, tables: Iterable[Table] = ORDER) -> list[str]:
    """Names of local files that are not what was pulled or published last, by their stamps."""
    entries = copy.index.entries()
    return [
        name
        for table in tables
        for name in copy.names.local(table)
        if name not in entries or stamp_of(copy.names.path(name)) != entries[name].stamp
    ]


def _publish_table(
    copy: Copy, table: Table | None, names: Sequence[str], strict: bool
) -> list[str]:
    entries, lost = copy.index.entries() if names else {}, list[str]()
    made = list[str]()
    for i in range(0, len(names), _AT_ONCE):
        lot = names[i : i + _AT_ONCE]
        known = dict[str, Entry]()
        try:
            sent = each(lambda name: _send(copy, table, name, entries.get(name), strict), lot)
            for name, one in zip(lot, sent, strict=True):
                if one.entry is not None:
                    known[name] = one.entry
                if one.lost:
                    lost.append(name)
                if one.made:
                    made.append(name)
        finally:
            copy.index.put(known)
    forget_dropped(copy, made)
    return lost


def _send(copy: Copy, table: Table | None, name: str, entry: Entry | None, strict: bool) -> _Sent:
    path = copy.names.path(name)
    stamp, data = stamp_of(path), read_whole(path)
    if data is None or stamp is None:
        return _Sent()
    digest = digest_of(data)
    if entry is not None and entry.digest == digest:
        return _Sent(Entry(entry.found, digest, stamp))
    try:
        if not _may_be_published(copy, table, name, data, entry):
            return _Sent()
    except CorruptFileError as error:
        if strict:
            raise
        log.warning("%s", error)
        return _Sent()
    known = None if entry is None else entry.found
    for _ in range(_TRIES):
        try:
            if known is None:
                found = copy.place.create(name, data)
            else:
                found = copy.place.replace(name, data, known)
            return _Sent(Entry(found, digest, stamp), made=known is None)
        except FileNotFoundError:  # dropped since it was pulled
            if known is None:
                raise ShareError(
                    f"there is no bucket at {copy.url} (ETF_STORE_URL) any more"
                ) from None
            known = None
        except TakenError:
            theirs = _theirs(copy, name)
            if theirs is None:
                known = None
            elif digest_of(theirs[1]) == digest:
                return _Sent(Entry(theirs[0], digest, stamp))
            elif _gives_way(copy, table, name, data, theirs[1]):
                known = theirs[0]
            elif table is None or table in IMMUTABLE:
                raise other_bytes(copy, name) from None
            else:
                return _Sent(lost=table is not MANIFEST)
    return _Sent(lost=True)


def _gives_way(copy: Copy, table: Table | None, name: str, ours: bytes, theirs: bytes) -> bool:
    """Whether a good file may take the place of an object that is not the one that is known."""
    if table is None:
        return False
    one = pulled(copy.layout, table, copy.names.path(name), theirs)
    if one.fit is Fitness.DAMAGED:
        log.warning("%s of the share %s was damaged: %s; replaced", name, copy.url, one.why)
        return True
    return table is MANIFEST and tells_more(copy, name, ours, theirs)


def _theirs(copy: Copy, name: str) -> tuple[Found, bytes] | None:
    """The object as it is in the share by now; None where it is gone again."""
    buffer = BytesIO()
    try:
        found = copy.place.fetch(name, buffer)
    except FileNotFoundError:
        return None
    return found, buffer.getvalue()


def _may_be_published(
    copy: Copy, table: Table | None, name: str, data: bytes, entry: Entry | None
) -> bool:
    """Whether a file is ours and whole; a user's own file is told of and left alone.

    Raises:
        CorruptFileError: it is damaged, or of a kind that never changes and did.
    """
    path = copy.names.path(name)
    one = judged(copy.layout, table, path, data)
    fit, why = one.fit, one.why
    if fit is not Fitness.DAMAGED and entry is not None and entry.taken and table in IMMUTABLE:
        fit, why = Fitness.DAMAGED, "it is not what it was, and never changes"
    if fit is Fitness.DAMAGED:
        raise CorruptFileError(
            f"{path} was damaged or changed by hand ({why}), and is not published to the share "
            f"{copy.url}: move it away, and the good copy is fetched by the next run"
        )
    if fit is Fitness.FOREIGN:
        log.warning(
            "%s was not written by this pipeline and is not published; put it into the share "
            "yourself if every machine is to have it",
            path,
        )
    return fit is Fitness.OURS
