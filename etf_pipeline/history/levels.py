"""Level shifts: stretches of prices that are 10, 15 or 100 times too high or too low.

A plain "moves above 20 %" rule is wrong both ways: markets do fall that far, and a fund whose
split was never applied to its old rows hides behind one bar. What tells a fault is the factor
(far beyond any market move, or a recorded split, or one that is undone soon after) and that whole
bars move together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from etf_pipeline.history.jumps import as_a_split, moves_of
from etf_pipeline.history.peers import NOBODY, Peers, typical_move
from etf_pipeline.model.splits import possible_splits

Days = npt.NDArray[np.datetime64]
Shift = tuple[np.datetime64, str, str, str]
Split = tuple[np.datetime64, float, float]  # date, ratio, log of the ratio
Floats = npt.NDArray[np.float64]

_LARGE = np.log(1.8)  # worth looking at
_IMPOSSIBLE = np.log(5.0)  # no ETF's price does this in a session
_CLOSE = np.log(1.10)  # two factors this near are the same factor
_UNDONE_WITHIN = 30  # bars
_PENCE = 100.0
# A crash: the most volume of 20 bars either way, three times what was usual before it, twice after.
_AROUND = 20
_USUAL = 60
_NEWS = 5.0  # times the usual volume, on both days of a move that is undone
_BESIDE = 5  # sessions between a split's date and the jump of rows that lack it
_MORE_THAN_BEFORE, _MORE_THAN_AFTER = 3.0, 2.0
_UNITS = np.log(np.array([10.0, 100.0, 1000.0]))
_EXACT = np.log(1.02)


def level_shifts(
    close: Floats,
    splits: Floats,
    days: Days,
    volume: Floats | None = None,
    peers: Peers = NOBODY,
    paid: Floats | None = None,
) -> list[Shift]:
    """Rows on a price level that is not the history's own, and splits stored upside down.

    The history's own level is the one that most rows are on (the newest, in a tie).

    Args:
        close: closes, good or bad, shape (n,).
        splits: split ratios of the same sessions, 0 where there is none.
        days: their dates, ascending.
        volume: of the same sessions, NaN where it is not known.
        peers: what others did, for the evidence.
        paid: distributions of the same sessions, in the currency of the closes: what a price falls
            for them is no change of level.

    Returns:
        `(date, rule, severity, evidence)` tuples of the rules `level_shift`, `unit_change`,
        `inverted_split` and `large_move`.
    """
    usable = np.flatnonzero(np.isfinite(close) & (close > 0))
    if len(usable) < 2:
        return []
    jumps = moves_of(close[usable], None if paid is None else paid[usable])
    candidates = np.flatnonzero(np.abs(jumps) > _LARGE)
    if len(candidates) == 0:
        return []
    recorded: list[Split] = [
        (days[i], float(splits[i]), np.log(splits[i]))
        for i in np.flatnonzero(possible_splits(splits))
    ]
    traded = np.nan_to_num(volume[usable]) if volume is not None else np.zeros(len(usable))
    faulty: npt.NDArray[np.bool_] = np.array(
        [_is_fault(k, jumps, candidates, recorded, days[usable], traded) for k in candidates],
        np.bool_,
    )
    out: list[Shift] = [
        _large_move(usable[k : k + 2], days, close, traded[k + 1], peers)
        for k in candidates[~faulty]
    ]
    steps = np.zeros(len(usable))
    for k in candidates[faulty]:
        steps[k + 1] = _snapped(float(jumps[k]), recorded)
    levels: Floats = np.round(np.cumsum(steps), 6).astype("float64")
    own = _own_level(levels)
    for k in np.flatnonzero(_off(levels - own, recorded)):
        i = usable[k]
        factor = float(np.exp(levels[k] - own))
        unit = abs(abs(np.log(factor)) - np.log(_PENCE)) < _CLOSE
        rule = "unit_change" if unit else "level_shift"
        text = f"close {close[i]:g} is about {factor:.6g} times the level of the other rows"
        text += _split_note(factor, recorded)
        out.append((days[i], rule, "quarantined", text))
    return out + _inverted(levels - own, recorded)


def _off(away: Floats, recorded: list[Split]) -> npt.NDArray[np.bool_]:
    """Which rows are so far from the own level that a fault of the data explains it.

    What two faults next to each other leave of a market's move between them is no level.
    """
    off = np.abs(away) > _LARGE - _CLOSE
    for _, _, log_ratio in recorded:
        off |= (np.abs(away) > _CLOSE) & (np.abs(np.abs(away) - abs(log_ratio)) < _CLOSE)
    return np.asarray(off, dtype=np.bool_)


def _inverted(off: Floats, recorded: list[Split]) -> list[Shift]:
    """Splits whose inverse is how far rows are off their own level."""
    unapplied = np.unique(np.round(off[off != 0], 6))
    return [
        (
            date,
            "inverted_split",
            "flagged",
            f"split stored as {ratio:g}, yet rows it was not applied to are {1 / ratio:g} times "
            f"too high: the ratio is {1 / ratio:g}",
        )
        for date, ratio, log_ratio in recorded
        if np.any(np.abs(unapplied + log_ratio) < _CLOSE)
    ]


def _is_fault(
    k: np.intp,
    jumps: Floats,
    candidates: npt.NDArray[np.intp],
    recorded: list[Split],
    days: Days,
    traded: Floats,
) -> bool:
    """Whether a jump is a fault of the data: by size, by a recorded split, or because undone."""
    jump = jumps[k]
    if abs(jump) > _IMPOSSIBLE and not _may_be_real(k, jump, traded):
        return True
    for date, _, log_ratio in recorded:
        if abs(abs(jump) - abs(log_ratio)) < _CLOSE:
            # It is rows before it that a split may not have been applied to.
            ahead = int(np.searchsorted(days, date)) - (int(k) + 1)
            if abs(ahead) <= _BESIDE or (ahead > 0 and not _may_be_real(k, jump, traded)):
                return True
    near = candidates[(candidates != k) & (np.abs(candidates - k) <= _UNDONE_WITHIN)]
    undone = near[np.abs(jumps[near] + jump) < _CLOSE]
    return any(not (_heavy(k, traded) and _heavy(j, traded)) for j in undone)


def _heavy(k: np.intp, traded: Floats) -> bool:
    """Whether a jump was traded on many times the usual volume, as news is and faults are not."""
    before = traded[max(0, k + 1 - _USUAL) : k + 1]
    return bool(traded[k + 1] > 0 and traded[k + 1] >= _NEWS * np.median(before))


def _may_be_real(k: np.intp, jump: float, traded: Floats) -> bool:
    """Whether a fall or rise that is hardly possible was traded through, as a crash is.

    After a split that was not applied volume is higher too, but it stays so; the day does not
    stand out. A power of ten is a unit.
    """
    if np.min(np.abs(_UNITS - abs(jump))) < _EXACT:
        return False
    day = k + 1
    before, after = traded[max(0, day - _USUAL) : day], traded[day + 1 : day + 1 + _USUAL]
    near = np.r_[before[-_AROUND:], after[:_AROUND]]
    return bool(
        traded[day] > near.max(initial=0.0)
        and traded[day] >= _MORE_THAN_BEFORE * np.median(before)
        and (len(after) == 0 or traded[day] >= _MORE_THAN_AFTER * np.median(after))
    )


def _snapped(jump: float, recorded: list[Split]) -> float:
    """The jump without the market's own move in it: a power of ten, a split or a whole number."""
    size = abs(jump)
    rounded = float(np.round(np.exp(size)))
    known = [np.log(10.0), np.log(100.0), np.log(1000.0), *(abs(s[2]) for s in recorded)]
    whole = np.log(max(rounded, 1.0))
    for factor in (*known, whole):
        if abs(factor - size) < _CLOSE:
            return float(np.sign(jump) * factor)
    return jump


def _own_level(levels: Floats) -> float:
    values, counts = np.unique(levels, return_counts=True)
    best = values[counts == counts.max()]
    return float(levels[-1] if levels[-1] in best else best[0])


def _split_note(factor: float, recorded: list[Split]) -> str:
    for date, ratio, log_ratio in recorded:
        if abs(abs(np.log(factor)) - abs(log_ratio)) < _CLOSE:
            return f"; the split of {ratio:g} on {date} was not applied to it"
    return "; no split explains it"


def _large_move(
    pair: npt.NDArray[np.intp], days: Days, close: Floats, volume: float, peers: Peers
) -> Shift:
    i, j = pair
    text = (
        f"close {close[i]:g} on {days[i]}, then {close[j]:g}, volume {volume:.0f}: "
        f"{close[j] / close[i] - 1:+.1%} without a split, not undone: kept"
    )
    others = peers.moves(days[i], days[j])
    market = typical_move(others)
    if market is not None:
        text += f"; {len(others)} peers moved by {market:.1%} (median)"
    text += as_a_split(float(np.log(close[j] / close[i])))
    return (days[j], "large_move", "flagged", text)
