"""The linear system of the interior-point method, brought down to one of the size of the weights.

Variables are the weights w (N,), a few dense ones e (κ of a ratio, α of a CVaR), and in each block
as many u as it has entries: u ≥ |w − centre| of a deviation, or u ≥ loss − α, u ≥ 0 of a CVaR.
With d = G w + E e − constant a block says d − u ≤ 0 and δd − u ≤ 0, where δ is −1 or 0, so that its
u are eliminated entry by entry and only change the matrix of w by G' diag G.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etf_pipeline.portfolio.functions import Floats, Norm
from etf_pipeline.portfolio.program import Standard

_ADDED = (0.0, 1e-14, 1e-12)  # to a diagonal, of its largest entry, in turn
WIDTH = 1e-9  # that a fixed weight is given, as the inside must not be empty


@dataclass(frozen=True, eq=False)
class Block:
    """Entries d − u ≤ 0 and δd − u ≤ 0; `inner` is G (L, N), None for the identity."""

    inner: Floats | None
    outer: Floats  # E, shape (L, number of e)
    constant: Floats  # (L,)
    other: float  # δ

    def along(self, w: Floats) -> Floats:
        """G w."""
        return w if self.inner is None else self.inner @ w

    def back(self, values: Floats) -> Floats:
        """G' values."""
        return values if self.inner is None else self.inner.T @ values

    def add_curvature(self, matrix: Floats, fold: Floats) -> None:
        """G' diag(fold) G onto a matrix (N, N)."""
        if self.inner is None:
            matrix[np.arange(len(fold)), np.arange(len(fold))] += fold
        else:
            matrix += self.inner.T @ (fold[:, None] * self.inner)


@dataclass(frozen=True, eq=False)
class Ball:
    """A limit on a norm, as (norm² − radius²) / (2 `square`) ≤ 0."""

    norm: Norm
    room: float  # radius² less the norm's constant
    square: float

    @classmethod
    def of(cls, norm: Norm, radius: float) -> Ball:
        """Within a radius."""
        return cls(norm, norm.room(radius), norm.unit(radius))

    def value(self, w: Floats) -> float:
        """How far above the limit."""
        return (self.norm.varying(w) - self.room) / (2.0 * self.square)

    def gradient(self, w: Floats) -> Floats:
        """Shape (N,)."""
        return self.norm.gradient_of_half_square(w) / self.square


@dataclass(frozen=True, eq=False)
class Shape:
    """A standard form in the variables of the method.

    `rows` (M, N), `row_e` (M, number of e) and `rates` (M, blocks) are coefficients of the rows; a
    block's u have one each. `equal*` are the same of the equalities. `homogeneous` says that κ is
    the first of e and every constant is multiplied by it. `summed` says that the first equality is
    Σ w; `pairs` are rows of the form that say one thing from both sides, which are the next ones,
    and `kept` the other rows.
    """

    n: int
    low: Floats
    high: Floats
    blocks: list[Block]
    balls: list[Ball]
    quadratic: Floats | None
    linear: Floats
    linear_e: Floats
    prices: Floats
    rows: Floats
    row_e: Floats
    rates: Floats
    limits: Floats
    equal: Floats
    equal_e: Floats
    equal_rates: Floats
    rights: Floats
    homogeneous: bool
    pairs: list[tuple[int, int]]
    kept: list[int]
    summed: bool

    def multipliers(self, y: Floats, free: Floats) -> Floats:
        """Those of all dense rows (≥ 0), from those of the rows and of the equalities."""
        found = np.zeros(len(self.kept) + 2 * len(self.pairs))
        found[self.kept] = y[: len(self.kept)]
        first = int(self.summed)
        for value, (one, other) in zip(free[first:], self.pairs, strict=False):
            found[one], found[other] = max(value, 0.0), max(-value, 0.0)
        return found

    @classmethod
    def of(cls, form: Standard, ratio: Floats | None = None) -> Shape:
        """From a standard form; `ratio` is the excess return (size,) that shall be 1."""
        n, k = form.n, len(form.centres)
        kappa, tail = int(ratio is not None), form.tail is not None
        count = kappa + int(tail)
        low, high = form.low[:n], form.high[:n]
        starts = [n * (1 + j) for j in range(k)]
        last = n * (1 + k)

        def split(rows: Floats, limits: Floats) -> tuple[Floats, Floats, Floats]:
            outer = np.zeros((len(rows), count))
            if kappa:
                outer[:, 0] = -limits
            if tail:
                outer[:, -1] = rows[:, last]
            at = [*starts, last + 1] if tail else starts
            return rows[:, :n], outer, rows[:, at]

        limits = form.limits[len(form.limits) - len(form.dense) :]
        pairs, kept = _opposed(form.dense, limits)
        equal, rights = _equalities(form, ratio, [i for i, _ in pairs])
        # a constant is κ times itself where κ is a variable, but for the excess return of 1
        constants = np.where(np.arange(len(rights)) < len(rights) - kappa, rights, 0.0)
        equal_w, equal_e, equal_rates = split(equal, constants)
        rights = rights - constants if kappa else rights
        rows, row_e, rates = split(form.dense[kept], limits[kept])
        limits = limits[kept]
        linear, linear_e, prices = split(form.objective[None, :], np.zeros(1))
        return cls(
            n,
            low,
            np.maximum(high, low + WIDTH),
            _blocks(form, kappa, count),
            [Ball.of(norm, radius) for norm, radius in form.cones],
            form.quadratic,
            linear[0],
            linear_e[0],
            prices[0],
            rows,
            row_e,
            rates,
            np.zeros(len(limits)) if kappa else limits,
            equal_w,
            equal_e,
            equal_rates,
            rights,
            bool(kappa),
            pairs,
            kept,
            form.equal is not None,
        )

    def separable(self, w: Floats, e: Floats, u: Sequence[Floats]) -> Floats:
        """The left sides of bounds and blocks as one vector; constants are apart."""
        parts = [-w, w]
        if self.homogeneous:
            parts = [-w + self.low * e[0], w - self.high * e[0]]
        for block, own in zip(self.blocks, u, strict=True):
            d = block.along(w) + block.outer @ e
            parts += [d - own, block.other * d - own]
        return np.concatenate(parts)

    def constants(self) -> Floats:
        """What has to be taken from `separable` for it to be at most 0."""
        bounds = [-self.low, self.high]
        if self.homogeneous:
            bounds = [np.zeros(self.n), np.zeros(self.n)]
        for block in self.blocks:
            bounds += [block.constant, block.other * block.constant]
        return np.concatenate(bounds)

    def parts(self, flat: Floats) -> list[Floats]:
        """A vector over bounds and blocks in its parts: low, high, then two of each block."""
        lengths = [self.n, self.n]
        for block in self.blocks:
            lengths += [len(block.constant)] * 2
        return np.split(flat, np.cumsum(lengths)[:-1])

    def pulled(self, flat: Floats) -> tuple[Floats, Floats, list[Floats]]:
        """The transpose of `separable`: what multipliers pull w, e and the u with."""
        low, high, *others = self.parts(flat)
        w, e = high - low, np.zeros(len(self.linear_e))
        if self.homogeneous:
            e[0] = float(low @ self.low - high @ self.high)
        u = []
        for block, first, second in zip(self.blocks, others[::2], others[1::2], strict=True):
            along = first + block.other * second
            w = w + block.back(along)
            e = e + block.outer.T @ along
            u.append(-first - second)
        return w, e, u


def _equalities(
    form: Standard, ratio: Floats | None, first: Sequence[int]
) -> tuple[Floats, Floats]:
    """Σ w where it is given, rows that are equalities, and the excess return, with right sides."""
    limits = form.limits[len(form.limits) - len(form.dense) :]
    rows, rights = [form.dense[list(first)]], [limits[list(first)]]
    if form.equal is not None:
        rows.insert(0, form.equal[None, :])
        rights.insert(0, np.array([form.total]))
    if ratio is not None:
        rows.append(ratio[None, :])
        rights.append(np.ones(1))
    return np.vstack(rows), np.concatenate(rights)


def _opposed(dense: Floats, limits: Floats) -> tuple[list[tuple[int, int]], list[int]]:
    """Rows that are an equality from both sides, of which there is no inside; and the others."""
    pairs: list[tuple[int, int]] = []
    used: set[int] = set()
    for i in range(len(dense)):
        for j in range(i + 1, len(dense)):
            if i in used or j in used or abs(limits[i] + limits[j]) > WIDTH / 1e3:
                continue
            if np.array_equal(dense[i], -dense[j]):
                pairs.append((i, j))
                used |= {i, j}
    return pairs, [i for i in range(len(dense)) if i not in used]


def _blocks(form: Standard, kappa: int, count: int) -> list[Block]:
    """Those of the deviations, then that of the scenarios."""
    blocks = []
    for centre in form.centres:
        outer = np.zeros((form.n, count))
        if kappa:
            outer[:, 0] = -centre
        blocks.append(Block(None, outer, np.zeros(form.n) if kappa else centre, -1.0))
    if form.tail is not None:
        many = len(form.tail)
        outer = np.zeros((many, count))
        outer[:, -1] = -1.0
        assert form.apart is not None
        if kappa:
            outer[:, 0] = -form.apart
        blocks.append(Block(-form.tail, outer, np.zeros(many) if kappa else form.apart, 0.0))
    return blocks


def _factor(matrix: Floats) -> Floats:
    """Cholesky's, of a matrix that is positive definite but for rounding.

    Where singular directions have far to go, the bounds hardly add to them. What is added here
    makes a step shorter there, and nothing wrong.
    """
    from scipy.linalg import lapack

    size = float(np.abs(np.diag(matrix)).max())
    for added in _ADDED:
        tried = matrix if not added else matrix + added * size * np.eye(len(matrix))
        factor, failed = lapack.dpotrf(tried, lower=1, clean=0)
        if not failed:
            return np.asarray(factor)
    raise np.linalg.LinAlgError("not positive definite")


class System:
    """The linear system of one iteration, factorised once."""

    def __init__(
        self, shape: Shape, weight: Floats, slack: Floats, gradients: Floats, curvature: Floats
    ) -> None:
        from scipy.linalg import lapack

        self.shape = shape
        n, count = shape.n, len(shape.linear_e)
        low, high, *others = shape.parts(weight)
        matrix = shape.quadratic.copy() if shape.quadratic is not None else np.zeros((n, n))
        for times, ball in zip(curvature, shape.balls, strict=True):
            matrix += (times / ball.square) * ball.norm.matrix
        matrix[np.arange(n), np.arange(n)] += low + high
        column, corner = np.zeros((n, count)), np.zeros((count, count))
        if shape.homogeneous:
            column[:, 0] = -(low * shape.low + high * shape.high)
            corner[0, 0] = float(low @ shape.low**2 + high @ shape.high**2)
        balls = np.zeros((len(shape.balls), len(shape.blocks)))
        self.rates = np.vstack([shape.rates, balls, shape.equal_rates])
        self.rows = np.vstack([gradients, shape.equal])
        row_e = np.vstack([shape.row_e, np.zeros((len(shape.balls), count)), shape.equal_e])
        small = -np.diag(np.r_[slack, np.zeros(len(shape.rights))])
        self.sums, self.leans = [], []
        for j, (block, p, q) in enumerate(
            zip(shape.blocks, others[::2], others[1::2], strict=True)
        ):
            total = p + q
            lean = -(p + block.other * q) / total
            fold = p * q * (1.0 - block.other) ** 2 / total
            block.add_curvature(matrix, fold)
            column += np.asarray([block.back(fold * c) for c in block.outer.T]).reshape(count, n).T
            corner += block.outer.T @ (fold[:, None] * block.outer)
            rate = self.rates[:, j : j + 1]
            if np.any(rate):
                self.rows = self.rows - rate * block.back(lean)
                row_e = row_e - rate * (lean @ block.outer)
                small -= float((1.0 / total).sum()) * (rate @ rate.T)
            self.sums.append(total)
            self.leans.append(lean)
        self.factor = _factor(matrix)
        self._potrs = lapack.dpotrs
        self.border = np.vstack([self.rows, column.T])
        self.solved = self._back(self.border.T)
        whole = np.block([[small, row_e], [row_e.T, corner]])
        self.small = whole - self.border @ self.solved

    def _back(self, right: Floats) -> Floats:
        solved, _ = self._potrs(self.factor, right, lower=1)
        return np.asarray(solved)

    def solve(
        self, right_w: Floats, right_e: Floats, right_u: Sequence[Floats], lower: Floats
    ) -> tuple[Floats, Floats, list[Floats], Floats]:
        """Steps of w, e, the u, and of the multipliers of rows, norms and equalities."""
        shape = self.shape
        for j, (block, own) in enumerate(zip(shape.blocks, right_u, strict=True)):
            pulled = self.leans[j] * own
            right_w = right_w - block.back(pulled)
            right_e = right_e - block.outer.T @ pulled
            lower = lower - self.rates[:, j] * float((own / self.sums[j]).sum())
        first = self._back(right_w)
        right = np.r_[lower, right_e]
        v = np.linalg.solve(self.small, right - self.border @ first)
        w = first - self.solved @ v
        rows, e = v[: len(lower)], v[len(lower) :]
        u = []
        for j, (block, own) in enumerate(zip(shape.blocks, right_u, strict=True)):
            d = block.along(w) + block.outer @ e
            u.append((own - float(self.rates[:, j] @ rows)) / self.sums[j] - self.leans[j] * d)
        return w, e, u, rows
