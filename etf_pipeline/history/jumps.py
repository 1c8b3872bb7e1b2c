"""Lasting moves unlike a ticker's others and its peers', as of a split that was not applied. Pure.

A 3-for-2 split leaves one return of −33 %, which in a fund with 12 % volatility is no market's. It
may be real all the same, so that it is kept: the flag and the metrics say so.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from etf_pipeline.history.peers import Peers, typical_move
from etf_pipeline.history.spikes import PEERS_SHARE, usual_scale

Days = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]

_SMALLEST, _SMALLEST_ALONE = np.log(1.08), np.log(1.15)
_DEVIATIONS, _DEVIATIONS_ALONE = 8.0, 12.0
_TOO_FEW = np.log(1.2)  # where too few other moves tell what is usual, and peers are quiet
_SESSIONS_A_DAY = 252 / 365.25
_SPLITS = sorted({Fraction(p, q) for p in range(1, 11) for q in range(1, 5)} - {Fraction(1)})
_NEAR = 0.03


def jumps(
    close: Floats, paid: Floats, days: Days, daily: bool, peers: Peers
) -> list[tuple[np.datetime64, str]]:
    """`(date, evidence)` of every move that is far outside the ticker's own and its peers'.

    Args:
        close: closes that may be used, all positive, shape (n,), currency per unit.
        paid: distributions of the same dates; what the price falls for them is no jump.
        days: ascending, shape (n,).
        daily: whether the bars are; a move over a gap is then that of all sessions in between.
        peers: what others did.
    """
    if len(close) < 3:
        return []
    moves = moves_of(close, paid)
    if not (np.abs(moves) > _SMALLEST).any():
        return []
    gaps = np.diff(days).astype("int64")
    sessions = np.maximum(1.0, gaps * _SESSIONS_A_DAY) if daily else np.ones(len(moves))
    out: list[tuple[np.datetime64, str]] = []
    for k in np.flatnonzero(np.abs(moves) > _SMALLEST).tolist():
        scale = usual_scale(moves, k)
        why = _evidence(float(moves[k]), scale, float(sessions[k]), days[k : k + 2], peers)
        if why is not None:
            text = f"close {close[k]:g} on {days[k]}, then {close[k + 1]:g}: {why}"
            out.append((days[k + 1], text + as_a_split(float(moves[k]), scale)))
    return out


def moves_of(close: Floats, paid: Floats | None) -> Floats:
    """Log moves of positive closes without what they fell for distributions, shape (n − 1,)."""
    moves = np.diff(np.log(close))
    if paid is None or not (paid > 0).any():
        return moves
    counted = np.where(np.isfinite(paid[1:]) & (paid[1:] > 0), paid[1:], 0.0)
    whole = np.log((close[1:] + counted) / close[:-1])
    return np.where(np.abs(whole) < np.abs(moves), whole, moves)


def _evidence(
    move: float, scale: float | None, sessions: float, days: Days, peers: Peers
) -> str | None:
    """Why a move is unlike all others, in words; None when it is not."""
    size = abs(move)
    deviations = None
    if scale is not None:
        deviations = size / (scale * np.sqrt(sessions)) if scale > 0 else np.inf
    if deviations is None and size < _TOO_FEW:
        return None
    if deviations is not None and deviations < _DEVIATIONS:
        return None  # before anything is asked of others
    others = peers.moves(days[0], days[1])
    market = typical_move(others)
    if market is None:
        if deviations is None or deviations < _DEVIATIONS_ALONE or size < _SMALLEST_ALONE:
            return None
    elif market > PEERS_SHARE * size:
        return None
    parts = [f"{np.expm1(move):+.1%} without a split, not undone: kept"]
    if deviations is not None:
        parts.append(f"{deviations:.0f} times its daily moves")
    if market is not None:
        parts.append(f"{len(others)} peers moved by {market:.1%} (median)")
    return "; ".join(parts)


def as_a_split(move: float, scale: float | None = None) -> str:
    """The small ratio that a move is near to, and how to declare it; empty when there is none."""
    near = min(_SPLITS, key=lambda ratio: abs(np.log(float(ratio)) + move))
    if abs(np.log(float(near)) + move) > min(_NEAR, 3 * (scale or _NEAR)):
        return ""
    ratio = f"{near.numerator}:{near.denominator}"
    return (
        f"; about a split of {ratio}: if it was one, declare stock_splits {float(near):.6g} for "
        "this day in the corrections"
    )
