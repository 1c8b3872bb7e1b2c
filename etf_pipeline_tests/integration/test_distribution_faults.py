"""Distributions that are wrong, through the real yfinance, the steps and the metrics."""

import datetime as dt

import numpy as np
import pytest

from etf_pipeline.errors import ReasonCode
from etf_pipeline.library.provider import ETFDataProvider
from etf_pipeline.library.status import store_status
from etf_pipeline.model.outcomes import OutcomeKind
from etf_pipeline_tests.support import World, asx_days, bars, instrument, sessions_of, walk

VAS = instrument()
DAYS = asx_days("2022-11-01", 900)
DAYS = DAYS[np.datetime64("2025-11-12") >= DAYS]
PAID = {60: 0.5, 123: 0.55, 186: 0.45, 249: 0.5, 312: 0.5}


def rows_with(paid, days=DAYS, start=100.0, **columns):
    """An ordinary walk that falls by what is paid."""
    closes = walk(len(days), seed=2, start=start)
    dividends = np.zeros(len(days))
    for i, amount in paid.items():
        dividends[i] = amount
        closes[i:] -= amount
    rows = bars(days, closes, dividends=dividends, **columns)
    factors = 1 - rows["dividends"] / rows["close"].shift(1).bfill()
    later = np.cumprod(factors.to_numpy()[::-1])[::-1]
    return rows.assign(adj_close=rows["close"] * np.r_[later[1:], 1.0])


def date_of(i, days=DAYS):
    return days[i].astype("datetime64[D]").astype(dt.date)


def test_a_foreign_dividend_is_withheld_and_stays_so(world: World):
    """In USD, says Yahoo of one; a later window that does not reach back changes nothing."""
    rows = rows_with(PAID)
    day = date_of(123)
    currencies = {day: "USD", date_of(60): "AUD"}
    world.now = dt.datetime(2025, 10, 20, 12, 0, tzinfo=dt.UTC)
    world.serve("VAS", rows[:"2025-10-20"], dividend_currencies=currencies)
    world.download(VAS)
    first = world.update(VAS)["VAS"]
    assert first.reason_code is ReasonCode.DISTRIBUTION_WITHHELD
    assert first.reason == f"1 distribution withheld ({day})"
    kept = world.history()
    assert kept["dividends"].loc[str(day)] == 0.0
    assert kept["flag"].loc[str(day)] == "dividend_currency"
    closes = rows["close"].to_numpy()
    counted = {i: a for i, a in PAID.items() if i != 123}
    ratio = np.prod([1 - a / closes[i - 1] for i, a in counted.items()])
    assert kept["adj_close"].iloc[0] / closes[0] == pytest.approx(ratio, rel=1e-12)
    world.now = dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC)
    world.serve("VAS", rows, dividend_currencies=currencies)
    assert world.run(VAS)["VAS"].outcome is OutcomeKind.UPDATED
    later = world.history()
    assert later[["adj_close", "dividends"]][: len(kept)].equals(kept[["adj_close", "dividends"]])
    assert world.findings()[(str(day), "dividend_currency")] == "withheld"
    assert world.download(VAS)["VAS"].rows_revised == 0
    again = world.update(VAS)["VAS"]
    assert (again.outcome, again.reason) == (OutcomeKind.UNCHANGED, first.reason)
    (status,) = store_status(world.root)
    assert status["distributions"] == first.reason
    metrics = ETFDataProvider(world.root).calculate_risk_metrics("VAS", None)
    assert f"1 distribution withheld ({day})" in metrics["reason"]
    recent = ETFDataProvider(world.root).calculate_risk_metrics("VAS", 1)
    assert "withheld" not in (recent["reason"] or "")


def test_pounds_on_a_pence_listing_are_scaled_by_their_currency(world: World):
    days = sessions_of("XLON", "2022-11-01", "2025-11-11")
    paid = {60: 25.0, 123: 27.0, 186: 23.0}
    rows = rows_with(paid, days, start=7000.0)
    rows["dividends"] /= 100.0
    world.partition = "XLON"
    currencies = dict.fromkeys((date_of(i, days) for i in paid), "GBP")
    one = world.list_on("XLON", "AAA", rows, dividend_currencies=currencies)
    world.run(one)
    history = world.history("AAA")
    closes = rows["close"].to_numpy()
    ratio = np.prod([1 - a / closes[i - 1] for i, a in paid.items()])
    assert history["adj_close"].iloc[0] / closes[0] == pytest.approx(ratio, rel=1e-9)
    assert history["dividends"].iloc[60] == pytest.approx(25.0)
    assert set(world.findings("AAA").values()) == {"flagged"}
    assert world.download(one)["AAA"].outcome is OutcomeKind.UNCHANGED


def test_a_disagreement_is_told_at_every_run_until_the_source_mends_it(world: World):
    """The source's adjusted close lacks a distribution; a window without news still says so."""
    rows = rows_with(PAID)
    world.now = dt.datetime(2025, 10, 20, 12, 0, tzinfo=dt.UTC)
    factor = np.where(np.arange(len(rows)) < 186, 1 - PAID[186] / rows["close"].iloc[185], 1.0)
    lacks = rows.assign(adj_close=rows["adj_close"] / factor)
    world.serve("VAS", lacks[:"2025-10-20"])
    world.download(VAS)
    first = world.update(VAS)["VAS"]
    share = PAID[186] / rows["close"].iloc[185]
    assert first.reason_code is ReasonCode.ADJUSTMENT_DIFFERS
    assert first.reason.endswith(f"by up to {share:.2e}")
    world.now = dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC)
    world.serve("VAS", lacks)
    world.download(VAS)
    assert world.update(VAS)["VAS"].reason == first.reason
    world.serve("VAS", rows)
    assert world.download(VAS, full=True)["VAS"].rows_revised == 0  # no row is another
    assert world.update(VAS)["VAS"].reason is None
