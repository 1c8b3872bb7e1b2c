"""What to make of a source's answer. Values in, values out: nothing is read or written here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.errors import ReasonCode, RejectedDataError
from etf_pipeline.history.duplicates import one_row_per_day
from etf_pipeline.history.evidence import NOTHING_SAID, Evidence
from etf_pipeline.history.identity import since
from etf_pipeline.history.merge import (
    Comparison,
    compare_full,
    compare_window,
    drop_unfinished,
    needs_full,
    tidy,
)
from etf_pipeline.history.restatement import Split
from etf_pipeline.ingest.source import Download, FetchFailure
from etf_pipeline.model.outcomes import (
    FailureKind,
    Outcome,
    OutcomeKind,
    Remark,
    in_words,
    main_code,
)
from etf_pipeline.model.rows import values_of
from etf_pipeline.model.schemas import VALUE_COLUMNS
from etf_pipeline.model.spacing import bar_spacing

_CLOSE = VALUE_COLUMNS.index("close")
_ENOUGH_TO_TELL = 5
_NEWEST = 20


@dataclass(frozen=True)
class KnownRows:
    """What is known of the ticker that was asked for.

    Attributes:
        rows: every row known, quarantined ones included, as `model.rows` has them.
        is_new: whether there is no history of it yet.
        damaged: whether its files need to be written again, whatever the answer says.
        said: what the source has said of its distributions besides.
        splits: those that somebody declared of it.
    """

    rows: pd.DataFrame
    is_new: bool
    damaged: bool = False
    said: Evidence = NOTHING_SAID
    splits: tuple[Split, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What came of an answer.

    Attributes:
        outcome: what to record; None when the whole history is to be asked for first.
        keep: the answer's rows of finished sessions, to be kept in the batch; None when they are
            no news.
        ask_whole: why the whole history is needed, in words.
        full: whether what is kept is the whole history.
    """

    outcome: Outcome | None
    keep: pd.DataFrame | None = None
    ask_whole: str | None = None
    full: bool = False


def judge(download: Download, known: KnownRows, final: dt.date) -> Verdict:
    """Check an answer and compare it with what is known.

    Args:
        download: the answer.
        known: rows of the same ticker.
        final: the newest session whose bar is final.

    Raises:
        RejectedDataError: an answer to another question, one without any price, a history on a
            level that no split explains, another series, or a restated history that is shorter
            than the known one.
    """
    request, ticker = download.request, download.request.instrument.ticker
    check_identity(download)
    rows = since(drop_unfinished(download.rows, final), request.instrument.listed_since)
    if not _priced(rows).any() and tidy(rows).empty:
        if request.full:
            raise RejectedDataError(
                "the answer holds no price of a finished session", code=ReasonCode.EMPTY_ANSWER
            )
        return Verdict(
            Outcome(
                ticker,
                OutcomeKind.UNCHANGED,
                reason="no row in the trailing window",
                reason_code=ReasonCode.NOTHING_IN_WINDOW,
            )
        )
    known = replace(known, rows=since(known.rows, request.instrument.listed_since))
    once, twice = one_row_per_day(rows)
    _check_density(known.rows, once)
    if download.implied:
        _check_overlap(known.rows, once)
    full = request.full or download.whole
    if not full and (why := needs_full(known.rows, once)) is not None:
        return Verdict(None, ask_whole=why)
    if full:
        compared = compare_full(known.rows, once, known.splits)
    else:
        compared = compare_window(known.rows, once)
    told = _told(known, download, once, full, twice)
    changed = compared.changed or known.damaged or told.differs(known.said)
    if changed and full and not request.full and not known.damaged:
        window = rows[rows.index.to_numpy() >= np.datetime64(str(request.start), "s")]
        if _is_all_news(window, compared, told, known, download):
            rows, full = window, False
    remarks = compared.notes + (download.remarks if known.is_new else ())
    if download.whole:
        remarks += tuple(_gone(known.rows, once))
    outcome = _outcome(ticker, known.is_new, compared, remarks)
    return Verdict(outcome, rows if changed else None, full=full)


def _check_overlap(known: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Refuse rows that begin after what is known, when only their course tells distributions."""
    days = known.index[_priced(known)]
    if len(days) and not rows.empty and rows.index.min() > days.max():
        raise RejectedDataError(
            f"the answer begins on {rows.index.min():%Y-%m-%d}, after the last known session "
            f"{days.max():%Y-%m-%d}, and has no Dividends: one between them would not show. Let it "
            "begin on a known session, or add a Dividends column",
            code=ReasonCode.NO_OVERLAP,
        )


def _told(
    known: KnownRows, download: Download, once: pd.DataFrame, full: bool, twice: dict[dt.date, str]
) -> Evidence:
    notes, currency = download.dividend_notes, download.currency
    within = {d: n for d, n in notes.items() if pd.Timestamp(d) in once.index}
    return known.said.and_then(once, within, currency, full, twice)


def _is_all_news(
    window: pd.DataFrame,
    compared: Comparison,
    told: Evidence,
    known: KnownRows,
    download: Download,
) -> bool:
    """Whether a trailing window changes as much as the whole that it is a part of."""
    once, twice = one_row_per_day(window)
    if once.empty or compared.notes or needs_full(known.rows, once) is not None:
        return False
    part = compare_window(known.rows, once)
    same = (part.added, part.revised, part.removed) == (
        compared.added,
        compared.revised,
        compared.removed,
    )
    return same and not told.differs(_told(known, download, once, False, twice))


def _gone(known: pd.DataFrame, rows: pd.DataFrame) -> Iterator[Remark]:
    """What a source that answers all it has does not have any more; what is known stays."""
    if rows.empty:
        return
    days = known.index[_priced(known)]
    gone = days[(days >= rows.index.min()) & ~days.isin(rows.index)]
    if len(gone):
        named = ", ".join(f"{day:%Y-%m-%d}" for day in gone[:3])
        more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
        text = (
            f"{len(gone)} known session{'s are' if len(gone) > 1 else ' is'} not in the file any "
            f"more ({named}{more}); kept as known. What is wrong is told in corrections.csv"
        )
        yield Remark(ReasonCode.ROWS_GONE, text)


def _outcome(ticker: str, is_new: bool, compared: Comparison, remarks: Sequence[Remark]) -> Outcome:
    changed = OutcomeKind.COLLECTED if is_new else OutcomeKind.UPDATED
    return Outcome(
        ticker,
        changed if compared.changed else OutcomeKind.UNCHANGED,
        reason=in_words(remarks),
        reason_code=main_code(remarks),
        rows_added=compared.added,
        rows_revised=compared.revised + compared.removed,
        first_date=compared.first,
        last_date=compared.last,
    )


def not_answered(failure: FetchFailure, final: bool) -> Outcome:
    """The outcome of a ticker that the source gave no usable answer for.

    Args:
        failure: what it said instead.
        final: whether a symbol that is missing has been so for long enough to stop hoping.
    """
    ticker = failure.request.instrument.ticker
    if failure.kind == OutcomeKind.REJECTED:
        return Outcome(
            ticker, OutcomeKind.REJECTED, reason=failure.reason, reason_code=failure.code
        )
    kind, code, reason = FailureKind(failure.kind), failure.code, failure.reason
    if kind is FailureKind.MISSING and final:
        kind, code = FailureKind.PERMANENT, ReasonCode.SYMBOL_GONE
        reason += (
            "; missing on 3 separate days: if it is delisted, set last_session in the universe"
        )
    return Outcome(ticker, OutcomeKind.FAILED, reason, kind, code)


def check_identity(download: Download) -> None:
    """Refuse an answer to another question.

    Raises:
        RejectedDataError: another symbol, currency or bar spacing than was asked for.
    """
    instrument = download.request.instrument
    where = f"{download.origin}: " if download.origin is not None else ""
    if download.symbol != instrument.symbol:
        raise RejectedDataError(
            f"{where}asked for {instrument.symbol}, got {download.symbol}; if it was renamed, "
            "change its symbol in the universe",
            code=ReasonCode.OTHER_SYMBOL,
        )
    if download.currency != instrument.currency:
        raise RejectedDataError(
            f"{where}prices are in {download.currency}, the universe says {instrument.currency}; "
            "correct the universe if the fund changed its currency",
            code=ReasonCode.OTHER_CURRENCY,
        )
    if download.granularity != "1d":
        raise RejectedDataError(
            f"asked for daily bars, got {download.granularity}", code=ReasonCode.OTHER_SPACING
        )
    _check_spacing(download.rows)


def _check_spacing(rows: pd.DataFrame) -> None:
    """Refuse bars that are not daily: all of them, or the newest, as a part hides in the whole."""
    days = np.unique(rows.index.to_numpy()[_priced(rows)])
    if len(days) < _ENOUGH_TO_TELL:
        return
    for part in (days, days[-_NEWEST:]):
        spacing = bar_spacing(part)
        if spacing != "daily":
            gap = np.median(np.diff(part.astype("datetime64[D]")).astype("int64"))
            raise RejectedDataError(
                f"asked for daily bars, got {spacing or 'irregular'} ones ({gap:g} days apart)",
                code=ReasonCode.OTHER_SPACING,
            )


def _priced(rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows have a close."""
    return ~np.isnan(values_of(rows)[:, _CLOSE])


def _check_density(known: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Refuse an answer that passes over most of the sessions that are known, as weekly bars do.

    A window is too short for its own spacing to tell; a day that is there without a price counts.
    """
    if rows.empty:
        return
    have, days = rows.index.sort_values(), known.index.to_numpy()
    first, last = np.searchsorted(days, have.to_numpy()[[0, -1]])
    part = slice(first, last + 1)
    within = days[part][_priced(known)[part] & (days[part] <= have.to_numpy()[-1])]
    there = int(np.count_nonzero(np.isin(within, have.to_numpy())))
    if len(within) >= _ENOUGH_TO_TELL and there * 2 < len(within):
        raise RejectedDataError(
            f"asked for daily bars, got {len(have)} from {have.min():%Y-%m-%d} to "
            f"{have.max():%Y-%m-%d}, where {len(within)} sessions are known",
            code=ReasonCode.OTHER_SPACING,
        )
