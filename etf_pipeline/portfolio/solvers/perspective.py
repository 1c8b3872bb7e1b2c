"""The perspective relaxation of a problem of few holdings, as a cone program.

An open asset is held to a degree z within 0 and 1, with Σ z at most what is left, and its weight
within z · [least, greatest]. The part of the variance that is its own, d w², counts as d w²/z: what
is held in part costs more. Both are exact where z is 0 or 1.

Nothing here is believed: `few_proof` proves a bound from its weights and multipliers.

Source: Frangioni & Gentile, "Perspective cuts for a class of convex 0–1 mixed integer programs"
(2006); Aktürk, Atamtürk & Gürel, "A strong conic quadratic reformulation for machine-job assignment
with controllable processing times" (2009), for its cones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from etf_pipeline.portfolio.choices import OPEN, OUT, Few
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.lifted import Lifted
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.program import Duals, Program, standard
from etf_pipeline.portfolio.solvers.conic import factor, solution

_TOLERANCE = 1e-10

Places = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Relaxed:
    """Weights (N,) and the degree (N,) to which each asset is held, with multipliers."""

    weights: Floats
    degrees: Floats
    duals: Duals


class Perspective:
    """The relaxations of one problem.

    Variables are x of the standard form, which begins with the weights, then z (N,), s (N,), where
    s z ≥ w², and v ≥ w'Sw, in units of the mean variance.
    """

    def __init__(self, problem: Problem, goal: Lifted, rows: Sequence[Lifted]) -> None:
        """With the goal and the rows of a problem, some of which have a curvature."""
        self.problem = problem
        self.unit = float(np.mean(np.diag(problem.covariance))) or 1.0
        self.form = form = standard(Program.over(problem, goal.measure, [r.straight for r in rows]))
        self.n = n = form.n
        self.z, self.s, self.v = form.size, form.size + n, form.size + 2 * n
        self.size = self.v + 1
        self.objective = np.zeros(self.size)
        self.objective[: form.size] = form.objective
        self.objective[self.v] = goal.curvature * self.unit / form.scale
        most = float(np.abs(self.objective).max()) or 1.0
        self.objective /= most
        self.scale = form.scale * most
        self._rows(rows)

    def _rows(self, rows: Sequence[Lifted]) -> None:
        """The rows of the form with their curvature, each of size 1 still."""
        found = self.form.matrix.tocoo()
        self.scales = np.ones(len(self.form.limits))
        places, values = [], []
        for k, row, size in zip(self.form.row_of, rows, self.form.row_scale, strict=True):
            if row.curvature:
                curved = row.curvature * self.unit / size
                inside = np.abs(found.data[found.row == k]).max(initial=0.0)
                self.scales[k] = 1.0 / max(curved, float(inside))
                places.append(k)
                values.append(curved)
        at = np.array(places, dtype=np.intp)
        i = np.r_[found.row, at]
        a = np.r_[found.data, np.array(values)] * self.scales[i]
        self.entries = i, np.r_[found.col, np.full(len(at), self.v)], a
        self.limits = self.form.limits * self.scales

    def relaxed(self, few: Few, low: Floats, high: Floats, own: Floats) -> Relaxed | None:
        """The solution under some choices; None where there is none, or numbers fail.

        Args:
            few: what is decided.
            low: least weights (N,) of assets, where they are held.
            high: their greatest weights.
            own: of each open asset, the part of its variance that counts as its own, so that
                the rest of the covariance is positive semidefinite among what is not left out.
        """
        build = _Build(self)
        build.add(*self.entries, self.limits)
        self._bounds(build, few, low, high)
        flat = build.count
        costly = np.flatnonzero((few.choices == OPEN) & (own > 0))
        self._curves(build, few, own, costly)
        free = np.ones(self.size, dtype=bool)
        free[: self.n] = few.choices != OUT  # fixed variables leave a cone program no inside
        free[self.z : self.s] = few.choices == OPEN
        free[self.s : self.v] = False
        free[self.s + costly] = True
        cones = [*([3] * len(costly)), int((few.choices != OUT).sum()) + 2]
        solution = build.solved(np.flatnonzero(free), flat, cones)
        return None if solution is None else self._read(few, *solution)

    def _read(self, few: Few, x: Floats, y: Floats) -> Relaxed:
        form = replace(self.form, scale=self.scale)
        duals = form.duals(y[: len(self.limits)] * self.scales, np.zeros(0), None)
        whole = np.where(few.choices == OUT, 0.0, 1.0)
        degrees = np.where(few.choices == OPEN, x[self.z : self.s], whole)
        return Relaxed(x[: self.n], degrees, duals)

    def _bounds(self, build: _Build, few: Few, low: Floats, high: Floats) -> None:
        """Of every variable, and the count."""
        n, form = self.n, self.form
        is_open = np.flatnonzero(few.choices == OPEN)
        into = np.flatnonzero((few.choices != OUT) & (few.choices != OPEN))
        z, ones = self.z + is_open, np.ones(len(is_open))
        rest = np.arange(n, form.size)
        capped = rest[np.isfinite(form.high[n:])]
        build.single(into, -1.0, -low[into])
        build.single(into, 1.0, high[into])
        build.single(rest, -1.0, -form.low[n:])
        build.single(capped, 1.0, form.high[capped])
        build.single(z, 1.0, ones)
        at = np.arange(len(is_open))
        for sign, bound in ((1.0, high[is_open]), (-1.0, low[is_open])):
            both = np.r_[at, at], np.r_[is_open, z], np.r_[sign * ones, -sign * bound]
            build.add(*both, np.zeros(len(is_open)))
        build.add(np.zeros(len(z), dtype=np.intp), z, ones, np.array([float(few.left)]))

    def _curves(self, build: _Build, few: Few, own: Floats, costly: Places) -> None:
        """S z ≥ w² for each open asset, and v ≥ the rest of the variance + Σ d s."""
        many = len(costly)
        rows = 3 * np.arange(many)
        w, z, s = costly, self.z + costly, self.s + costly
        i = np.concatenate([rows, rows, rows + 1, rows + 2, rows + 2])
        a = np.repeat([-1.0, -1.0, -2.0, -1.0, 1.0], many)
        build.add(i, np.concatenate([s, z, w, s, z]), a, np.zeros(3 * many))
        kept = np.flatnonzero(few.choices != OUT)
        rest = self.problem.covariance - np.diag(np.where(few.choices == OPEN, own, 0.0))
        root = factor(rest[np.ix_(kept, kept)] / self.unit)
        n = len(kept)
        down, across = np.nonzero(root)
        ends, share = np.array([0, n + 1]), own[costly] / self.unit
        i = np.concatenate([1 + down, ends, np.repeat(ends, many)])
        j = np.concatenate([kept[across], [self.v, self.v], s, s])
        a = np.concatenate([-2.0 * root[down, across], [-1.0, -1.0], share, share])
        offset = np.zeros(n + 2)
        offset[0], offset[n + 1] = 1.0, -1.0
        build.add(i, j, a, offset)


class _Build:
    """Gathers the entries of a matrix, block below block."""

    def __init__(self, of: Perspective) -> None:
        self.of, self.count = of, 0
        self.parts: list[tuple[Places, Places, Floats]] = []
        self.right: list[Floats] = []

    def add(self, i: Places, j: Places, a: Floats, limits: Floats) -> None:
        """Entries a at rows i of a new block and at columns j."""
        self.parts.append((i + self.count, j, a))
        self.right.append(limits)
        self.count += len(limits)

    def single(self, columns: Places, sign: float, limits: Floats) -> None:
        """Sign · variable ≤ limit, for each column."""
        many = len(columns)
        self.add(np.arange(many), columns, np.full(many, sign), limits)

    def solved(self, free: Places, flat: int, cones: Sequence[int]) -> tuple[Floats, Floats] | None:
        """All variables, 0 where they are not free, and the multipliers of the rows.

        `flat` rows are linear, the others second-order cones of these sizes.
        """
        from scipy import sparse

        of, form = self.of, self.of.form
        place = np.full(of.size, -1)
        place[free] = np.arange(len(free))
        i, j, a = (np.concatenate([p[k] for p in self.parts]) for k in range(3))
        right, first = np.concatenate(self.right), 0
        if form.equal is not None:
            first = 1
            i, j = np.r_[np.zeros(of.n, dtype=np.intp), i + 1], np.r_[np.arange(of.n), j]
            a, right = np.r_[form.equal[: of.n], a], np.r_[form.total, right]
        inside = place[j] >= 0
        entries = a[inside], (i[inside], place[j[inside]])
        matrix = sparse.csc_matrix(entries, shape=(len(right), len(free)))
        nothing = sparse.csc_matrix((len(free), len(free)))
        objective = of.objective[free]
        found = solution(nothing, objective, matrix, right, first, flat, cones, _TOLERANCE)
        if found is None:
            return None
        x = np.zeros(of.size)
        x[free] = found[0]
        return x, found[1][first:]
