"""What is made of a source's answer, decided from values alone."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import ReasonCode, RejectedDataError
from etf_pipeline.ingest.answers import KnownRows, check_identity, judge, not_answered
from etf_pipeline.ingest.source import Download, FetchFailure, Request
from etf_pipeline.model.outcomes import FailureKind, OutcomeKind
from etf_pipeline.model.rows import empty_rows
from etf_pipeline_tests.support import asx_days, bars, instrument, walk

VAS = instrument("VAS")
DAYS = asx_days("2025-01-02", 60)
ROWS = bars(DAYS, walk(60)).assign(adj_close_source=np.nan)
NOTHING = KnownRows(empty_rows(), is_new=True)
FINAL = DAYS[-1].astype(object)


def known(rows=ROWS, **changes):
    return KnownRows(rows.drop(columns="adj_close_source"), is_new=False, **changes)


def answer(rows=ROWS, start=None, **changes):
    values = {"symbol": "VAS.AX", "currency": "AUD"} | changes
    return Download(Request(VAS, start), rows, **values)


WINDOW = dt.date(2025, 2, 10)


def window(rows=ROWS):
    return answer(rows[rows.index >= pd.Timestamp(WINDOW)], WINDOW)


def code_of(download, knows=NOTHING):
    with pytest.raises(RejectedDataError) as caught:
        judge(download, knows, FINAL)
    return caught.value.code


def test_a_first_answer_is_collected():
    verdict = judge(answer(), NOTHING, FINAL)
    assert verdict.outcome.outcome is OutcomeKind.COLLECTED
    assert (verdict.outcome.rows_added, verdict.outcome.rows_revised) == (60, 0)
    assert (verdict.outcome.first_date, verdict.outcome.last_date) == (DAYS[0], DAYS[-1])
    assert verdict.keep.equals(ROWS)
    assert verdict.ask_whole is None


def test_the_same_again_is_no_news():
    verdict = judge(window(), known(), FINAL)
    assert verdict.outcome.outcome is OutcomeKind.UNCHANGED
    assert verdict.keep is None


def test_the_same_again_is_kept_where_the_files_are_damaged():
    verdict = judge(window(), known(damaged=True), FINAL)
    assert verdict.outcome.outcome is OutcomeKind.UNCHANGED
    assert len(verdict.keep) > 0


def test_new_rows_update():
    verdict = judge(window(), known(ROWS[:-3]), FINAL)
    assert verdict.outcome.outcome is OutcomeKind.UPDATED
    assert verdict.outcome.rows_added == 3
    assert verdict.outcome.reason is None


def test_a_session_that_is_not_over_is_left_out():
    verdict = judge(window(), known(ROWS[:-3]), DAYS[-2].astype(object))
    assert verdict.outcome.rows_added == 2
    assert verdict.keep.index[-1] == pd.Timestamp(DAYS[-2])


def test_another_level_asks_for_the_whole_history_first():
    verdict = judge(window(ROWS.assign(close=ROWS["close"] / 4)), known(), FINAL)
    assert verdict.outcome is None
    assert verdict.keep is None
    assert "4 times" in verdict.ask_whole


def test_the_whole_history_on_another_level_is_taken_and_told():
    prices = ["open", "high", "low", "close"]
    restated = ROWS.assign(**{c: ROWS[c] / 4 for c in prices})
    verdict = judge(answer(restated), known(), FINAL)
    assert verdict.outcome.outcome is OutcomeKind.UPDATED
    assert verdict.outcome.reason_code is ReasonCode.RESTATED
    assert verdict.outcome.rows_revised == 60


def test_a_shorter_history_on_another_level_is_refused():
    shorter = ROWS[30:].assign(close=ROWS["close"][30:] / 4)
    assert code_of(answer(shorter), known()) is ReasonCode.LEVEL_SHORTENED


@pytest.mark.parametrize("rows", [ROWS[:0], ROWS[-1:]], ids=["no row", "an unfinished session"])
def test_no_price_of_a_finished_session(rows):
    """Nothing in a window is nothing new; nothing at all is no answer."""
    final = DAYS[-2].astype(object)
    verdict = judge(answer(rows, WINDOW), known(), final)
    assert verdict.outcome.outcome is OutcomeKind.UNCHANGED
    assert verdict.outcome.reason_code is ReasonCode.NOTHING_IN_WINDOW
    with pytest.raises(RejectedDataError) as caught:
        judge(answer(rows), NOTHING, final)
    assert caught.value.code is ReasonCode.EMPTY_ANSWER


@pytest.mark.parametrize(
    ("download", "code"),
    [
        (answer(symbol="VGS.AX"), ReasonCode.OTHER_SYMBOL),
        (answer(currency="USD"), ReasonCode.OTHER_CURRENCY),
        (answer(granularity="1wk"), ReasonCode.OTHER_SPACING),
        (answer(ROWS[::5]), ReasonCode.OTHER_SPACING),
        (answer(ROWS[::7]), ReasonCode.OTHER_SPACING),
    ],
)
def test_an_answer_to_another_question_is_refused(download, code):
    assert code_of(download) is code


def test_few_bars_are_too_few_to_tell_their_spacing():
    check_identity(answer(ROWS[::5][:4]))
    with pytest.raises(RejectedDataError, match=r"got weekly ones \(7 days apart\)"):
        check_identity(answer(ROWS[::5][:5]))


def test_null_days_do_not_count_in_the_spacing():
    """Every price a week apart, with null days in between."""
    rows = ROWS.copy()
    rows.loc[[d for i, d in enumerate(rows.index) if i % 5], "close"] = np.nan
    assert code_of(answer(rows)) is ReasonCode.OTHER_SPACING


@pytest.mark.parametrize("step", [3, 5, 7])
def test_a_window_of_weekly_bars_is_refused_though_it_is_short(step):
    """Four bars, each with the close of a week, would rewrite four days."""
    weekly = ROWS[-4 * step :: step]
    assert len(weekly) == 4
    assert code_of(answer(weekly, WINDOW), known()) is ReasonCode.OTHER_SPACING
    # The same days, the others there without a price: a source that has lost them for now.
    nulls = ROWS[-4 * step :].copy()
    nulls.loc[~nulls.index.isin(weekly.index), "close"] = np.nan
    if step == 3:  # more nulls look like another spacing themselves
        assert judge(answer(nulls, WINDOW), known(), FINAL).outcome.good


def test_daily_bars_that_became_weekly_are_refused():
    """The newest ones count, however many daily ones are before them."""
    days = asx_days("2023-01-03", 500)
    rows = bars(days, walk(500)).assign(adj_close_source=np.nan)
    late = pd.concat([rows[:400], rows[400::5]])
    assert code_of(answer(late)) is ReasonCode.OTHER_SPACING
    # Monthly ones long ago are a matter of metrics.
    early = pd.concat([rows[:200:21], rows[200:]])
    final = days[-1].astype(object)
    assert judge(answer(early), NOTHING, final).outcome.outcome is OutcomeKind.COLLECTED


def failure(kind):
    return FetchFailure(Request(VAS), kind, ReasonCode.SYMBOL_MISSING, "no such symbol")


@pytest.mark.parametrize("kind", [FailureKind.TRANSIENT, FailureKind.PERMANENT])
@pytest.mark.parametrize("final", [False, True])
def test_a_failure_is_what_it_is(kind, final):
    outcome = not_answered(failure(kind), final)
    assert (outcome.outcome, outcome.failure_kind) == (OutcomeKind.FAILED, kind)
    assert (outcome.reason, outcome.reason_code) == ("no such symbol", ReasonCode.SYMBOL_MISSING)


def test_missing_for_long_enough_is_permanent_and_says_what_to_do():
    outcome = not_answered(failure(FailureKind.MISSING), final=False)
    assert outcome.failure_kind is FailureKind.MISSING
    outcome = not_answered(failure(FailureKind.MISSING), final=True)
    assert outcome.failure_kind is FailureKind.PERMANENT
    assert outcome.reason_code is ReasonCode.SYMBOL_GONE
    assert "last_session" in outcome.reason


def test_a_refused_answer_is_rejected():
    outcome = not_answered(failure(OutcomeKind.REJECTED), final=True)
    assert outcome.outcome is OutcomeKind.REJECTED
    assert outcome.failure_kind is None
    assert outcome.reason_code is ReasonCode.SYMBOL_MISSING
