"""Points in time as sessions of an exchange: its own dates, whatever zone the stamps are in."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.model.reading.declared import Declared
from etf_pipeline.model.reading.sheet import Seconds, Sheet, Stamps

Days = npt.NDArray[np.datetime64]
_NO_DAYS: Days = np.array([], dtype="datetime64[D]")
# More of the dates than this on days of rest, and the stamps are not the exchange's.
_MOST_AT_REST = 0.02
_CERTAIN = 0.98
_ENOUGH = 20  # dates, to call a file daily
_FAR = np.timedelta64(365, "D")
_EARLIEST = np.datetime64("1900-01-01")


@dataclass(frozen=True)
class Market:
    """Where a file's prices were made.

    Attributes:
        name: MIC, or what to call it when it is not known.
        zone: IANA name of its zone; None when it is not known.
        sessions: its sessions, ascending, as far as they are known.
    """

    name: str = "an exchange"
    zone: str | None = None
    sessions: Days = field(default_factory=lambda: _NO_DAYS)


def session_days(
    sheet: Sheet, stamps: Stamps, market: Market, said: Declared, today: dt.date
) -> Days:
    """The session of each stamp, shape (n,), datetime64[D].

    A stamp with a zone is converted to the exchange's; one without is taken as local. Midnights
    in another zone whose own dates alone are sessions stand for these dates.

    Raises:
        UnreadableFileError: dates on which the exchange never trades, in the future or before
            1900; or midnights that may be either day.
    """
    written = stamps.written.astype("datetime64[D]")
    instants = stamps.instants
    if instants is None and said.zone is not None:
        instants = _instants(sheet, stamps.written, said.zone)
        days = _local(instants, market.zone or said.zone)
    elif instants is None and market.zone is not None:
        instants = _midnights_in_utc(stamps.written, written, market.zone)
        days = written if instants is None else _local(instants, market.zone)
    elif instants is None or market.zone is None:
        days = written
    else:
        days = _local(instants, market.zone)
        if np.array_equal(stamps.written, written) and not np.array_equal(days, written):
            days = _of_midnights(sheet, written, days, market)
    _check(sheet, days, market, today, zoned=instants is not None)
    return days


def _of_midnights(sheet: Sheet, written: Days, converted: Days, market: Market) -> Days:
    """Which of two readings of midnights are sessions, when only one of them is."""
    own, theirs = (float(np.isin(d, market.sessions).mean()) for d in (written, converted))
    if own >= _CERTAIN and theirs < 1 - _MOST_AT_REST:
        return written
    if own >= 1 - _MOST_AT_REST:
        raise sheet.refusal(
            f"midnights in another zone than {market.name}'s may be dates or points in time, such "
            f"as {written[0]} or {converted[0]}; write the dates of the sessions, without a zone",
            0,
        )
    return converted


def _midnights_in_utc(stamps: Seconds, written: Days, zone: str) -> Seconds | None:
    """Stamps of no zone as instants, when each is a midnight of the exchange in UTC.

    That is beyond doubt where their hour changes, and with the exchange's clocks. None else.
    """
    hours = np.unique(stamps - written)
    if len(hours) != 2:
        return None
    local = pd.DatetimeIndex(stamps).tz_localize("UTC").tz_convert(zone)
    return stamps if (local == local.normalize()).all() else None


def _zone(sheet: Sheet, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise sheet.refusal(f"the declared zone {name!r} is not known") from None


def _instants(sheet: Sheet, written: Seconds, zone: str) -> Seconds:
    local = pd.DatetimeIndex(written).tz_localize(
        _zone(sheet, zone), nonexistent="shift_forward", ambiguous=np.ones(len(written), bool)
    )
    return local.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[s]")


def _local(instants: Seconds, zone: str) -> Days:
    """Dates of instants at a place."""
    local = pd.DatetimeIndex(instants).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    return local.to_numpy().astype("datetime64[D]")


def _check(sheet: Sheet, days: Days, market: Market, today: dt.date, zoned: bool) -> None:
    if not len(days):
        return
    latest = np.datetime64(today) + np.timedelta64(1, "D")
    for wrong, what in ((days < _EARLIEST, "before 1900"), (days > latest, "in the future")):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise sheet.refusal(f"the date {days[row]} is {what}", row)
    _check_lone(sheet, days)
    resting = _resting(days, market.sessions)
    # nothing is known of an unknown exchange's only weekend, or of the days of longer periods
    few = 1 if market.zone is not None else 2
    if resting.sum() >= few and resting.mean() > _MOST_AT_REST and _daily(days):
        row = int(np.argmax(resting))
        name = pd.Timestamp(days[row]).day_name()
        remedy = (
            "correct the zone"
            if zoned
            else "write the dates of the sessions, or declare the zone of the stamps in a file of "
            'the same name with .json after it: {"zone": "America/New_York"}'
        )
        raise sheet.refusal(
            f"{int(resting.sum())} of {len(days)} dates are on days of the week when {market.name} "
            f"does not trade, such as {name} {days[row]}: the stamps are in another zone; {remedy}",
            row,
        )


def _check_lone(sheet: Sheet, days: Days) -> None:
    """Refuse a date of its own, a year and more from every other of a daily file: a slip."""
    if len(days) < _ENOUGH or not _daily(days):
        return
    order = np.argsort(days, kind="stable")
    gaps = np.diff(days[order])
    far = np.r_[True, gaps > _FAR] & np.r_[gaps > _FAR, True]
    if far.any():
        row = int(order[np.argmax(far)])
        raise sheet.refusal(
            f"the date {days[row]} is alone, more than a year from every other; correct it, or "
            "take the row out",
            row,
        )


def _daily(days: Days) -> bool:
    return len(days) < 3 or float(np.median(np.abs(np.diff(np.sort(days)).astype("int64")))) <= 4


def _resting(days: Days, sessions: Days) -> npt.NDArray[np.bool_]:
    """Which days are of those of the week that never trade; Saturdays and Sundays if unknown."""
    weekday = (days.astype("int64") + 3) % 7  # 1970-01-01 was a Thursday
    if not len(sessions):
        return weekday >= 5
    counts = np.bincount((sessions.astype("int64") + 3) % 7, minlength=7)
    rare = counts < 0.01 * len(sessions)
    resting: npt.NDArray[np.bool_] = rare[weekday]
    if resting.any():
        resting[resting] = ~np.isin(days[resting], sessions)
    return resting
