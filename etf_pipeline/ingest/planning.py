"""Deciding what to ask for, from what is known. Pure decisions over footers and manifests."""

from __future__ import annotations

import datetime as dt

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.ingest.source import Request
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import GOOD, Outcome, OutcomeKind
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.store.inventory import date_range
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import recent_manifests
from etf_pipeline.store.reader import file_info, read_table

_GONE_AFTER_DAYS = 3


def plan(
    layout: Layout, instrument: Instrument, overlap: dt.timedelta, full: bool
) -> Request | Outcome:
    """What to ask for one ticker, or its outcome when nothing is to be asked.

    A new ticker gets its full history; a known one a trailing window of `overlap`.
    """
    path = layout.of(HISTORY, instrument.ticker)
    try:
        info = file_info(path)
    except FileNotFoundError:
        return Request(instrument)
    except CorruptFileError:
        return Request(instrument)  # the history step sets the damaged file aside
    if not info.ours:
        return Outcome(
            instrument.ticker,
            OutcomeKind.REJECTED,
            reason=f"{path} was not written by this pipeline and has been left alone; "
            "move it away to have the pipeline keep this ticker",
        )
    first, last = date_range(path)
    if last is None or full:
        return Request(instrument)
    if instrument.last_session is not None and last >= instrument.last_session:
        return Outcome(
            instrument.ticker,
            OutcomeKind.UNCHANGED,
            reason=f"no longer trades: last session {instrument.last_session}",
            first_date=first,
            last_date=last,
            source=info.source,
        )
    return Request(instrument, start=last - overlap)


def missing_is_final(layout: Layout, ticker: str, today: dt.date) -> bool:
    """Whether a symbol the source does not know has been gone long enough to stop hoping.

    One failure never delists: it must have been missing on `_GONE_AFTER_DAYS` separate days
    (today included) while other tickers of the same runs were answered.
    """
    days = {today}
    for path in recent_manifests(layout, "raw_prices", limit=200):
        rows = read_table(path, ["subject", "outcome", "failure_kind", "recorded_at"]).to_pylist()
        mine = next((r for r in rows if r["subject"] == ticker), None)
        if mine is None:
            continue
        if mine["failure_kind"] not in ("missing", "permanent"):
            return False
        if any(r["outcome"] in GOOD for r in rows):
            days.add(mine["recorded_at"].date())
        if len(days) >= _GONE_AFTER_DAYS:
            return True
    return False
