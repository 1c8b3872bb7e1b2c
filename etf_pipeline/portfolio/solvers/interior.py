"""Convex programs of portfolios by a primal-dual interior-point method on dense matrices.

Made for their shape: a dense covariance, bounds on every weight, a few limits on all of them,
deviations |w − centre| and scenarios, which are separable: an iteration costs one Cholesky
factorisation of shape (N, N) whatever the limits.

Nothing here is believed: the caller checks and proves, and has other solvers for where this fails.

Source: Mehrotra, "On the implementation of a primal-dual interior point method" (1992); Boyd &
Vandenberghe, "Convex Optimization" (2004), section 11.7 (primal-dual methods for convex limits);
Schaible (1974) for the best ratio.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etf_pipeline.portfolio.functions import Floats, Measure, Norm
from etf_pipeline.portfolio.program import Duals, Program, Standard, standard
from etf_pipeline.portfolio.solvers.interior_system import Shape, System

_STEPS = 80
_DONE = 1e-13
_USABLE = 1e-5
_BACK = 0.995  # of the way to the border
_STALLED = 10
_ROOM = 1.0  # between u and what it is above, at the start
_ROW_ROOM = 10.0  # of rows, which the first weights may break
_LEAST = 1e-3


def solve(program: Program) -> tuple[Floats, Duals] | None:
    """Weights (N,) and multipliers of a program; None when nothing is found."""
    form = standard(program)
    shape = Shape.of(form)
    found = _Method(shape).run()
    if found is None:
        return None
    root = program.curvature.value(found.w) if program.rooted and program.curvature else None
    return found.w, _duals(form, shape, found, root)


def best_ratio(program: Program, excess: Measure, norm: Norm) -> tuple[Floats, Duals] | None:
    """Weights of greatest excess return over a norm around 0; see `conic.best_ratio`."""
    form = standard(program)
    if form.cones or np.any(norm.centre) or np.any(norm.linear):
        return None
    form.quadratic = norm.matrix / (float(np.mean(np.diag(norm.matrix))) or 1.0)
    form.objective = np.zeros(form.size)
    row = np.zeros(form.size)
    row[: form.n] = -excess.slope
    for kink in excess.kinks:
        row[form.place(kink.centre)] -= kink.rate
    unit = float(np.abs(row).max()) or 1.0
    shape = Shape.of(form, row / unit)
    found = _Method(shape).run()
    if found is None or not found.e[0] > 0:
        return None
    form.scale = unit / (abs(float(found.free[-1])) or 1.0)
    return found.w / found.e[0], _duals(form, shape, found, None)


def _duals(form: Standard, shape: Shape, found: _Point, root: float | None) -> Duals:
    """In the units of the program."""
    m = len(shape.rows)
    whole = np.zeros(len(form.limits))
    whole[len(whole) - len(form.dense) :] = shape.multipliers(found.y, found.free)
    if form.tail_rows is not None:
        many = form.tail_rows.stop - form.tail_rows.start
        whole[form.tail_rows] = found.z[len(found.z) - 2 * many : len(found.z) - many]
    return form.duals(whole, found.y[m:], root)


@dataclass(eq=False)
class _Point:
    """Every variable: see `interior_system`; (s, z) of bounds and blocks, (t, y) of rows."""

    w: Floats
    e: Floats
    u: list[Floats]
    s: Floats
    z: Floats
    t: Floats
    y: Floats
    free: Floats

    def moved(self, step: _Point, primal: float, dual: float) -> _Point:
        """After a step of these lengths."""
        return _Point(
            self.w + primal * step.w,
            self.e + primal * step.e,
            [a + primal * b for a, b in zip(self.u, step.u, strict=True)],
            self.s + primal * step.s,
            self.z + dual * step.z,
            self.t + primal * step.t,
            self.y + dual * step.y,
            self.free + dual * step.free,
        )

    def products(self) -> float:
        """The mean complementary product."""
        count = len(self.s) + len(self.t)
        return (float(self.s @ self.z) + float(self.t @ self.y)) / count


@dataclass(eq=False)
class _Residuals:
    """What is left of the conditions of optimality."""

    separable: Floats
    rows: Floats
    w: Floats
    e: Floats
    u: list[Floats]
    equal: Floats

    def worst(self) -> float:
        """The largest one."""
        parts = [self.separable, self.rows, self.w, self.e, self.equal, *self.u]
        return max(float(np.abs(p).max(initial=0.0)) for p in parts)


class _Method:
    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.constants = shape.constants()

    def _start(self) -> _Point:
        shape = self.shape
        room = float((shape.high - shape.low).sum())
        share = 0.5
        if shape.summed and not shape.homogeneous:
            share = (float(shape.rights[0]) - float(shape.low.sum())) / room
        w = shape.low + min(max(share, 0.01), 0.99) * (shape.high - shape.low)
        e = np.zeros(len(shape.linear_e))
        if shape.homogeneous:
            e[0] = 1.0
        u = []
        for block in shape.blocks:
            d = block.along(w) + block.outer @ e - block.constant
            u.append(np.maximum(d, block.other * d) + _ROOM)
        slack = self.constants - shape.separable(w, e, u)
        s = np.maximum(slack, _LEAST)
        t = np.maximum(-self._rows(w, e, u), _ROW_ROOM)
        # every complementary product is 1: the start is as central as can be
        return _Point(w, e, u, s, 1.0 / s, t, 1.0 / t, np.zeros(len(shape.rights)))

    def _rows(self, w: Floats, e: Floats, u: list[Floats]) -> Floats:
        """Rows and norms less their limits, shape (M,)."""
        shape = self.shape
        sums = np.array([float(x.sum()) for x in u])
        rows = shape.rows @ w + shape.row_e @ e + shape.rates @ sums - shape.limits
        return np.r_[rows, [ball.value(w) for ball in shape.balls]]

    def run(self) -> _Point | None:
        """The best point that was reached; None when that is none."""
        best, stalled = np.inf, 0
        kept: _Point | None = None
        with np.errstate(all="ignore"):
            at = self._start()
            for _ in range(_STEPS):
                gradients = np.vstack(
                    [self.shape.rows, *(b.gradient(at.w) for b in self.shape.balls)]
                )
                left = self._residuals(at, gradients)
                worst = max(left.worst(), at.products())
                if not np.isfinite(worst):
                    break
                stalled = 0 if worst < 0.9 * best else stalled + 1
                if worst < best:
                    best, kept = worst, at
                if best <= _DONE or stalled >= _STALLED:
                    break
                try:
                    at = self._next(at, left, gradients)
                except np.linalg.LinAlgError:
                    break
        return kept if best <= _USABLE else None

    def _residuals(self, at: _Point, gradients: Floats) -> _Residuals:
        shape = self.shape
        w, e, u = shape.pulled(at.z)
        m = len(shape.rows)
        w = w + shape.linear + gradients.T @ at.y + shape.equal.T @ at.free
        if shape.quadratic is not None:
            w = w + shape.quadratic @ at.w
        e = e + shape.linear_e + shape.row_e.T @ at.y[:m] + shape.equal_e.T @ at.free
        prices = shape.prices + shape.rates.T @ at.y[:m] + shape.equal_rates.T @ at.free
        sums = np.array([float(x.sum()) for x in at.u])
        equal = shape.equal @ at.w + shape.equal_e @ at.e + shape.equal_rates @ sums
        return _Residuals(
            shape.separable(at.w, at.e, at.u) - self.constants + at.s,
            self._rows(at.w, at.e, at.u) + at.t,
            w,
            e,
            [own + price for own, price in zip(u, prices, strict=True)],
            equal - shape.rights,
        )

    def _next(self, at: _Point, left: _Residuals, gradients: Floats) -> _Point:
        """One predictor and corrector step."""
        curvature = at.y[len(self.shape.rows) :]
        system = System(self.shape, at.z / at.s, at.t / at.y, gradients, curvature)
        plain = self._direction(at, left, system, -at.s * at.z, -at.t * at.y)
        mu = at.products()
        after = at.moved(plain, *_lengths(at, plain, 1.0)).products()
        centre = mu * min(max((after / mu) ** 3, 1e-8), 1.0) if mu > 0 else 0.0
        step = self._direction(
            at,
            left,
            system,
            centre - at.s * at.z - plain.s * plain.z,
            centre - at.t * at.y - plain.t * plain.y,
        )
        primal, dual = _lengths(at, step, _BACK)
        if self.shape.balls:  # what is left of the dual conditions of a norm depends on both
            primal = dual = min(primal, dual)
        return at.moved(step, primal, dual)

    def _direction(
        self, at: _Point, left: _Residuals, system: System, products: Floats, row_products: Floats
    ) -> _Point:
        shape = self.shape
        push_w, push_e, push_u = shape.pulled((products + at.z * left.separable) / at.s)
        w, e, u, rows = system.solve(
            -left.w - push_w,
            -left.e - push_e,
            [-a - b for a, b in zip(left.u, push_u, strict=True)],
            np.r_[-left.rows - row_products / at.y, -left.equal],
        )
        s = -left.separable - shape.separable(w, e, u)
        y = rows[: len(at.t)]
        return _Point(
            w,
            e,
            u,
            s,
            (products - at.z * s) / at.s,
            (row_products - at.t * y) / at.y,
            y,
            rows[len(at.t) :],
        )


def _lengths(at: _Point, step: _Point, back: float) -> tuple[float, float]:
    """The longest steps, up to 1, that keep slacks and multipliers positive."""
    primal = max(float((-step.s / at.s).max()), float((-step.t / at.t).max(initial=0.0)))
    dual = max(float((-step.z / at.z).max()), float((-step.y / at.y).max(initial=0.0)))
    return min(1.0, back / max(primal, 1e-300)), min(1.0, back / max(dual, 1e-300))
