"""Outcomes: what counts as good, and how one is shown."""

import datetime as dt

import pytest

from etf_pipeline.errors import LockTimeoutError, ReasonCode, RejectedDataError
from etf_pipeline.model.outcomes import (
    FailureKind,
    Outcome,
    OutcomeKind,
    Remark,
    cells,
    failed,
    in_words,
    main_code,
    rejected,
    sentences,
)


@pytest.mark.parametrize(
    ("kind", "good"),
    [("collected", 1), ("updated", 1), ("unchanged", 1), ("rejected", 0), ("failed", 0)],
)
def test_what_is_good(kind, good):
    assert Outcome("VAS", OutcomeKind(kind)).good is bool(good)


def test_an_error_becomes_an_outcome_with_its_code():
    refused = rejected("VAS", RejectedDataError("no", code=ReasonCode.OTHER_SYMBOL), "yahoo")
    assert (refused.outcome, refused.failure_kind) == (OutcomeKind.REJECTED, None)
    assert (refused.reason, refused.reason_code) == ("no", ReasonCode.OTHER_SYMBOL)
    assert refused.source == "yahoo"
    busy = failed("VAS", LockTimeoutError("held"), FailureKind.TRANSIENT)
    assert (busy.outcome, busy.failure_kind) == (OutcomeKind.FAILED, FailureKind.TRANSIENT)
    assert busy.reason_code is ReasonCode.LOCKED


def test_remarks_in_words_the_first_is_the_main_one():
    remarks = [Remark(ReasonCode.RESTATED, "one"), Remark(ReasonCode.REBUILT, "two")]
    assert in_words(remarks) == "one; two"
    assert main_code(remarks) is ReasonCode.RESTATED
    assert in_words([]) is None
    assert main_code([]) is None


def test_cells_of_a_table():
    outcome = Outcome(
        "VAS",
        OutcomeKind.UPDATED,
        rows_added=3,
        rows_revised=1,
        first_date=dt.date(2009, 5, 8),
        last_date=dt.date(2025, 11, 11),
    )
    assert list(cells(outcome).values()) == [
        "VAS",
        "updated",
        "3",
        "1",
        "0",
        "2009-05-08",
        "2025-11-11",
    ]
    lost = Outcome("VAS", OutcomeKind.FAILED, failure_kind=FailureKind.MISSING)
    assert cells(lost)["outcome"] == "failed (missing)"
    assert cells(lost)["first"] == ""


@pytest.mark.parametrize(
    ("n", "more"), [(0, ""), (2, ""), (3, " (and 1 more)"), (9, " (and 7 more)")]
)
def test_sentences_name_a_few_and_count_the_rest(n, more):
    many = [Outcome(f"T{i}", OutcomeKind.FAILED, f"why {i}") for i in range(n)]
    shown = "; ".join(f"T{i}: why {i}" for i in range(min(n, 2)))
    assert sentences(iter(many), most=2) == shown + more
