"""Simulated prices: what real ones have, the same every time."""

import datetime as dt

import numpy as np
import pandas as pd

from etf_pipeline.ingest.sources.simulated import simulate
from etf_pipeline.model.currencies import Pair
from etf_pipeline.model.instruments import Instrument
from etf_pipeline_tests.support import instrument

TICKERS = ("VAS", "VGS", "VTS", "VAF", "A200", "NDQ", "IOZ", "GOLD", "QAU", "STW")
SEEDED = {t: instrument(t) for t in TICKERS}


def at(day):
    return dt.date.fromisoformat(day)


def test_simulated_prices_only_grow_at_the_end_apart_from_the_newest_close():
    early = simulate(SEEDED["VAS"], at("2025-06-30"))
    late = simulate(SEEDED["VAS"], at("2025-07-31"))
    pd.testing.assert_frame_equal(late[: len(early) - 1], early[:-1])


def test_simulated_prices_have_dividends_a_split_a_gap_and_a_restatement():
    last = at("2025-06-30")
    rows = {t: simulate(i, last) for t, i in SEEDED.items()}
    assert all((r["dividends"] > 0).sum() > 30 for r in rows.values())
    assert all(pd.Timestamp("2022-09-07") not in r.index for r in rows.values())
    split = [t for t, r in rows.items() if (r["stock_splits"] != 0).any()]
    assert split
    before = simulate(SEEDED[split[0]], at("2023-05-09"))
    after = simulate(SEEDED[split[0]], at("2023-05-10"))
    ratio = before["close"][:-1] / after["close"][: len(before) - 1]
    assert np.allclose(ratio, 4.0)
    next_day = {t: simulate(i, at("2025-07-01")) for t, i in SEEDED.items()}
    assert any(next_day[t]["close"].iloc[-2] != rows[t]["close"].iloc[-1] for t in rows)


def test_simulated_equities_are_correlated_and_bonds_are_not_very():
    last = at("2025-06-30")
    one, two = (simulate(SEEDED[t], last)["close"].pct_change() for t in ("VAS", "VGS"))
    bond = simulate(instrument("VAF", asset_class="fixed_income"), last)["close"].pct_change()
    assert one.corr(two) > 0.5
    assert abs(one.corr(bond)) < 0.4


def test_simulated_rates_are_plausible_agree_with_each_other_and_pay_nothing():
    pairs = [Pair("AUD", "USD"), Pair("EUR", "USD"), Pair("EUR", "AUD"), Pair("USD", "JPY")]
    rows = {p.ticker: simulate(Instrument.of_pair(p), at("2025-06-30")) for p in pairs}
    levels = {t: (r["close"].min(), r["close"].max()) for t, r in rows.items()}
    assert 0.3 < levels["AUDUSD=X"][0] < levels["AUDUSD=X"][1] < 1.5
    assert 50 < levels["USDJPY=X"][0] < levels["USDJPY=X"][1] < 400
    cross = rows["EURUSD=X"]["close"] / rows["AUDUSD=X"]["close"]
    assert np.allclose(rows["EURAUD=X"]["close"], cross, rtol=1e-12)
    for frame in rows.values():
        assert not frame[["dividends", "stock_splits", "capital_gains"]].to_numpy().any()
        assert (frame["low"] <= frame[["open", "close"]].min(axis=1)).all()
        assert frame.index.weekday.max() == 4
