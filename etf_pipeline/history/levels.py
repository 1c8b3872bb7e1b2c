"""Level shifts: stretches of prices that are 10, 15 or 100 times too high or too low.

A plain "moves above 20 %" rule is wrong both ways: markets do fall that far, and a fund whose
split was never applied to its old rows hides behind one bar. What tells a fault is the factor
(far beyond any market move, or a recorded split, or one that is undone soon after) and that whole
bars move together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Days = npt.NDArray[np.datetime64]
Shift = tuple[np.datetime64, str, str, str]
Split = tuple[np.datetime64, float, float]  # date, ratio, log of the ratio
Floats = npt.NDArray[np.float64]

_LARGE = np.log(1.8)  # worth looking at
_IMPOSSIBLE = np.log(5.0)  # no ETF's price does this in a session
_CLOSE = np.log(1.10)  # two factors this near are the same factor
_UNDONE_WITHIN = 30  # bars
_PENCE = 100.0


def level_shifts(close: Floats, splits: Floats, days: Days) -> list[Shift]:
    """Rows on a price level that is not the history's own, and splits stored upside down.

    The history's own level is the one that most rows are on (the newest, in a tie).

    Args:
        close: closes, good or bad, shape (n,).
        splits: split ratios of the same sessions, 0 where there is none.
        days: their dates, ascending.

    Returns:
        `(date, rule, severity, evidence)` tuples of the rules `level_shift`, `unit_change`,
        `inverted_split` and `large_move`.
    """
    usable = np.flatnonzero(np.isfinite(close) & (close > 0))
    if len(usable) < 2:
        return []
    jumps = np.diff(np.log(close[usable]))
    candidates = np.flatnonzero(np.abs(jumps) > _LARGE)
    if len(candidates) == 0:
        return []
    recorded = [
        (days[i], float(splits[i]), np.log(splits[i]))
        for i in np.flatnonzero(splits > 0)
        if splits[i] != 1
    ]
    faulty: npt.NDArray[np.bool_] = np.array(
        [_is_fault(k, jumps, candidates, recorded) for k in candidates], np.bool_
    )
    out: list[Shift] = [_large_move(usable, days, close, k) for k in candidates[~faulty]]
    steps = np.zeros(len(usable))
    for k in candidates[faulty]:
        steps[k + 1] = _snapped(float(jumps[k]), recorded)
    levels: Floats = np.round(np.cumsum(steps), 6).astype("float64")
    own = _own_level(levels)
    for k in np.flatnonzero(np.abs(levels - own) > _CLOSE):
        i = usable[k]
        factor = float(np.exp(levels[k] - own))
        unit = abs(abs(np.log(factor)) - np.log(_PENCE)) < _CLOSE
        rule = "unit_change" if unit else "level_shift"
        text = f"close {close[i]:g} is about {factor:.6g} times the level of the other rows"
        text += _split_note(factor, recorded)
        out.append((days[i], rule, "quarantined", text))
    for date, ratio, log_ratio in recorded:
        unapplied = np.unique(np.round(levels[levels != own] - own, 6))
        if np.any(np.abs(unapplied + log_ratio) < _CLOSE):
            text = (
                f"split stored as {ratio:g}, yet rows it was not applied to are {1 / ratio:g} "
                f"times too high: the ratio is {1 / ratio:g}"
            )
            out.append((date, "inverted_split", "flagged", text))
    return out


def _is_fault(
    k: np.intp,
    jumps: Floats,
    candidates: npt.NDArray[np.intp],
    recorded: list[Split],
) -> bool:
    """Whether a jump is a fault of the data: by size, by a recorded split, or because undone."""
    jump = jumps[k]
    if abs(jump) > _IMPOSSIBLE:
        return True
    if any(abs(abs(jump) - abs(log_ratio)) < _CLOSE for _, _, log_ratio in recorded):
        return True
    near = candidates[(candidates != k) & (np.abs(candidates - k) <= _UNDONE_WITHIN)]
    return bool(np.any(np.abs(jumps[near] + jump) < _CLOSE))


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


def _large_move(usable: npt.NDArray[np.intp], days: Days, close: Floats, k: np.intp) -> Shift:
    i, j = usable[k], usable[k + 1]
    text = f"close {close[i]:g} on {days[i]}, then {close[j]:g}; no split, not undone: kept"
    return (days[j], "large_move", "flagged", text)
