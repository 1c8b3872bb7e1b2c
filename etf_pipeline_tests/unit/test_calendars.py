import datetime as dt
from zoneinfo import ZoneInfo

import exchange_calendars
import numpy as np
import pytest

from etf_pipeline.model.calendars import (
    close_after,
    close_time,
    has_calendar,
    last_final_session,
    sessions,
    time_zone,
    usual_close,
    weekmask,
)

DELAY = dt.timedelta(minutes=45)


def sydney(*args):
    return dt.datetime(*args, tzinfo=ZoneInfo("Australia/Sydney"))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (sydney(2025, 11, 12, 12, 0), "2025-11-11"),  # noon: the session is still open
        (sydney(2025, 11, 12, 16, 44), "2025-11-11"),  # closed, but within the delay
        (sydney(2025, 11, 12, 16, 45), "2025-11-12"),
        (sydney(2025, 11, 16, 9, 0), "2025-11-14"),  # a Sunday
        (sydney(2024, 12, 24, 14, 55), "2024-12-24"),  # an early close at 14:10
        (sydney(2025, 12, 29, 9, 0), "2025-12-24"),  # Christmas and Boxing Day behind
    ],
)
def test_last_final_session(now, expected):
    assert str(last_final_session("XASX", now, DELAY)) == expected


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Los_Angeles", "Australia/Perth"])
def test_the_host_zone_does_not_matter(zone):
    now = sydney(2025, 11, 12, 17, 0).astimezone(ZoneInfo(zone))
    assert str(last_final_session("XASX", now, DELAY)) == "2025-11-12"


def test_a_naive_time_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"datetime\.now\(UTC\)"):
        last_final_session("XASX", dt.datetime(2025, 11, 12), DELAY)  # noqa: DTZ001


def test_asx_sessions():
    days = sessions("XASX")
    assert np.datetime64("2025-10-24") in days
    assert np.datetime64("2015-12-28") not in days
    assert days[0] <= np.datetime64("1990-01-02")
    assert time_zone("XASX") == "Australia/Sydney"
    assert close_time("XASX") == dt.time(16, 0)


@pytest.mark.parametrize(
    ("mic", "end", "close"),
    [
        ("XNYS", "2027-11-26", dt.time(16, 0)),  # the day after Thanksgiving: 13:00
        ("XASX", "2026-12-24", dt.time(16, 0)),  # Christmas Eve: 14:10
        ("XLON", "2026-12-31", dt.time(16, 30)),  # New Year's Eve: 12:30
        ("XHKG", "2026-12-31", dt.time(16, 0)),  # New Year's Eve: 12:00
    ],
)
def test_an_early_close_is_not_the_usual_one(mic, end, close):
    calendar = exchange_calendars.get_calendar(mic, start="2020-01-01", end=end)
    last = calendar.session_close(calendar.sessions[-1]).tz_convert(calendar.tz).time()
    assert last < close
    assert usual_close(calendar) == close


def test_only_exchanges_with_rules_count():
    assert has_calendar("XNYS")
    assert not has_calendar("ASX")
    for mic in ("ASEX", "XTAE"):  # listed by the calendar library, without rules that work
        assert not has_calendar(mic)


@pytest.mark.parametrize(
    ("mic", "zone", "now", "expected"),
    [
        # London is at UTC+1 in summer: Wednesday ends at 23:00 UTC, and is final at 23:45.
        ("FX", "Europe/London", "2025-07-02T23:44:59", "2025-07-01"),
        ("FX", "Europe/London", "2025-07-02T23:45:00", "2025-07-02"),
        ("FX", "Europe/London", "2025-12-03T00:45:00", "2025-12-02"),
        ("FX", "Europe/London", "2025-12-06T00:44:00", "2025-12-04"),  # Friday is not yet final
        ("FX", "Europe/London", "2025-12-08T12:00:00", "2025-12-05"),  # Monday: Friday's
        ("FX", "Europe/London", "2025-12-26T12:00:00", "2025-12-25"),  # holidays are not known
        ("INDX", "UTC", "2025-07-03T00:44:00", "2025-07-01"),
        ("INDX", "UTC", "2025-07-03T00:45:00", "2025-07-02"),
    ],
)
def test_a_day_without_an_exchange_is_final_when_it_has_ended(mic, zone, now, expected):
    assert time_zone(mic) == zone
    at = dt.datetime.fromisoformat(now).replace(tzinfo=dt.UTC)
    assert str(last_final_session(mic, at, DELAY)) == expected
    assert str(last_final_session(mic, at.astimezone(ZoneInfo("Asia/Tokyo")), DELAY)) == expected
    with pytest.raises(ValueError, match=r"datetime\.now\(UTC\)"):
        last_final_session(mic, dt.datetime(2025, 11, 12), DELAY)  # noqa: DTZ001


@pytest.mark.parametrize("mic", ["FX", "INDX"])
def test_sessions_without_an_exchange_are_weekdays(mic):
    assert has_calendar(mic)
    days = sessions(mic)
    assert np.all(days[1:] > days[:-1])
    assert {d.weekday() for d in days.tolist()} == {0, 1, 2, 3, 4}
    year = days[(days >= np.datetime64("2024-01-01")) & (days <= np.datetime64("2024-12-31"))]
    assert len(year) == 366 - 104
    assert (weekmask(mic), close_time(mic)) == ("1111100", dt.time(0))


@pytest.mark.parametrize(
    ("mic", "hours"), [("XASX", 16), ("XLON", 16.5), ("XHKG", 16), ("FX", 24), ("INDX", 24)]
)
def test_how_long_after_midnight_a_session_closes(mic, hours):
    assert close_after(mic) == dt.timedelta(hours=hours)
