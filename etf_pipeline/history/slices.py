"""Batch slices: one ticker's part of one raw batch, and what many of them make together. Pure."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from etf_pipeline.errors import MixedSourceError, ReasonCode, RejectedDataError
from etf_pipeline.history.basis import Basis
from etf_pipeline.history.build import Built, build
from etf_pipeline.history.corrections import declared_splits
from etf_pipeline.history.duplicates import one_row_per_day
from etf_pipeline.history.evidence import NOTHING_SAID, Evidence
from etf_pipeline.history.identity import other_security, since
from etf_pipeline.history.merge import Merge, merge_full, merge_window, needs_full
from etf_pipeline.history.restatement import Split
from etf_pipeline.model.corrections import VOID_REMEDY, Correction
from etf_pipeline.model.file_names import STAMP
from etf_pipeline.model.outcomes import Remark


@dataclass(frozen=True)
class SliceInfo:
    """What a batch says of one ticker: how it was asked for and what the source called it.

    Attributes:
        full: whether the whole history was asked for, or a trailing window.
        row_group: its place in the batch's file.
    """

    ticker: str
    symbol: str
    exchange: str
    currency: str
    full: bool
    row_group: int


@dataclass(frozen=True)
class BatchSlice:
    """One ticker's rows of one batch: the columns of `rows.DOWNLOAD_COLUMNS`, by session date.

    `dividend_notes` is what the source said of single dividends, see `schemas.RAW`, by date.
    """

    info: SliceInfo
    batch_id: str
    source: str
    rows: pd.DataFrame
    dividend_notes: Mapping[dt.date, str] = field(default_factory=dict)


def valid(
    slices: Iterable[BatchSlice], void: Correction | None, base: str = ""
) -> list[BatchSlice]:
    """Slices without those that somebody declared void, see `Correction.before`.

    A trailing window means nothing without what it continues, so what is left begins with the
    answer to a request for the whole history.

    Args:
        slices: of one ticker, oldest first.
        void: what is declared of it; None when nothing is.
        base: the newest batch that the rows which they are to be merged into hold, empty for none.
    """
    if void is None or void.before is None:
        return list(slices)
    begin = void.before.strftime(STAMP)
    left = [one for one in slices if one.batch_id >= begin]
    whole = (i for i, one in enumerate(left) if one.info.full or base >= begin)
    return left[next(whole, len(left)) :]


@dataclass(frozen=True, kw_only=True)
class Folded(Merge):
    """What slices, merged into rows, came to.

    Attributes:
        evidence: what the source said besides.
        slices: those that were applied, oldest first.
        used: batch ids of those that changed anything: without the others it would be the same.
        held: why no more were, see `fold`; None when all were.
    """

    evidence: Evidence = NOTHING_SAID
    slices: tuple[BatchSlice, ...] = ()
    used: tuple[str, ...] = ()
    held: Remark | None = None


def fold(
    rows: pd.DataFrame,
    slices: Iterable[BatchSlice],
    listed_since: dt.date | None = None,
    said: Evidence = NOTHING_SAID,
    splits: Sequence[Split] = (),
) -> Folded:
    """Merge slices into rows, oldest first; the counts are totals over all of them.

    A slice that may not be merged is left out, and a note says why. One that seems to be another
    security's holds the ticker: it and later ones wait until somebody says what the symbol means.

    Args:
        rows: what is known already.
        slices: what came since.
        listed_since: rows before it are left out, and all later ones are one security's.
        said: what is known already of what the source said besides.
        splits: those that somebody declared.
    """
    counts = Counter(added=0, revised=0, removed=0)
    notes: list[Remark] = []
    applied: list[BatchSlice] = []
    used: list[str] = []
    held: Remark | None = None
    refused = False  # the newest whole answer
    rows = since(rows, listed_since)
    for one in slices:
        try:
            new, twice = one_row_per_day(since(one.rows, listed_since))
            merge = _merged(rows, new, one.info.full, refused, splits)
        except RejectedDataError as error:
            if error.code is ReasonCode.OTHER_SECURITY:
                held = Remark(error.code, str(error))
                break
            notes.append(Remark(error.code, str(error)))
            applied.append(one)
            refused = True
            continue
        refused = refused and not one.info.full
        if merge.added and listed_since is None:
            why = other_security(merge.rows)
            if why is not None and other_security(rows) is None:
                held = Remark(ReasonCode.OTHER_SECURITY, why)
                break
        applied.append(one)
        rows = merge.rows
        told = said.and_then(new, one.dividend_notes, one.info.currency, one.info.full, twice)
        used += [one.batch_id] if merge.changed or told.differs(said) else []
        said = told
        counts.update(added=merge.added, revised=merge.revised, removed=merge.removed)
        notes += merge.notes
    return Folded(
        rows=rows,
        **counts,
        notes=tuple(notes),
        evidence=said,
        slices=tuple(applied),
        used=tuple(used),
        held=held,
    )


def _merged(
    rows: pd.DataFrame, new: pd.DataFrame, full: bool, refused: bool, splits: Sequence[Split]
) -> Merge:
    """Rows with a slice's in them; `refused` says that the newest whole answer was.

    Raises:
        RejectedDataError: it may not be merged, or it continues the answer that was refused.
    """
    if refused and not full and (why := needs_full(rows, new)) is not None:
        raise RejectedDataError(
            f"a trailing window continues a whole history that was refused: {why}",
            code=ReasonCode.OTHER_LEVEL,
        )
    return merge_full(rows, new, splits) if full else merge_window(rows, new)


def build_from(
    rows: pd.DataFrame,
    slices: Sequence[BatchSlice],
    basis: Basis,
    said: Evidence = NOTHING_SAID,
) -> tuple[Folded, Built]:
    """Fold slices into rows and build the history of what that gives.

    Args:
        rows: what is known already, as `model.rows` has them; may be empty.
        slices: what came since, oldest first.
        basis: what the rows are judged by.
        said: what is known already of what the source said besides.

    Raises:
        RejectedDataError: the first slice already holds the ticker, or nothing usable is left.
    """
    splits = declared_splits(basis.corrections)
    merged = fold(rows, slices, basis.listed_since, said, splits)
    if merged.held is not None and merged.rows.empty:
        raise RejectedDataError(merged.held.text, code=merged.held.code)
    if merged.slices:
        # What is known of others then, no more: a later rebuild finds the same.
        basis = replace(basis, peers=basis.peers.until(merged.slices[-1].batch_id))
    return merged, build(merged.rows, basis, merged.evidence)


def check_origin(
    ticker: str,
    slices: Sequence[BatchSlice],
    source: str | None,
    currency: str | None,
    expected: str | None = None,
) -> None:
    """Refuse to mix sources or currencies in one history, see also `check_currency`.

    Args:
        ticker: for the error.
        slices: what is to be merged.
        source: of the history that there is; None without one.
        currency: of the same, ISO 4217 (or a hundredth of one, such as GBp).
        expected: the universe's; None to take what there is.

    Raises:
        MixedSourceError: naming both and the remedy.
        RejectedDataError: all is in one currency, which is not the universe's.
    """
    sources = {s.source for s in slices} | ({source} if source else set())
    currencies = {s.info.currency for s in slices} | ({currency} if currency else set())
    for what, values in (("source", sources), ("currency", currencies)):
        if len(values) > 1:
            raise MixedSourceError(
                f"{ticker}: the history would mix {what} {' and '.join(sorted(values))};"
                f" use another data folder (--data-dir). {VOID_REMEDY}"
            )
    if expected is not None and currencies:
        check_currency(ticker, currencies.pop(), expected)


def check_currency(ticker: str, held: str | None, expected: str) -> None:
    """Refuse a history that is in another currency than the universe says by now.

    Args:
        ticker: for the error.
        held: what its rows are labelled with, as they were downloaded; None when nothing says it.
        expected: the universe's.

    Raises:
        RejectedDataError: it is; a source that names none would go on under the old label.
    """
    if held is not None and held != expected:
        raise RejectedDataError(
            f"{ticker}: its history is in {held}, and the universe says {expected}: put {held} "
            "back if that is right, or list it under another ticker, which begins anew. "
            f"{VOID_REMEDY}",
            code=ReasonCode.OTHER_CURRENCY,
        )
