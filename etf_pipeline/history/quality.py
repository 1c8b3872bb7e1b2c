"""Quality rules: pure functions from rows to findings, each with its evidence.

A rule either removes a row from the history (`quarantined`), marks it (`flagged`), records that
it is absent (`missing`), or keeps an event that has no price yet (`pending`). Nothing is repaired.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.history.levels import level_shifts
from etf_pipeline.history.spacing import bar_spacing
from etf_pipeline.store.batches import EVENT_COLUMNS

QUARANTINED, FLAGGED, MISSING, PENDING = "quarantined", "flagged", "missing", "pending"
_STALE_RUN = 5
_RANGE_TOLERANCE = 1e-5
Mask = npt.NDArray[np.bool_]
Days = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class Finding:
    """One rule's finding on one date."""

    date: np.datetime64
    rule: str
    severity: str
    evidence: str


def assess(rows: pd.DataFrame, sessions: Days) -> list[Finding]:
    """Every finding on one ticker's rows.

    Deterministic in its inputs: the clock and earlier findings play no part.

    Args:
        rows: indexed by ascending date, columns of `store.batches.VALUE_COLUMNS`.
        sessions: the exchange's sessions, ascending.

    Returns:
        Findings by date, then rule.
    """
    days = rows.index.to_numpy().astype("datetime64[D]")
    priced = rows["close"].notna().to_numpy()
    found = _pending_events(rows, days, priced)
    bars = rows[priced]
    bar_days = days[priced]
    if len(bars):
        for rule in (_impossible_prices, _zero_open, _close_out_of_range, _stale_runs):
            found += rule(bars, bar_days)
        found += _off_calendar(bars, bar_days, sessions)
        found += [Finding(*shift) for shift in level_shifts(bars, bar_days)]
    return sorted(set(found), key=lambda f: (f.date, f.rule))


def quarantined_dates(findings: list[Finding]) -> Days:
    """Dates whose row is not part of the history."""
    dates = {f.date for f in findings if f.severity in (QUARANTINED, PENDING)}
    return np.array(sorted(dates), dtype="datetime64[D]")


def _pending_events(rows: pd.DataFrame, days: Days, priced: Mask) -> list[Finding]:
    out = []
    for i in np.flatnonzero(~priced):
        events = {c: rows[c].iloc[i] for c in EVENT_COLUMNS if rows[c].iloc[i] != 0}
        text = ", ".join(f"{name} {amount:g}" for name, amount in events.items())
        out.append(Finding(days[i], "event_without_price", PENDING, text))
    return out


def _impossible_prices(bars: pd.DataFrame, days: Days) -> list[Finding]:
    close, high, low = (bars[c].to_numpy() for c in ("close", "high", "low"))
    bad_close = ~(np.isfinite(close) & (close > 0))
    crossed = high < low * (1 - _RANGE_TOLERANCE)
    return [
        Finding(days[i], "impossible_price", QUARANTINED, f"close {close[i]:g}")
        for i in np.flatnonzero(bad_close)
    ] + [
        Finding(days[i], "high_below_low", QUARANTINED, f"high {high[i]:g}, low {low[i]:g}")
        for i in np.flatnonzero(crossed)
    ]


def _zero_open(bars: pd.DataFrame, days: Days) -> list[Finding]:
    opens, volume = bars["open"].to_numpy(), bars["volume"].to_numpy()
    return [
        Finding(days[i], "zero_open", QUARANTINED, f"open {opens[i]:g}, volume {volume[i]:.0f}")
        for i in np.flatnonzero(opens <= 0)
    ]


def _close_out_of_range(bars: pd.DataFrame, days: Days) -> list[Finding]:
    close, high, low = (bars[c].to_numpy() for c in ("close", "high", "low"))
    outside = (close > high * (1 + _RANGE_TOLERANCE)) | (close < low * (1 - _RANGE_TOLERANCE))
    return [
        Finding(
            days[i],
            "close_out_of_range",
            QUARANTINED,
            f"close {close[i]:g} outside [{low[i]:g}, {high[i]:g}]",
        )
        for i in np.flatnonzero(outside)
    ]


def _stale_runs(bars: pd.DataFrame, days: Days) -> list[Finding]:
    """Runs of equal closes. A flag only: a cash fund is rightly flat for weeks."""
    close, volume = bars["close"].to_numpy(), np.nan_to_num(bars["volume"].to_numpy())
    starts = np.flatnonzero(np.r_[True, close[1:] != close[:-1]])
    ends = np.r_[starts[1:], len(close)]
    out = []
    for start, end in zip(starts, ends, strict=True):
        if end - start >= _STALE_RUN:
            text = (
                f"close {close[start]:g} on {end - start} sessions to {days[end - 1]}, "
                f"volume {volume[start:end].sum():.0f}"
            )
            out.append(Finding(days[start], "stale_run", FLAGGED, text))
    return out


def _off_calendar(bars: pd.DataFrame, days: Days, sessions: Days) -> list[Finding]:
    """Bars on days without a session, and sessions without a bar."""
    if len(sessions) == 0 or bar_spacing(days) not in (None, "daily"):
        return []
    covered = (days >= sessions[0]) & (days <= sessions[-1])
    odd = covered & ~np.isin(days, sessions)
    volume = np.nan_to_num(bars["volume"].to_numpy())
    out = []
    for i in np.flatnonzero(odd):
        if volume[i] == 0:
            text = f"no session on this day; volume 0, close {bars['close'].iloc[i]:g}"
            out.append(Finding(days[i], "holiday_bar", QUARANTINED, text))
        else:
            # Somebody traded: the calendar may be the one that is wrong.
            text = f"no session on this day, yet volume {volume[i]:.0f}"
            out.append(Finding(days[i], "unscheduled_session", FLAGGED, text))
    expected = sessions[(sessions >= days[0]) & (sessions <= days[-1])]
    for day in np.setdiff1d(expected, days, assume_unique=True):
        out.append(Finding(day, "missing_session", MISSING, "a session without a bar"))
    return out
