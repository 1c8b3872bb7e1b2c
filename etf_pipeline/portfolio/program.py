"""A convex program over the weights, and its standard form for solvers, in which no unit matters.

Variables of the standard form are x = (w, u, α, z): the weights, u ≥ |w − centre| for each centre
of a kink, and for a CVaR its border α and the excess losses z ≥ loss − α (Rockafellar & Uryasev,
2000, "Optimization of conditional value-at-risk").

Rows are shifted by full investment (Σ w is known) and divided by their own size, the objective and
the scenarios too; what comes back from a solver is brought back to the problem's units here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from etf_pipeline.portfolio.functions import Floats, Measure, Norm, Row, Scenarios
from etf_pipeline.portfolio.problem import Problem

_ROUNDING = 1e-14  # of the largest coefficient: what is left of equal ones when they are shifted


@dataclass(frozen=True, eq=False)
class Duals:
    """Multipliers ≥ 0 of the rows, in the units of objective and limits; any are a valid bound.

    `rows` has one per row of the program, `tail` probabilities (T,) of the scenarios, None where
    the program has no CVaR.
    """

    rows: Floats
    tail: Floats | None = None


@dataclass(frozen=True, eq=False)
class Program:
    """Least ½ d'Qd + measure, over bounds, Σ w within `total`, and rows.

    `curvature` is the norm whose half square is in the objective, times `weight`; None for none.
    `rooted` says that the norm itself is meant, which is least where its square is.
    """

    low: Floats
    high: Floats
    total: tuple[float, float]
    measure: Measure
    rows: tuple[Row, ...]
    problem: Problem
    curvature: Norm | None = None
    weight: float = 1.0
    rooted: bool = False

    @classmethod
    def over(
        cls,
        problem: Problem,
        measure: Measure,
        rows: Sequence[Row],
        curvature: Norm | None = None,
        weight: float = 1.0,
        rooted: bool = False,
    ) -> Program:
        """A program over the weights that a problem's bounds and net exposure allow."""
        low, high = problem.box
        total = problem.net_exposure
        return cls(low, high, total, measure, tuple(rows), problem, curvature, weight, rooted)

    @property
    def has_tail(self) -> bool:
        """Whether a CVaR is in it."""
        functions = [self.measure, *(r.function for r in self.rows)]
        return any(isinstance(f, Measure) and f.tail > 0 for f in functions)

    @property
    def linear(self) -> bool:
        """Whether a linear program says it all."""
        cones = any(isinstance(r.function, Norm) for r in self.rows)
        return self.curvature is None and not cones


@dataclass(eq=False)
class Standard:
    """Least ½x'Px + c'x with A x ≤ b, E x = e and low ≤ x ≤ high; the cones are apart.

    `centres` are those of the kinks, in the order of their blocks of u; `dense` are the last rows
    of A, which are no structure of u and z, and `tail` the scenarios (T, N) in it, with `apart`
    (T,) what all portfolios earn in them besides. `row_of` gives for each row of the program its
    row in A, or −1 − its place in `cones`.
    """

    size: int
    n: int
    objective: Floats
    limits: Floats
    equal: Floats | None
    total: float
    low: Floats
    high: Floats
    quadratic: Floats | None
    cones: list[tuple[Norm, float]]
    row_of: list[int]
    row_scale: Floats
    scale: float
    tail_rows: slice | None
    centres: list[Floats]
    dense: Floats
    tail: Floats | None
    apart: Floats | None

    @cached_property
    def matrix(self) -> Any:
        """A, sparse: rows that say what u and z are, then the dense ones.

        Made when it is asked for, as the dense method has no need of it.
        """
        import scipy.sparse

        sparse: Any = scipy.sparse  # its stubs want to know each matrix's kind
        blocks = []
        eye = sparse.eye(self.n, format="csr")
        for k in range(len(self.centres)):
            for sign in (1.0, -1.0):
                missing = self.size - self.n * (2 + k)
                between = sparse.csr_matrix((self.n, self.n * k))
                parts = [sign * eye, between, -eye, sparse.csr_matrix((self.n, missing))]
                blocks.append(sparse.hstack(parts, format="csr"))
        if self.tail is not None:
            many = len(self.tail)
            gap = sparse.csr_matrix((many, self.n * len(self.centres)))
            one = sparse.csr_matrix(-np.ones((many, 1)))
            losses = [sparse.csr_matrix(-self.tail), gap, one, -sparse.eye(many)]
            blocks.append(sparse.hstack(losses, format="csr"))
        return sparse.vstack([*blocks, sparse.csr_matrix(self.dense)], format="csr")

    def place(self, centre: Floats) -> slice:
        """The variables u of a centre (N,)."""
        k = next(k for k, known in enumerate(self.centres) if np.array_equal(known, centre))
        return slice(self.n * (1 + k), self.n * (2 + k))

    def duals(self, y: Floats, cones: Floats, norm_value: float | None) -> Duals:
        """Multipliers in the program's units from those of A's rows and the cones.

        `norm_value` is that of the objective's norm where its half square was made least in place
        of itself.
        """
        unit = self.scale if norm_value is None else self.scale / max(norm_value, 1e-300)
        found = np.array([y[k] if k >= 0 else cones[-1 - k] for k in self.row_of])
        found = np.maximum(found, 0.0) * unit / self.row_scale if len(found) else found
        tail = None
        if self.tail_rows is not None:
            z = np.maximum(y[self.tail_rows], 0.0)
            tail = z / z.sum() if z.sum() > 0 else None
        return Duals(found, tail)


class _Builder:
    """Gathers the columns that kinks and CVaR need, and the rows over them."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.n = len(program.low)
        least, most = program.total
        self.fixed = least == most
        self.sum = least
        measures = [program.measure, *(r.function for r in program.rows)]
        self.measures = [m for m in measures if isinstance(m, Measure)]
        self.centres: list[Floats] = []
        for measure in self.measures:
            for kink in measure.kinks:
                if self._place(kink.centre) is None:
                    self.centres.append(kink.centre)
        self.has_tail = any(m.tail for m in self.measures)
        self.alpha = self.n * (1 + len(self.centres))
        self.size = self.alpha
        self.shift, self.spread = 0.0, 1.0
        if self.has_tail:
            scenarios = program.problem.scenarios
            assert scenarios is not None
            self.scenarios = scenarios
            returns = scenarios.returns
            self.shift = float(returns.mean()) if self.fixed else 0.0
            self.spread = float(np.abs(returns - self.shift).max()) or 1.0
            self.size += 1 + len(returns)
            self.border, self.apart = _about_the_border(scenarios)

    def _place(self, centre: Floats) -> int | None:
        for k, known in enumerate(self.centres):
            if known is centre or np.array_equal(known, centre):
                return k
        return None

    def row(self, measure: Measure, greatest: float) -> tuple[Floats, float, float]:
        """Coefficients (size,), limit, and what both were divided by."""
        slope, limit = measure.slope, greatest - measure.constant
        if self.fixed:
            middle = float(slope.min() + slope.max()) / 2.0
            shifted = slope - middle
            rounding = _ROUNDING * float(np.abs(slope).max())
            slope = np.where(np.abs(shifted) <= rounding, 0.0, shifted)
            limit = limit - middle * self.sum
        row = np.zeros(self.size)
        row[: self.n] = slope
        for kink in measure.kinks:
            k = self._place(kink.centre)
            assert k is not None
            row[self.n * (1 + k) : self.n * (2 + k)] += kink.rate
        if measure.tail:
            limit += measure.tail * self.shift * self.sum if self.fixed else 0.0
            limit += measure.tail * self.border
            share = measure.tail * self.spread
            count = (1.0 - self.scenarios.level) * len(self.scenarios.returns)
            row[self.alpha] += share
            row[self.alpha + 1 :] += share / count
        size = float(np.abs(row[: self.n]).max())
        size = max([size, *(k.rate for k in measure.kinks), measure.tail * self.spread]) or 1.0
        return row / size, limit / size, size

    def bounds(self) -> tuple[Floats, Floats]:
        """Of every variable; finite, but for z."""
        low, high = self.program.low, self.program.high
        lows, highs = [low], [high]
        for centre in self.centres:
            lows.append(np.zeros(self.n))
            highs.append(np.maximum(np.abs(high - centre), np.abs(low - centre)))
        if self.has_tail:
            most = float(np.maximum(np.abs(low), np.abs(high)).sum())
            most += float(np.abs(self.apart).max()) / self.spread
            many = len(self.scenarios.returns)
            lows += [np.full(1, -most), np.zeros(many)]
            highs += [np.full(1, most), np.full(many, 2.0 * most)]
        return np.concatenate(lows), np.concatenate(highs)

    def losses(self) -> Floats:
        """The scenarios' returns (T, N), shifted and scaled."""
        return (self.scenarios.returns - self.shift) / self.spread

    def structure_limits(self) -> list[Floats]:
        """Limits of the rows that say what u and z are, see `Standard.matrix`."""
        limits = [sign * centre for centre in self.centres for sign in (1.0, -1.0)]
        return [*limits, self.apart / self.spread] if self.has_tail else limits


def standard(program: Program) -> Standard:
    """The standard form of a program."""
    build = _Builder(program)
    limits = build.structure_limits()
    count = sum(len(x) for x in limits)
    many = len(build.scenarios.returns) if build.has_tail else 0
    gathered = _Rows(build, count)
    for each in program.rows:
        gathered.add(each)
    ones = np.zeros(build.size)
    ones[: build.n] = 1.0
    rows, rhs = list(gathered.rows), list(gathered.limits)
    if not build.fixed:
        rows += [ones, -ones]
        rhs += [program.total[1], -program.total[0]]
    dense = np.array(rows).reshape(len(rows), build.size)
    objective, quadratic, scale = _objective(build)
    low, high = build.bounds()
    return Standard(
        build.size,
        build.n,
        objective,
        np.concatenate([*limits, np.array(rhs)]),
        ones if build.fixed else None,
        build.sum,
        low,
        high,
        quadratic,
        gathered.cones,
        gathered.row_of,
        np.array(gathered.scales),
        scale,
        slice(count - many, count) if build.has_tail else None,
        build.centres,
        dense,
        build.losses() if build.has_tail else None,
        build.apart / build.spread if build.has_tail else None,
    )


def _about_the_border(scenarios: Scenarios) -> tuple[float, Floats]:
    """What portfolios earn besides, (T,), less that of the scenario at the border, and that."""
    apart = scenarios.apart
    if apart is None:
        return 0.0, np.zeros(len(scenarios.returns))
    count = (1.0 - scenarios.level) * len(apart)
    border = float(np.sort(apart)[min(int(count), len(apart) - 1)])
    return border, apart - border


class _Rows:
    """The rows of a program, those with a norm apart."""

    def __init__(self, build: _Builder, count: int) -> None:
        self._build, self._count = build, count
        self.rows: list[Floats] = []
        self.limits: list[float] = []
        self.cones: list[tuple[Norm, float]] = []
        self.row_of: list[int] = []
        self.scales: list[float] = []

    def add(self, row: Row) -> None:
        """One more, divided by its size."""
        if isinstance(row.function, Norm):
            self.row_of.append(-1 - len(self.cones))
            self.cones.append((row.function, row.greatest))
            self.scales.append(row.function.unit(row.greatest) / row.greatest)
            return
        coefficients, limit, size = self._build.row(row.function, row.greatest)
        self.row_of.append(self._count + len(self.rows))
        self.rows.append(coefficients)
        self.limits.append(limit)
        self.scales.append(size)


def _objective(build: _Builder) -> tuple[Floats, Floats | None, float]:
    """Linear and quadratic part, and what both were divided by."""
    program, norm = build.program, build.program.curvature
    if norm is None:
        objective, _, scale = build.row(program.measure, 0.0)
        return objective, None, scale
    curved = program.weight * (float(np.mean(np.diag(norm.matrix))) or 1.0)
    slope = -program.weight * (norm.matrix @ norm.centre + norm.linear)
    objective, _, size = build.row(program.measure.plus(Measure(slope), 1.0), 0.0)
    scale = (max(size, curved) if np.any(objective) else curved) or 1.0
    return objective * (size / scale), norm.matrix * (program.weight / scale), scale
