"""An account that is rebalanced: units and cash on every session, exactly. Arrays in and out.

At every session wealth = Σ units · price + cash. A trade costs Σ rate · |bought or sold| and is
paid out of the account, so what is bought is a little less than what there was: the account
finances itself (Davis & Norman, 1990, "Portfolio Selection with Transaction Costs").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# (position of the decision's session, weights (N,) held then; None before the first purchase)
# -> weights (N,) wanted, the rest of 1 in cash; None to keep what is held.
Decide = Callable[[int, Floats | None], Floats | None]
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Trade:
    """One trade, at the close of the session at position `at`.

    `decided` is the position of its decision, which asked for `wanted` (N,). `weights` (N,) are
    fractions of the wealth after costs; `turnover` is Σ|w − held|/2, `cost` a fraction of the
    wealth before. `untraded` are assets that were wanted and had no price any more; their part
    stays in cash.
    """

    decided: int
    at: int
    weights: Floats
    turnover: float
    cost: float
    wanted: Floats
    untraded: tuple[int, ...] = ()


@dataclass(frozen=True)
class Exit:
    """What was held of an asset whose prices ended, paid into cash on the session at `at`."""

    at: int
    asset: int
    amount: float


@dataclass(frozen=True)
class Course:
    """What became of 1 in cash, from the session of the first trade (position `first`) on.

    Shapes, with S sessions: `wealth` (S,), `cash` (S,) as an amount, `units` (S, N). `within` are
    the positions of decisions that the band let pass.
    """

    first: int
    wealth: Floats
    cash: Floats
    units: Floats
    trades: tuple[Trade, ...]
    exits: tuple[Exit, ...] = ()
    within: tuple[int, ...] = ()


def rebalanced(
    prices: Floats,
    decisions: npt.NDArray[np.intp],
    decide: Decide,
    rates: Floats,
    *,
    band: float | None = None,
    cash_index: Floats | None = None,
    final: Floats | None = None,
) -> Course | None:
    """Decide at each session of `decisions`, trade at the close of the next, drift in between.

    Args:
        prices: shape (T, N), positive; NaN before an asset is listed and after it has gone, and
            nowhere else.
        decisions: ascending positions, the last before T − 1.
        decide: is called with positions and weights alone; whatever else it knows must be of that
            session or before.
        rates: cost of buying or selling an amount of 1 of each asset, shape (N,), below 1.
        band: trade only when some weight, or that of cash, is further than this from what is
            wanted, as of the decision, by more than rounding; None trades always. The first
            purchase is always made.
        cash_index: value of a unit of cash, shape (T,), positive; cash earns nothing by default.
        final: what a unit is paid out at when its prices end, shape (N,); by default the last
            price in `prices`. Nothing is charged for that.

    Returns:
        None when no decision gave weights.
    """
    account: _Account | None = None
    trades: list[Trade] = []
    within: list[int] = []
    for at in (int(d) for d in decisions):
        held = None
        if account is not None:
            account.advance(at)
            held = account.weights(at)
        wanted = decide(at, held)
        if wanted is None:
            continue
        if held is not None and band is not None and _drift(wanted, held) <= band + _ROUNDING:
            within.append(at)
            continue
        if account is None:
            account = _Account.opened(prices, at + 1, cash_index, final)
        account.advance(at + 1)
        trades.append(account.trade(at, wanted, rates))
    if account is None:
        return None
    account.advance(len(prices) - 1)
    first = trades[0].at
    return Course(
        first,
        account.worth[first:],
        account.money[first:],
        account.held[first:],
        tuple(trades),
        tuple(account.exits),
        tuple(within),
    )


def after_costs(wanted: Floats, held: Floats, rates: Floats) -> float:
    """The part x of wealth that is left after trading from `held` to `wanted`.

    The root of x + Σ rate·|wanted·x − held| = 1, whose left side is convex, piecewise linear and
    rising: Newton's method from 1 down ends at it after as many steps as there are kinks, at most.

    Args:
        wanted: fractions of the wealth after, shape (N,).
        held: fractions of the wealth before, shape (N,).
        rates: shape (N,), each at least 0 and below 1.
    """
    x = 1.0
    for _ in range(len(wanted) + 2):
        moved = wanted * x - held
        over = x + float(rates @ np.abs(moved)) - 1.0
        if over <= 0.0:
            break
        x -= over / (1.0 + float((rates * wanted) @ np.sign(moved)))
    return x


def _drift(wanted: Floats, held: Floats) -> float:
    """The furthest that any weight is from what is wanted, that of cash too."""
    return max(float(np.abs(wanted - held).max()), abs(float(wanted.sum() - held.sum())))


@dataclass
class _Account:
    """Units and cash, written down session by session up to `now`."""

    prices: Floats
    index: Floats
    final: Floats
    ends: npt.NDArray[np.intp]  # position of the first session without a price, by asset
    now: int
    units: Floats
    worth: Floats
    money: Floats
    held: Floats
    exits: list[Exit] = field(default_factory=list)

    @classmethod
    def opened(
        cls, prices: Floats, at: int, index: Floats | None, final: Floats | None
    ) -> _Account:
        """One with 1 in cash on the session at `at`."""
        rows, assets = prices.shape
        there = np.isfinite(prices)
        ends = np.where(there.any(axis=0), rows - np.argmax(there[::-1], axis=0), 0)
        if final is None:
            final = prices[np.maximum(ends - 1, 0), np.arange(assets)]
        new = cls(
            prices,
            np.ones(rows) if index is None else index,
            final,
            ends,
            at,
            np.zeros(assets),
            np.full(rows, np.nan),
            np.full(rows, np.nan),
            np.zeros((rows, assets)),
        )
        new._write(at, at + 1, 1.0 / new.index[at])
        return new

    def advance(self, to: int) -> None:
        """Go on to a session, paying out on the way what has gone."""
        while self.now < to:
            owned = np.flatnonzero(self.units)
            gone = int(self.ends[owned].min()) if len(owned) else len(self.prices)
            cash, start = self.money[self.now] / self.index[self.now], self.now + 1
            if gone > to:
                self._write(start, to + 1, cash)
                return
            self._write(start, gone, cash)
            left = owned[self.ends[owned] == gone]
            amounts = self.units[left] * self.final[left]
            self.exits += [Exit(gone, int(i), float(a)) for i, a in zip(left, amounts, strict=True)]
            self.units = self.units.copy()
            self.units[left] = 0.0
            self._write(gone, gone + 1, cash + float(amounts.sum()) / self.index[gone])

    def weights(self, at: int) -> Floats:
        """What each asset is of the wealth, shape (N,)."""
        return self._amounts(at) / self.worth[at]

    def trade(self, decided: int, wanted: Floats, rates: Floats) -> Trade:
        """Go to the weights wanted, as far as there are prices now, and pay for it."""
        at = self.now
        priced = np.isfinite(self.prices[at])
        untraded = np.flatnonzero(~priced & (wanted != 0.0))
        goal = np.where(priced, wanted, 0.0)
        held, before = self.weights(at), float(self.worth[at])
        left = after_costs(goal, held, rates)
        after = before * left
        self.units = np.divide(goal * after, self.prices[at], out=np.zeros_like(goal), where=priced)
        rest = 1.0 - float(goal.sum())
        cash = 0.0 if abs(rest) < _ROUNDING else rest * after
        self._write(at, at + 1, cash / self.index[at])
        turnover = float(np.abs(goal - held).sum()) / 2.0
        return Trade(decided, at, goal, turnover, 1.0 - left, wanted, tuple(untraded.tolist()))

    def _amounts(self, at: int) -> Floats:
        return np.where(self.units != 0.0, self.units * self.prices[at], 0.0)

    def _write(self, start: int, end: int, cash: float) -> None:
        """The sessions from `start` up to `end`, with so many units of cash."""
        if end > start:
            owned = np.flatnonzero(self.units)
            self.held[start:end] = self.units
            self.money[start:end] = cash * self.index[start:end]
            amounts = self.prices[start:end, owned] @ self.units[owned]
            self.worth[start:end] = amounts + self.money[start:end]
            self.now = end - 1
