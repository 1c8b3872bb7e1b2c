"""The optimum by formulations of its own: a cone program (clarabel) or a linear one (HiGHS).

Its outcome are witnesses: weights whose limits and value anybody can recompute. What decides is
never a solver's status but that weights meet every limit, for which all limits are drawn in by a
little first: weights that do show that the problem can be met, and how well at least.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from typing import Any

import clarabel
import numpy as np
from scipy import optimize, sparse

from etf_pipeline_tests.property.fuzz.asked import Asked, Floats, Outside
from etf_pipeline_tests.property.fuzz.limits import worst

DRAWN_IN = ((1e-9, 1e-9), (2e-8, 2e-8), (0.0, 2e-8), (0.0, 0.0))  # weights and figures; risks
STRICT = 1e-13
_NEARLY = 1e-9


@dataclass(frozen=True)
class Truth:
    """The best weights known.

    Attributes:
        exact: the best that meet every limit, rounding apart; None where none are known.
        near: the best that meet every limit within 1e-9, where limits leave no room to draw them
            in: what they make of the objective is the optimum only roughly.
        solved: whether `exact` is a solver's; else it is what the limits were made around.
    """

    exact: Floats | None
    near: Floats | None = None
    solved: bool = True


def value(asked: Asked, w: Floats) -> float:
    """What the objective makes of weights; the more the better."""
    match asked.objective:
        case "min_volatility" | "target_return":
            return -asked.volatility(w)
        case "max_return":
            return asked.earned(w)
        case "min_cvar":
            return -asked.cvar(w)
        case "min_tracking_error":
            return -asked.tracking_error(w)
        case "max_utility":
            assert asked.risk_aversion is not None
            return asked.earned(w) - asked.risk_aversion / 2 * asked.volatility(w) ** 2
        case "max_sharpe":
            vol = asked.volatility(w)
            return (asked.earned(w) - asked.risk_free_rate) / vol if vol > 0 else math.inf
    raise AssertionError(asked.objective)


def shortfall(asked: Asked, w: Floats, better: Floats) -> float:
    """By how much `better` is better, in the unit of the optimality gap.

    Of Sharpe ratios: the return that `better` earns beyond what its volatility is worth at the
    ratio of `w`.
    """
    if asked.objective == "max_sharpe":
        excess = asked.earned(better) - asked.risk_free_rate
        return excess - value(asked, w) * asked.volatility(better)
    return value(asked, better) - value(asked, w)


def unit(asked: Asked) -> float:
    """What a shortfall is small against."""
    match asked.objective:
        case "min_volatility" | "target_return" | "min_tracking_error":
            return asked.risk_unit
        case "min_cvar":
            return asked.loss_unit
        case "max_utility":
            assert asked.risk_aversion is not None
            return asked.return_unit + asked.risk_aversion / 2 * asked.risk_unit**2
    return asked.return_unit


def best(asked: Asked) -> Truth:
    """The best weights that meet every limit."""
    if asked.max_holdings is None and asked.min_position is None:
        return _best(asked)
    return _best_of_few(asked)


def _best_of_few(asked: Asked) -> Truth:
    """The best over every choice of assets to hold, one by one."""
    lower, upper = (np.broadcast_to(x, asked.n) for x in (asked.lower, asked.upper))
    most = asked.n if asked.max_holdings is None else asked.max_holdings
    least = asked.min_position or 0.0
    found = []
    for held in itertools.product((False, True), repeat=asked.n):
        low = np.where(held, np.maximum(lower, least), 0.0)
        high = np.where(held, upper, 0.0)
        possible = np.all(low <= high) and np.all(np.logical_or(held, lower <= 0))
        if 0 < sum(held) <= most and possible and low.sum() <= 1 <= high.sum():
            part = replace(
                asked, lower=low, upper=high, max_holdings=None, min_position=None, known=None
            )
            found.append(_best(part))
    known = asked.known if asked.known is not None and worst(asked, asked.known) <= 0 else None
    exact = [x.exact for x in found if x.exact is not None]
    near = [x.near for x in found if x.near is not None]
    solved = bool(exact)
    if known is not None:
        exact.append(known)
    return Truth(_first(asked, exact), _first(asked, near), solved)


def _first(asked: Asked, of: list[Floats]) -> Floats | None:
    return max(of, key=lambda w: value(asked, w), default=None)


def _best(asked: Asked) -> Truth:
    exact, near = [], []
    for linear, risk in DRAWN_IN:
        for cones in (True, False) if _Program.has_choice(asked) else (True,):
            w, solved = _solved(asked, linear, risk, cones)
            if w is None:
                continue
            over = worst(asked, w)
            if over <= STRICT:
                exact.append(w)
                if solved:
                    return Truth(w)
            elif over <= _NEARLY:
                near.append(w)
    solver = bool(exact)
    if asked.known is not None and worst(asked, asked.known) <= STRICT:
        exact.append(asked.known)
    return Truth(_first(asked, exact), _first(asked, near), solver)


def extreme(asked: Asked, objective: str, **changes: Any) -> Floats | None:
    """Weights of the best value of another objective under the same limits."""
    return best(replace(asked, objective=objective, **changes)).exact


def _solved(asked: Asked, linear: float, risk: float, cones: bool) -> tuple[Floats | None, bool]:
    x, solved = _Program(asked, linear, risk, cones).solve()
    return (None if x is None else _mended(asked, x)), solved


def _mended(asked: Asked, w: Floats) -> Floats:
    """A solver's weights without the rounding of bounds and of full investment."""
    lower, upper = np.broadcast_to(asked.lower, w.shape), np.broadcast_to(asked.upper, w.shape)
    w = np.clip(w, lower, upper)
    low, high = asked.net_exposure
    for _ in range(3):
        off = max(low - math.fsum(w), 0.0) or min(high - math.fsum(w), 0.0)
        room = np.where(off > 0, upper - w, w - lower)
        if off == 0.0 or room.sum() <= 0:
            break
        w = np.clip(w + off * room / room.sum(), lower, upper)
    return w


@dataclass
class _Rows:
    """Rows a·x + c ≤ 0 (or = 0), as blocks."""

    matrices: list[Any] = field(default_factory=list)
    constants: list[Floats] = field(default_factory=list)

    def add(self, matrix: Any, constant: Any) -> None:
        self.matrices.append(sparse.csr_matrix(matrix))
        self.constants.append(np.atleast_1d(np.asarray(constant, dtype="float64")))


class _Program:
    """Columns: w, then trades, sizes, α and excess losses where needed, then a scale and a risk.

    All figures are divided by the problem's units first. For the Sharpe ratio, w is multiplied by
    a scale so that the excess return is 1 (Charnes & Cooper, 1962); else the scale is 1.
    """

    @staticmethod
    def has_choice(asked: Asked) -> bool:
        """Whether the risk may be minimised as a norm or as a square."""
        return asked.objective in _RISKS

    def __init__(self, asked: Asked, linear: float, risk: float, cones: bool) -> None:
        self.asked, self.linear, self.risk, self.cones = asked, linear, risk, cones
        self.n = n = asked.n
        self.means = asked.means / asked.return_unit
        trading = asked.holdings is not None and (
            asked.max_turnover is not None or asked.cost_rate > 0
        )
        tails = asked.objective == "min_cvar" or asked.cvar_budget is not None
        width = n
        self.trades = slice(width, width + n * trading)
        width = self.trades.stop
        self.sizes = slice(width, width + n * (asked.gross_exposure is not None))
        width = self.sizes.stop
        t = 0 if asked.scenarios is None or not tails else len(asked.scenarios)
        self.tail = slice(width, width + (t + 1) * tails)
        self.scale, self.norm = self.tail.stop, self.tail.stop + 1
        self.width = self.norm + 1
        self.equal, self.rows = _Rows(), _Rows()
        self.discs: list[tuple[Any, Floats, Any, float]] = []
        idle = 0.0 if asked.invested else asked.risk_free_rate / asked.return_unit
        self.net, self.net_constant = self._row(self.means - idle), idle
        if trading:
            self.net[self.trades] = -asked.cost_rate / asked.return_unit
        self._weights()
        self._exposures()
        if tails:
            self._tails()
        self._figures()
        if asked.benchmark is not None:
            self._active()
        self._objective()

    # -- building blocks

    def _row(self, weights: Any = 0.0) -> Floats:
        row = np.zeros(self.width)
        row[: self.n] = weights
        return row

    def _block(self, matrix: Any, columns: slice | None = None, others: Any = None) -> Any:
        """A matrix on the weights, beside one on other columns."""
        matrix = sparse.csr_matrix(matrix)
        parts = [matrix]
        at = self.n
        if columns is not None:
            parts += [sparse.csr_matrix((matrix.shape[0], columns.start - at)), others]
            at = columns.stop
        parts.append(sparse.csr_matrix((matrix.shape[0], self.width - at)))
        return sparse.hstack(parts).tocsr()

    def _weights(self) -> None:
        asked, n = self.asked, self.n
        lower = np.broadcast_to(asked.lower, n)
        upper = np.broadcast_to(asked.upper, n)
        inside = np.minimum(self.linear, (upper - lower) / 10)
        eye = sparse.eye(n)
        self.rows.add(self._block(-eye), lower + inside)
        self.rows.add(self._block(eye), inside - upper)
        for group in asked.groups:
            members = np.zeros(n)
            members[list(group.members)] = 1.0
            self.rows.add(self._row(-members)[None], group.lower + self.linear)
            self.rows.add(self._row(members)[None], self.linear - group.upper)

    def _exposures(self) -> None:
        asked, n = self.asked, self.n
        eye, ones = sparse.eye(n), self._row(1.0)[None]
        low, high = asked.net_exposure
        if low == high:
            self.equal.add(ones, -low)
        else:
            self.rows.add(-ones, low + self.linear)
            self.rows.add(ones, self.linear - high)
        if asked.gross_exposure is not None:
            self.rows.add(self._block(eye, self.sizes, -eye), np.zeros(n))
            self.rows.add(self._block(-eye, self.sizes, -eye), np.zeros(n))
            total = self._row()
            total[self.sizes] = 1.0
            self.rows.add(total[None], self.linear - asked.gross_exposure)
        if self.trades.stop > self.trades.start:
            assert asked.holdings is not None
            self.rows.add(self._block(eye, self.trades, -eye), -asked.holdings)
            self.rows.add(self._block(-eye, self.trades, -eye), asked.holdings)
            if asked.max_turnover is not None:
                total = self._row()
                total[self.trades] = 1.0
                self.rows.add(total[None], self.linear - 2 * asked.max_turnover)

    def _tails(self) -> None:
        asked = self.asked
        assert asked.scenarios is not None
        r = asked.scenarios / asked.loss_unit
        t = len(r)
        beyond = sparse.hstack([-np.ones((t, 1)), -sparse.eye(t)])
        self.rows.add(self._block(-r, self.tail, beyond), np.zeros(t))
        none = sparse.csr_matrix((t, self.n))
        self.rows.add(
            self._block(none, self.tail, sparse.hstack([np.zeros((t, 1)), -sparse.eye(t)])),
            np.zeros(t),
        )
        self.cvar = self._row()
        self.cvar[self.tail] = np.r_[1.0, np.full(t, 1.0 / ((1.0 - asked.cvar_level) * t))]
        if asked.cvar_budget is not None:
            self.rows.add(self.cvar[None], self.linear - asked.cvar_budget / asked.loss_unit)

    def _figures(self) -> None:
        asked = self.asked
        if asked.target_return is not None:
            target = asked.target_return / asked.return_unit
            self.rows.add(-self.net[None], target - self.net_constant + self.linear)
        self.root = _root(asked.covariance / asked.risk_unit**2)
        if asked.risk_budget is not None:
            head = asked.risk_budget / asked.risk_unit - self.risk
            self.discs.append((self._block(self.root), np.zeros(len(self.root)), None, head))

    def _active(self) -> None:
        asked, n = self.asked, self.n
        if isinstance(asked.benchmark, Outside):
            c, v, _ = asked.benchmark_covariances()
            joint = np.block([[asked.covariance, c[:, None]], [c[None, :], np.array([[v]])]])
            root = _root(joint / asked.risk_unit**2)
            self.apart, self.shift = self._block(root[:, :n]), -root[:, n]
        else:
            self.apart, self.shift = self._block(self.root), -self.root @ asked.benchmark
        if asked.max_tracking_error is not None:
            head = asked.max_tracking_error / asked.risk_unit - self.risk
            self.discs.append((self.apart, self.shift, None, head))
        if (most := asked.max_active_weight) is not None:
            eye = sparse.eye(n)
            self.rows.add(self._block(eye), -asked.benchmark - most + self.linear)
            self.rows.add(self._block(-eye), asked.benchmark - most + self.linear)
        if asked.beta is not None:
            c, v, _ = asked.benchmark_covariances()
            low, high = asked.beta
            if np.isfinite(low):
                self.rows.add(self._row(-c / v)[None], low + self.linear)
            if np.isfinite(high):
                self.rows.add(self._row(c / v)[None], self.linear - high)

    def _objective(self) -> None:
        asked = self.asked
        self.linear_part = self._row()
        self.quadratic: Any = None
        if asked.objective in _RISKS:
            away = asked.objective == "min_tracking_error"
            matrix = self.apart if away else self._block(self.root)
            shift = self.shift if away else np.zeros(matrix.shape[0])
            if self.cones:
                norm = self._row()
                norm[self.norm] = self.linear_part[self.norm] = 1.0
                self.discs.append((matrix, shift, norm, 0.0))
            else:
                self.quadratic = (matrix.T @ matrix).tocsc()
                self.linear_part = matrix.T @ shift
        elif asked.objective == "max_return":
            self.linear_part = -self.net
        elif asked.objective == "min_cvar":
            self.linear_part = self.cvar
        elif asked.objective == "max_utility":
            assert asked.risk_aversion is not None
            block = self._block(self.root)
            weight = asked.risk_aversion * asked.risk_unit**2 / asked.return_unit
            size = max(weight, 1.0)
            self.quadratic = (block.T @ block * (weight / size)).tocsc()
            self.linear_part = -self.net / size
        if asked.objective == "max_sharpe":
            row = self.net.copy()
            row[self.scale] = self.net_constant - asked.risk_free_rate / asked.return_unit
            self.equal.matrices.append(sparse.csr_matrix(row[None]))
            self.equal.constants.append(np.array([np.nan]))  # the one row that is not scaled

    # -- solving

    def _system(self) -> tuple[Any, Floats, Any, Floats, list[tuple[Any, Floats]]]:
        """Rows and right sides of equalities, of inequalities, and cones, with constants placed."""
        free = self.asked.objective == "max_sharpe"

        def placed(rows: _Rows) -> tuple[Any, Floats]:
            none = sparse.csr_matrix((0, self.width))
            matrix = sparse.vstack([none, *rows.matrices]).tolil()
            constants = np.concatenate([np.empty(0), *rows.constants])
            if not free:
                return matrix.tocsr(), -constants
            scaled = np.isfinite(constants)
            matrix[np.flatnonzero(scaled), self.scale] = constants[scaled]
            return matrix.tocsr(), np.where(scaled, 0.0, 1.0)

        equal, at = placed(self.equal)
        upto, most = placed(self.rows)
        discs = []
        for matrix, shift, norm, head in self.discs:
            top = np.zeros(self.width) if norm is None else norm.copy()
            offset = np.r_[head, shift]
            rows = sparse.vstack([sparse.csr_matrix(top[None]), matrix]).tolil()
            if free:
                rows[:, self.scale] = rows[:, self.scale].toarray() + offset[:, None]
                offset = np.zeros_like(offset)
            discs.append((rows.tocsr(), offset))
        return equal, at, upto, most, discs

    def solve(self) -> tuple[Floats | None, bool]:
        """Weights, and whether the solver is content with them."""
        equal, at, upto, most, discs = self._system()
        # Columns that nothing uses are held at 0, so that the system is not singular.
        used = np.asarray(abs(equal).sum(axis=0) + abs(upto).sum(axis=0)).ravel()
        for rows, _ in discs:
            used = used + np.asarray(abs(rows).sum(axis=0)).ravel()
        keep = np.flatnonzero(used)
        if not discs and self.quadratic is None:
            x, solved = _linear(self.linear_part[keep], equal[:, keep], at, upto[:, keep], most)
        else:
            quadratic = None if self.quadratic is None else self.quadratic[:, keep][keep]
            x, solved = _conic(
                quadratic,
                self.linear_part[keep],
                equal[:, keep],
                at,
                upto[:, keep],
                most,
                [(rows[:, keep], offset) for rows, offset in discs],
            )
        if x is None or not np.all(np.isfinite(x)):
            return None, False
        whole = np.zeros(self.width)
        whole[keep] = x
        if self.asked.objective == "max_sharpe":
            if whole[self.scale] <= 1e-12:
                return None, False
            whole = whole / whole[self.scale]
        return whole[: self.n], solved


_RISKS = ("min_volatility", "target_return", "max_sharpe", "min_tracking_error")


def _root(covariance: Floats) -> Floats:
    """F with F'F = Σ, without the directions that rounding alone gives a variance."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    kept = values > 1e-15 * max(float(values[-1]), 0.0)
    if not kept.any():
        return np.zeros((1, len(covariance)))
    return (vectors[:, kept] * np.sqrt(values[kept])).T


def _linear(
    objective: Floats, equal: Any, at: Floats, upto: Any, most: Floats
) -> tuple[Floats | None, bool]:
    linprog: Any = optimize.linprog
    found = linprog(
        objective,
        A_ub=upto,
        b_ub=most,
        A_eq=equal,
        b_eq=at,
        bounds=(None, None),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    return (None, False) if found.x is None else (np.asarray(found.x), found.status == 0)


def _conic(
    quadratic: Any,
    objective: Floats,
    equal: Any,
    at: Floats,
    upto: Any,
    most: Floats,
    discs: list[tuple[Any, Floats]],
) -> tuple[Floats | None, bool]:
    options = clarabel.DefaultSettings()
    options.verbose = False
    options.max_threads = 1
    options.tol_gap_abs = options.tol_gap_rel = options.tol_feas = 1e-10
    options.max_iter = 200
    v = len(objective)
    cones: list[Any] = [clarabel.ZeroConeT(len(at)), clarabel.NonnegativeConeT(len(most))]
    cones += [clarabel.SecondOrderConeT(rows.shape[0]) for rows, _ in discs]
    matrix = sparse.vstack([equal, upto, *(-rows for rows, _ in discs)]).tocsc()
    right = np.concatenate([at, most, *(offset for _, offset in discs)])
    if quadratic is None:
        quadratic = sparse.csc_matrix((v, v))
    found = clarabel.DefaultSolver(
        sparse.triu(quadratic).tocsc(), objective, matrix, right, cones, options
    ).solve()
    return np.array(found.x), str(found.status) in ("Solved", "AlmostSolved")
