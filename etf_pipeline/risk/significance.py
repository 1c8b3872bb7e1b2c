"""How sure a Sharpe ratio is, and how much of it many trials would show by chance.

Throughout, x are excess returns of one period, shape (n,), and SR = mean(x)/std(x, ddof=1), of that
period; √A times it is that of a year, and so is its error.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from etf_pipeline.risk.returns import FLAT

Floats = npt.NDArray[np.float64]
_NORMAL = NormalDist()


def influence(x: Floats) -> Floats | None:
    """ψ_t = z_t − SR/2 · (z_t² − 1), shape (n,): what each return does to the Sharpe ratio.

    With z = (x − mean)/std. The error of SR is about Σψ/n, so that mean(ψ²)/n is its variance:
    (1 − γ₃ SR + (γ₄ − 1)/4 · SR²)/n with skewness and kurtosis (Lo, 2002, "The Statistics of Sharpe
    Ratios", for normal returns; Mertens, 2002, for others). None of fewer than three returns, and
    of such as do not vary.
    """
    if len(x) < 3 or float(np.ptp(x)) <= FLAT:
        return None
    z = (x - x.mean()) / x.std()
    ratio = float(x.mean() / x.std(ddof=1))
    return np.asarray(z - ratio / 2.0 * (z**2 - 1.0))


def standard_error(psi: Floats) -> float:
    """That of a statistic with influences ψ that sum to 0; n − 1 as in Bailey & López de Prado."""
    return math.sqrt(float(np.mean(psi**2)) / (len(psi) - 1))


def expected_maximum(variance: float, trials: int) -> float:
    """The greatest of `trials` independent Sharpe ratios of 0 with that variance, on average.

    √V · ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N·e)), with Euler's γ (Bailey & López de Prado, 2014,
    "The Deflated Sharpe Ratio", after Fisher & Tippett). 0 for one trial.
    """
    if trials < 2:
        return 0.0
    first = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    second = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * ((1.0 - np.euler_gamma) * first + np.euler_gamma * second)


def probability_above(ratio: float, error: float, threshold: float) -> float:
    """Φ((SR − SR₀)/error): how probable it is that the true ratio is above SR₀.

    The deflated Sharpe ratio where SR₀ is what trials show by chance; the probabilistic one of
    Bailey & López de Prado (2012) otherwise.
    """
    return _NORMAL.cdf((ratio - threshold) / error)
