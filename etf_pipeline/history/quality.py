"""Quality rules: pure functions from rows to findings, each with its evidence.

A rule either removes a row from the history (`quarantined`), marks it (`flagged`), records that
it is absent (`missing`), or keeps an event that has no price yet (`pending`). Nothing is repaired.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.history.basis import Basis
from etf_pipeline.history.jumps import jumps
from etf_pipeline.history.levels import level_shifts
from etf_pipeline.history.spikes import spikes
from etf_pipeline.model.rows import values_of
from etf_pipeline.model.schemas import EVENT_COLUMNS, VALUE_COLUMNS
from etf_pipeline.model.spacing import bar_spacing
from etf_pipeline.model.splits import possible_splits
from etf_pipeline.model.windows import LONG_GAP

QUARANTINED, FLAGGED, MISSING, PENDING = "quarantined", "flagged", "missing", "pending"
WITHHELD = "withheld"  # a distribution is left out; the price stays
LARGE_MOVE = "large_move"
_STALE_RUN = 5
_RANGE_TOLERANCE = 1e-5
_LOWEST, _HIGHEST = 1e-9, 1e12  # no price of a unit, in any currency, is beyond these
_OPEN_TOLERANCE = 0.05
_LONGEST_REST = 10  # weekdays in a row that a market may rest: China's Golden Week, with a margin
Mask = npt.NDArray[np.bool_]
Days = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """One rule's finding on one date, with the numbers behind it in words."""

    date: np.datetime64
    rule: str
    severity: str
    evidence: str


@dataclass(frozen=True)
class _Bars:
    """Priced rows as arrays."""

    days: Days
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    stock_splits: Floats


def assess(rows: pd.DataFrame, basis: Basis) -> list[Finding]:
    """Every finding on one ticker's rows.

    Deterministic in its inputs: the clock and earlier findings play no part.

    Args:
        rows: indexed by ascending date, as `model.rows` has them.
        basis: what they are judged by.

    Returns:
        Findings by date, then rule.
    """
    days = rows.index.to_numpy().astype("datetime64[D]")
    columns = dict(zip(VALUE_COLUMNS, values_of(rows).T.copy(), strict=True))
    priced = ~np.isnan(columns["close"])
    found = _pending_events(columns, days, priced) + _impossible_splits(columns, days)
    if priced.any():
        names = ("open", "high", "low", "close", "volume", "stock_splits")
        bars = _Bars(days[priced], *(columns[n][priced] for n in names))
        found += _impossible_prices(bars)
        bars = _sane(bars)
        for rule in (
            _zero_open,
            _close_out_of_range,
            _bad_bars,
            _stale_runs,
        ):
            found += rule(bars)
        found += _long_gaps(bars)
        found += _off_calendar(bars, basis)
        paid = (columns["dividends"] + columns["capital_gains"])[priced]
        shifts = level_shifts(
            bars.close, bars.stock_splits, bars.days, bars.volume, basis.peers, paid
        )
        found += [Finding(*shift) for shift in shifts]
        found += _spikes(bars, basis)
        found += _jumps(bars, paid, basis, found)
    return sorted(set(found), key=lambda f: (f.date, f.rule))


def quarantined_dates(findings: list[Finding]) -> Days:
    """Dates whose row is not part of the history, ascending and once each."""
    dates = {f.date for f in findings if f.severity in (QUARANTINED, PENDING)}
    return np.array(sorted(dates), dtype="datetime64[D]")


def large_moves(findings: list[Finding]) -> tuple[dt.date, ...]:
    """Dates of lasting moves that may be no market's."""
    days = {f.date for f in findings if f.rule == LARGE_MOVE and f.severity == FLAGGED}
    return tuple(sorted(day.astype(object) for day in days))


def _pending_events(columns: dict[str, Floats], days: Days, priced: Mask) -> list[Finding]:
    out = []
    for i in np.flatnonzero(~priced):
        events = {c: columns[c][i] for c in EVENT_COLUMNS if columns[c][i] != 0}
        text = ", ".join(f"{name} {amount:g}" for name, amount in events.items())
        out.append(Finding(days[i], "event_without_price", PENDING, text))
    return out


def _impossible_prices(bars: _Bars) -> list[Finding]:
    bad_close = ~((bars.close >= _LOWEST) & (bars.close <= _HIGHEST))
    crossed = bars.high < bars.low * (1 - _RANGE_TOLERANCE)
    return [
        Finding(bars.days[i], "impossible_price", QUARANTINED, f"close {bars.close[i]:g}")
        for i in np.flatnonzero(bad_close)
    ] + [
        Finding(
            bars.days[i],
            "high_below_low",
            QUARANTINED,
            f"high {bars.high[i]:g}, low {bars.low[i]:g}",
        )
        for i in np.flatnonzero(crossed)
    ]


def _sane(bars: _Bars) -> _Bars:
    """The same with 0 or infinity for prices that none can be, so that no rule reckons on them."""
    rest = {n: getattr(bars, n) for n in ("open", "high", "low")}
    return replace(
        bars,
        close=np.where(
            bars.close > _HIGHEST, np.inf, np.where(bars.close < _LOWEST, 0, bars.close)
        ),
        **{name: np.where(prices > _HIGHEST, np.inf, prices) for name, prices in rest.items()},
    )


def _zero_open(bars: _Bars) -> list[Finding]:
    return [
        Finding(
            bars.days[i],
            "zero_open",
            QUARANTINED,
            f"open {bars.open[i]:g}, volume {bars.volume[i]:.0f}",
        )
        for i in np.flatnonzero(bars.open <= 0)
    ]


def _close_out_of_range(bars: _Bars) -> list[Finding]:
    above = bars.close > bars.high * (1 + _RANGE_TOLERANCE)
    below = bars.close < bars.low * (1 - _RANGE_TOLERANCE)
    return [
        Finding(
            bars.days[i],
            "close_out_of_range",
            QUARANTINED,
            f"close {bars.close[i]:g} outside [{bars.low[i]:g}, {bars.high[i]:g}]",
        )
        for i in np.flatnonzero(above | below)
    ]


def _bad_bars(bars: _Bars) -> list[Finding]:
    """Bars whose other prices or volume are wrong; the close may be right, and is kept."""
    out = []
    rest = {"open": bars.open, "high": bars.high, "low": bars.low}
    # An open of 0 has a rule of its own; what is not known is not wrong.
    wrong = np.isinf(bars.open) | np.isinf(bars.high) | np.isinf(bars.low)
    wrong |= (bars.high <= 0) | (bars.low <= 0)
    for i in np.flatnonzero(wrong):
        text = ", ".join(f"{name} {values[i]:g}" for name, values in rest.items())
        out.append(Finding(bars.days[i], "impossible_bar", FLAGGED, text))
    over = bars.open > bars.high * (1 + _OPEN_TOLERANCE)
    under = (bars.open > 0) & (bars.open < bars.low * (1 - _OPEN_TOLERANCE))
    for i in np.flatnonzero((over | under) & ~wrong):
        text = f"open {bars.open[i]:g} far outside [{bars.low[i]:g}, {bars.high[i]:g}]"
        out.append(Finding(bars.days[i], "open_out_of_range", FLAGGED, text))
    for i in np.flatnonzero((bars.volume < 0) | np.isinf(bars.volume)):
        text = f"volume {bars.volume[i]:g}"
        out.append(Finding(bars.days[i], "impossible_volume", FLAGGED, text))
    return out


def _impossible_splits(columns: dict[str, Floats], days: Days) -> list[Finding]:
    """Ratios that no split has; they explain nothing, and no price is adjusted for them."""
    ratios = columns["stock_splits"]
    bad = (ratios != 0) & (ratios != 1) & ~np.isnan(ratios) & ~possible_splits(ratios)
    return [
        Finding(days[i], "impossible_split", FLAGGED, f"split of {ratios[i]:g}")
        for i in np.flatnonzero(bad)
    ]


def _stale_runs(bars: _Bars) -> list[Finding]:
    """Runs of equal closes. A flag only: a cash fund is rightly flat for weeks."""
    close = bars.close
    starts = np.flatnonzero(np.r_[True, close[1:] != close[:-1]])
    ends = np.r_[starts[1:], len(close)]
    long = ends - starts >= _STALE_RUN
    out = []
    for start, end in zip(starts[long], ends[long], strict=True):
        volume = np.nan_to_num(bars.volume[start:end]).sum()
        text = (
            f"close {close[start]:g} on {end - start} sessions to {bars.days[end - 1]}, "
            f"volume {volume:.0f}"
        )
        out.append(Finding(bars.days[start], "stale_run", FLAGGED, text))
    return out


def _spikes(bars: _Bars, basis: Basis) -> list[Finding]:
    if bar_spacing(bars.days) not in (None, "daily"):
        return []
    found = spikes(bars.close, bars.volume, bars.stock_splits, bars.days, basis.peers)
    return [Finding(day, "spike", QUARANTINED, evidence) for day, evidence in found]


def _jumps(bars: _Bars, paid: Floats, basis: Basis, found: list[Finding]) -> list[Finding]:
    """Lasting moves between rows that stay, which no other rule has named."""
    with np.errstate(invalid="ignore"):
        left = np.isfinite(bars.close) & (bars.close > 0)
    left &= ~np.isin(bars.days, quarantined_dates(found))
    named = {f.date for f in found if f.rule == LARGE_MOVE}
    days = bars.days[left]
    daily = bar_spacing(days) in (None, "daily")
    moves = jumps(bars.close[left], paid[left], days, daily, basis.peers)
    return [Finding(day, LARGE_MOVE, FLAGGED, text) for day, text in moves if day not in named]


def _long_gaps(bars: _Bars) -> list[Finding]:
    """Daily closes that follow the last one after a month and more: their move is not a day's."""
    gaps = np.diff(bars.days)
    after = np.flatnonzero(gaps > np.timedelta64(LONG_GAP, "D")) + 1
    if len(after) == 0 or bar_spacing(bars.days) not in (None, "daily"):
        return []
    return [
        Finding(
            bars.days[i],
            "long_gap",
            FLAGGED,
            f"no bar for {gaps[i - 1].astype('int64')} days: close {bars.close[i - 1]:g} on "
            f"{bars.days[i - 1]}, then {bars.close[i]:g}",
        )
        for i in after
    ]


def _off_calendar(bars: _Bars, basis: Basis) -> list[Finding]:
    """Bars on days without a session, and sessions without a bar."""
    days, sessions = bars.days, basis.sessions
    if len(sessions) == 0 or bar_spacing(days) not in (None, "daily"):
        return []
    first, last = np.searchsorted(sessions, (days[0], days[-1] + np.timedelta64(1, "D")))
    expected = sessions[first:last]
    if len(expected) == len(days) and np.array_equal(expected, days):
        return []
    covered = (days >= sessions[0]) & (days <= sessions[-1])
    out = []
    scheduled = _among(days, sessions)
    for i in np.flatnonzero(covered & ~scheduled).tolist():
        volume = np.nan_to_num(bars.volume[i])
        filled = _filled(bars, scheduled, i)
        if filled is not None:
            out.append(Finding(days[i], "holiday_bar", QUARANTINED, filled))
        elif volume == 0 and basis.rests_otherwise:
            text = f"no session on this day; volume 0, close {bars.close[i]:g}"
            out.append(Finding(days[i], "holiday_bar", QUARANTINED, text))
        else:
            # Somebody traded: the calendar may be the one that is wrong.
            text = f"no session on this day, yet volume {volume:.0f}"
            out.append(Finding(days[i], "unscheduled_session", FLAGGED, text))
    absent = ~_among(expected, days)
    # A day on which nobody traded says something of the calendar, not of this ticker.
    for i in np.flatnonzero(absent).tolist():
        absent[i] = not basis.peers.closed(expected[i])
    if not basis.holidays_known:
        absent &= _run_lengths(absent) > _LONGEST_REST
    for day in expected[absent]:
        out.append(Finding(day, "missing_session", MISSING, "a session without a bar"))
    return out


def _filled(bars: _Bars, scheduled: Mask, i: int) -> str | None:
    """Whether a bar without a session is made of those around it, volume included; in words."""
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    bar = np.array([c[i] for c in columns])
    if not np.all(np.isfinite(bar)) or (bar[4] == 0 and bar[1] == bar[2]):
        return None  # a flat one without volume repeats nothing
    before, after = np.flatnonzero(scheduled[:i]), np.flatnonzero(scheduled[i + 1 :])
    if len(before) == 0:
        return None
    p, day = before[-1], bars.days[before[-1]]
    first = np.array([c[p] for c in columns])
    if np.allclose(bar, first, rtol=1e-9, atol=0.0):
        return f"no session on this day; it repeats the bar of {day}, volume {bar[4]:.0f} included"
    if len(after) == 0:
        return None
    n: int = i + 1 + int(after[0])
    last = np.array([c[n] for c in columns])
    between = first + (last - first) * (i - p) / (n - p)
    # A volume may have been rounded to a whole number.
    near = np.allclose(bar[:4], between[:4], rtol=1e-6, atol=0.0) and abs(bar[4] - between[4]) <= 1
    if near and bar[4] != 0:
        return (
            f"no session on this day; it lies on the line from the bar of {day} to that of "
            f"{bars.days[n]}, volume {bar[4]:.0f} included"
        )
    return None


def _run_lengths(mask: Mask) -> npt.NDArray[np.intp]:
    """How long the run of equal values is that each one is part of."""
    starts = np.flatnonzero(np.r_[True, mask[1:] != mask[:-1]])
    lengths = np.diff(np.r_[starts, len(mask)])
    return np.repeat(lengths, lengths)


def _among(days: Days, ordered: Days) -> Mask:
    """Which `days` are in `ordered` (ascending)."""
    positions = np.minimum(np.searchsorted(ordered, days), len(ordered) - 1)
    return np.asarray(ordered[positions] == days, dtype=np.bool_)
