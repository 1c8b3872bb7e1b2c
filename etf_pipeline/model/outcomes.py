"""What happened to one ticker or portfolio, and why: in a code to decide by, in words to read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from etf_pipeline.errors import EtfError, ReasonCode


class OutcomeKind(StrEnum):
    """How it came out."""

    COLLECTED = "collected"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"
    FAILED = "failed"
    REMOVED = "removed"  # by upkeep, as it was older than is kept


class FailureKind(StrEnum):
    """Whether a failure may pass by itself."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    MISSING = "missing"  # the source knows no such symbol; never final on one day


GOOD = frozenset(
    {OutcomeKind.COLLECTED, OutcomeKind.UPDATED, OutcomeKind.UNCHANGED, OutcomeKind.REMOVED}
)


@dataclass(frozen=True)
class Outcome:
    """What happened to one ticker (or portfolio) in one asset of one run.

    `reason_code` is None when there is nothing to say; `reason` is the same in words, with the
    numbers. `path` is the file that was published for it, below the store. `currency` is what its
    prices or returns are in; `fx` names the rates they were converted with, each `PAIR:hash` (the
    first twelve digits of its history's content hash), comma-joined; None when none were.
    """

    subject: str
    outcome: OutcomeKind
    reason: str | None = None
    failure_kind: FailureKind | None = None
    reason_code: ReasonCode | None = None
    rows_added: int = 0
    rows_revised: int = 0
    rows_quarantined: int = 0
    first_date: dt.date | None = None
    last_date: dt.date | None = None
    content_hash: str | None = None
    path: str | None = None
    batch_id: str | None = None
    batch_hash: str | None = None
    rules_version: int | None = None
    source: str = ""
    currency: str | None = None
    fx: str | None = None

    @property
    def good(self) -> bool:
        """Whether the subject is in the state that was asked for."""
        return self.outcome in GOOD


Progress = Callable[[Outcome], None]


@dataclass(frozen=True)
class Remark:
    """Something to say of an outcome: a code to decide by, and the same in words."""

    code: ReasonCode
    text: str


def in_words(remarks: Iterable[Remark]) -> str | None:
    """Several remarks as one reason, the most important first; None without any."""
    return "; ".join(r.text for r in remarks) or None


def main_code(remarks: Sequence[Remark]) -> ReasonCode | None:
    """The code of the most important remark, which is the first."""
    return remarks[0].code if remarks else None


def moves_in_words(moves: Sequence[tuple[dt.date, float]], most: int = 3) -> list[str]:
    """What is to be said of returns that may be no market's; nothing without any."""
    if not moves:
        return []
    named = ", ".join(f"{move:+.1%} on {day}" for day, move in moves[:most])
    more = f" and {len(moves) - most} more" if len(moves) > most else ""
    returns = "returns are" if len(moves) > 1 else "return is"
    return [f"{len(moves)} {returns} unlike all others and may be a fault: {named}{more}"]


def withheld_in_words(days: Sequence[dt.date], most: int = 3) -> str:
    """How many distributions are left out, and the first dates of them."""
    return f"{_distributions(len(days))} withheld ({_named(days, most)})"


def unseen_in_words(days: Sequence[dt.date], most: int = 3) -> str:
    """How many distributions count that prices do not confirm, and the first dates of them."""
    return f"{_distributions(len(days))} may be a fault ({_named(days, most)})"


def _distributions(count: int) -> str:
    return f"{count} distribution{'s' if count > 1 else ''}"


def _named(days: Sequence[dt.date], most: int) -> str:
    more = "" if len(days) <= most else f" and {len(days) - most} more"
    return ", ".join(str(day) for day in days[:most]) + more


# Our adjusted close may be this far from the source's, relatively, before a check says so.
ADJ_CLOSE_TOLERANCE = 1e-4


def distributions_in_words(withheld: Sequence[dt.date], adj_close_gap: float | None) -> str | None:
    """What is wrong with a ticker's distributions; None when nothing is known to be."""
    return in_words(distribution_remarks(withheld, adj_close_gap))


def distribution_remarks(
    withheld: Sequence[dt.date], adj_close_gap: float | None
) -> Iterator[Remark]:
    """The same as remarks.

    Args:
        withheld: ex-dates whose distribution is left out.
        adj_close_gap: how far our adjusted close is from the source's, relatively, but for what
            findings explain; None when the source does not tell.
    """
    if withheld:
        yield Remark(ReasonCode.DISTRIBUTION_WITHHELD, withheld_in_words(withheld))
    if adj_close_gap is not None and adj_close_gap > ADJ_CLOSE_TOLERANCE:
        text = f"adjusted close differs from the source's by up to {adj_close_gap:.2e}"
        yield Remark(ReasonCode.ADJUSTMENT_DIFFERS, text)


def rejected(subject: str, error: EtfError, source: str = "") -> Outcome:
    """The outcome of data that was refused."""
    return Outcome(subject, OutcomeKind.REJECTED, str(error), reason_code=error.code, source=source)


def failed(subject: str, error: EtfError, kind: FailureKind, source: str = "") -> Outcome:
    """The outcome of something that could not be done."""
    return Outcome(
        subject, OutcomeKind.FAILED, str(error), kind, reason_code=error.code, source=source
    )


def our_mistake(subject: str, error: Exception, source: str = "") -> Outcome:
    """The outcome of a fault of ours: never tried again, as it would fail again."""
    text = f"{ReasonCode.OUR_MISTAKE.text} ({type(error).__name__}: {error})"
    return Outcome(
        subject,
        OutcomeKind.FAILED,
        text,
        FailureKind.PERMANENT,
        ReasonCode.OUR_MISTAKE,
        source=source,
    )


def cells(outcome: Outcome) -> dict[str, str]:
    """An outcome as every table of outcomes shows it, by column; its reason is told apart."""
    kind = (
        f"{outcome.outcome} ({outcome.failure_kind})" if outcome.failure_kind else outcome.outcome
    )
    return {
        "ticker": outcome.subject,
        "outcome": str(kind),
        "added": str(outcome.rows_added),
        "revised": str(outcome.rows_revised),
        "held back": str(outcome.rows_quarantined),
        "first": str(outcome.first_date or ""),
        "last": str(outcome.last_date or ""),
    }


def sentences(outcomes: Iterable[Outcome], most: int = 20) -> str:
    """Subject and reason of each of the first `most` outcomes, and how many more there are."""
    told = list(outcomes)
    more = f" (and {len(told) - most} more)" if len(told) > most else ""
    return "; ".join(f"{o.subject}: {o.reason}" for o in told[:most]) + more
