"""When two copies of an event contradict each other, and when one machine only knew less."""

import pytest

from etf_pipeline.events.model.copies import Copies, contradict
from etf_pipeline.events.model.envelope import make_event
from etf_pipeline.events.model.types import PipelineStageFailed
from etf_pipeline_tests.events_support import T0, optimised, query

KNOWN = optimised("core", 0.6)._replace(log="A", number=1)


def told(event, log, **values):
    """The same event as another log tells it."""
    data = event.payload().model_copy(update=values).model_dump_json()
    return event._replace(data=data, log=log, recorded_us=event.recorded_us + 1)


GONE = {
    "weights": None,
    "expected_return": None,
    "volatility": None,
    "sharpe_ratio": None,
    "optimality_gap": None,
    "gone": "the file was replaced before this was recorded",
}


def found(*copies):
    """Ids of those that contradict, and of those that say less."""
    seen = Copies("A")
    for event in copies:
        seen.saw([event])
    return list(seen.differing([copies])), seen.fewer


def test_a_machine_that_came_too_late_for_the_values_says_less():
    late = told(KNOWN, "B", **GONE)
    assert not contradict(KNOWN, late) and not contradict(late, KNOWN)
    assert found(KNOWN, late) == ([], [KNOWN.id])
    assert found(late, KNOWN, KNOWN) == ([], [KNOWN.id])


@pytest.mark.parametrize(
    "other",
    [
        told(KNOWN, "B", expected_return=0.09),
        told(KNOWN, "B", **(GONE | {"volatility": 0.2})),
        told(KNOWN, "B", gone="removed", sharpe_ratio=None, message="suboptimal"),
        told(KNOWN, "A", **GONE),  # one log tells one thing
        told(KNOWN, "", **GONE),  # and so does who says not which it is
        KNOWN._replace(log="B", time_us=KNOWN.time_us + 1),
        KNOWN._replace(log="B", subject="other"),
        KNOWN._replace(log="B", data="no JSON"),
    ],
)
def test_whatever_says_something_else_contradicts(other):
    assert contradict(KNOWN, other) and contradict(other, KNOWN)
    assert found(KNOWN, other) == ([KNOWN.id], [])


def test_each_saying_what_the_other_does_not_contradicts():
    one = told(KNOWN, "A", volatility=None)
    assert contradict(one, told(KNOWN, "B", expected_return=None))
    # of three, each pair has to agree
    assert found(KNOWN, one._replace(log="C"), told(KNOWN, "B", expected_return=None)) == (
        [KNOWN.id],
        [],
    )


def test_subjects_that_another_machine_has_no_manifest_of():
    data = PipelineStageFailed(
        run_id="r",
        job="ingest",
        stage="raw_prices",
        partition="XASX",
        canceled=False,
        reason_code="disk_full",
        reason="the disk is full",
        subjects=["VAS"],
    )
    event = make_event(data, "raw_prices/XASX", ("r",), T0, "instance", T0)._replace(log="A")
    assert not contradict(event, told(event, "B", subjects=[]))
    assert contradict(event, told(event, "B", subjects=["VGS"]))


def test_equal_copies_are_not_looked_at():
    event = query(1)
    assert found(event, event._replace(log="B", recorded_us=1)) == ([], [])
