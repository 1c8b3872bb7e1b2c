"""A lasting move that may be a fault is said on every metric that it is part of, until settled."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.history.basis import Basis
from etf_pipeline.history.build import build
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.corrections import Correction
from etf_pipeline.risk.tables import metrics_row
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.prices import load_prices
from etf_pipeline.store.publishing import NewHistory, publish_history
from etf_pipeline_tests.support import Others, asx_days, bars, walk

N = 600
DAYS = asx_days("2023-01-03", N)
AT = 100
DAY = DAYS[AT].astype("datetime64[D]").astype(dt.date)


def halved_before(factor=1.5):
    """Closes before a 3-for-2 split that the source has not applied to them."""
    closes = walk(N, seed=3)
    closes[:AT] *= factor
    return closes


def published(root, *corrections):
    basis = Basis(sessions("XASX"), peers=Others(0.008), corrections=corrections)
    built = build(bars(DAYS, halved_before()), basis)
    new = NewHistory("VAS", built, "VAS.AX", "XASX", "AUD", "yahoo")
    publish_history(Layout(root), new)
    return load_prices(Layout(root), "VAS")


def test_the_windows_that_hold_it_say_so_and_no_other(tmp_path):
    series = published(tmp_path)
    closes = halved_before()
    move = closes[AT] / closes[AT - 1] - 1
    said = f"1 return is unlike all others and may be a fault: {move:+.1%} on {DAY}"
    assert metrics_row(series, None)["reason"] == said
    assert metrics_row(series, 1)["reason"] is None


@pytest.mark.parametrize("columns", [["Close"], ["Close", "Adj Close"]])
def test_so_does_a_user_s_own_file(tmp_path, columns):
    folder = tmp_path / "historical"
    folder.mkdir()
    index = pd.DatetimeIndex(DAYS, name="Date")
    frame = pd.DataFrame({name: halved_before() for name in columns}, index=index)
    frame.to_parquet(folder / "MINE.parquet")
    reason = metrics_row(load_prices(Layout(tmp_path), "MINE"), None)["reason"]
    assert "may be a fault: -33." in reason
    assert str(DAY) in reason


def test_a_move_that_somebody_accepts_is_a_market_s(tmp_path):
    accepts = Correction("VAS", DAY, "accept", "large_move", np.nan, "a takeover", "ann", DAY)
    series = published(tmp_path, accepts)
    assert metrics_row(series, None)["reason"] is None
    assert series.large_moves == ()


def test_several_moves_are_counted_and_the_first_are_named():
    closes = walk(N, seed=3)
    for i in range(100, 600, 100):
        closes[i:] *= 1.4
    series = build(bars(DAYS, closes), Basis(sessions("XASX"), peers=Others(0.008)))
    assert [str(day) for day in series.large_moves] == [str(DAYS[i]) for i in range(100, 600, 100)]


def test_a_rate_s_last_close_beside_quiet_pairs_is_flagged():
    """A third more on the last day, in no direction undone yet; currencies have no volume."""
    days = pd.bdate_range("2023-01-02", periods=400).to_numpy().astype("datetime64[D]")
    closes = 107.0 * walk(400, seed=4) / 100.0
    closes = 107.0 * (closes / 107.0) ** 0.5
    closes[-1] = closes[-2] * 1.3
    rows = bars(days, closes, volume=0.0)
    built = build(rows, Basis(sessions("FX"), peers=Others(0.004)))
    assert built.large_moves == (days[-1].astype(dt.date),)
    assert built.history.num_rows == 400
