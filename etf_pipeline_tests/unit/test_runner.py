"""What a run reports of a ticker that two steps had to do with."""

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.orchestration.runner import _joined

DOWNLOAD = Outcome(
    "VAS", OutcomeKind.COLLECTED, "asked again", reason_code=ReasonCode.RATE_LIMITED, rows_added=5
)


def test_a_good_history_says_what_the_download_said_too():
    history = Outcome("VAS", OutcomeKind.UPDATED, rows_added=5, content_hash="ab")
    assert _joined(DOWNLOAD, history) == Outcome(
        "VAS",
        OutcomeKind.UPDATED,
        "asked again",
        reason_code=ReasonCode.RATE_LIMITED,
        rows_added=5,
        content_hash="ab",
    )


def test_the_history_s_own_code_counts_before_the_download_s():
    history = Outcome(
        "VAS", OutcomeKind.UPDATED, "set aside", reason_code=ReasonCode.OTHER_CURRENCY
    )
    both = _joined(DOWNLOAD, history)
    assert both.reason == "asked again; set aside"
    assert both.reason_code is ReasonCode.OTHER_CURRENCY


def test_worse_news_of_the_history_stands_alone():
    bad = Outcome("VAS", OutcomeKind.REJECTED, "damaged", reason_code=ReasonCode.CORRUPT_FILE)
    assert _joined(DOWNLOAD, bad) == bad
    assert _joined(None, DOWNLOAD) == DOWNLOAD
