"""What broke other people's collectors. The number in a name is the case's; those that are not
here have a test of their own beside the code they are about (see docs/cases.md).
"""

import datetime as dt
import os
import subprocess
import sys

import duckdb
import numpy as np
import pandas as pd
import pytest

from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.rows import to_frame
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.risk.tables import risk_table
from etf_pipeline.store.histories import history_as_of
from etf_pipeline.store.prices import load_prices
from etf_pipeline_tests.support import World, asx_days, bars, instrument, walk

DAYS = asx_days("2024-09-02", 300)
ROWS = bars(DAYS, walk(300))
VAS = instrument("VAS")


def test_03_a_session_absent_for_many_symbols(world: World):
    """ASX 2025-10-24: recorded against the calendar, nothing filled forward, asked for again."""
    rows = ROWS.drop(pd.Timestamp("2025-10-24"))
    instruments = [VAS, instrument("VGS"), instrument("VTS")]
    for one in instruments:
        world.serve(one.ticker, rows)
    world.run(*instruments)
    for one in instruments:
        assert world.findings(one.ticker)[("2025-10-24", "missing_session")] == "missing"
        assert pd.Timestamp("2025-10-24") not in world.history(one.ticker).index
    world.serve("VAS", ROWS)  # the source has it after all, within the trailing window
    assert world.run(*instruments)["VAS"].rows_added == 1
    assert pd.Timestamp("2025-10-24") in world.history().index


def test_06_todays_live_quote_at_noon_is_not_a_close(world: World):
    world.serve("VAS", ROWS)
    noon_in_sydney = dt.datetime(2025, 11, 5, 1, 0, tzinfo=dt.UTC)
    world.now = noon_in_sydney
    world.run(VAS)
    assert world.history().index[-1] == pd.Timestamp("2025-11-04")
    world.now = noon_in_sydney + dt.timedelta(hours=6)
    world.run(VAS)
    assert world.history().index[-1] == pd.Timestamp("2025-11-05")


CHILD = """
import sys, datetime as dt
from pathlib import Path
from etf_pipeline_tests.support import World, instrument
from etf_pipeline_tests.yahoo_standin import StandIn
server = StandIn(url=sys.argv[1])
world = World(Path(sys.argv[2]), server)
world.run(instrument("VAS"))
print(",".join(str(d.date()) for d in world.history().index))
"""


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "America/Los_Angeles"])
def test_07_the_hosts_time_zone_does_not_move_a_session(world: World, tmp_path, zone):
    world.serve("VAS", ROWS)
    out = subprocess.run(
        [sys.executable, "-c", CHILD, world.yahoo.url, str(tmp_path / zone.replace("/", "-"))],
        env=os.environ | {"TZ": zone},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [str(d) for d in DAYS if d <= np.datetime64("2025-11-12")]
    assert out.stdout.strip().split(",") == expected


def test_08_a_session_is_a_date_in_duckdb_too(world: World):
    rows = bars(asx_days("2009-05-01", 30), walk(30))
    world.serve("VAS", rows)
    world.run(VAS)
    sql = duckdb.connect()
    sql.execute("SET TimeZone = 'UTC'")
    path = world.layout.of(HISTORY, "VAS")
    kind, first = sql.execute(
        f"SELECT any_value(typeof(date)), CAST(min(date) AS VARCHAR) FROM '{path}'"
    ).fetchone()
    assert (kind, first) == ("DATE", "2009-05-01")


def test_09_appending_after_a_dividend_rewrites_the_adjusted_history(world: World):
    days = asx_days("2025-09-01", 40)
    closes = walk(40)
    ex = pd.Timestamp("2025-10-01")
    rows = bars(days, closes)
    before, at = (rows.index.get_loc(ex) - 1, rows.index.get_loc(ex))
    rows.iloc[before, :4] = 110.8999
    rows.iloc[at, :4] = 109.76
    rows.loc[ex, "dividends"] = 1.095937
    world.now = dt.datetime(2025, 9, 30, 8, 0, tzinfo=dt.UTC)
    world.serve("VAS", rows[rows.index < ex])
    world.run(VAS)
    assert world.history()["adj_close"].iloc[-1] == 110.8999
    world.now = dt.datetime(2025, 10, 1, 8, 0, tzinfo=dt.UTC)
    world.serve("VAS", rows[rows.index <= ex])
    world.run(VAS)
    adjusted = world.history()["adj_close"]
    assert adjusted.iloc[-2] == pytest.approx(109.8041, abs=2e-4)
    assert adjusted.iloc[-1] / adjusted.iloc[-2] - 1 == pytest.approx(-0.0004, abs=5e-5)


def test_09_appending_after_a_split_rewrites_the_history_as_one_version(world: World):
    split = 295
    world.serve("VAS", ROWS[:split])
    world.now = (
        pd.Timestamp(ROWS.index[split - 1], tz="Australia/Sydney").to_pydatetime().replace(hour=20)
    )
    world.run(VAS)
    restated = ROWS.copy()
    restated[["open", "high", "low", "close"]] /= 10
    restated["volume"] *= 10
    restated.loc[ROWS.index[split], "stock_splits"] = 10.0
    world.serve("VAS", restated)
    world.now = dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC)
    outcome = world.run(VAS)["VAS"]
    assert outcome.rows_revised >= split - 1
    assert "10 times the new ones" in outcome.reason
    history = world.history()
    assert history["close"].tolist() == pytest.approx(restated["close"].tolist())
    returns = history["adj_close"].pct_change().abs()
    assert returns.max() < 0.1  # no artificial crash anywhere


def test_10_an_unapplied_split_is_quarantined_and_the_metrics_say_so(world: World):
    rows = ROWS.copy()
    rows.iloc[:50, :4] *= 10
    world.serve("VAS", rows)
    world.run(VAS)
    assert len(world.history()) == 250
    series = load_prices(world.layout, "VAS")
    row = next(r for r in risk_table([series]).to_pylist() if r["window"] == "max")
    assert row["n_excluded"] == 50
    assert "50 quarantined sessions left out" in row["reason"]
    assert row["volatility"] < 0.2


def test_11_pence_and_pounds(world: World):
    rows = ROWS.copy()
    rows.iloc[-1, :4] /= 100
    world.serve("VAS", rows)
    world.run(VAS)
    last = str(ROWS.index[-1].date())
    assert world.findings()[(last, "unit_change")] == "quarantined"
    assert len(world.history()) == 299


def test_13_weekly_bars_are_made_from_daily_ones_only(world: World):
    """A mid-week dividend in weekly bars cannot be placed, so weekly downloads are refused."""
    world.serve("VAS", ROWS[::5])
    assert "weekly" in world.run(VAS)["VAS"].reason


def test_15_processes_do_not_share_the_clients_cache(world: World):
    code = (
        "from etf_pipeline.ingest.sources.yahoo import _configure; _configure(None); "
        "from yfinance.cache import _TzDBManager as m; print(m.get_location())"
    )
    places = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    }
    assert len(places) == 2


def test_19_total_return_is_counted_once(world: World):
    """A year of VAS both ways: growth of the adjusted close, and reinvested distributions."""
    rows = ROWS.copy()
    rows.iloc[[60, 125, 190, 250], 5] = [1.1, 0.9, 1.3, 1.0]
    world.serve("VAS", rows)
    world.run(VAS)
    adjusted = world.history()["adj_close"]
    wealth = 1.0
    closes, paid = rows["close"].to_numpy(), rows["dividends"].to_numpy()
    for i in range(1, 300):
        wealth *= closes[i] / (closes[i - 1] - paid[i])
    assert adjusted.iloc[-1] / adjusted.iloc[0] == pytest.approx(wealth, rel=1e-12)


def test_20_appending_twice_is_idempotent(world: World):
    """d1, d2, d1 overlapping, N runs: same rows, same bytes."""
    world.serve("VAS", ROWS[:290])
    world.now = dt.datetime(2025, 10, 30, 12, 0, tzinfo=dt.UTC)
    world.run(VAS)
    world.serve("VAS", ROWS)
    world.now = dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC)
    world.run(VAS)
    once = world.bytes_on_disk("historical", "quarantine", "raw")
    for _ in range(3):
        assert world.run(VAS)["VAS"].outcome == "unchanged"
    world.serve("VAS", ROWS[:290])
    assert world.run(VAS)["VAS"].outcome == "unchanged"
    assert world.bytes_on_disk("historical", "quarantine", "raw") == once


def test_23_monthly_files_of_users_are_not_annualised_as_daily(tmp_path):
    """VAS once showed 228 % a year; the spacing of the bars decides, not the label."""
    folder = tmp_path / "historical"
    folder.mkdir()
    days = pd.date_range("2015-01-31", periods=120, freq="ME", name="Date")
    closes = walk(120, seed=4) * 1.0
    pd.DataFrame({"Close": closes}, index=days).to_parquet(folder / "VAS.parquet")
    from etf_pipeline.store.layout import Layout

    row = risk_table([load_prices(Layout(tmp_path), "VAS")]).to_pylist()[-1]
    returns = closes[1:] / closes[:-1] - 1
    years = (days[-1] - days[0]).days / 365.25
    assert row["periods_per_year"] == pytest.approx(119 / years, rel=1e-12)
    assert row["periods_per_year"] == pytest.approx(12, abs=0.01)
    assert row["mean_return"] == pytest.approx(returns.sum() / years, rel=1e-12)
    assert row["volatility"] == pytest.approx(np.sqrt(119 / years) * returns.std(ddof=1), rel=1e-12)
    assert row["reason"] == "the bars are monthly"


def test_point_in_time_gives_exactly_the_earlier_state(world: World):
    """After a correction and a split, the history of each instant is what it was then."""
    seen: list[tuple[dt.datetime, pd.DataFrame]] = []
    rows = ROWS[:280].copy()
    for step in range(5):
        world.now = dt.datetime(2025, 10, 14, 12, 0, tzinfo=dt.UTC) + dt.timedelta(days=3 * step)
        if step == 2:
            rows.iloc[270, 3] *= 1.002  # a restatement
        if step == 3:
            rows[["open", "high", "low", "close"]] /= 4
            rows.iloc[275, 6] = 4.0
        rows = pd.concat([rows, _scaled(ROWS[len(rows) : len(rows) + 2], 4 if step >= 3 else 1)])
        world.serve("VAS", rows)
        world.run(VAS)
        seen.append((world.now, world.history()))
    for instant, then in seen:
        built = history_as_of(world.layout, VAS, instant)
        assert built is not None
        pd.testing.assert_frame_equal(to_frame(built.history), then, check_exact=True)
    assert history_as_of(world.layout, VAS, dt.datetime(2020, 1, 1, tzinfo=dt.UTC)) is None
    with pytest.raises(ValueError, match="aware"):
        history_as_of(world.layout, VAS, dt.datetime(2025, 1, 1))  # noqa: DTZ001


def _scaled(rows, factor):
    rows = rows.copy()
    rows[["open", "high", "low", "close"]] /= factor
    return rows


def test_sources_are_never_mixed_in_one_history(world: World, tmp_path):
    from etf_pipeline.ingest.planning import Terms
    from etf_pipeline.ingest.sources.simulated import SimulatedSource
    from etf_pipeline.steps.download import download
    from etf_pipeline.steps.result import Run

    world.serve("VAS", ROWS)
    world.run(VAS)
    before = world.bytes_on_disk()
    download(
        world.store,
        Run("sim", world.now, "XASX"),
        SimulatedSource(lambda: world.now),
        [VAS],
        Terms(full=True),
        clock=lambda: world.now,
    )
    outcome = world.update(VAS)["VAS"]
    assert outcome.outcome == "rejected"
    assert "mix source simulated and yahoo" in outcome.reason
    assert world.bytes_on_disk() == before


def test_a_users_own_file_is_left_alone(world: World):
    world.serve("VAS", ROWS)
    world.layout.folder(HISTORY).mkdir(parents=True)
    path = world.layout.of(HISTORY, "VAS")
    pd.DataFrame({"Close": [1.0]}, index=pd.DatetimeIndex(["2024-01-02"], name="Date")).to_parquet(
        path
    )
    before = path.read_bytes()
    outcome = world.run(VAS)["VAS"]
    assert outcome.outcome == "rejected"
    assert "move it away" in outcome.reason
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_damaged_history_is_set_aside_and_rebuilt_from_the_raw_batches(world: World, damage):
    world.serve("VAS", ROWS)
    world.run(VAS)
    before = world.bytes_on_disk()
    path = world.layout.of(HISTORY, "VAS")
    whole = path.read_bytes()
    bad = {"truncated": whole[: len(whole) // 2], "garbage": b"x" * 500, "empty": b""}[damage]
    path.write_bytes(bad)
    world.download(VAS)
    outcome = world.update(VAS)["VAS"]
    assert "the file was damaged" in outcome.reason
    assert world.bytes_on_disk() == before
    assert path.with_name("VAS.parquet.damaged").read_bytes() == bad


def test_the_sessions_of_the_test_data_are_what_they_are_said_to_be():
    assert set(DAYS) <= set(sessions("XASX"))
