"""What to ask for, decided from values alone."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import ReasonCode
from etf_pipeline.ingest.planning import EarlierRun, Held, Terms, missing_is_final, plan
from etf_pipeline.ingest.source import Request
from etf_pipeline.model.outcomes import FailureKind, OutcomeKind
from etf_pipeline.settings import Settings
from etf_pipeline_tests.support import instrument

VAS = instrument("VAS")
FIRST, LAST = dt.date(2009, 5, 8), dt.date(2025, 11, 11)
TODAY = dt.date(2025, 11, 12)
KNOWN = Held("VAS.parquet", True, FIRST, LAST, "yahoo")
MISSING, PERMANENT, TRANSIENT = FailureKind.MISSING, FailureKind.PERMANENT, FailureKind.TRANSIENT


def run(days_ago, failure=MISSING, answered=True, ticker="VAS"):
    return EarlierRun(TODAY - dt.timedelta(days=days_ago), {ticker: failure}, answered)


def test_a_new_ticker_gets_its_whole_history():
    assert plan(VAS, None, Terms()) == Request(VAS)
    assert plan(VAS, None, Terms()).full


@pytest.mark.parametrize(("days", "start"), [(30, "2025-10-12"), (1, "2025-11-10"), (0, LAST)])
def test_a_known_ticker_gets_a_trailing_window(days, start):
    asked = plan(VAS, KNOWN, Terms(overlap=dt.timedelta(days=days)))
    assert str(asked.start) == str(start)
    assert not asked.full


def test_everything_is_asked_for_on_request():
    assert plan(VAS, KNOWN, Terms(full=True)) == Request(VAS)


def test_a_history_without_a_session_is_asked_for_whole():
    assert plan(VAS, Held("VAS.parquet", True), Terms()) == Request(VAS)


def test_a_file_of_somebody_else_is_left_alone_whatever_is_asked():
    for terms in (Terms(), Terms(full=True)):
        outcome = plan(VAS, Held("VAS.parquet", False), terms)
        assert outcome.outcome is OutcomeKind.REJECTED
        assert outcome.reason_code is ReasonCode.FOREIGN_FILE
        assert "VAS.parquet" in outcome.reason


@pytest.mark.parametrize(
    ("last_session", "asks"), [("2025-11-11", 0), ("2025-11-10", 0), ("2025-11-12", 1)]
)
def test_what_no_longer_trades_is_asked_for_until_its_last_session(last_session, asks):
    gone = instrument("VAS", last_session=dt.date.fromisoformat(last_session))
    step = plan(gone, KNOWN, Terms())
    assert isinstance(step, Request) is bool(asks)
    if not asks:
        assert step.outcome is OutcomeKind.UNCHANGED
        assert step.reason_code is ReasonCode.NO_LONGER_TRADES
        assert (step.first_date, step.last_date, step.source) == (FIRST, LAST, "yahoo")
    assert plan(gone, KNOWN, Terms(full=True)) == Request(gone)


def test_terms_are_those_of_the_settings():
    terms = Terms.of(Settings(overlap_days=12, close_delay_minutes=7), full=True)
    assert terms == Terms(dt.timedelta(days=12), dt.timedelta(minutes=7), True)


def test_missing_on_three_days_is_final():
    assert missing_is_final("VAS", TODAY, [run(1), run(2)])
    assert not missing_is_final("VAS", TODAY, [run(1)])
    assert not missing_is_final("VAS", TODAY, [])


def test_a_day_counts_once():
    assert not missing_is_final("VAS", TODAY, [run(0), run(0), run(1), run(1)])
    assert missing_is_final("VAS", TODAY, [run(0), run(1), run(1), run(2)])


def test_a_run_that_nobody_was_answered_in_says_nothing():
    """The source was down, or the line."""
    assert not missing_is_final(
        "VAS", TODAY, [run(1, answered=False), run(2), run(3, answered=False)]
    )
    assert missing_is_final("VAS", TODAY, [run(1, answered=False), run(2), run(3)])


@pytest.mark.parametrize("failure", [None, TRANSIENT])
def test_any_other_outcome_ends_the_count(failure):
    assert not missing_is_final("VAS", TODAY, [run(1), run(2, failure), run(3), run(4)])
    assert missing_is_final("VAS", TODAY, [run(1), run(2), run(3, failure)])


def test_permanent_counts_as_missing():
    assert missing_is_final("VAS", TODAY, [run(1, PERMANENT), run(2, PERMANENT)])


def test_runs_of_other_tickers_say_nothing():
    others = [run(d, ticker="VGS") for d in range(1, 9)]
    assert not missing_is_final("VAS", TODAY, others)
    assert missing_is_final("VAS", TODAY, [*others, run(9), run(10)])


def test_no_more_is_read_than_it_takes():
    def earlier():
        yield run(1)
        yield run(2)
        raise AssertionError("read further than needed")

    assert missing_is_final("VAS", TODAY, earlier())


@given(
    st.lists(
        st.tuples(
            st.integers(0, 6), st.sampled_from([MISSING, PERMANENT, TRANSIENT, None]), st.booleans()
        ),
        max_size=12,
    )
)
def test_the_count_is_of_separate_days_up_to_the_first_answer(history):
    runs = [run(*one) for one in sorted(history, key=lambda h: h[0])]
    days = {TODAY}
    for one in runs:
        if one.failures["VAS"] not in (MISSING, PERMANENT):
            break
        if one.answered:
            days.add(one.day)
    assert missing_is_final("VAS", TODAY, runs) == (len(days) >= 3)
