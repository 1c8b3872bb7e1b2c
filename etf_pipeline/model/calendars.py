"""Sessions: which days trade, and when a session's bar is final.

What has no exchange has a pseudo-MIC: `FX` for currency pairs, `INDX` for indices of any market.
Its sessions are all weekdays, each as long as its day, as no list of its holidays exists.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from statistics import mode
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

_EARLIEST = "1962-01-02"  # the first daily bars that Yahoo has
Days = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class Weekdays:
    """What stands for the calendar of something that has no exchange.

    Attributes:
        zone: IANA name of the zone whose days are its sessions.
        rests_at_weekends: whether nobody trades on other days than weekdays.
    """

    zone: str
    rests_at_weekends: bool


WITHOUT_EXCHANGE = {
    # Yahoo's days of currency pairs are London's.
    "FX": Weekdays("Europe/London", rests_at_weekends=True),
    # Some markets trade on Sundays.
    "INDX": Weekdays("UTC", rests_at_weekends=False),
}
_NEVER_REACHED = "2100-01-01"


@lru_cache(maxsize=1)
def known_exchanges() -> frozenset[str]:
    """ISO 10383 MICs that have a calendar, and the pseudo-MICs `FX` and `INDX`."""
    import exchange_calendars

    names = exchange_calendars.get_calendar_names(include_aliases=False)
    return frozenset(n for n in names if len(n) == 4 and n.isalnum()) | frozenset(WITHOUT_EXCHANGE)


@lru_cache(maxsize=128)
def exchange_calendar(mic: str) -> ExchangeCalendar:
    """The calendar of an exchange, as far back as it goes; a pseudo-MIC has none."""
    import exchange_calendars

    for start in (_EARLIEST, "1990-01-01", "2000-01-01"):
        # A calendar that does not reach back so far refuses the start, each in its own way.
        with contextlib.suppress(ValueError, NotImplementedError):
            return exchange_calendars.get_calendar(mic, start=start)
    return exchange_calendars.get_calendar(mic)


@lru_cache(maxsize=128)
def sessions(mic: str) -> Days:
    """Every session that its calendar knows, shape (n,), datetime64[D]."""
    if mic in WITHOUT_EXCHANGE:
        days = np.arange(np.datetime64(_EARLIEST), np.datetime64(_NEVER_REACHED))
        return days[np.is_busday(days)]
    return exchange_calendar(mic).sessions.to_numpy().astype("datetime64[D]")


def has_calendar(mic: str) -> bool:
    """Whether `mic` is an exchange whose sessions are known, or stands for having none."""
    if mic not in known_exchanges():
        return False
    try:
        return len(sessions(mic)) > 0
    except (NotImplementedError, ValueError):  # listed by the library, without rules that work
        return False


def time_zone(mic: str) -> str:
    """IANA name of the exchange's time zone."""
    if mic in WITHOUT_EXCHANGE:
        return WITHOUT_EXCHANGE[mic].zone
    return str(exchange_calendar(mic).tz)


def weekmask(mic: str) -> str:
    """Which weekdays trade, Monday first: `1111100`."""
    return "1111100" if mic in WITHOUT_EXCHANGE else str(exchange_calendar(mic).weekmask)


def last_final_session(mic: str, now: dt.datetime, delay: dt.timedelta) -> dt.date:
    """The newest session whose bar is final at `now`: its close was at least `delay` ago.

    Raises:
        ValueError: `now` has no time zone; the host's zone must not decide a session.
    """
    if now.tzinfo is None:
        raise ValueError("now must be aware, for example datetime.now(UTC)")
    if mic in WITHOUT_EXCHANGE:
        today = (now - delay).astimezone(ZoneInfo(time_zone(mic))).date()
        weekday: dt.date = np.busday_offset(today, -1, roll="forward").astype(object)
        return weekday
    calendar = exchange_calendar(mic)
    cutoff = int((now - delay).timestamp() * 1_000_000_000)
    position = int(np.searchsorted(calendar.closes_nanos, cutoff, "right"))
    if position == 0:
        raise ValueError(f"{mic} had no session before {now}")
    return calendar.sessions[position - 1].date()


def close_after(mic: str) -> dt.timedelta:
    """How long after its midnight, by the clocks there, a session usually closes."""
    if mic in WITHOUT_EXCHANGE:
        return dt.timedelta(days=1)
    close = close_time(mic)
    return dt.timedelta(hours=close.hour, minutes=close.minute)


def close_time(mic: str) -> dt.time:
    """The usual close of an exchange, in its own time zone; midnight where the day is a session."""
    return dt.time() if mic in WITHOUT_EXCHANGE else usual_close(exchange_calendar(mic))


def usual_close(calendar: ExchangeCalendar) -> dt.time:
    """The local time at which most of a calendar's last 250 sessions close; some close early."""
    closes = calendar.schedule["close"].iloc[-250:].dt.tz_convert(calendar.tz)
    return mode(closes.dt.time)
