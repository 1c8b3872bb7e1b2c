"""Distributions against the prices that they were paid from: shares, falls and noise. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Days = npt.NDArray[np.datetime64]
_AROUND = 60  # sessions on each side that tell the noise
_ENOUGH = 20
_FEWEST = 5  # tell it twice as wide
_UNKNOWN = 0.04  # where fewer tell, the noise of a lively fund
_WINSOR = 6.0
# Prices fall by less than the distribution where it is taxed, and by more where it carries credit.
_LEAST, _MOST = 0.5, 1.3
_LEAST_OF_LARGE = 0.7  # where it is not lost in the noise
LARGE = 0.03  # of the price
# What it mostly is: mean and standard deviation over the ex-dates of twenty Australian funds.
_USUAL, _SPREAD = 0.95, 0.2
_SEEN = 4.0
_ANOTHER = 3.0  # what it costs to say that the price fell for some smaller amount
_OTHERS, _MANY = 4, 12
_BEYOND, _FAR_BEYOND = 1.5, 3.0
_TENTH = 0.1  # of the price
_FROZEN = 5  # sessions


@dataclass(frozen=True)
class Payments:
    """Distributions that some price precedes and follows, by ex-date; each array of shape (e,).

    Attributes:
        row: in the ticker's rows.
        position: of the first usable price from the ex-date on.
        amount: currency per unit, positive.
        before: the last usable close before.
        move: return of the price on the ex-date, or on the first session on which it moved.
        noise: standard deviation of that return on other days; infinite where prices never move.
        theirs: the amount that the source took off its own adjusted close; NaN when it is silent.
        closes: every usable close, shape (m,).
    """

    row: npt.NDArray[np.intp]
    days: Days
    position: npt.NDArray[np.intp]
    amount: Floats
    before: Floats
    move: Floats
    noise: Floats
    theirs: Floats
    closes: Floats

    def doubt(self, k: int | np.intp) -> float:
        """How much likelier (natural logarithm) the move is without the amount than with it.

        Where the price fell, but by less than half of it, also than with a smaller amount.
        """
        move, share, noise = self.move[k], self.shares[k], self.noise[k]
        odds = _odds(move, share, noise)
        if self._fell_for_less(k):
            odds = max(odds, ((move + _LEAST * share) / noise) ** 2 / 2.0 - _ANOTHER)
        return float(odds)

    def suspicion(self, k: int | np.intp) -> float:
        """The same against the fall as it mostly is, which tells more and is less sure.

        The part φ of the amount that the price falls by is normal here, so that the move is as
        well, with mean −φ·share and the variance of both; `doubt` takes the φ that fits best.
        """
        move, share, noise = self.move[k], self.shares[k], self.noise[k]
        if not np.isfinite(noise):
            return 0.0
        variance = noise**2 + (_SPREAD * share) ** 2
        with_it = (move + _USUAL * share) ** 2 / variance + np.log(variance / noise**2)
        without = (move / noise) ** 2
        if self._fell_for_less(k):
            without = min(without, 2.0 * _ANOTHER)
        return float((with_it - without) / 2.0)

    @cached_property
    def suspicions(self) -> Floats:
        """`suspicion` of each, but for the last digits."""
        move, share, noise = self.move, self.shares, self.noise
        with np.errstate(all="ignore"):
            variance = noise**2 + (_SPREAD * share) ** 2
            with_it = (move + _USUAL * share) ** 2 / variance + np.log(variance / noise**2)
            without = (move / noise) ** 2
            less = (-_LEAST * share < move) & (move < 0.0)
            without = np.where(less, np.minimum(without, 2.0 * _ANOTHER), without)
            return np.where(np.isfinite(noise), (with_it - without) / 2.0, 0.0)

    def _fell_for_less(self, k: int | np.intp) -> bool:
        known = bool(np.isfinite(self.noise[k]))
        return known and bool(-_LEAST * self.shares[k] < self.move[k] < 0.0)

    def odds_of(self, k: int | np.intp, factor: float) -> float:
        """How much likelier (natural logarithm) the move is with the amount times a factor."""
        share, move = self.shares[k], self.move[k]
        return float(
            ((move + share) ** 2 - (move + factor * share) ** 2) / (2.0 * self.noise[k] ** 2)
        )

    def unseen(self) -> npt.NDArray[np.intp]:
        """Those that prices should have shown, and did not by half."""
        shown = self.shares > 2 * self.noise
        return np.flatnonzero(shown & (self.move > -_least(self.shares) * self.shares))

    def seen_nearby(self, k: int | np.intp) -> bool:
        """Whether the price fell for the amount within a few sessions: the ex-date is off."""
        share, at = self.shares[k], int(self.position[k])
        for first in range(max(1, at - 2), at + 3):
            for last in range(first, min(at + 5, len(self.closes))):
                move = self.closes[last] / self.closes[first - 1] - 1.0
                noise = self.noise[k] * np.sqrt(last - first + 1)
                if move <= -_least(share) * share and _odds(move, share, noise) < -_SEEN:
                    return True
        return False

    @cached_property
    def shares(self) -> Floats:
        """What each is of the close before it."""
        return self.amount / self.before

    @cached_property
    def scales(self) -> Floats:
        """For each, the median of what the others are of their prices; NaN when there are few."""
        n = len(self.shares)
        if n <= _OTHERS:
            return np.full(n, np.nan)
        order = np.argsort(self.shares, kind="stable")
        ordered, rank = self.shares[order], np.empty(n, np.intp)
        rank[order] = np.arange(n)
        low, high = (n - 2) // 2, (n - 1) // 2  # of the n − 1 others
        return np.asarray((ordered[low + (low >= rank)] + ordered[high + (high >= rank)]) / 2.0)

    def scale_since(self, row: int) -> float | None:
        """Median of what the distributions from a row on are of their prices, if there are some."""
        later = self.shares[self.row >= row]
        return float(np.median(later)) if len(later) >= _OTHERS else None

    def largest(self, k: int | np.intp) -> float:
        """The largest share among the others."""
        most, next_most = self._two_largest
        return next_most if self.shares[k] == most else most

    @cached_property
    def _two_largest(self) -> tuple[float, float]:
        most = np.sort(np.r_[self.shares, 0.0, 0.0])[-2:]
        return float(most[1]), float(most[0])

    def beyond(self, k: int | np.intp) -> bool:
        """Whether it is larger by far than every other.

        By more where others are few, or where the price cannot tell; where there are hardly any,
        a tenth of the price is large.
        """
        share, others = self.shares[k], len(self.shares) - 1
        if others < _OTHERS:
            return bool(share > max(_TENTH, _BEYOND * self.largest(k)))
        telling = (others >= _MANY or share > _TENTH) and share > 1.2 * self.noise[k]
        times = _BEYOND if telling else _FAR_BEYOND
        return bool(share > times * self.largest(k))

    def usual_gap(self) -> float | None:
        """Median number of sessions between distributions, without the shortest ones."""
        gaps = np.diff(self.position)
        gaps = gaps[gaps > 0]
        return float(np.median(gaps)) if len(gaps) >= _OTHERS else None


def payments_of(
    days: Days, close: Floats, total: Floats, clean: Mask, factors: Mapping[dt.date, float]
) -> Payments:
    """The distributions of a ticker against its usable prices.

    Args:
        days: dates of the rows, ascending, shape (n,).
        close: closes, shape (n,).
        total: what was paid on each, shape (n,).
        clean: which closes may be used, shape (n,).
        factors: by date, what the source multiplied earlier prices by.
    """
    closes, at = close[clean], np.flatnonzero(clean)
    rows = np.flatnonzero(np.isfinite(total) & (total > 0))
    position = np.searchsorted(at, rows)
    inside = (position > 0) & (position < len(closes))
    rows, position = rows[inside], position[inside]
    before = closes[position - 1]
    move, noise = _moves(closes, position)
    told = [factors.get(day) for day in days[rows].astype(object)]
    factor = np.array([np.nan if f is None else f for f in told], dtype="float64")
    amount = total[rows]
    theirs = before * (1.0 - factor)
    return Payments(rows, days[rows], position, amount, before, move, noise, theirs, closes)


def _moves(closes: Floats, position: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Returns on the ex-dates and their noise, from the sessions around that have none."""
    if len(position) == 0:
        return np.zeros(0), np.zeros(0)
    returns = closes[1:] / closes[:-1] - 1.0
    usual = float(np.median(np.abs(returns)))
    capped = np.clip(returns, -_WINSOR * 1.5 * usual, _WINSOR * 1.5 * usual) if usual else returns
    counts = np.ones(len(returns))
    counts[position - 1] = 0.0
    n, total, squares = (
        _around(counts * x, position) for x in (np.ones(len(returns)), np.abs(capped), capped**2)
    )
    some = np.maximum(n, 1.0)
    noise = np.maximum(1.2533 * total / some, np.sqrt(squares / some))
    told = np.where(noise > 0, np.maximum(noise, 1e-4), np.inf)
    told = np.where(n >= _ENOUGH, told, 2 * told)
    noise = np.where(n >= _FEWEST, told, np.maximum(noise, _UNKNOWN))
    move = returns[position - 1].copy()
    for k in np.flatnonzero(move == 0):  # nobody traded: the next price that moved shows it
        later = closes[position[k] : position[k] + _FROZEN] / closes[position[k] - 1] - 1.0
        moved = np.flatnonzero(later)
        if len(moved):
            move[k] = later[moved[0]]
            noise[k] *= np.sqrt(moved[0] + 1)
        elif len(later):
            noise[k] = noise[k] * np.sqrt(len(later))
    return move, noise


def _around(values: Floats, position: npt.NDArray[np.intp]) -> Floats:
    """Sums over the sessions around each position."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(position - 1 - _AROUND, 0)
    high = np.minimum(position + _AROUND, len(values))
    return np.asarray(sums[high] - sums[low])


def _least(share: Floats | float) -> Floats:
    """By how much of a distribution a price falls at least."""
    return np.where(np.asarray(share) > LARGE, _LEAST_OF_LARGE, _LEAST)


def _odds(move: float, share: float, noise: float) -> float:
    """Log-likelihood of no fall less that of one by the share, both normal with this noise."""
    if not np.isfinite(noise):
        return 0.0
    fall = float(np.clip(-move / share, _least(share), _MOST)) * share
    return float(((move + fall) ** 2 - move**2) / (2.0 * noise**2))
