"""What to ask for, decided from what is known. Values in, values out: nothing is read here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from etf_pipeline.errors import ReasonCode, foreign_file
from etf_pipeline.ingest.source import Request
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind, rejected
from etf_pipeline.settings.pipeline import CLOSE_DELAY_MINUTES, OVERLAP_DAYS, Settings

_GONE_AFTER_DAYS = 3


@dataclass(frozen=True)
class Terms:
    """On which terms to ask.

    Attributes:
        overlap: trailing window that is asked for again for a known ticker.
        delay: a session's bar is final this long after the close.
        full: ask for the whole history of every ticker.
    """

    overlap: dt.timedelta = dt.timedelta(days=OVERLAP_DAYS)
    delay: dt.timedelta = dt.timedelta(minutes=CLOSE_DELAY_MINUTES)
    full: bool = False

    @classmethod
    def of(cls, settings: Settings, full: bool = False) -> Terms:
        """As the settings have it."""
        return cls(
            dt.timedelta(days=settings.overlap_days),
            dt.timedelta(minutes=settings.close_delay_minutes),
            full,
        )


@dataclass(frozen=True)
class Held:
    """What the footer of a ticker's history says.

    Attributes:
        file: its name, for errors.
        ours: whether this package wrote it.
        first: its first session, None when there is none or it is not ours.
        last: its last session, likewise.
        source: `yahoo`, `files`, `simulated` or `user`.
    """

    file: str
    ours: bool
    first: dt.date | None = None
    last: dt.date | None = None
    source: str = "user"


@dataclass(frozen=True)
class EarlierRun:
    """What an earlier download recorded.

    Attributes:
        day: when, UTC.
        failures: how each of its tickers failed; None for one that did not.
        answered: whether any of its tickers was answered.
    """

    day: dt.date
    failures: Mapping[str, FailureKind | None]
    answered: bool


def plan(instrument: Instrument, held: Held | None, terms: Terms) -> Request | Outcome:
    """What to ask for one ticker, or its outcome when nothing is to be asked.

    A new ticker gets its full history; a known one a trailing window.

    Args:
        instrument: which ticker.
        held: its history; None when there is none that can be read, as the history step sets a
            damaged one aside.
        terms: how much to ask for.
    """
    if held is None:
        return Request(instrument)
    if not held.ours:
        return rejected(instrument.ticker, foreign_file(held.file))
    if held.last is None or terms.full:
        return Request(instrument)
    if instrument.last_session is not None and held.last >= instrument.last_session:
        return Outcome(
            instrument.ticker,
            OutcomeKind.UNCHANGED,
            reason=f"no longer trades: last session {instrument.last_session}",
            reason_code=ReasonCode.NO_LONGER_TRADES,
            first_date=held.first,
            last_date=held.last,
            source=held.source,
        )
    return Request(instrument, start=held.last - terms.overlap)


def missing_is_final(ticker: str, today: dt.date, earlier: Iterable[EarlierRun]) -> bool:
    """Whether a symbol the source does not know has been gone long enough to stop hoping.

    One failure never delists: it must have been missing on `_GONE_AFTER_DAYS` separate days
    (today included) while other tickers of the same runs were answered.

    Args:
        ticker: which.
        today: the day of this run, UTC.
        earlier: runs before this one, newest first; read no further than it takes to tell.
    """
    days = {today}
    for run in earlier:
        if ticker not in run.failures:
            continue
        if run.failures[ticker] not in (FailureKind.MISSING, FailureKind.PERMANENT):
            return False
        if run.answered:
            days.add(run.day)
        if len(days) >= _GONE_AFTER_DAYS:
            return True
    return False
