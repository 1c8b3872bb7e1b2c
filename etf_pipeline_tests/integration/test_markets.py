"""The exchanges of the world, through the real yfinance and the steps of the product.

Each exchange has its own zone, opening time, holidays, half days and currency. The stand-in stamps
bars and events as Yahoo does; what is stored must be that exchange's sessions, in its currency,
wherever the host is.
"""

import datetime as dt
import time

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.library.provider import ETFDataProvider
from etf_pipeline.model.calendars import exchange_calendar
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.steps.catalogue import open_catalogue
from etf_pipeline.store.reader import file_info
from etf_pipeline_tests.support import World, bars, instrument, sessions_of, walk, yahoo_rows
from etf_pipeline_tests.yahoo_standin import MARKETS

EXCHANGES = sorted(set(MARKETS) - {"FX"})
FIRST, LAST = "2023-10-02", "2025-11-07"
# A Saturday everywhere: every exchange's Friday is final.
NOW = dt.datetime(2025, 11, 8, 12, 0, tzinfo=dt.UTC)
LEVEL = {"XLON": 7000.0, "XTKS": 25000.0, "XSGO": 15000.0}


def clock_changes(mic):
    """First sessions after the exchange's clocks were changed; none where they never are."""
    noons = pd.date_range(FIRST, LAST) + pd.Timedelta(hours=12)
    days = noons.tz_localize(MARKETS[mic].time_zone)
    shifts = np.array([day.utcoffset().total_seconds() for day in days])
    changed = [days[i + 1].date() for i in np.flatnonzero(np.diff(shifts))]
    held = sessions_of(mic, FIRST, LAST)
    return [held[held >= np.datetime64(day)][0] for day in changed]


def half_days(mic):
    """Sessions that close early."""
    early = exchange_calendar(mic).early_closes.to_numpy().astype("datetime64[D]")
    return early[(early > np.datetime64(FIRST)) & (early <= np.datetime64(LAST))]


def after_holidays(mic):
    """Sessions that follow a weekday without one."""
    held = sessions_of(mic, FIRST, LAST)
    skipped = np.busday_count(held[:-1], held[1:]) > 1
    return held[1:][skipped]


def rows_of(mic, last=LAST):
    """Prices with a dividend where a session is easily missed, adjusted as CRSP does.

    Of 0.3 to 0.5 %, so that no two that follow each other are one told twice.
    """
    days = sessions_of(mic, FIRST, LAST)
    closes = walk(len(days), seed=EXCHANGES.index(mic), start=LEVEL.get(mic, 100.0))
    paid = np.zeros(len(days))
    special = [clock_changes(mic), half_days(mic)[:3], after_holidays(mic)[:3], days[[-40]]]
    at = np.isin(days, np.concatenate([np.asarray(s, "datetime64[D]") for s in special]))
    at[0] = False
    before = np.r_[closes[0], closes[:-1]]
    paid[at] = np.round(np.resize([0.003, 0.004, 0.005], at.sum()) * before[at], 4)
    closes[at] -= paid[at]
    rows = bars(days, closes, dividends=paid)[days <= np.datetime64(last)]
    factors = 1 - rows["dividends"] / rows["close"].shift(1).bfill()
    later = np.cumprod(factors.to_numpy()[::-1])[::-1]
    return rows.assign(adj_close=rows["close"] * np.r_[later[1:], 1.0])


def world_of(folder, yahoo, mic):
    return World(folder, yahoo, now=NOW, partition=mic)


def serve(world, mic, rows, **changes):
    """Have the stand-in serve rows with this adjusted close, as the source's own."""
    one = world.list_on(mic, "ETF", rows.drop(columns="adj_close"), **changes)
    series = world.yahoo.series[one.symbol]
    series.rows["Adj Close"] = rows["adj_close"].to_numpy()
    return one


@pytest.mark.parametrize("mic", EXCHANGES)
def test_the_test_has_what_it_is_about(mic):
    """Clocks change in five of the seven, and every exchange has holidays."""
    assert bool(clock_changes(mic)) == (mic not in ("XTKS", "XHKG"))
    assert len(after_holidays(mic)) >= 3
    assert bool(len(half_days(mic))) == (mic != "XTKS")


@pytest.mark.parametrize("mic", EXCHANGES)
def test_what_is_stored_are_the_exchanges_sessions(tmp_path, yahoo, mic):
    world = world_of(tmp_path, yahoo, mic)
    rows = rows_of(mic)
    one = serve(world, mic, rows)
    outcome = world.download(one)["ETF"]
    assert (outcome.outcome, outcome.reason) == ("collected", None)
    outcome = world.update(one)["ETF"]
    assert (outcome.outcome, outcome.reason) == ("collected", None)
    assert world.findings("ETF") == {}
    held = world.history("ETF")
    assert held.index.to_numpy().astype("datetime64[D]").tolist() == [
        d.date() for d in rows.index.to_pydatetime()
    ]
    for name in ("open", "high", "low", "close", "dividends"):
        assert held[name].tolist() == rows[name].tolist(), name
    assert (held["dividends"] > 0).sum() >= 4
    assert np.allclose(held["adj_close"], rows["adj_close"], rtol=1e-12, atol=0)
    meta = file_info(world.layout.of(HISTORY, "ETF")).meta
    assert (meta["currency"], meta["exchange"]) == (MARKETS[mic].currency, mic)


@pytest.mark.parametrize("mic", EXCHANGES)
def test_day_by_day_gives_what_one_download_does(tmp_path, yahoo, mic):
    """Across the changes of the clocks of October and November."""
    steps = world_of(tmp_path / "steps", yahoo, mic)
    for day in [*sessions_of(mic, "2025-09-25", LAST)[::4].tolist(), NOW.date()]:
        one = serve(steps, mic, rows_of(mic, day))
        steps.now = dt.datetime.combine(day, dt.time(23, 30), dt.UTC)
        assert steps.run(one)["ETF"].good
    whole = world_of(tmp_path / "whole", yahoo, mic)
    whole.run(serve(whole, mic, rows_of(mic)))
    ours, theirs = steps.bytes_on_disk(), whole.bytes_on_disk()
    assert ours.keys() == theirs.keys()
    assert steps.history("ETF").equals(whole.history("ETF"))


@pytest.mark.parametrize("mic", EXCHANGES)
@pytest.mark.parametrize(
    "at", [dt.time(0), dt.time(16, 10), dt.time(19, 5)], ids=["midnight", "16:10", "19:05"]
)
def test_a_bar_belongs_to_the_session_whenever_it_is_stamped(tmp_path, yahoo, mic, at):
    world = world_of(tmp_path, yahoo, mic)
    rows = rows_of(mic)
    assert world.run(serve(world, mic, rows, stamped_at=at))["ETF"].good
    assert world.history("ETF").index.equals(rows.index)
    assert world.history("ETF")["dividends"].tolist() == rows["dividends"].tolist()


@pytest.mark.parametrize("mic", EXCHANGES)
def test_a_bar_is_stored_once_that_exchange_has_closed(tmp_path, yahoo, mic):
    """On the last session, and on the first after the clocks were changed."""
    calendar = exchange_calendar(mic)
    for i, day in enumerate([*clock_changes(mic)[-1:], np.datetime64(LAST)]):
        world = world_of(tmp_path / str(i), yahoo, mic)
        one = serve(world, mic, rows_of(mic, day))
        close = calendar.session_close(pd.Timestamp(day)).to_pydatetime()
        final = close + dt.timedelta(minutes=world.settings.close_delay_minutes)
        for now, last in ((final - dt.timedelta(minutes=1), False), (final, True)):
            world.now = now
            assert world.run(one)["ETF"].good
            held = world.history("ETF").index[-1].to_numpy().astype("datetime64[D]")
            assert (held == day) == last, (day, now)


@pytest.mark.parametrize("mic", EXCHANGES)
def test_a_bar_on_a_holiday_that_repeats_the_last_price_is_none(tmp_path, yahoo, mic):
    """Yahoo shows such bars, without volume."""
    rows = rows_of(mic)
    day = after_holidays(mic)[-1]
    before = rows.index[rows.index < pd.Timestamp(day)][-1]
    holiday = before + pd.tseries.offsets.BDay()
    assert holiday.to_numpy().astype("datetime64[D]") not in sessions_of(mic, FIRST, LAST)
    bar = rows.loc[[before]].set_axis([holiday]).assign(volume=0.0, dividends=0.0)
    for name in ("open", "high", "low"):
        bar[name] = bar["close"]
    world = world_of(tmp_path, yahoo, mic)
    served = pd.concat([rows, bar]).sort_index().rename_axis("date")
    assert world.run(serve(world, mic, served))["ETF"].good
    assert world.history("ETF").index.equals(rows.index)
    assert world.history("ETF")["dividends"].tolist() == rows["dividends"].tolist()
    assert world.findings("ETF") == {(str(holiday.date()), "holiday_bar"): "quarantined"}


@pytest.mark.parametrize("mic", EXCHANGES)
@pytest.mark.parametrize("years", [1, None])
def test_what_doubles_in_a_year_grows_by_a_hundred_per_cent(tmp_path, yahoo, mic, years):
    """However many sessions the exchange has; a calendar year is 365 or 366 days of 365.25."""
    first, last = "2024-06-03", "2025-06-03"
    days = sessions_of(mic, first, last)
    assert (str(days[0]), str(days[-1])) == (first, last)
    closes = LEVEL.get(mic, 100.0) * 2 ** np.linspace(0, 1, len(days))
    closes[:-1] *= np.exp(np.random.default_rng(5).normal(0, 0.004, len(days) - 1))
    closes[0], closes[-1] = LEVEL.get(mic, 100.0), 2 * LEVEL.get(mic, 100.0)
    world = world_of(tmp_path, yahoo, mic)
    assert world.run(serve(world, mic, bars(days, closes, adj_close=closes)))["ETF"].good
    found = ETFDataProvider(tmp_path).calculate_risk_metrics("ETF", years)
    assert found["n_obs"] == len(days) - 1
    assert found["cagr"] == pytest.approx(2 ** (365.25 / 365) - 1, rel=1e-12)
    assert found["cagr"] == pytest.approx(1.0, abs=1e-3)
    assert found["periods_per_year"] == pytest.approx((len(days) - 1) * 365.25 / 365, rel=1e-12)
    assert found["mean_return"] == pytest.approx(
        np.sum(closes[1:] / closes[:-1] - 1) * 365.25 / 365, rel=1e-9
    )
    assert found["currency"] == MARKETS[mic].currency


@pytest.fixture
def host_zone(monkeypatch):
    """Moves this process to another time zone."""

    def move(zone):
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("mic", EXCHANGES)
def test_the_hosts_zone_changes_no_byte(tmp_path, yahoo, mic, host_zone):
    found = []
    for zone in ("UTC", "Pacific/Kiritimati", "America/Los_Angeles"):
        host_zone(zone)
        world = world_of(tmp_path / zone.replace("/", "_"), yahoo, mic)
        one = serve(world, mic, rows_of(mic, "2025-10-17"))
        world.now = dt.datetime(2025, 10, 18, 12, tzinfo=dt.UTC)
        world.run(one)
        serve(world, mic, rows_of(mic))
        world.now = NOW
        world.run(one)
        found.append(world.bytes_on_disk("raw", "historical", "quarantine"))
    assert len(found[0]) >= 3
    assert found[1] == found[0]
    assert found[2] == found[0]


PAIRS = {"AUDUSD=X": 0.65, "USDJPY=X": 150.0, "USDCLP=X": 950.0}


def rates_of(ticker, last=LAST):
    """Rates of London's weekdays but Christmas and New Year, without volume, as Yahoo has them."""
    days = sessions_of("FX", FIRST, last)
    month_days = np.array([str(d)[5:] for d in days])
    days = days[~np.isin(month_days, ["12-25", "01-01"])]
    closes = np.round(walk(len(days), seed=len(ticker), start=PAIRS[ticker]), 6)
    return bars(days, closes, volume=0.0)


def list_pair(world, ticker, rows):
    served = MARKETS["FX"].series(
        yahoo_rows(rows), instrument_type="CURRENCY", currency=ticker[3:6]
    )
    world.yahoo.series[ticker] = served
    return instrument(ticker, symbol=ticker, exchange="FX", currency=ticker[3:6])


@pytest.mark.parametrize("ticker", PAIRS)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Santiago"])
def test_a_currency_pair_is_a_history_like_any_other(tmp_path, yahoo, ticker, zone, host_zone):
    """London's midnight is of the day before in UTC all summer long."""
    host_zone(zone)
    world = world_of(tmp_path, yahoo, "FX")
    for day in [*sessions_of("FX", "2025-09-25", LAST)[::4].tolist(), NOW.date()]:
        one = list_pair(world, ticker, rates_of(ticker, day))
        world.now = dt.datetime.combine(day, dt.time(23, 45), dt.UTC)
        assert world.run(one)[ticker].good
    rows = rates_of(ticker)
    held = world.history(ticker)
    assert held.index.equals(rows.index)
    assert held["close"].tolist() == rows["close"].tolist() == held["adj_close"].tolist()
    assert world.findings(ticker) == {}
    meta = file_info(world.layout.of(HISTORY, ticker)).meta
    assert (meta["currency"], meta["exchange"]) == (ticker[3:6], "FX")


@pytest.mark.parametrize("mic", EXCHANGES)
def test_in_another_currency_by_pandas_and_in_sql(tmp_path, yahoo, mic):
    """Each exchange's fund in Australian dollars, with rates that came the same way."""
    world = world_of(tmp_path, yahoo, mic)
    assert world.run(serve(world, mic, rows_of(mic)))["ETF"].good
    legs = {"XASX": [], "XNYS": ["AUDUSD=X"], "XTKS": ["USDJPY=X", "AUDUSD=X"]}
    legs["XSGO"] = ["USDCLP=X", "AUDUSD=X"]
    world.partition = "FX"
    for ticker in PAIRS:
        assert world.run(list_pair(world, ticker, rates_of(ticker)))[ticker].good
    held = world.history("ETF")
    with open_catalogue(world.store, tmp_path / "none.csv") as connection:
        told = connection.query(
            "SELECT adj_close FROM prices_in('AUD') WHERE ticker = 'ETF' ORDER BY date"
        ).rows
    if mic not in legs:  # there is no rate of pounds, euros or Hong Kong dollars
        assert {r[0] for r in told} == {None}
        return
    right = held["adj_close"]
    for ticker in legs[mic]:
        right = right / world.history(ticker)["close"].reindex(held.index, method="ffill")
    assert np.allclose([r[0] for r in told], right, rtol=1e-13, atol=0)
