"""What the exit codes of `etf` mean, and what leads to which. Decided here alone, and by code."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from etf_pipeline.errors import EtfError, ReasonCode
from etf_pipeline.model import assets

if TYPE_CHECKING:
    from etf_pipeline.orchestration.report import RunReport


class ExitCode(IntEnum):
    """A number for a scheduler; `meaning` is the row of the README's table."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTIAL = 3
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """In words."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.DONE: "all good",
    ExitCode.FAILED: "failed: nothing came out",
    ExitCode.USAGE: "bad usage: an option, a setting, the universe, portfolio or corrections file",
    ExitCode.PARTIAL: "partial: some tickers, portfolios or stages did not come out; "
    "the others are published",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C; what was published is whole",
}
# Stages whose outcome is that of their tickers.
_INGEST = frozenset({assets.RAW_PRICES, assets.PRICE_HISTORY})
# What whoever called can mend by calling otherwise.
_USAGE = frozenset(
    {
        ReasonCode.BAD_SETTING,
        ReasonCode.BAD_ARGUMENT,
        ReasonCode.BAD_UNIVERSE,
        ReasonCode.BAD_PORTFOLIO_FILE,
        ReasonCode.BAD_CORRECTIONS,
        ReasonCode.UNKNOWN_TICKER,
        ReasonCode.EVENTS_OFF,
        ReasonCode.BAD_QUERY,
        ReasonCode.MIXED_CURRENCIES,
    }
)


def of_error(error: BaseException) -> ExitCode:
    """The exit code of a command that ended with an error."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, EtfError) and error.code in _USAGE:
        return ExitCode.USAGE
    return ExitCode.FAILED


def of_checks(good: bool) -> ExitCode:
    """The exit code of a command that tries or proves things."""
    return ExitCode.DONE if good else ExitCode.FAILED


def of_run(report: RunReport, *, chosen: bool) -> ExitCode:
    """The exit code of a run.

    Args:
        report: what it did.
        chosen: only some tickers were asked for; portfolios that lack others do not count.
    """
    if report.ended is not None and report.ended.code is ReasonCode.INTERRUPTED:
        return ExitCode.INTERRUPTED
    tickers = report.tickers.values()
    derived = [s for s in report.stages if s.asset not in _INGEST]
    nothing = derived and not any(s.good for s in derived)
    if report.ended is not None or nothing or not any(o.good for o in tickers):
        return ExitCode.FAILED
    portfolios = [
        o
        for o in report.portfolios.values()
        if not (chosen and o.reason_code is ReasonCode.NO_HISTORY)
    ]
    good = all(o.good for o in (*tickers, *portfolios)) and all(s.good for s in report.stages)
    return ExitCode.DONE if good else ExitCode.PARTIAL
