"""The checker of the chaos cycles says what is wrong: each kind of fault, made by hand."""

import pytest

from etf_pipeline_tests.soak.checker import Left, Loss, judge, not_parked
from etf_pipeline_tests.soak.ledger import Intended, Ledger, Noted, Replay, read_ledgers
from etf_pipeline_tests.soak.prices import TICKERS
from etf_pipeline_tests.soak.reading import ReadModels, Record, Row
from etf_pipeline_tests.soak.script import KILLS, KINDS, LOSSES, MODES, NOT_YET, SEEDS, draw
from etf_pipeline_tests.soak.steps import STEPS

QUERY, CHANNEL = "PriceDataQueried", "query-events"
IDS = ("a", "b", "c")


def row(seq, name, subject="VAS", kind=QUERY, run="recorder1-1-1"):
    return Row(seq, name, CHANNEL, subject, kind, run)


def record(offset, name, partition=0):
    return Record(CHANNEL, partition, offset, b"VAS", name, "/etf_pipeline/x")


def sound(**changes):
    """Three events of one key, recorded a second apart, that are wherever they should be."""
    noted = Noted(
        {n: Intended(CHANNEL, "VAS", k, QUERY, n) for k, n in enumerate(IDS)},
        {n: float(k) for k, n in enumerate(IDS)},
        replays=[Replay(10.0, 11.0, None, list(IDS), 3)],
    )
    values = {
        "noted": noted,
        "log": [row(k + 1, n) for k, n in enumerate(IDS)],
        "records": [record(k, n) for k, n in enumerate(IDS)],
        "models": ReadModels(set(IDS), 3, 3, 3, {(QUERY, "VAS"): "c"}),
    }
    return Left(**(values | changes))


def noted_with(**changes):
    found = sound().noted
    for name, value in changes.items():
        setattr(found, name, value)
    return found


WRONG = {
    "missing: 1": {"log": sound().log[1:]},
    "invented: 1": {"log": [*sound().log, row(4, "z")]},
    "doubled in the local log": {"log": [*sound().log, row(4, "a")]},
    "read models: 1 are missing": {
        "models": ReadModels({"b", "c"}, 2, 2, 2, {(QUERY, "VAS"): "c"})
    },
    "read models: 1 that are not": {
        "models": ReadModels({*IDS, "z"}, 4, 4, 4, {(QUERY, "VAS"): "c"})
    },
    "read models: 4 rows": {"models": ReadModels(set(IDS), 4, 4, 4, {(QUERY, "VAS"): "c"})},
    "4 queries counted of 3": {"models": ReadModels(set(IDS), 3, 3, 4, {(QUERY, "VAS"): "c"})},
    "not the newest": {"models": ReadModels(set(IDS), 3, 3, 3, {(QUERY, "VAS"): "b"})},
    "neither in Kafka nor archived": {"records": sound().records[1:]},
    "of the local log are not in Kafka": {"records": sound().records[1:]},
    "recorded later": {"records": [record(0, "b"), record(1, "a"), record(2, "c")]},
    "without 1 of 3": {
        "noted": noted_with(replays=[Replay(10.0, 11.0, None, ["a", "b"], 2)]),
    },
    "without 1 of 2": {"noted": noted_with(replays=[Replay(10.0, 11.0, 1, ["a", "b"], 2)])},
    "1 events twice": {"noted": noted_with(replays=[Replay(10.0, 11.0, None, [*IDS, "a"], 3)])},
    "4 queries of 3": {"noted": noted_with(replays=[Replay(10.0, 11.0, None, list(IDS), 4)])},
    "1 events that are not of this store": {
        "noted": noted_with(replays=[Replay(10.0, 11.0, None, [*IDS, "z"], 3)])
    },
    "no broker plays a part": {
        "kafka": False,
        "noted": noted_with(replays=[Replay(10.0, 11.0, None, [], 0, "EventError: x")]),
    },
    "calls failed for no reason": {"noted": noted_with(failed=[(5.0, 6.0, "EventError: x")])},
    "a process broke": {"noted": noted_with(crashed=["Traceback"])},
    "run r: 0 events ETFDataCollected": {"noted": noted_with(runs={"r": 5.0})},
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_told(text):
    found = list(judge(sound(**WRONG[text])))
    assert any(text in fault for fault in found), found


def test_nothing_is_told_of_what_is_as_it_should_be():
    assert list(judge(sound())) == []
    sent_again = [record(0, "c"), *(record(k + 1, n) for k, n in enumerate(IDS))]
    assert list(judge(sound(records=sent_again))) == []
    pruned = sound(log=sound().log[1:], archive={"a": row(1, "a")}, records=sound().records[1:])
    assert list(judge(pruned)) == []


def test_what_may_fail_is_excused():
    failed = noted_with(failed=[(5.0, 6.0, "EventError: x")])
    assert list(judge(sound(noted=failed, excused=[(5.5, 7.0)]))) == []
    assert list(judge(sound(noted=failed, excused=[(6.5, 7.0)])))


def test_an_event_that_only_a_lost_machine_had_need_not_come_back():
    before = Replay(1.5, 1.8, None, ["a", "b"], 2)
    after = Replay(10.0, 11.0, None, ["b", "c"], 2)
    values = {
        "noted": noted_with(replays=[before, after]),
        "log": sound().log[1:],
        "records": sound().records[1:],
        "models": ReadModels({"b", "c"}, 2, 2, 2, {(QUERY, "VAS"): "c"}),
    }
    assert list(judge(sound(**values, losses=[Loss(2.5, {"b", "c"})]))) == []
    found = list(judge(sound(**values, losses=[Loss(2.5, {"a", "b", "c"})])))
    assert any("missing: 1" in fault for fault in found)
    late = noted_with(replays=[Replay(1.5, 1.8, None, ["b"], 1)])
    found = list(judge(sound(**(values | {"noted": late}), losses=[Loss(2.5, {"b", "c"})])))
    assert any("without 1 of 2" in fault for fault in found)  # it was there then


def test_a_run_is_told_of_once():
    told = [
        row(10 * k + j, f"{kind}{ticker}", ticker, kind, "r")
        for k, kind in enumerate(("ETFDataCollected", "ETFDataUpdated"), 1)
        for j, ticker in enumerate(TICKERS)
    ]
    noted = noted_with(runs={"r": 5.0})
    left = sound(noted=noted, log=[*sound().log, *told], kafka=False)
    assert list(judge(left)) == []
    again = row(40, "again", TICKERS[0], "ETFDataUpdated", "r")
    left = sound(noted=noted, log=[*sound().log, *told, again], kafka=False)
    assert list(judge(left)) == [f"run r: 2 events ETFDataUpdated of {TICKERS[0]}"]


def test_foreign_records_are_to_be_parked():
    left = sound(records=[*sound().records, record(3, "")])
    assert any("1 of 1 foreign" in fault for fault in not_parked(left, IDS))
    left.parked = {(CHANNEL, 0, 3)}
    assert list(not_parked(left, IDS)) == []


def test_a_ledger_gives_back_what_was_noted(tmp_path):
    class Event:
        id, channel, subject, time_us, type = "a", CHANNEL, "VAS", 5, QUERY

    ledger = Ledger(tmp_path, "recorder1")
    ledger.intend([Event])
    assert read_ledgers(tmp_path).acknowledged == {}
    ledger.acknowledge(["a"])
    found = read_ledgers(tmp_path)
    assert found.intended == {"a": Intended(CHANNEL, "VAS", 5, QUERY, "a")}
    assert set(found.acknowledged) == {"a"}


@pytest.mark.parametrize("mode", MODES)
def test_a_seed_is_a_script_and_every_step_is_drawn(mode):
    assert draw(7, mode) == draw(7, mode)
    drawn = {s.what for seed in range(300) for s in draw(seed, mode).steps}
    assert drawn == {name for name, kind in KINDS.items() if mode in kind.modes}
    assert set(KINDS) == set(STEPS)


def test_each_short_cycle_has_a_kill_and_a_loss_and_all_together_every_step():
    scripts = [draw(seed, short=True) for seed in SEEDS]
    assert len(scripts) == 20
    assert {s.mode for s in scripts} == set(MODES)
    for script in scripts:
        assert any(map(script.has, KILLS))
        assert any(map(script.has, LOSSES))
    assert {s.what for script in scripts for s in script.steps} == set(KINDS)


def test_no_step_is_passed_over():
    assert not NOT_YET
