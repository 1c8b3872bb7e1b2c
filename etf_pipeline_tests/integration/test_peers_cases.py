"""Evidence from the other tickers of a partition: the same whenever it is looked for."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.model.rows import to_frame
from etf_pipeline.store.histories import history_as_of
from etf_pipeline_tests.support import World, asx_days, bars, instrument, sessions_of, walk

DAYS = asx_days("2024-09-02", 300)
TICKERS = ["AAA", "BBB", "CCC", "DDD", "EEE"]
ALL = [instrument(t) for t in TICKERS]
VOLUME = np.round(np.exp(np.random.default_rng(4).normal(10, 0.5, 300)))


def rows(i, moved=0.0, at=280):
    """A ticker's rows; with a market move at `at` that is undone on the next session."""
    closes = walk(300, seed=i)
    closes[at] *= 1 + moved
    return bars(DAYS, closes, volume=VOLUME)


def spiked(i=0, at=280):
    """A third higher for a day on hardly any volume."""
    out = rows(i)
    out.iloc[at, :4] *= 1.32
    out.iloc[at, 4] = 12.0
    return out


def at(i):
    return dt.datetime.combine(DAYS[i].astype(object), dt.time(12), dt.UTC)


def rebuilt(world):
    """The bytes of everything, rebuilt from the raw batches."""
    world.layout.watermark("XASX").unlink()
    world.update(*ALL)
    return world.bytes_on_disk()


def test_a_spike_is_found_the_same_in_one_run_night_by_night_and_rebuilt(world: World):
    tables = {t: spiked() if t == "AAA" else rows(i) for i, t in enumerate(TICKERS)}
    for night in (270, 279, 280, 281, 290):
        for ticker, table in tables.items():
            world.serve(ticker, table[: night + 1])
        world.now = at(night)
        world.run(*ALL)
        spikes = [day for day, rule in world.findings("AAA") if rule == "spike"]
        assert spikes == ([str(DAYS[280])] if night > 280 else [])
        as_of = to_frame(history_as_of(world.layout, ALL[0], at(night) + dt.timedelta(1)).history)
        pd.testing.assert_frame_equal(as_of, world.history("AAA"), check_exact=True)
    assert pd.Timestamp(DAYS[280]) not in world.history("AAA").index
    incremental = world.bytes_on_disk()
    assert rebuilt(world) == incremental
    from etf_pipeline.model.schemas import QUARANTINE
    from etf_pipeline.store.reader import read_table

    table = read_table(world.layout.of(QUARANTINE, "AAA")).to_pylist()
    (evidence,) = [r["evidence"] for r in table if r["rule"] == "spike"]
    assert "4 peers moved by" in evidence


def test_a_day_on_which_the_peers_moved_too_is_real(world: World):
    world.serve("AAA", spiked())
    for i, ticker in enumerate(TICKERS[1:], 1):
        world.serve(ticker, rows(i, moved=0.06))
    world.now = at(299)
    world.run(*ALL)
    assert world.findings("AAA") == {}
    assert len(world.history("AAA")) == 300


@pytest.mark.parametrize("known", [True, False], ids=["update", "first download"])
def test_a_closure_that_the_calendar_does_not_know_is_no_tickers_finding(world: World, known):
    """As in Hong Kong on 2023-09-01 and 2023-09-08: no bar of anybody on two days."""
    closed = pd.DatetimeIndex(DAYS[[285, 290]].astype("datetime64[s]"))
    if known:
        for i, ticker in enumerate(TICKERS):
            world.serve(ticker, rows(i)[:280])
        world.now = at(279)
        world.run(*ALL)
    for i, ticker in enumerate(TICKERS):
        table = rows(i).drop(closed)
        # One ticker lacks another day, which is its own.
        world.serve(ticker, table.drop(table.index[283]) if ticker == "BBB" else table)
    world.now = at(299)
    world.run(*ALL)
    found = {t: world.findings(t) for t in TICKERS}
    assert found.pop("BBB") == {(str(DAYS[283]), "missing_session"): "missing"}
    assert all(not f for f in found.values())
    incremental = world.bytes_on_disk()
    assert rebuilt(world) == incremental


def test_a_typhoon_and_a_rainstorm_in_hong_kong(world: World):
    """2023-09-01 and 2023-09-08 are weekdays on which nobody traded: no ticker misses them."""
    world.partition = "XHKG"
    days = sessions_of("XHKG", "2022-11-01", "2023-10-31")
    closed = np.array(["2023-09-01", "2023-09-08"], "datetime64[D]")
    held = days[~np.isin(days, closed)]
    listed = []
    for i, ticker in enumerate(TICKERS):
        mine = held[held != np.datetime64("2023-09-12")] if ticker == "BBB" else held
        listed.append(world.list_on("XHKG", ticker, bars(mine, walk(len(mine), seed=i))))
    world.now = dt.datetime(2023, 11, 1, 0, 0, tzinfo=dt.UTC)
    assert all(o.good for o in world.run(*listed).values())
    for ticker in TICKERS:
        own = {("2023-09-12", "missing_session"): "missing"} if ticker == "BBB" else {}
        assert world.findings(ticker) == own


def test_bars_without_volume_are_no_trades(world: World):
    """Some vendors fill a closed day with yesterday's close: the others still have no gap."""
    for i, ticker in enumerate(TICKERS):
        table = rows(i)
        if ticker == "AAA":
            table.iloc[290, :5] = [*table.iloc[289, 3:4].repeat(4), 0.0]
        else:
            table = table.drop(table.index[290])
        world.serve(ticker, table)
    world.now = at(299)
    world.run(*ALL)
    assert all(world.findings(t) == {} for t in TICKERS[1:])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_tickers_say_nothing_of_the_exchange(world: World, count):
    for i, ticker in enumerate(TICKERS[:count]):
        world.serve(ticker, rows(i).drop(pd.Timestamp(DAYS[290])))
    world.now = at(299)
    world.run(*ALL[:count])
    for ticker in TICKERS[:count]:
        assert world.findings(ticker) == {(str(DAYS[290]), "missing_session"): "missing"}


def test_a_day_that_somebody_traded_is_missing_of_the_others(world: World):
    for i, ticker in enumerate(TICKERS):
        table = rows(i)
        world.serve(ticker, table if ticker == "EEE" else table.drop(table.index[290]))
    world.now = at(299)
    world.run(*ALL)
    for ticker in TICKERS[:4]:
        assert world.findings(ticker) == {(str(DAYS[290]), "missing_session"): "missing"}
    assert world.findings("EEE") == {}
