"""The real yfinance client against the stand-in: every fault, and that nothing is lost to it."""

import datetime as dt
import itertools
import logging
import threading
import time

import numpy as np
import pandas as pd
import pytest
import yfinance

from etf_pipeline.errors import ReasonCode
from etf_pipeline.ingest.source import Download, FetchFailure, Request
from etf_pipeline.ingest.sources.yahoo import YahooSource, day_begins, tell_zone, understood
from etf_pipeline.model.calendars import has_calendar, known_exchanges, sessions, time_zone
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline_tests.support import World, asx_days, bars, instrument, walk

DAYS = asx_days("2024-09-02", 300)
ROWS = bars(DAYS, walk(300))
ROWS.loc[ROWS.index[250], "dividends"] = 1.25
NOON = dt.datetime(2025, 11, 12, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def vas(world: World):
    world.serve("VAS", ROWS)
    return instrument("VAS")


def fetch(world, *requests):
    return list(YahooSource(world.settings).fetch(requests))


def test_a_full_download(world, vas):
    (answer,) = fetch(world, Request(vas))
    assert isinstance(answer, Download)
    assert (answer.symbol, answer.currency, answer.granularity) == ("VAS.AX", "AUD", "1d")
    assert list(answer.rows.index) == list(ROWS.index)
    assert answer.rows["close"].tolist() == ROWS["close"].tolist()
    assert answer.rows["dividends"].sum() == 1.25
    assert world.yahoo.seen["VAS.AX"] == 1  # the time zone is not asked for separately


def test_yfinance_takes_the_time_zone_that_it_is_told(world, vas):
    """Its private attribute does what `tell_zone` counts on; a release that changes it fails."""
    YahooSource(world.settings)  # sets yfinance up for the stand-in
    yfinance.set_tz_cache_location(str(world.root / "nothing-cached"))
    told = yfinance.Ticker("VAS.AX")
    assert vars(told)["_tz"] is None
    tell_zone(told, "Australia/Sydney")
    assert str(told.history(period="max").index.tz) == "Australia/Sydney"
    assert world.yahoo.seen["VAS.AX"] == 1
    untold = yfinance.Ticker("VAS.AX")
    untold.history(period="5y")
    assert world.yahoo.seen["VAS.AX"] == 3  # one of them for the time zone alone


def test_a_window_starts_where_it_was_asked_to(world, vas):
    start = ROWS.index[280].date()
    (answer,) = fetch(world, Request(vas, start))
    assert list(answer.rows.index) == list(ROWS.index[280:])


@pytest.mark.parametrize("kind", ["500", "html", "truncated"])
def test_a_passing_fault_is_overcome(world, vas, kind):
    world.yahoo.fault("VAS.AX", kind, times=2)
    (answer,) = fetch(world, Request(vas))
    assert isinstance(answer, Download)


@pytest.mark.parametrize(
    ("kind", "failure", "words"),
    [
        ("500", "transient", "not JSON"),
        ("html", "transient", "not JSON"),
        ("truncated", "transient", "not JSON"),
        ("429", "transient", "429"),
        ("empty", "missing", "no price"),
    ],
)
def test_a_lasting_fault_is_told_and_keeps_the_old_files(world, vas, kind, failure, words):
    world.run(vas)
    before = world.bytes_on_disk()
    world.yahoo.fault("VAS.AX", kind)
    outcome = world.run(vas)["VAS"]
    assert outcome.outcome == "failed"
    assert outcome.failure_kind == failure
    assert words in outcome.reason
    assert world.bytes_on_disk() == before


def test_a_hanging_server_is_left_at_the_request_deadline(world, vas):
    world.settings = world.configured(yahoo_timeout_seconds=0.5, yahoo_attempts=2)
    world.yahoo.fault("VAS.AX", "hang")
    started = time.monotonic()
    (answer,) = fetch(world, Request(vas))
    assert isinstance(answer, FetchFailure)
    assert answer.kind == "transient"
    assert time.monotonic() - started < 20


def test_a_run_deadline_ends_the_run_with_what_there_is(world, vas):
    world.settings = world.configured(
        run_deadline_seconds=1.0,
        yahoo_attempts=20,
        yahoo_backoff_seconds=5.0,
        yahoo_backoff_max_seconds=5.0,
        yahoo_concurrency=1,
    )
    other = instrument("VGS")
    world.serve("VGS", ROWS)
    world.yahoo.fault("VGS.AX", "429")
    outcomes = world.download(vas, other)
    assert outcomes["VAS"].outcome == "collected"
    assert outcomes["VGS"].outcome == "failed"
    assert "run deadline of 1 s" in outcomes["VGS"].reason


def test_no_network_at_all(world, vas):
    world.run(vas)
    before = world.bytes_on_disk()
    world.settings = world.configured(yahoo_url="http://127.0.0.1:9")  # the discard port
    outcome = world.run(vas)["VAS"]
    assert (outcome.outcome, outcome.failure_kind) == ("failed", "transient")
    assert "127.0.0.1" in outcome.reason
    assert world.bytes_on_disk() == before


def test_null_rows_are_gaps_that_are_asked_for_again(world, vas):
    hole = str(ROWS.index[290].date())
    world.yahoo.fault("VAS.AX", "null_rows", arg=[hole])
    world.run(vas)
    assert len(world.history()) == 299
    assert world.findings()[(hole, "missing_session")] == "missing"
    world.yahoo.faults.clear()
    assert world.run(vas)["VAS"].rows_added == 1
    assert len(world.history()) == 300
    assert (hole, "missing_session") not in world.findings()


def test_another_symbol_is_refused(world, vas):
    world.yahoo.fault("VAS.AX", "wrong_symbol", arg="IVV.AX")
    outcome = world.run(vas)["VAS"]
    assert outcome.outcome == "rejected"
    assert "asked for VAS.AX, got IVV.AX" in outcome.reason
    assert not world.layout.of(HISTORY, "VAS").exists()


def test_a_rename_is_refused_with_the_remedy_and_then_keeps_the_history(world, vas):
    world.run(vas)
    world.yahoo.fault("VAS.AX", "rename", arg="NEW.AX")
    assert "change its symbol in the universe" in world.run(vas)["VAS"].reason
    world.yahoo.faults.clear()
    world.serve("NEW", ROWS[100:])  # the new listing shows less
    renamed = instrument("NEW", aliases=("VAS",))
    world.run(renamed)
    assert len(world.history("NEW")) == 300
    assert not world.layout.of(HISTORY, "VAS").exists()


@pytest.mark.parametrize("arg", [None, "lies"])
def test_monthly_bars_are_refused_by_label_and_by_spacing(world, vas, arg):
    world.yahoo.fault("VAS.AX", "monthly", arg=arg)
    outcome = world.run(vas)["VAS"]
    assert outcome.outcome == "rejected"
    assert "asked for daily bars, got" in outcome.reason


def test_another_currency_is_refused(world, vas):
    world.run(vas)
    before = world.bytes_on_disk()
    world.yahoo.fault("VAS.AX", "currency", arg="USD")
    outcome = world.run(vas)["VAS"]
    assert "prices are in USD, the universe says AUD" in outcome.reason
    assert world.bytes_on_disk() == before


def test_a_duplicate_live_bar_is_one_session(world, vas):
    world.yahoo.fault("VAS.AX", "duplicate_live")
    world.run(vas)
    assert world.history().index.is_unique
    assert len(world.history()) == 300


def test_a_dividend_after_the_last_bar_is_kept_without_a_price(world, vas):
    ex_date, before = ROWS.index[-1], ROWS.index[-2]
    world.serve("VAS", ROWS[:-1])
    world.yahoo.fault("VAS.AX", "dividend_after_last", arg=(ex_date, 0.395))
    world.now = dt.datetime.combine(ex_date.date(), dt.time(0, 30), dt.UTC)
    world.run(vas)
    history = world.history()
    assert history["close"].notna().all()
    assert history.index[-1] == before
    assert history["adj_close"].iloc[-1] == history["close"].iloc[-1]
    assert world.findings()[(str(ex_date.date()), "event_without_price")] == "pending"
    # the bar arrives a day later, and the dividend adjusts what came before
    world.yahoo.faults.clear()
    later = ROWS.copy()
    later.loc[ex_date, "dividends"] = 0.395
    world.serve("VAS", later)
    world.now += dt.timedelta(days=1)
    world.run(vas)
    after = world.history()
    assert after.loc[ex_date, "dividends"] == 0.395
    assert after.loc[before, "adj_close"] == pytest.approx(after.loc[before, "close"] - 0.395)


def test_a_burst_of_429_makes_every_worker_back_off_once(world):
    """Twenty symbols are answered, eighty are refused once; all hundred end up stored."""
    instruments = [instrument(f"T{i:03d}") for i in range(100)]
    for i, one in enumerate(instruments):
        world.serve(one.ticker, ROWS[-40:])
        if i >= 20:
            # yfinance itself asks twice before it reports a 429
            world.yahoo.fault(one.symbol, "429", times=2)
    world.settings = world.configured(
        yahoo_attempts=20, yahoo_backoff_seconds=0.2, yahoo_backoff_max_seconds=0.4
    )
    outcomes = world.download(*instruments)
    assert {o.outcome for o in outcomes.values()} == {"collected"}
    starts = sorted(t for t, _ in world.yahoo.started)
    pauses = [b - a for a, b in itertools.pairwise(starts) if b - a > 0.09]
    assert pauses, "no shared pause was seen"


def test_eighty_of_a_hundred_refused_for_good_leave_a_partial_run(world):
    instruments = [instrument(f"T{i:03d}") for i in range(10)]
    for _i, one in enumerate(instruments):
        world.serve(one.ticker, ROWS[:-5])
    world.run(*instruments)
    before = world.bytes_on_disk("historical")
    for one in instruments:
        world.serve(one.ticker, ROWS)
        if one.ticker >= "T002":
            world.yahoo.fault(one.symbol, "429")
    outcomes = world.run(*instruments)
    good = sorted(t for t, o in outcomes.items() if o.good)
    assert good == ["T000", "T001"]
    after = world.bytes_on_disk("historical")
    assert {k for k in after if after[k] != before[k]} == {
        "historical/T000.parquet",
        "historical/T001.parquet",
    }


def test_one_missing_answer_never_delists(world, vas):
    """Final only after three separate days on which its peers were answered."""
    peer = instrument("VGS")
    world.serve("VGS", ROWS)
    world.run(vas, peer)
    world.yahoo.fault("VAS.AX", "not_found")
    kinds = []
    for _ in range(4):
        world.now += dt.timedelta(days=1)
        kinds.append(world.run(vas, peer)["VAS"].failure_kind)
    assert kinds == ["missing", "missing", "permanent", "permanent"]
    assert len(world.history()) == 300  # nothing was removed
    world.yahoo.faults.clear()
    assert world.run(vas, peer)["VAS"].good


def test_a_retry_is_not_answered_from_the_clients_cache(world, vas):
    world.yahoo.fault("VAS.AX", "html", times=1)
    (answer,) = fetch(world, Request(vas, ROWS.index[200].date()))
    assert isinstance(answer, Download)
    assert world.yahoo.seen["VAS.AX"] == 2


class Leaves(logging.Handler):
    """Leaves a download when it tells of a try, as Ctrl-C at that moment would."""

    def __init__(self, left, after):
        super().__init__()
        self.left, self.after = left, after

    def emit(self, record):
        if f"try {self.after}:" in record.getMessage():
            self.left.set()


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_ticker_that_is_left_says_how_often_it_was_tried(world, vas, after):
    world.settings = world.configured(yahoo_attempts=5)
    world.yahoo.fault("VAS.AX", "500")
    source, left = YahooSource(world.settings), threading.Event()
    log, handler = logging.getLogger("etf_pipeline.ingest.sources.yahoo"), Leaves(left, after)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    if not after:
        left.set()
    try:
        answer = source._fetch_one(Request(vas), left)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    assert isinstance(answer, FetchFailure)
    if after:
        assert answer.reason.endswith(f" (tried {after} times)")
    else:
        assert (answer.code, answer.reason) == (ReasonCode.INTERRUPTED, "not tried")
    assert bool(world.yahoo.seen["VAS.AX"]) == bool(after)


def test_answers_come_in_request_order_and_one_fetch_per_symbol(world):
    instruments = [instrument(f"T{i:02d}") for i in range(30)]
    for one in instruments:
        world.serve(one.ticker, ROWS[-30:])
    answers = fetch(world, *[Request(i) for i in instruments])
    assert [a.request.instrument.ticker for a in answers] == [i.ticker for i in instruments]
    assert set(world.yahoo.seen.values()) == {1}


ZONES = sorted({time_zone(m) for m in known_exchanges() if has_calendar(m)})


def test_every_day_begins_once_in_every_zone():
    """Clocks go forward at midnight in Santiago, Asuncion, Beirut, Cairo, Havana: 00:00 is not."""
    days = pd.date_range("2024-01-01", "2025-12-31")
    for zone in ZONES:
        begins = [day_begins(d.date(), zone) for d in days]
        assert [b.date() for b in begins] == list(days.date), zone
        late = [b for b in begins if (b.hour, b.minute) != (0, 0)]
        assert all((b.hour, b.minute) == (1, 0) for b in late), zone
    assert day_begins(dt.date(2025, 9, 7), "America/Santiago").hour == 1


@pytest.mark.parametrize("stamped_at", [dt.time(9, 30), dt.time(16), dt.time(19, 5)])
@pytest.mark.parametrize("start", ["2025-09-05", "2025-09-07", "2025-09-08", "2025-04-06"])
def test_a_window_may_start_on_a_day_without_midnight(world, start, stamped_at):
    days = sessions("XSGO")
    days = days[(days > np.datetime64("2025-03-01")) & (days < np.datetime64("2025-11-01"))]
    asked = world.list_on("XSGO", "CHL", bars(days, walk(len(days))), stamped_at=stamped_at)
    (answer,) = fetch(world, Request(asked, dt.date.fromisoformat(start)))
    assert isinstance(answer, Download), answer.reason
    held = answer.rows.index.to_numpy().astype("datetime64[D]")
    assert list(held) == list(days[days >= np.datetime64(start)])


def test_a_mistake_of_ours_is_not_yahoos(vas, caplog):
    """A frame that the client never gives: what follows is no fault of the answer."""
    answer = understood(Request(vas), pd.DataFrame({"Close": [1.0]}, index=["no date"]), {})
    assert (answer.kind, answer.code) == ("permanent", ReasonCode.OUR_MISTAKE)
    assert not answer.code.transient
    assert caplog.records[-1].exc_info is not None
