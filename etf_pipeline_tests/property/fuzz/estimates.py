"""Means, covariances and scenarios of many shapes, the awkward ones too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from skfolio.datasets import load_sp500_dataset

from etf_pipeline_tests.property.fuzz.asked import Floats

Rng = np.random.Generator


@dataclass(frozen=True)
class Estimates:
    """Means (N,) and covariance (N, N) of a year, and scenarios (T, N) of a period."""

    means: Floats
    covariance: Floats
    scenarios: Floats


def _annual(returns: Floats) -> Estimates:
    covariance = np.atleast_2d(np.cov(returns, rowvar=False)) * 252
    return Estimates(returns.mean(0) * 252, (covariance + covariance.T) / 2, returns)


def _returns(rng: Rng, n: int, t: int | None = None) -> Floats:
    """One common factor, and volatilities that differ by up to thirty times."""
    t = int(rng.integers(n + 2, n + 120)) if t is None else t
    own = rng.normal(0.0003, 0.01, (t, n)) * rng.uniform(0.1, 3.0, n)
    return own + rng.normal(0.0, 0.008, (t, 1)) * rng.uniform(0.0, 1.5, n)


def plain(rng: Rng, n: int) -> Estimates:
    return _annual(_returns(rng, n))


def few(rng: Rng, n: int) -> Estimates:
    """No more returns than assets: a singular covariance."""
    return _annual(_returns(rng, n, int(rng.integers(2, max(n, 3)))))


def rank_one(rng: Rng, n: int) -> Estimates:
    """Every asset is a multiple of one, hedges among them."""
    exposure = np.round(rng.uniform(-1, 1, n), int(rng.integers(1, 6)))
    factor = rng.normal(0.0002, 0.01, 60)
    means = np.round(rng.uniform(-0.05, 0.15, n), 2)
    return Estimates(means, 0.01 * np.outer(exposure, exposure), np.outer(factor, exposure))


def duplicates(rng: Rng, n: int) -> Estimates:
    """Some assets are the same, with the same mean or with one a little better."""
    returns = _returns(rng, n)
    copies = rng.integers(0, n, n) if n > 1 else np.zeros(1, dtype=int)
    copies[: (n + 1) // 2] = np.arange((n + 1) // 2)
    made = _annual(returns[:, copies])
    nudge = 0.0 if rng.random() < 0.5 else 0.01 * rng.integers(0, 2, n)
    return Estimates(made.means + nudge, made.covariance, made.scenarios)


def tied(rng: Rng, n: int) -> Estimates:
    """Means that are equal, all or many."""
    made = plain(rng, n)
    means = np.full(n, 0.1) if rng.random() < 0.4 else np.round(made.means, 1)
    return Estimates(means, made.covariance, made.scenarios)


def almost_tied(rng: Rng, n: int) -> Estimates:
    """Means that are equal but for the last digit of the arithmetic, or the tenth."""
    made = plain(rng, n)
    apart = float(rng.choice([1e-16, 1e-12, 1e-10, 1e-8]))
    means = 0.1 * (1.0 + apart * rng.integers(0, 3, n))
    return Estimates(means, made.covariance, made.scenarios)


def correlated(rng: Rng, n: int) -> Estimates:
    """Correlations of exactly 1, and of −1 at times."""
    sign = rng.choice([1.0, -1.0], n) if rng.random() < 0.3 else np.ones(n)
    vols = sign * np.round(rng.uniform(0.05, 0.4, n), 2)
    factor = rng.normal(0.0, 1.0, 80) / 16
    means = np.round(rng.uniform(0.0, 0.2, n), 2)
    return Estimates(means, np.outer(vols, vols), np.outer(factor, vols))


def almost_singular(rng: Rng, n: int) -> Estimates:
    """Two assets that differ by a ten-millionth."""
    returns = _returns(rng, n)
    if n > 1:
        returns[:, 1] = returns[:, 0] + 10.0 ** rng.integers(-9, -5) * rng.normal(size=len(returns))
    return _annual(returns)


def with_cash(rng: Rng, n: int) -> Estimates:
    """One asset hardly varies, or not at all, beside others that do."""
    returns = _returns(rng, n)
    wobble = 0.0 if rng.random() < 0.3 else 10.0 ** rng.integers(-7, -3)
    returns[:, 0] = 0.0001 + wobble * rng.normal(size=len(returns))
    return _annual(returns)


def cash_funds(rng: Rng, n: int) -> Estimates:
    """Daily returns of 1e-4 that hardly vary: every loss is negative, or nearly so."""
    t = int(rng.integers(n + 2, n + 120))
    level = rng.uniform(0.5e-4, 2e-4, n)
    return _annual(level + rng.normal(0.0, 1.0, (t, n)) * rng.uniform(0.5e-5, 1e-4, n))


def daily(rng: Rng, n: int) -> Estimates:
    """Means and covariance of a day, not of a year."""
    made = plain(rng, n)
    return Estimates(made.means / 252, made.covariance / 252, made.scenarios)


def all_lose(rng: Rng, n: int) -> Estimates:
    """Every mean is negative."""
    made = plain(rng, n)
    return Estimates(-np.abs(made.means) - 0.01, made.covariance, made.scenarios)


@functools.cache
def _shares() -> Floats:
    """Daily returns of the twenty US shares since 1990 that skfolio ships."""
    return load_sp500_dataset().pct_change().iloc[1:].to_numpy()


def shares(rng: Rng, n: int) -> Estimates:
    """Real returns, of up to twenty shares and five years."""
    returns, n = _shares(), min(n, 20)
    t = int(rng.integers(n + 2, 1260))
    first = int(rng.integers(0, len(returns) - t))
    return _annual(returns[first : first + t, rng.choice(20, n, replace=False)])


SHAPES: dict[str, Callable[[Rng, int], Estimates]] = {
    "plain": plain,
    "few returns": few,
    "rank one": rank_one,
    "duplicates": duplicates,
    "tied": tied,
    "almost tied": almost_tied,
    "correlation one": correlated,
    "almost singular": almost_singular,
    "with cash": with_cash,
    "cash funds": cash_funds,
    "daily": daily,
    "all lose": all_lose,
    "shares": shares,
}
