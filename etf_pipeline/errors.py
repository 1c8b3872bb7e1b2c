"""Errors that a user is meant to read, and the codes that programs decide by.

Each error names the thing and the remedy in words; what follows from it (an exit code, a retry, an
event) is decided by its code alone, never by the words.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import StrEnum


class ReasonCode(StrEnum):
    """Why something came out as it did."""

    text: str

    def __new__(cls, value: str, text: str) -> ReasonCode:
        """A code with the sentence that explains it."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.text = text
        return member

    # what a source answered
    RATE_LIMITED = "rate_limited", "the source refuses requests that come too fast (429)"
    SOURCE_UNREACHABLE = "source_unreachable", "the source did not answer as it should"
    RUN_DEADLINE = "run_deadline", "the run had no time left to ask"
    SYMBOL_MISSING = "symbol_missing", "the source knows no such symbol today"
    SYMBOL_GONE = "symbol_gone", "the source has not known the symbol for days"
    OTHER_SYMBOL = "other_symbol", "the answer is about another symbol"
    OTHER_CURRENCY = "other_currency", "the answer is in another currency"
    OTHER_SPACING = "other_spacing", "the answer has bars of another spacing"
    EMPTY_ANSWER = "empty_answer", "the answer holds no price of a finished session"
    UNREADABLE_ANSWER = "unreadable_answer", "the answer cannot be read"
    UNREADABLE_FILE = "unreadable_file", "a file cannot be read, or not beyond doubt"
    # what was not asked, or changed nothing
    NO_LONGER_TRADES = "no_longer_trades", "the universe says that it no longer trades"
    NOTHING_IN_WINDOW = "nothing_in_window", "no row in the trailing window"
    NOTHING_DOWNLOADED = "nothing_downloaded", "nothing has been downloaded yet"
    VOIDED = "voided", "what was collected is declared void, and nothing has come since"
    PENDING_BATCH = "pending_batch", "an earlier download holds it, the history does not yet"
    FOREIGN_FILE = "foreign_file", "the file was not written by this pipeline and is left alone"
    # remarks on what was published
    RESTATED = "restated", "the source restated the whole price level"
    REBUILT = "rebuilt", "rebuilt from the raw batches, as the file was damaged"
    CORRECTED = "corrected", "somebody declared what is right, in the corrections file"
    ADJUSTMENT_DIFFERS = "adjustment_differs", "our adjusted close is not the source's"
    NO_DISTRIBUTIONS = "no_distributions", "the source tells no distributions at all"
    NO_OVERLAP = "no_overlap", "the answer does not reach back to what is known"
    ROWS_GONE = "rows_gone", "the source lacks sessions that it had; they are kept"
    DISTRIBUTION_WITHHELD = "distribution_withheld", "a distribution failed a rule and is left out"
    # data that may not be published
    MIXED_ORIGIN = "mixed_origin", "the history would mix sources or currencies"
    NO_USABLE_ROW = "no_usable_row", "no row passed the quality rules"
    INVALID_HISTORY = "invalid_history", "dates or prices are not what a history may have"
    OTHER_LEVEL = "other_level", "the prices are on another level, which no split explains"
    OTHER_SECURITY = "other_security", "the symbol may mean another security now"
    LEVEL_SHORTENED = "level_shortened", "a restated history starts later than the known one"
    RAW_GONE = "raw_gone", "raw batches that the history rests on are gone"
    NOT_PROVEN = "not_proven", "what was rebuilt is not what the events say it was"
    # numbers that cannot be computed
    NO_HISTORY = "no_history", "there is no history of a ticker"
    TOO_FEW_RETURNS = "too_few_returns", "there are too few observations"
    BAD_PROBLEM = "bad_problem", "the limits or inputs contradict each other"
    INFEASIBLE = "infeasible", "no portfolio meets every limit"
    MIXED_CURRENCIES = "mixed_currencies", "prices in several currencies, and none to bring them to"
    MISSING_FX = "missing_fx", "there is no exchange rate of a session that needs one"
    UNPROVEN = "unproven", "the solver's answer is not proven optimal"
    DECISIONS_SKIPPED = "decisions_skipped", "rebalances gave no weights; what was held was kept"
    NEAREST_TRADED = "nearest_traded", "the nearest weights were traded, as none met every limit"
    BACKTEST_REMARK = "backtest_remark", "something that a reader of the backtest must know"
    MEMBER_LEFT = "member_left", "a ticker's prices ended; what was held of it became cash"
    # the store and what surrounds it
    CORRUPT_FILE = "corrupt_file", "a file of the store is damaged"
    STORE_UNUSABLE = "store_unusable", "the store cannot be read or written"
    DISK_FULL = "disk_full", "the disk is full"
    CLOCK_BEHIND = "clock_behind", "this machine's clock is behind what the store holds"
    EXPIRED = "expired", "older than is kept"
    OUT_OF_MEMORY = "out_of_memory", "there was not enough memory"
    LOCKED = "locked", "another process holds the lock"
    SHARE_AWAY = "share_away", "the share of the store does not answer"
    SHARE_REFUSED = "share_refused", "the share of the store cannot be used, or has something else"
    BAD_SETTING = "bad_setting", "a setting cannot be used"
    BAD_ARGUMENT = "bad_argument", "an argument of a call cannot be used"
    BAD_UNIVERSE = "bad_universe", "the universe file cannot be used"
    BAD_CORRECTIONS = "bad_corrections", "the corrections file cannot be used"
    BAD_PORTFOLIO_FILE = "bad_portfolio_file", "the portfolio file cannot be used"
    UNKNOWN_TICKER = "unknown_ticker", "the ticker is not known here"
    BAD_QUERY = "bad_query", "the query may not be run, is wrong, or takes too much"
    RECORDS_UNUSABLE = "records_unusable", "Dagster's database cannot be used"
    EVENTS_UNUSABLE = "events_unusable", "events cannot be recorded or read"
    EVENTS_OFF = "events_off", "events are not being recorded"
    TAMPERED = "tampered", "a record is not what was written"
    FOREIGN_RECORD = "foreign_record", "the record was not written by this pipeline"
    UNREADABLE_RECORD = "unreadable_record", "the record cannot be read as an event"
    RECORD_GONE = "record_gone", "the file that a record tells of is gone"
    UNKNOWN_EVENT = "unknown_event", "the event's type or version is not known here; upgrade"
    INTERRUPTED = "interrupted", "somebody stopped it; what was published is whole"
    KILLED = "killed", "its process was ended from outside"
    HELD_BACK = "held_back", "what it reads failed, so that it was not made"
    CHECK_FAILED = "check_failed", "what was published breaks a rule that any correct table obeys"
    UNEXPECTED = "unexpected", "an error that nobody expected"
    WORKER_DIED = "worker_died", "a worker process ended before its work was done"
    OUR_MISTAKE = "our_mistake", "a mistake of this program; please report it with its log"

    @property
    def transient(self) -> bool:
        """Whether trying again later may help, though nothing was changed meanwhile."""
        return self in _TRANSIENT


_TRANSIENT = frozenset(
    {
        ReasonCode.RATE_LIMITED,
        ReasonCode.SOURCE_UNREACHABLE,
        ReasonCode.RUN_DEADLINE,
        ReasonCode.NOTHING_DOWNLOADED,
        ReasonCode.VOIDED,
        ReasonCode.LOCKED,
        ReasonCode.WORKER_DIED,
        ReasonCode.SHARE_AWAY,
    }
)


class EtfError(Exception):
    """Base of every error this package raises on purpose; `code` says which kind it is."""

    code: ReasonCode = ReasonCode.UNEXPECTED

    def __init__(self, message: str = "", *, code: ReasonCode | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class SettingsError(EtfError):
    """An environment variable has a value that cannot be used."""

    code = ReasonCode.BAD_SETTING


class ArgumentError(EtfError, ValueError):
    """An argument of a call has no meaning, or not one; the message names it and the remedy."""

    code = ReasonCode.BAD_ARGUMENT


class UniverseError(EtfError):
    """`universe.csv` is not usable; the message quotes the line."""

    code = ReasonCode.BAD_UNIVERSE


class PortfolioFileError(EtfError):
    """`portfolios.yaml` is not usable; the message quotes the line."""

    code = ReasonCode.BAD_PORTFOLIO_FILE


class CorrectionsError(EtfError):
    """`corrections.csv` is not usable; the message quotes the line."""

    code = ReasonCode.BAD_CORRECTIONS


class StoreError(EtfError):
    """A file of the store cannot be read or written."""

    code = ReasonCode.STORE_UNUSABLE


class DiskFullError(StoreError):
    """There is no room for a file of the store."""

    code = ReasonCode.DISK_FULL


class CorruptFileError(StoreError):
    """A file of the store is not readable Parquet of the expected kind."""

    code = ReasonCode.CORRUPT_FILE


class RawMissingError(StoreError):
    """A history cannot be made from raw batches, as some that it was made from are gone."""

    code = ReasonCode.RAW_GONE


class UnreadableFileError(StoreError):
    """A file may not be opened; or somebody else wrote it, and it cannot be read beyond doubt."""

    code = ReasonCode.UNREADABLE_FILE


class MixedSourceError(StoreError):
    """A write would mix sources or currencies in one history."""

    code = ReasonCode.MIXED_ORIGIN


class LockTimeoutError(StoreError):
    """Another process holds the lock on a ticker or a partition."""

    code = ReasonCode.LOCKED


class WorkerDiedError(EtfError):
    """A worker process ended before its work was done; what it published is whole."""

    code = ReasonCode.WORKER_DIED


class ShareError(StoreError):
    """The share of the store cannot be used, or has other bytes under a name than we have."""

    code = ReasonCode.SHARE_REFUSED


class ShareUnreadableError(ShareError):
    """The share refuses this machine, or its id cannot be read; a reader has its copy to go on."""


class ShareAwayError(ShareError):
    """The share of the store does not answer; what was made here is published by a later run."""

    code = ReasonCode.SHARE_AWAY


class UnknownTickerError(EtfError):
    """The ticker is not known here; the message names the nearest ones."""

    code = ReasonCode.UNKNOWN_TICKER


class InsufficientDataError(EtfError):
    """There are too few observations for the number asked for."""

    code = ReasonCode.TOO_FEW_RETURNS


class BacktestError(EtfError):
    """Not one decision of a backtest gave weights; the message says why."""

    code = ReasonCode.INFEASIBLE


class CurrencyError(EtfError):
    """Prices cannot be brought to one currency; the message names what lacks, and how to get it."""

    code = ReasonCode.MISSING_FX


class RejectedDataError(EtfError):
    """Downloaded data is not what was asked for and is refused."""

    code = ReasonCode.INVALID_HISTORY


class RecordsError(EtfError):
    """Dagster's database cannot be used, or was lost; the message never has its password."""

    code = ReasonCode.RECORDS_UNUSABLE


class EventError(EtfError):
    """Events cannot be recorded or read."""

    code = ReasonCode.EVENTS_UNUSABLE


class EventFormatError(EventError):
    """An event is not of a type, version or shape that is known here."""


class EventsOffError(EventError):
    """Events are not being recorded, so there is nothing to replay."""

    code = ReasonCode.EVENTS_OFF


class TamperError(EventError):
    """The event log is not what was written."""

    code = ReasonCode.TAMPERED


class ProofError(EventError):
    """What was rebuilt is not what the events say it was."""

    code = ReasonCode.NOT_PROVEN


class QueryError(EtfError):
    """A query may not be run, is wrong, or takes too much."""

    code = ReasonCode.BAD_QUERY


class LackingPricesWarning(UserWarning):
    """A file of prices of the user's own cannot be read beyond doubt, so `prices` lack its rows."""


class StaleCopyWarning(UserWarning):
    """The share cannot be read, so a reader goes on with this machine's copy, which may be old."""


def nearest(name: str, known: Iterable[str], what: str = "") -> str:
    """Known names that are near to one that is not, as the end of a sentence; empty for none.

    `what` they are comes before them.
    """
    near = difflib.get_close_matches(name, sorted(known), n=2, cutoff=0.6)
    return f"; did you mean {what}{' or '.join(near)}?" if near else ""


def unknown_ticker(ticker: str, known: Iterable[str], where: str) -> UnknownTickerError:
    """An error that names the ticker and the nearest known ones."""
    names = sorted(known)
    near = difflib.get_close_matches(ticker.upper(), names, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are {len(names)} there"
    return UnknownTickerError(f"ticker {ticker!r} is not in {where}; {hint}")


def foreign_file(path: str) -> RejectedDataError:
    """An error for a history that somebody else wrote, which is never replaced."""
    return RejectedDataError(
        f"{path} was not written by this pipeline and has been left alone; "
        "move it away to have the pipeline keep this ticker",
        code=ReasonCode.FOREIGN_FILE,
    )
