"""The part of a covariance that each asset has for itself: a diagonal that leaves the rest whole.

Source: Frangioni & Gentile, "SDP diagonalizations and perspective cuts for a class of nonseparable
MIQP" (2007); Zheng, Sun & Li, "Improving the performance of MIQP solvers for quadratic programs
with cardinality and minimum threshold constraints" (2014).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio.functions import Floats

Places = npt.NDArray[np.intp]

_RIDGE = 1e-9  # of the mean variance: gives a singular covariance an inside
_INSIDE = 0.8  # of the way to the border
_SHARPER = 0.05
_ROUNDS = 4
_STEPS = 12
_CLOSE = 1.0  # Newton decrement at which the barrier is sharpened
_OFF = (1.0, 3.0, 30.0, 1e3, 1e5)  # ridges, in turn
_SAFE = 1e-14  # of the mean variance: what is left to rounding


def own_part(matrix: Floats, worth: Floats) -> Floats:
    """A diagonal d (N,), not negative, with matrix − diag(d) positive semidefinite.

    Near the one of greatest worth'd, by Newton's method on a logarithmic barrier; `worth` (N,) is
    not negative, and where it is 0 so is d. `matrix` (N, N) is positive semidefinite.
    """
    found = np.zeros(len(matrix))
    places = np.flatnonzero(worth > 0)
    scale = float(np.mean(np.diag(matrix)))
    if not len(places) or not scale > 0:
        return found
    scaled = matrix / scale
    d = _centred(scaled + _RIDGE * np.eye(len(matrix)), places, worth[places] / worth.max())
    if d is None:
        return found
    found[places] = d
    for off in _OFF:  # with the ridge, what it has let be too much is taken off again
        found = np.where(found > off * _RIDGE, np.maximum(found - off * _RIDGE, 0.0), 0.0)
        if float(np.linalg.eigvalsh(scaled - np.diag(found))[0]) >= -_SAFE:
            return np.where(found > _SAFE, found - _SAFE, 0.0) * scale
    return np.zeros(len(matrix))


def _centred(matrix: Floats, places: Places, worth: Floats) -> Floats | None:
    """Greatest worth'd + μ (log det(matrix − diag(d)) + Σ log d), μ falling; None for no inside."""
    least = float(np.linalg.eigvalsh(matrix)[0])
    if not least > 0:
        return None
    d = np.full(len(places), least / 2.0)
    weight = float(worth.mean())
    for _ in range(_ROUNDS):
        for _ in range(_STEPS):
            step, size = _newton(matrix, places, d, worth / weight)
            if step is None:
                return d
            d = d + step
            if size < _CLOSE:
                break
        weight *= _SHARPER
    return d


def _newton(
    matrix: Floats, places: Places, d: Floats, worth: Floats
) -> tuple[Floats | None, float]:
    """A step for μ = 1 that stays inside, and the squared Newton decrement before it.

    None where rounding leaves no inside.
    """
    rest = matrix.copy()
    rest[places, places] -= d
    try:
        root = np.linalg.inv(np.linalg.cholesky(rest))[:, places]
        inverse = root.T @ root
        slope = worth + 1.0 / d - np.diag(inverse)
        step = np.linalg.solve(inverse * inverse + np.diag(1.0 / (d * d)), slope)
        most = float(np.linalg.eigvalsh((root * step) @ root.T)[-1])
    except np.linalg.LinAlgError:
        return None, 0.0
    most = max(most, float((-step / d).max()))
    length = min(1.0, _INSIDE / most) if most > 0 else 1.0
    return length * step, float(slope @ step)
