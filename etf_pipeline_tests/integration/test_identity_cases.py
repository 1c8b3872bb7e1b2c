"""Another security, or another level, under a known symbol: held or refused, nothing is lost."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.source import Download
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.steps.download import download
from etf_pipeline.store.batches import list_batch_ids
from etf_pipeline.store.histories import history_as_of
from etf_pipeline.store.reader import file_info
from etf_pipeline_tests.support import World, asx_days, bars, instrument, sessions_of, walk

DAYS = asx_days("2024-09-02", 300)
PRICES = ["open", "high", "low", "close"]
ROWS = bars(DAYS, walk(300))
OLD = bars(DAYS[:150], walk(150, seed=1, start=12))
NEW = bars(DAYS[255:295], walk(40, seed=2, start=184))
VAS = instrument("VAS")
RELISTED = instrument("VAS", listed_since=DAYS[255].astype(object))


def at(day):
    return dt.datetime.combine(day.astype(object), dt.time(12), dt.UTC)


def batches(world):
    return list_batch_ids(world.layout, "XASX")


@pytest.mark.parametrize("factor", [0.01, 0.1, 100.0])
def test_a_whole_history_on_another_level_is_refused_like_a_changed_label(world: World, factor):
    world.serve("VAS", ROWS)
    world.run(VAS)
    before = world.bytes_on_disk("historical", "quarantine", "raw")
    scaled = ROWS.assign(**{c: ROWS[c] * factor for c in PRICES})
    world.serve("VAS", scaled)
    outcome = world.run(VAS)["VAS"]
    assert (outcome.outcome, outcome.reason_code) == ("rejected", "other_level")
    assert "no split in the answer explains it" in outcome.reason
    assert world.bytes_on_disk("historical", "quarantine", "raw") == before
    world.serve("VAS", ROWS)
    assert world.run(VAS)["VAS"].outcome == "unchanged"


def test_pounds_under_the_label_of_pence_are_refused(world: World):
    """London's prices are in GBp; the next download has a hundredth of them, and GBp still."""
    world.partition = "XLON"
    days = sessions_of("XLON", "2024-09-02", "2025-11-07")
    pence = bars(days, walk(len(days), start=7000))
    one = world.list_on("XLON", "FTSE", pence)
    world.run(one)
    before = world.bytes_on_disk("historical", "quarantine", "raw")
    pounds = pence.assign(**{c: pence[c] / 100 for c in PRICES})
    assert world.list_on("XLON", "FTSE", pounds).currency == one.currency == "GBp"
    outcome = world.run(one)["FTSE"]
    assert (outcome.outcome, outcome.reason_code) == ("rejected", "other_level")
    assert world.bytes_on_disk("historical", "quarantine", "raw") == before
    assert world.history("FTSE")["close"].tolist() == pence["close"].tolist()


def test_a_trailing_window_on_another_level_is_refused_too(world: World):
    world.serve("VAS", ROWS)
    world.run(VAS)
    before = world.bytes_on_disk("historical", "quarantine", "raw")
    scaled = ROWS.copy()
    scaled.loc[scaled.index[-40:], PRICES] /= 100
    world.serve("VAS", scaled)
    assert world.run(VAS)["VAS"].reason_code == "other_level"
    assert world.bytes_on_disk("historical", "quarantine", "raw") == before


def test_a_real_split_by_ten_is_taken(world: World):
    world.now = at(DAYS[294])
    world.serve("VAS", ROWS[:295])
    world.run(VAS)
    split = ROWS.copy()
    split.loc[split.index[:295], PRICES] /= 10
    split.loc[split.index[295:], PRICES] /= 10
    split.iloc[295, 6] = 10.0
    world.serve("VAS", split)
    world.now = at(DAYS[299])
    outcome = world.run(VAS)["VAS"]
    assert (outcome.outcome, outcome.reason_code) == ("updated", "restated")
    assert world.history()["close"].tolist() == pytest.approx((ROWS["close"] / 10).tolist())


@pytest.mark.parametrize("known_before", [True, False], ids=["an update", "a first download"])
def test_another_security_holds_the_ticker_until_listed_since_is_set(world: World, known_before):
    if known_before:
        world.now = at(DAYS[149])
        world.serve("VAS", OLD)
        world.run(VAS)
    published = world.bytes_on_disk()
    world.now = at(DAYS[294])
    world.serve("VAS", pd.concat([OLD, NEW]))
    for _ in range(3):  # held every night, and kept once
        world.download(VAS)
        outcome = world.update(VAS)["VAS"]
        assert (outcome.outcome, outcome.reason_code) == ("rejected", "other_security")
        assert f"listed_since={DAYS[255]}" in outcome.reason
        assert world.bytes_on_disk() == published
    assert len(batches(world)) == (2 if known_before else 1)
    built = history_as_of(world.layout, VAS, world.now)
    if known_before:
        assert built.history.column("close").to_pylist() == OLD["close"].tolist()
    else:
        assert built is None

    # Nothing new is downloaded: the history is rebuilt from the batches, the new rows alone.
    outcome = world.update(RELISTED)["VAS"]
    assert outcome.outcome == ("updated" if known_before else "collected")
    assert world.history()["close"].tolist() == NEW["close"].tolist()
    assert world.findings() == {}
    after = world.bytes_on_disk()
    assert world.run(RELISTED)["VAS"].outcome == "unchanged"
    assert world.update(RELISTED)["VAS"].outcome == "unchanged"

    # The same bytes one batch after another, or at once.
    more = pd.concat([OLD, NEW, bars(DAYS[295:], walk(5, seed=3, start=185))])
    world.serve("VAS", more)
    world.now = at(DAYS[299])
    world.run(RELISTED)
    assert len(world.history()) == 45
    incremental = world.bytes_on_disk()
    assert incremental != after
    world.layout.watermark("XASX").unlink()
    world.update(RELISTED)
    assert world.bytes_on_disk() == incremental
    info = file_info(world.layout.of(HISTORY, "VAS"))
    assert info.meta["listed_since"] == str(DAYS[255])


def test_another_security_over_the_same_dates_is_refused(world: World):
    world.serve("VAS", ROWS)
    world.run(VAS)
    before = world.bytes_on_disk("historical", "quarantine", "raw")
    world.serve("VAS", bars(DAYS, walk(300, seed=8, start=330)))
    outcome = world.run(VAS)["VAS"]
    assert (outcome.outcome, outcome.reason_code) == ("rejected", "other_security")
    assert world.bytes_on_disk("historical", "quarantine", "raw") == before


def test_ninety_one_sessions_absent_are_a_finding_on_the_next_close(world: World):
    closes = walk(300, seed=4, start=30)
    closes[191:] *= 40 / closes[191]
    rows = bars(DAYS, closes).drop(pd.DatetimeIndex(DAYS[100:191].astype("datetime64[s]")))
    world.serve("VAS", rows)
    assert world.run(VAS)["VAS"].outcome == "collected"
    found = world.findings()
    assert sum(rule == "missing_session" for _, rule in found) == 91
    assert found[(str(DAYS[191]), "long_gap")] == "flagged"
    assert world.history().loc[pd.Timestamp(DAYS[191]), "flag"] == "long_gap"


class Vendor:
    """A source that answers with the rows it is given, as they are."""

    name = "vendor"

    def __init__(self, rows):
        self.rows = rows.assign(adj_close_source=np.nan)

    def fetch(self, requests):
        for request in requests:
            yield Download(request, self.rows, request.instrument.symbol, "AUD")


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_a_session_that_is_answered_twice_is_one_row_and_a_finding(world: World, order):
    day, more = DAYS[290], ROWS.iloc[[290]].assign(volume=1500.0)
    more[PRICES] *= 1.001

    def night(rows):
        world.runs += 1
        source, clock = Vendor(rows), lambda: world.now
        terms = Terms(full=True)
        result = download(world.store, world.this_run, source, [VAS], terms, clock=clock)
        world.now += dt.timedelta(seconds=1)
        world.update(VAS)
        assert world.history().loc[pd.Timestamp(day), "volume"] == 1500
        assert world.findings() == {(str(day), "several_rows"): "flagged"}
        return result.outcomes[0].outcome

    both = pd.concat([ROWS[:290], pd.concat([ROWS[290:291], more])[order], ROWS[291:-1]])
    assert night(both) == "collected"
    before = world.bytes_on_disk("historical", "quarantine", "raw")
    assert night(both) == "unchanged"
    assert world.bytes_on_disk("historical", "quarantine", "raw") == before
    # The next night has one row more, and this day once: the finding stays, rebuilt too.
    assert night(pd.concat([ROWS[:290], more, ROWS[291:]])) == "updated"
    incremental = world.bytes_on_disk()
    world.layout.watermark("XASX").unlink()
    world.update(VAS)
    assert world.bytes_on_disk() == incremental
