"""How far histories have come, kept by several machines.

A watermark says of each ticker the newest raw batch that its history holds, and so that it holds
all before. Where two machines download one partition, a batch may appear after a larger one was
applied. The watermark therefore names the batches that were seen when it was kept: of those that
appear later, whatever their id, the histories are made anew from all raw batches.

A mark that is too old costs time only: what is applied twice is the same. So of two machines'
marks of a ticker, the one that is known to hold for what is published counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from etf_pipeline.errors import ShareError
from etf_pipeline.model.schemas import RAW
from etf_pipeline.share.copy import Copy, digest_of, read_whole
from etf_pipeline.share.index import Entry, stamp_of
from etf_pipeline.share.place import Found, TakenError
from etf_pipeline.share.pulling import pull
from etf_pipeline.store.batches import list_batch_ids, open_batch
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.watermark import Watermark
from etf_pipeline.store.writer import write_text

_TRIES = 20


@dataclass(frozen=True)
class _Theirs:
    """The share's watermark, and which version of it that is."""

    found: Found
    mark: Watermark
    text: str


def pull_marks(copy: Copy, partition: str) -> None:
    """Take the share's watermark of a partition, if another machine changed it.

    To be pulled before the histories that it speaks of: these are then as new at least.

    Raises:
        ShareAwayError: the share does not answer.
    """
    path = copy.layout.watermark(partition)
    theirs = _fetch(copy, partition)
    if theirs is None:
        return
    entry = copy.index.entries().get(_name(copy, partition))
    if entry is None or entry.found.etag != theirs.found.etag or not path.exists():
        write_text(path, theirs.text)
        _keep(copy, partition, theirs.found)


def forget_late(copy: Copy, partition: str) -> frozenset[str]:
    """Have histories made anew that lack a batch which appeared after a larger one was applied.

    Returns:
        The batches that are here, for `publish_marks`.
    """
    path = copy.layout.watermark(partition)
    here = frozenset(list_batch_ids(copy.layout, partition))
    mark = Watermark.load(path)
    if mark.seen is not None:
        Watermark(path, _in_time(copy.layout, partition, mark, here), mark.seen).save()
    return here


def forget(copy: Copy, partition: str, tickers: Iterable[str]) -> None:
    """Have the histories of some tickers made anew, as another machine's have come instead."""
    path = copy.layout.watermark(partition)
    mark = Watermark.load(path)
    gone = set(tickers)
    left = {ticker: batch for ticker, batch in mark.last.items() if ticker not in gone}
    Watermark(path, left, mark.seen).save()


def publish_marks(
    copy: Copy, partition: str, here: frozenset[str], made: Mapping[str, str]
) -> None:
    """Publish the watermark of a partition once its histories are published.

    Args:
        copy: the working copy, whose watermark is the one that the histories were made by.
        partition: whose watermark.
        here: the batches that were there when they were made.
        made: the newest batch that each history holds, of those that were published.

    Raises:
        ShareAwayError: the share does not answer; the next run publishes it.
        ShareError: other machines kept changing it.
    """
    path, name = copy.layout.watermark(partition), _name(copy, partition)
    local = Watermark.load(path)
    entry = copy.index.entries().get(name)
    known = None if entry is None else entry.found
    mark = _joined(copy, partition, local, here, made)
    for _ in range(_TRIES):
        data = mark.text.encode()
        if entry is not None and digest_of(data) == entry.digest:
            return
        try:
            if known is None:
                found = copy.place.create(name, data)
            else:
                found = copy.place.replace(name, data, known)
        except FileNotFoundError:
            known = None
            continue
        except TakenError:
            theirs = _fetch(copy, partition)
            if theirs is None:
                known = None
                continue
            if theirs.text == mark.text:  # the answer was lost, not the request
                found = theirs.found
            else:
                known, entry = theirs.found, None
                pull(copy, [RAW], writer=True)
                mark = _joined(copy, partition, theirs.mark, here, made)
                continue
        mark.save()
        _keep(copy, partition, found)
        return
    raise ShareError(
        f"{name}: other machines kept changing it in the share {copy.url} while this one "
        "published; run again"
    )


def _joined(
    copy: Copy, partition: str, mark: Watermark, here: frozenset[str], made: Mapping[str, str]
) -> Watermark:
    """A watermark with our marks in it: of tickers that a batch since `here` speaks of, none."""
    path = copy.layout.watermark(partition)
    now = frozenset(list_batch_ids(copy.layout, partition))
    last = _in_time(copy.layout, partition, mark, now)
    ours = _in_time(copy.layout, partition, Watermark(path, dict(made), here), now)
    for ticker in made.keys() - ours.keys():
        last.pop(ticker, None)
    return Watermark(path, last | ours, (mark.seen or frozenset()) | here)


def _in_time(
    layout: Layout, partition: str, mark: Watermark, here: frozenset[str]
) -> dict[str, str]:
    """The marks of tickers for which no batch appeared after a larger one was applied."""
    last = dict(mark.last)
    for batch_id in sorted(here - (mark.seen or frozenset())):
        for ticker in open_batch(layout, partition, batch_id).slices:
            if last.get(ticker, "") >= batch_id:
                del last[ticker]
    return last


def _fetch(copy: Copy, partition: str) -> _Theirs | None:
    buffer = BytesIO()
    try:
        found = copy.place.fetch(_name(copy, partition), buffer)
        text = buffer.getvalue().decode()
        return _Theirs(found, Watermark.parsed(copy.layout.watermark(partition), text), text)
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError):
        # Without it histories are made anew, and it is replaced.
        return _Theirs(found, Watermark(Path(), {}), "{}")


def _keep(copy: Copy, partition: str, found: Found) -> None:
    path = copy.layout.watermark(partition)
    data, stamp = read_whole(path), stamp_of(path)
    if data is not None and stamp is not None:
        copy.index.put({_name(copy, partition): Entry(found, digest_of(data), stamp)})


def _name(copy: Copy, partition: str) -> str:
    return copy.layout.relative(copy.layout.watermark(partition))
