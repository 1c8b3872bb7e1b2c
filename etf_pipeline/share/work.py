"""What a step and a reader do with a share: what comes before, and what comes after."""

from __future__ import annotations

import datetime as dt
import logging
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from etf_pipeline.errors import (
    CorruptFileError,
    ShareAwayError,
    ShareError,
    ShareUnreadableError,
)
from etf_pipeline.model.assets import RAW_PRICES
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.schemas import CORRECTIONS, DATED, MANIFEST, RAW, Table
from etf_pipeline.share.copy import Copy
from etf_pipeline.share.marks import forget, forget_late, pull_marks
from etf_pipeline.share.names import CURRENT, ORDER, READ
from etf_pipeline.share.older import older_give_way
from etf_pipeline.share.publishing import publish, unpublished
from etf_pipeline.share.pulling import not_taken, pull
from etf_pipeline.store.stages import STAGES

log = logging.getLogger(__name__)
# Times that a step is done anew because another machine published first.
TRIES = 8
_PAUSE_SECONDS = 0.5
_PULLED, _BATCHES = "pulled", "batches"


@dataclass(frozen=True)
class Freshness:
    """How fresh a working copy is.

    Attributes:
        url: of the share.
        pulled_at: when everything that readers read was pulled last, aware; None for never.
        away: why it could not be pulled now; None when it was.
    """

    url: str
    pulled_at: dt.datetime | None
    away: str | None = None

    def as_json(self) -> dict[str, str | None]:
        """For `--json`."""
        at = None if self.pulled_at is None else self.pulled_at.isoformat()
        return {"url": self.url, "pulled_at": at, "away": self.away}

    def warning(self, now: dt.datetime) -> str | None:
        """That the copy may be old, in a sentence; None when it is not."""
        if self.away is None:
            return None
        if self.pulled_at is None:
            age = "never pulled as a whole"
        else:
            hours = max(0.0, (now - self.pulled_at).total_seconds() / 3600)
            age = f"as of {self.pulled_at:%Y-%m-%d %H:%M} UTC, {_in_words(hours)} old"
        return f"working on this machine's copy, {age}: {self.away}"


def complete(copy: Copy) -> None:
    """Publish what earlier runs of this machine made and did not get to publish.

    Where another machine was first, its file comes with the next pull.

    Raises:
        ShareAwayError: the share does not answer.
        ShareError: an immutable object has other bytes.
    """
    older_give_way(copy)
    waiting, untaken = unpublished(copy), not_taken(copy)
    behind = set[str]()
    for table in ORDER:
        names = [n for n in waiting if copy.names.has(table, n)]
        if table in CURRENT:
            # Where the share's is damaged, ours may be older: it is made anew before it is
            # published, see `before_ingest`.
            names = [n for n in names if ticker_of(copy, n) not in behind and n not in untaken]
            behind.update(ticker_of(copy, n) for n in publish(copy, names, strict=False))
        else:
            publish(copy, names, strict=False)
    for partition in copy.layout.watermarks() if behind else ():
        forget(copy, partition, behind)
    publish(copy, [n for n in waiting if copy.names.table_of(n) is None], strict=False)


def ticker_of(copy: Copy, name: str) -> str:
    """The ticker whose history or quarantine an object is."""
    return decode_ticker(copy.names.path(name).stem)


def before_ingest(copy: Copy, partition: str, universe: Universe) -> frozenset[str]:
    """Pull what a download or an update of histories reads, in the order that is safe.

    Args:
        copy: the working copy.
        partition: the one that is worked on.
        universe: all tickers; what no ticker of another partition has is pulled, as a name that
            nobody has any more may be of a ticker of this one.

    Returns:
        The partition's batches that are here now, see `marks`.

    Raises:
        ShareAwayError: the share does not answer.
        CorruptFileError: what was declared cannot be read.
    """
    names = {name for i in universe if i.partition != partition for name in i.names}
    others = frozenset(copy.names.of(copy.layout.of(t, n) for t in CURRENT for n in names))

    def wanted(name: str) -> bool:
        return name not in others

    pull_marks(copy, partition)
    if pull(copy, [t for t in ORDER if t in CURRENT], wanted, writer=True):
        # It speaks of what this machine published itself, and another one has since.
        copy.layout.published(partition).unlink(missing_ok=True)
    # What stands here in the place of a damaged object may be older than the marks say.
    forget(copy, partition, {ticker_of(copy, n) for n in not_taken(copy) if wanted(n)})
    # After the histories: what these hold is then here.
    pull(copy, [CORRECTIONS, RAW], writer=True)
    _check_here(copy, [CORRECTIONS])
    _pull_manifests(copy, RAW_PRICES)
    _pull_manifests(copy, STAGES)
    return forget_late(copy, partition)


def _check_here(copy: Copy, tables: Iterable[Table]) -> None:
    """Refuse to go on without files of which the share has damaged objects alone."""
    names = [n for n in not_taken(copy) if any(copy.names.has(t, n) for t in tables)]
    lacking = sorted(n for n in names if not copy.names.path(n).exists())
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise CorruptFileError(
            f"{lacking[0]}{more} of the share {copy.url} is damaged or not what its name says, and "
            "there is no file of it here: run `etf run` on a machine that has one, or restore an "
            "older version of the object"
        )


def before_deriving(copy: Copy, also: Sequence[str] = ()) -> None:
    """Pull what a step over all histories reads: these, and the newest file of each table.

    Args:
        copy: the working copy.
        also: names of other files of tables.

    Raises:
        ShareAwayError: the share does not answer.
        CorruptFileError: an object is damaged, and there is no file of it here.
    """
    pull(copy, [t for t in READ if t not in (MANIFEST, *DATED)], writer=True)
    _check_here(copy, [CORRECTIONS, *CURRENT])
    for table in DATED:
        found = copy.place.list(copy.names.folder(table))
        newest = max((n for n in found if copy.names.has(table, n)), default="")
        pull(copy, [table], frozenset((newest, *also)).__contains__, writer=True)
    _pull_manifests(copy, STAGES)


def _pull_manifests(copy: Copy, folder: str) -> None:
    """Pull manifests; what is recorded of stages too, so that what follows is recorded after it."""
    below = copy.layout.relative(copy.layout.manifests(folder))
    pull(copy, [MANIFEST], writer=True, below=below)


def pause(attempt: int) -> None:
    """Let another machine finish, for a time that differs from machine to machine."""
    time.sleep(random.uniform(0, _PAUSE_SECONDS * 2 ** min(attempt, 5)))  # noqa: S311


def contended(copy: Copy, what: str) -> ShareError:
    """The error for a step that was never first."""
    return ShareError(
        f"{what}: other machines published to the share {copy.url} before this one, {TRIES} times "
        "in turn; run again when they are done",
        code=ShareAwayError.code,
    )


def refresh(copy: Copy, *, raw: bool = False) -> Freshness:
    """Pull what readers read; without the share, say how old the copy is.

    Args:
        copy: the working copy.
        raw: the raw batches too.

    Raises:
        ShareError: it is another share than this is a copy of, or refuses before anything was
            ever pulled.
    """
    try:
        older_give_way(copy)
        pull(copy, READ)
        if raw:
            for partition in _partitions(copy):
                pull_marks(copy, partition)
            pull(copy, [RAW])
    except (ShareAwayError, ShareUnreadableError) as error:
        pulled_at = _pulled_at(copy)
        if pulled_at is None and isinstance(error, ShareUnreadableError):
            raise
        return Freshness(copy.url, pulled_at, str(error))
    now = dt.datetime.now(dt.UTC)
    copy.index.keep(_PULLED, now.isoformat())
    return Freshness(copy.url, now)


def batches_there(copy: Copy, *, ask: bool = True) -> frozenset[str]:
    """Ids of the raw batches that the share has, or had when it was and could be asked last."""
    known = frozenset((copy.index.fact(_BATCHES) or "").split())
    try:
        names = copy.place.list(copy.names.folder(RAW)) if ask else None
    except ShareError:
        return known
    if names is None:
        return known
    found = frozenset(PurePosixPath(n).stem for n in names if copy.names.has(RAW, n))
    copy.index.keep(_BATCHES, " ".join(sorted(found)))
    return found


def _pulled_at(copy: Copy) -> dt.datetime | None:
    kept = copy.index.fact(_PULLED)
    return None if kept is None else dt.datetime.fromisoformat(kept)


def _partitions(copy: Copy) -> list[str]:
    return sorted(copy.layout.watermarks())


def _in_words(hours: float) -> str:
    if hours < 1:
        return _count(hours * 60, "minute")
    return _count(hours, "hour") if hours < 48 else _count(hours / 24, "day")


def _count(number: float, what: str) -> str:
    return f"{number:.0f} {what}" if round(number) == 1 else f"{number:.0f} {what}s"
