"""Which raw batches a published history rests on, and which of them are gone.

A history names its batches in its footer, so this is told from footers and file names; no batch is
opened. Histories of earlier releases do not name them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from etf_pipeline.errors import CorruptFileError, RawMissingError, UnreadableFileError
from etf_pipeline.history.slices import BatchSlice
from etf_pipeline.model.corrections import Correction
from etf_pipeline.model.file_names import STAMP, decode_ticker
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.schemas import HISTORY, RAW
from etf_pipeline.store.batches import collected_at, list_batch_ids, partitions_with_batches
from etf_pipeline.store.inventory import available_tickers
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import FileInfo, file_info

ORIGIN_KEYS = frozenset({"batches", "superseded"})


@dataclass(frozen=True)
class Origin:
    """Ids of raw batches, ascending.

    Attributes:
        batches: those that a history was built from.
        superseded: those that it had been built from too, and that were gone when everything had
            been downloaded again.
        told: whether the files say so; those of earlier releases do not.
    """

    batches: tuple[str, ...] = ()
    superseded: tuple[str, ...] = ()
    told: bool = True

    @classmethod
    def of(cls, info: FileInfo) -> Origin:
        """As a footer tells it."""
        named = info.meta.get("batches")
        return cls(tuple(named or ()), tuple(info.meta.get("superseded", ())), named is not None)

    def and_with(self, batches: Iterable[str]) -> Origin:
        """The same with more batches that are there."""
        new = frozenset(batches)
        left = tuple(b for b in self.superseded if b not in new)
        return Origin(tuple(sorted({*self.batches, *new})), left, self.told)

    def and_of(self, other: Origin) -> Origin:
        """What two files rest on together."""
        return Origin(
            tuple(sorted({*self.batches, *other.batches})),
            tuple(sorted({*self.superseded, *other.superseded})),
            self.told and other.told,
        )

    def as_meta(self) -> dict[str, list[str]]:
        """The footer's word for it; nothing where it is not known."""
        if not self.told:
            return {}
        gone = {"superseded": list(self.superseded)} if self.superseded else {}
        return {"batches": list(self.batches), **gone}


NOTHING, UNTOLD = Origin(), Origin(told=False)


def origin_of(layout: Layout, instrument: Instrument) -> Origin | None:
    """What the files of a ticker and of its former names rest on; None without any of ours."""
    found: Origin | None = None
    for name in instrument.names:
        try:
            info = file_info(layout.of(HISTORY, name))
        except (FileNotFoundError, CorruptFileError):
            continue
        if info.ours:
            found = (found or NOTHING).and_of(Origin.of(info))
    return found


@dataclass(frozen=True)
class Present:
    """Names of the raw batches that are there; made once for many tickers.

    `elsewhere` are those that are not here and can be had, as in the share of a working copy.
    """

    layout: Layout
    elsewhere: frozenset[str] = frozenset()

    @cached_property
    def _ids(self) -> frozenset[str]:
        return self.elsewhere.union(
            batch_id
            for folder in partitions_with_batches(self.layout)
            for batch_id in list_batch_ids(self.layout, decode_ticker(folder.name))
        )

    def gone(self, batches: Iterable[str], void: Correction | None = None) -> list[str]:
        """Those that are not there, ascending, but for those that are void."""
        begin = "" if void is None or void.before is None else void.before.strftime(STAMP)
        return sorted(b for b in set(batches) - self._ids if b >= begin)

    def may_lack(self, info: FileInfo, void: Correction | None) -> bool:
        """Whether a history rests on what is gone, or does not tell."""
        origin = Origin.of(info)
        return not origin.told or bool(self.gone(origin.batches, void))


def whole_since(slices: Sequence[BatchSlice], gone: Sequence[str]) -> list[BatchSlice]:
    """The first answer to a request for the whole history after what is gone, and all since."""
    newest = max(gone, default="")
    later = [one for one in slices if one.batch_id > newest]
    whole = next((i for i, one in enumerate(later) if one.info.full), len(later))
    return later[whole:]


def gone_in_words(layout: Layout, ticker: str, gone: Sequence[str], of: int) -> str:
    """Which batches are gone, and what to do."""
    named = ", ".join(gone[:3]) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
    are = "is" if len(gone) == 1 else "are"
    return (
        f"{len(gone)} of the {of} raw batches that the history of {ticker} was made from {are} "
        f"gone from {layout.folder(RAW)} ({named}); {remedies(ticker)}"
    )


def remedies(ticker: str) -> str:
    """What to do when raw batches are gone."""
    return (
        "restore raw/ from a backup, or download it whole again: "
        f"`etf run --full --tickers {ticker}`"
    )


def check_past(
    layout: Layout,
    instrument: Instrument,
    slices: Sequence[BatchSlice],
    instant: dt.datetime,
    void: Correction | None,
) -> None:
    """Refuse to tell a past of which raw batches are gone.

    Args:
        layout: the store.
        instrument: whose past.
        slices: those of then that are still there, oldest first.
        instant: then, aware.
        void: what was declared void of them then.

    Raises:
        RawMissingError: naming the batches.
    """
    ticker, present = instrument.ticker, Present(layout)
    origin = origin_of(layout, instrument) or UNTOLD
    then = [b for b in (*origin.batches, *origin.superseded) if collected_at(b) <= instant]
    gone = present.gone(then, void)
    if gone and not (whole_since(slices, gone) and set(gone) <= set(origin.superseded)):
        raise RawMissingError(
            f"what was known of {ticker} at {instant} cannot be told: "
            f"{gone_in_words(layout, ticker, gone, len(then))}"
        )
    check_base(layout, ticker, slices)


def check_base(layout: Layout, ticker: str, slices: Sequence[BatchSlice]) -> None:
    """Refuse trailing windows without a whole history that they continue.

    Raises:
        RawMissingError: naming the oldest.
    """
    if slices and not any(one.info.full for one in slices):
        raise RawMissingError(
            f"{layout.folder(RAW)} has only trailing windows of {ticker}, from batch "
            f"{slices[0].batch_id} on; the whole history that they continue is gone; "
            f"{remedies(ticker)}"
        )


def incomplete(
    layout: Layout, elsewhere: frozenset[str] = frozenset()
) -> Iterator[tuple[str, str]]:
    """Each ticker whose history rests on raw batches that are gone, and the same in words.

    `elsewhere` as for `Present`.
    """
    present = Present(layout, elsewhere)
    for ticker in available_tickers(layout):
        try:
            origin = Origin.of(file_info(layout.of(HISTORY, ticker)))
        except (FileNotFoundError, CorruptFileError, UnreadableFileError):
            continue
        gone = present.gone(origin.batches)
        if gone:
            yield ticker, gone_in_words(layout, ticker, gone, len(origin.batches))
