"""Spikes: closes far from all others that are undone within three bars. Pure.

A large move alone is no fault, and neither is one that is undone: a geared fund falls by a quarter
on a day when shares fall, and rises as much three days on. What tells a fault is all of it
together: far outside the ticker's own moves and its peers' that day, undone, and nobody traded; or
still further outside, undone to a tenth, and traded as ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etf_pipeline.history.peers import Peers, typical_move

Days = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]

_SMALLEST = np.log(1.05)
_LARGEST = np.log(1.8)  # beyond it the rules on levels decide
_LONGEST = 3  # bars
_LEFT = 0.25  # of the move, when it counts as undone
_REFERENCE = 250  # bars before it say what is usual
_FEWEST = 20
_RECENT = 10
_NORMAL = 1.4826  # from the median of absolute deviations to a standard deviation
PEERS_SHARE = 1 / 8  # of the move: a market that moved so much may explain a geared fund's


@dataclass(frozen=True)
class _Limits:
    """What it takes: standard deviations of the own moves, most volume in terms of the usual.

    `left` is the most that may be left of the move, `size` the least that it may be.
    """

    deviations: float
    volume: float
    left: float = _LEFT
    size: float = _SMALLEST


_WITH_PEERS = _Limits(8.0, 0.20)
_ALONE = _Limits(15.0, 0.05)
_NO_VOLUME = _Limits(15.0, 0.0)  # where it is not known at all
_NO_VOLUME_ALONE = _Limits(20.0, 0.0)
# Traded as ever: real news of this size have many times the volume, and are not taken back.
_TRADED = _Limits(15.0, 5.0, left=0.1)
_TRADED_ALONE = _Limits(20.0, 3.0, left=0.1, size=np.log(1.15))


@dataclass(frozen=True)
class _Spike:
    """Rows `first` to `last` (inclusive), between a close before and a close after them."""

    first: int
    last: int
    move: float
    back: float
    left: float  # share of the move that is not undone


def spikes(
    close: Floats, volume: Floats, splits: Floats, days: Days, peers: Peers
) -> list[tuple[np.datetime64, str]]:
    """`(date, evidence)` of every row that is part of a spike.

    Args:
        close: closes, good or bad, shape (n,).
        volume: of the same sessions; NaN counts as none.
        splits: split ratios of the same sessions, 0 where there is none.
        days: their dates, ascending.
        peers: what others did.
    """
    usable = np.flatnonzero(np.isfinite(close) & (close > 0))
    if len(usable) <= _FEWEST:
        return []
    logs = np.log(close[usable])
    moves = np.diff(logs)
    size = np.abs(moves)
    if not ((size > _SMALLEST) & (size < _LARGEST)).any():
        return []
    traded = np.nan_to_num(volume[usable])
    out: list[tuple[np.datetime64, str]] = []
    for one in _candidates(logs, moves):
        rows = slice(one.first, one.last + 2)
        if np.any(splits[usable[rows]] != 0):
            continue
        why = _evidence(one, moves, traded, days[usable], peers)
        if why is not None:
            around = f"{close[usable[one.first - 1]]:g} and {close[usable[one.last + 1]]:g}"
            out += [
                (days[i], f"close {close[i]:g} between {around}: {why}")
                for i in usable[one.first : one.last + 1]
            ]
    return out


def _candidates(logs: Floats, moves: Floats) -> Iterator[_Spike]:
    """Moves that are undone within three bars, each from its beginning."""
    end = 0
    sharp = (np.abs(moves) > _SMALLEST) & (np.abs(moves) < _LARGEST)
    for k in np.flatnonzero(sharp).tolist():
        if k < end:
            continue
        for j in range(1, _LONGEST + 1):
            if k + j >= len(moves):
                break
            away = np.abs(logs[k + 1 : k + j + 1] - logs[k])
            left = abs(logs[k + j + 1] - logs[k]) / abs(moves[k])
            back = moves[k + j]
            against = abs(back) > _SMALLEST and back * moves[k] < 0
            if left <= _LEFT and against and np.all(away > abs(moves[k]) / 2):
                yield _Spike(k + 1, k + j, float(moves[k]), float(back), float(left))
                end = k + j + 1
                break


def _evidence(one: _Spike, moves: Floats, traded: Floats, days: Days, peers: Peers) -> str | None:
    """Why a candidate is a fault, in words; None when it may be real."""
    begin = max(0, one.first - 1 - _REFERENCE)
    if one.first - 1 - begin >= _FEWEST:
        usual, volumes = moves[begin : one.first - 1], traded[begin : one.first]
    else:  # near the beginning: what comes after it says what is usual
        until = one.last + 1 + 3 * _FEWEST
        usual = np.r_[moves[: one.first - 1], moves[one.last + 1 : until]]
        volumes = np.r_[traded[: one.first], traded[one.last + 1 : until]]
    scale = _scale(usual)
    if scale is None:
        return None
    deviations = min(abs(one.move), abs(one.back)) / scale if scale > 0 else np.inf
    usual_volume, most = float(np.median(volumes)), float(traded[one.first : one.last + 1].max())

    crisis = max(1.0, _recent_scale(moves, one.first - 1) / scale) if scale > 0 else 1.0

    def beyond(limits: _Limits) -> bool:
        return bool(
            deviations >= limits.deviations * (crisis if limits.volume > 1 else 1.0)
            and most <= limits.volume * usual_volume
            and one.left <= limits.left
            and abs(one.move) >= limits.size
        )

    if not (beyond(_WITH_PEERS) or beyond(_TRADED)):
        return None  # before anything is asked of others
    others = peers.moves(days[one.first - 1], days[one.first])
    market = typical_move(others)
    if market is not None and market > PEERS_SHARE * abs(one.move):
        return None
    limits = (_WITH_PEERS, _TRADED) if market is not None else (_ALONE, _TRADED_ALONE)
    if usual_volume == 0:
        limits = (_NO_VOLUME if market is not None else _NO_VOLUME_ALONE,) * 2
    if not any(map(beyond, limits)):
        return None
    text = (
        f"{one.move:+.1%} and {one.back:+.1%} (log) are {deviations:.0f} times its daily moves, "
        f"volume {most:.0f} where {usual_volume:.0f} is usual; "
    )
    if market is None:
        return (
            text + f"only {len(others)} peers to compare with, so its own scale and volume decide"
        )
    return text + f"{len(others)} peers moved by {market:.1%} that day (median)"


def usual_scale(moves: Floats, k: int) -> float | None:
    """What is usual beside move `k`: a standard deviation of those before it, or of those after."""
    before = moves[max(0, k - _REFERENCE) : k]
    if len(before) >= _FEWEST:
        usual = _scale(before)
        return None if usual is None else max(usual, _recent_scale(moves, k))
    return _scale(np.r_[before, moves[k + 1 : k + 1 + 3 * _FEWEST]])


def _recent_scale(moves: Floats, k: int) -> float:
    """The same of the few moves before `k`: in a crisis large moves come together."""
    recent = np.abs(moves[max(0, k - _RECENT) : k])
    return float(_NORMAL * np.median(recent)) if len(recent) else 0.0


def _scale(moves: Floats) -> float | None:
    """A standard deviation of daily moves that single faults do not widen; None of too few."""
    size = np.abs(moves)
    size = size[size < _LARGEST]
    if len(size) < _FEWEST:
        return None
    return float(max(_NORMAL * np.median(size), np.quantile(size, 0.95) / 2))
