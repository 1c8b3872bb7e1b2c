"""A history that stays as it is: what is told of it, and what is known of it besides."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pandas as pd

from etf_pipeline.errors import ReasonCode
from etf_pipeline.history.build import Built
from etf_pipeline.history.slices import BatchSlice, check_origin
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import (
    Outcome,
    OutcomeKind,
    Remark,
    distribution_remarks,
    in_words,
    main_code,
)
from etf_pipeline.steps.updating import Lacking, Scope, Updated, told
from etf_pipeline.store.histories import healthy, judged_by
from etf_pipeline.store.inventory import footer_range, withheld_dates
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.origins import Origin, Present, gone_in_words
from etf_pipeline.store.publishing import PublishedHistory
from etf_pipeline.store.reader import FileInfo
from etf_pipeline.store.seen import Seen, stamps_of

_Range = tuple[dt.date | None, dt.date | None]


def settled(of: Scope, present: Present, one: Lacking, seen: Seen | None = None) -> Updated | None:
    """What comes of a ticker that lacks nothing; None when it does after all.

    Its lock is not taken: footers that go with each other are whole, and others are looked at anew.

    Args:
        of: the work.
        present: the raw batches that are there.
        one: the ticker.
        seen: what is known of its files as they are now, if anything.
    """
    if one.held is None or one.batches:
        return None
    found = _footer(of, one.instrument, seen)
    if found is None or not one.is_of(found[0]):
        return None
    info, days = found
    return told(
        one.instrument.ticker, lambda: told_settled(of, present, one.instrument, info, days)
    )


def _footer(of: Scope, instrument: Instrument, seen: Seen | None) -> tuple[FileInfo, _Range] | None:
    """The footer of a history that can stay as it is, and its date range."""
    if seen is not None:
        judged = judged_by(seen.info, instrument, of.corrections)
        return (seen.info, (seen.first, seen.last)) if judged else None
    found = healthy(of.layout, instrument, of.corrections)
    return None if found is None else (found[0], footer_range(found[1]))


def told_settled(
    of: Scope, present: Present, instrument: Instrument, info: FileInfo, days: _Range
) -> Updated:
    """What is told of a history that holds all there is of it.

    Raises:
        MixedSourceError, RejectedDataError: it is not in the currency that the universe says.
    """
    check_unmixed(instrument, info, [])
    return Updated(_unchanged(of, present, instrument, info, days))


def raw_gone(
    of: Scope, present: Present, instrument: Instrument, origin: Origin
) -> Iterator[Remark]:
    """That raw batches which a history rests on are gone, if any are."""
    gone = present.gone(origin.batches, of.void(instrument))
    if gone:
        text = gone_in_words(of.layout, instrument.ticker, gone, len(origin.batches))
        yield Remark(ReasonCode.RAW_GONE, text)


def _unchanged(
    of: Scope, present: Present, instrument: Instrument, info: FileInfo, days: _Range
) -> Outcome:
    layout, ticker = of.layout, instrument.ticker
    notes = (
        *raw_gone(of, present, instrument, Origin.of(info)),
        *distribution_remarks(withheld_dates(info), info.meta.get("adj_close_gap")),
    )
    return Outcome(
        ticker,
        OutcomeKind.UNCHANGED,
        reason=in_words(notes),
        reason_code=main_code(notes),
        first_date=days[0],
        last_date=days[1],
        content_hash=info.content_hash,
        path=layout.relative(info.path),
        rows_quarantined=info.meta.get("quarantined", 0),
        source=info.source,
        currency=info.meta.get("currency"),
    )


def check_unmixed(etf: Instrument, info: FileInfo | None, slices: list[BatchSlice]) -> None:
    """Refuse a history of several sources or currencies, see `check_origin`."""
    source = info.source if info is not None else None
    currency = info.meta.get("currency", etf.currency) if info is not None else None
    check_origin(etf.ticker, slices, source, currency, etf.currency)


def seen_of(layout: Layout, done: PublishedHistory, built: Built, rows: pd.DataFrame) -> Seen:
    """What is known of a history that was published just now, of all `rows` that are known."""
    stamps = stamps_of(layout, str(done.info.meta["ticker"]))
    return Seen.of(stamps, done.info, built.history, built.quarantine, built.evidence, rows)
