"""Draws problems by kind and seed; every limit is put where it matters."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from etf_pipeline_tests.property.fuzz import truth
from etf_pipeline_tests.property.fuzz.asked import Asked, Floats, Group, Outside
from etf_pipeline_tests.property.fuzz.estimates import SHAPES, Rng
from etf_pipeline_tests.property.fuzz.limits import worst

SCALES = (1e-8, 1e-6, 1 / 252, 1 / 52, 1 / 12, 100.0, 1e4)
OBJECTIVES = (
    "min_volatility",
    "max_return",
    "target_return",
    "max_sharpe",
    "min_cvar",
    "max_utility",
)


def _size(rng: Rng, most: int = 20) -> int:
    pick = rng.random()
    if pick < 0.05:
        return 1
    return int(rng.integers(2, 7)) if pick < 0.6 else int(rng.integers(7, max(most, 7) + 1))


def _base(rng: Rng, kind: str, shape: str | None = None, n: int | None = None) -> Asked:
    """Long-only, with bounds of their own at times; the shape is plain in two of three."""
    n = _size(rng) if n is None else n
    if shape is None:
        shape = "plain" if rng.random() < 0.6 else str(rng.choice(list(SHAPES)))
    made = SHAPES[shape](rng, n)
    n = len(made.means)
    asked = Asked(
        kind,
        made.means,
        made.covariance,
        lower=np.zeros(n),
        upper=np.ones(n),
        scenarios=made.scenarios[-250:],
        cvar_level=float(rng.choice([0.8, 0.9, 0.95])),
        known=np.full(n, 1.0 / n),
    )
    return _bounded(rng, asked) if rng.random() < 0.5 else asked


def _bounded(rng: Rng, asked: Asked) -> Asked:
    """Bounds around a portfolio, some of them touching it."""
    w, n = _portfolio(rng, asked.n), asked.n
    lower = np.where(rng.random(n) < 0.4, w * rng.choice([0.0, 0.5, 1.0], n), 0.0)
    cap = np.minimum(w + rng.choice([0.0, 0.1, 0.5], n), 1.0)
    upper = np.where(rng.random(n) < 0.4, cap, 1.0)
    if rng.random() < 0.15:  # caps or floors that hardly leave a choice, or none
        free = rng.random(n) < rng.choice([0.0, 0.2])
        if rng.random() < 0.5:
            lower, upper = np.zeros(n), np.where(free, 1.0, w)
        else:
            lower, upper = np.where(free, 0.0, w), np.ones(n)
    elif rng.random() < 0.1:  # equal caps that only corner portfolios meet
        lower, upper = np.zeros(n), np.full(n, 1.0 / np.ceil(n / 2))
        w = np.full(n, 1.0 / n)
    return replace(asked, lower=lower, upper=upper, known=w)


def _portfolio(rng: Rng, n: int, keep: float = 0.7) -> Floats:
    """Full investment in some of the assets, in round numbers at times."""
    w = rng.dirichlet(np.full(n, 0.7)) * (rng.random(n) < keep)
    if w.sum() <= 0:
        w = np.zeros(n)
        w[rng.integers(n)] = 1.0
    w = w / w.sum()
    if rng.random() < 0.5:
        w = np.round(w, 2)
        w[int(np.argmax(w))] += 1.0 - w.sum()
    return w


# -- kinds: each adds limits, around a portfolio that meets them


def _of_shape(shape: str) -> Callable[[Rng, str], Asked]:
    return lambda rng, kind: _aimed(rng, _base(rng, kind, shape))


def _singular_target(rng: Rng, kind: str) -> Asked:
    """Many portfolios have the same risk, least weights are held, and a return is to be reached."""
    n = int(rng.integers(2, 9))
    asked = _base(rng, kind, str(rng.choice(["rank one", "rank one", "few returns"])), n)
    w = _portfolio(rng, n)
    lower = np.round(np.where(rng.random(n) < 0.7, w * rng.uniform(0.1, 1.0, n), 0.0), 2)
    asked = replace(asked, lower=np.minimum(lower, w), upper=np.ones(n), known=w)
    if rng.random() < 0.4:
        return _aimed(rng, asked, "target_return")
    top, low = truth.extreme(asked, "max_return"), truth.extreme(asked, "min_volatility")
    if top is None or low is None:
        return asked
    high, least = asked.earned(top), asked.earned(low)
    target = least + float(rng.uniform(0.5, 1.0)) * (high - least)
    if rng.random() < 0.5:
        target = round(target, 4)
    known = top if target <= high else None
    return replace(asked, objective="target_return", target_return=target, known=known)


def _scaled(rng: Rng, kind: str) -> Asked:
    shape = str(rng.choice(["plain", "duplicates", "tied", "few returns"]))
    asked = _aimed(rng, _limited(rng, _base(rng, kind, shape)))
    by = float(rng.choice(SCALES))
    return asked.in_units(by) if rng.random() < 0.6 else asked.in_units(by, by)


def _shorts(rng: Rng, kind: str) -> Asked:
    return _aimed(rng, _short(rng, _base(rng, kind)))


def _short(rng: Rng, asked: Asked) -> Asked:
    n = asked.n
    least = -float(rng.choice([0.1, 0.3, 1.0]))
    w = _portfolio(rng, n)
    if n > 1:
        i, j = rng.choice(n, 2, replace=False)
        w[i] -= 0.1
        w[j] += 0.1
    lower = np.full(n, least) if rng.random() < 0.7 else np.where(rng.random(n) < 0.5, least, 0.0)
    lower, upper = np.minimum(lower, w), np.maximum(float(rng.choice([1.0, 1.5, 2.0])), w)
    return replace(asked, lower=lower, upper=upper, known=w)


def _exposed(rng: Rng, asked: Asked) -> Asked:
    """Limits on net and gross exposure."""
    asked = _short(rng, asked)
    w = asked.known
    assert w is not None
    margin = float(rng.choice([0.0, 0.05, 0.5]))
    given: dict[str, Any] = {"gross_exposure": float(np.abs(w).sum()) + margin}
    if rng.random() < 0.5:
        # nothing but shorts: 0 net, or a range
        if rng.random() < 0.3 and asked.n > 1:
            w = w - w.mean()
            given = {"gross_exposure": float(np.abs(w).sum()) + margin, "known": w}
            given["lower"] = np.minimum(asked.lower, w)
            given["upper"] = np.maximum(asked.upper, w)
        net = float(w.sum())
        wide = float(rng.choice([0.0, 0.1, 0.5]))
        given["net_exposure"] = (net - wide, net + float(rng.choice([0.0, wide])))
        given["risk_free_rate"] = asked.return_unit * float(rng.choice([0.0, 0.1]))
    return replace(asked, **given)


def _grouped(rng: Rng, asked: Asked, exact: bool | None = None) -> Asked:
    """A partition into groups, and at times one that overlaps; margins may be nothing."""
    n, w = asked.n, asked.known
    assert w is not None
    labels = rng.integers(0, int(rng.integers(1, 4)), n)
    exact = rng.random() < 0.25 if exact is None else exact
    groups = []
    for k in np.unique(labels):
        members = tuple(int(i) for i in np.flatnonzero(labels == k))
        total = float(w[list(members)].sum())
        low = total - float(rng.choice([0.0, 0.05, 1.0]))
        high = total + (0.0 if exact else float(rng.choice([0.0, 0.05, 0.3])))
        if rng.random() < 0.3:
            low = min(low, 0.0)
        groups.append(Group(f"g{k}", members, _round(low), _round(high)))
    if rng.random() < 0.3:
        members = tuple(sorted(int(i) for i in rng.choice(n, (n + 1) // 2, replace=False)))
        total = float(w[list(members)].sum())
        groups.append(Group("overlap", members, min(0.0, total), total + 0.05))
    long_only = bool(np.all(np.asarray(asked.lower) >= 0))
    if long_only:
        groups = [replace(g, lower=max(g.lower, 0.0)) for g in groups]
    return replace(asked, groups=tuple(groups))


def _round(x: float) -> float:
    """The round number that x is but for rounding noise, else x."""
    nearest = round(x, 9)
    return nearest if abs(nearest - x) < 1e-14 else x


def _held(rng: Rng, asked: Asked, how: str | None = None) -> Asked:
    """A limit on turnover: idle, binding, impossible or nothing at all."""
    w = asked.known
    assert w is not None
    how = how or str(rng.choice(["idle", "binding", "binding", "nothing", "impossible"]))
    held = _portfolio(rng, asked.n) * float(rng.choice([1.0, 1.0, 0.9]))  # some in cash
    if how == "idle":
        return replace(asked, holdings=held, max_turnover=float(rng.choice([1.0, 2.0, 5.0])))
    if how == "nothing":
        return replace(asked, holdings=w.copy(), max_turnover=0.0)
    needed = float(np.abs(w - held).sum()) / 2
    if how == "impossible":
        # what no portfolio of these bounds can do, at least where they are narrow
        return replace(asked, holdings=held, max_turnover=needed * 0.2, known=None)
    margin = float(rng.choice([0.0, 0.01, 0.1]))
    return replace(asked, holdings=held, max_turnover=needed + margin)


def _idle(rng: Rng, kind: str) -> Asked:
    """A limit that does not bind, beside a budget or a target that does, or nearly does."""
    asked = _base(rng, kind, None, int(rng.integers(2, 9)))
    w = asked.known
    assert w is not None
    everyone = tuple(range(asked.n))
    idle: list[dict[str, Any]] = [
        {"holdings": _portfolio(rng, asked.n), "max_turnover": float(rng.choice([1.0, 2.0]))},
        {"groups": (Group("all", everyone, 0.0, float(rng.choice([1.0, 1.5]))),)},
        {"groups": (Group("most", everyone[: asked.n // 2], 0.0, 1.0),)},
        {"benchmark": w, "max_tracking_error": 100 * asked.risk_unit},
        {"benchmark": w, "max_active_weight": 1.0},
        {"gross_exposure": float(rng.choice([1.0, 2.0]))},
    ]
    asked = replace(asked, **idle[int(rng.integers(len(idle)))])
    return _aimed(rng, asked, str(rng.choice(["max_return", "target_return", *OBJECTIVES])))


def _costly(rng: Rng, asked: Asked) -> Asked:
    held = _portfolio(rng, asked.n) if asked.holdings is None else asked.holdings
    cost = asked.return_unit * float(rng.choice([1e-4, 1e-2, 0.1, 1.0]))
    return replace(asked, holdings=held, cost_rate=cost)


def _benchmark(rng: Rng, asked: Asked) -> Asked:
    """A benchmark: weights over the assets, or one outside of them."""
    if rng.random() < 0.7:
        return replace(asked, benchmark=_portfolio(rng, asked.n))
    # a portfolio of the assets and something else
    inner = _portfolio(rng, asked.n)
    own = 0.2 * asked.risk_unit
    with_it = asked.covariance @ inner
    variance = float(inner @ with_it) + own**2
    return replace(asked, benchmark=Outside(with_it, variance, float(asked.means @ inner)))


def _active(rng: Rng, asked: Asked, which: str | None = None) -> Asked:
    """A ceiling on the tracking error, on active weights or limits on beta."""
    asked = _benchmark(rng, asked) if asked.benchmark is None else asked
    w = asked.known
    assert w is not None
    kinds = ["tracking", "beta"] + ["active"] * (not isinstance(asked.benchmark, Outside))
    which = which or str(rng.choice(kinds))
    if which == "active" and not isinstance(asked.benchmark, Outside):
        assert asked.benchmark is not None
        most = float(np.abs(w - asked.benchmark).max()) + float(rng.choice([0.0, 0.02, 0.5]))
        return replace(asked, max_active_weight=most)
    if which == "beta" and asked.benchmark_covariances()[1] > 1e-9 * asked.risk_unit**2:
        beta, wide = asked.portfolio_beta(w), float(rng.choice([0.02, 0.2]))
        low = beta - wide if rng.random() < 0.6 else -50.0
        high = beta + wide if rng.random() < 0.7 or low == -50.0 else 50.0
        return replace(asked, beta=(float(low), float(high)))
    least = truth.extreme(asked, "min_tracking_error")
    if least is None:
        return asked
    near, far = asked.tracking_error(least), asked.tracking_error(w)
    most, met = _place(rng, near, max(far, near * 1.5), asked.risk_unit)
    return replace(asked, max_tracking_error=most, known=least if met else None)


def _limited(rng: Rng, asked: Asked, count: int = 1) -> Asked:
    """One or more limits at once, those that need no others first."""
    more = [
        lambda a: _grouped(rng, a),
        lambda a: _costly(rng, a),
        lambda a: _held(rng, a, str(rng.choice(["idle", "binding", "nothing"]))),
        lambda a: _active(rng, a),
    ]
    if rng.random() < 0.3:
        asked = _short(rng, asked) if rng.random() < 0.6 else _exposed(rng, asked)
    for k in rng.permutation(len(more))[:count]:
        if asked.known is not None:
            asked = more[k](asked)
    return asked


def _place(rng: Rng, low: float, high: float, unit: float) -> tuple[float, bool]:
    """A ceiling between the least there is and where it stops to bind, and if it can be met."""
    pick, wide = rng.random(), max(high - low, 0.0)
    if abs(low) < 1e-6 * unit:  # at 0, where rounding decides what a variance is
        return max(low + wide * float(rng.uniform(0.02, 0.98)), 1e-5 * unit), True
    if pick < 0.55:
        return low + wide * float(rng.uniform(0.02, 0.98)), True
    if pick < 0.65:
        return low, True
    if pick < 0.75:
        return low + abs(low) * float(rng.choice([1e-9, 1e-7, 1e-5, 1e-3])), True
    if pick < 0.85:
        return low - abs(low) * float(rng.choice([1e-5, 1e-3, 0.3])), False
    return high + wide * float(rng.choice([0.0, 0.1])), True


# -- objectives


def _aimed(rng: Rng, asked: Asked, objective: str | None = None) -> Asked:
    """An objective, and the limits that go with it, from just impossible to idle."""
    objective = objective or str(rng.choice(OBJECTIVES))
    if objective == "max_utility":
        size = asked.return_unit / asked.risk_unit**2
        aversion = size * float(rng.choice([0.01, 0.3, 1.0, 10.0, 1000.0]))
        return replace(asked, objective=objective, risk_aversion=aversion)
    if objective in ("min_volatility", "min_tracking_error"):
        return replace(asked, objective=objective)
    top, low = truth.extreme(asked, "max_return"), truth.extreme(asked, "min_volatility")
    if top is None or low is None:
        return asked
    if objective == "max_sharpe":
        between = asked.earned(low), asked.earned(top)
        rate = between[1] - asked.return_unit * float(rng.choice([2.0, 1.0, 0.3, 0.05, -0.1]))
        return replace(asked, objective=objective, risk_free_rate=rate)
    if objective == "max_return":
        return _spending(rng, asked, top, low)
    if objective == "target_return" or rng.random() < 0.5:
        target, met = _place(rng, -asked.earned(top), -asked.earned(low), asked.return_unit)
        known = top if met else None
        asked = replace(asked, objective=objective, target_return=-target, known=known)
        if objective == "target_return" and met and rng.random() < 0.25:
            # A ceiling on the volatility too.
            found = truth.best(asked).exact
            if found is not None:
                high = asked.volatility(top)
                budget, met = _place(rng, asked.volatility(found), high, asked.risk_unit)
                known = found if met else None
                asked = replace(asked, risk_budget=budget, known=known)
        return asked
    return replace(asked, objective="min_cvar")


def _spending(rng: Rng, asked: Asked, top: Floats, low: Floats) -> Asked:
    """Greatest return, free or under a ceiling on volatility or CVaR."""
    asked, pick = replace(asked, objective="max_return"), rng.random()
    if pick < 0.15:
        return asked
    if pick < 0.6 or asked.scenarios is None:
        budget, met = _place(rng, asked.volatility(low), asked.volatility(top), asked.risk_unit)
        return replace(asked, risk_budget=budget, known=low if met else None)
    least = truth.extreme(asked, "min_cvar")
    if least is None:
        return asked
    budget, met = _place(rng, asked.cvar(least), asked.cvar(top), asked.loss_unit)
    return replace(asked, cvar_budget=budget, known=least if met else None)


def _tails(shape: str | None) -> Callable[[Rng, str], Asked]:
    def made(rng: Rng, kind: str) -> Asked:
        asked = _base(rng, kind, shape)
        if rng.random() < 0.4:
            asked = _limited(rng, asked)
        top, low = truth.extreme(asked, "max_return"), truth.extreme(asked, "min_volatility")
        if rng.random() < 0.4 or top is None or low is None:
            return _aimed(rng, asked, "min_cvar")
        for _ in range(20):
            spent = _spending(rng, asked, top, low)
            if spent.cvar_budget is not None:
                return spent
        return asked

    return made


def _few(rng: Rng, kind: str) -> Asked:
    """At most so many holdings, each of a least size; few enough to try every choice."""
    n = int(rng.integers(2, 6))
    asked = _base(rng, kind, None, n)
    asked = replace(asked, lower=np.zeros(n), scenarios=asked.scenarios[:40])  # type: ignore[index]
    most = int(rng.integers(1, n + 1))
    w = np.zeros(n)
    w[rng.choice(n, int(rng.integers(1, most + 1)), replace=False)] = 1.0
    w = w / w.sum()
    asked = replace(asked, upper=np.maximum(asked.upper, w), known=w)
    if rng.random() < 0.3:
        asked = _limited(rng, asked) if rng.random() < 0.5 else _grouped(rng, asked)
        asked = replace(asked, lower=np.maximum(asked.lower, 0.0))
    given: dict[str, Any] = {}
    if rng.random() < 0.8:
        given["max_holdings"] = most
    if rng.random() < 0.5 or not given:
        given["min_position"] = float(rng.choice([0.05, 0.2, 1.0 / most]))
    # Aimed with them, so that budgets are where they matter.
    return _aimed(rng, replace(asked, **given))


def _anything(rng: Rng, kind: str) -> Asked:
    """Several limits, and budgets of return, volatility and CVaR whatever the objective."""
    asked = _limited(rng, _base(rng, kind), int(rng.integers(2, 5)))
    asked = _aimed(rng, asked)
    if asked.known is None or rng.random() < 0.5:
        return asked
    return _besides(rng, asked)


def _besides(rng: Rng, asked: Asked) -> Asked:
    """A limit that does not come with the objective, met by the known portfolio."""
    w = asked.known
    assert w is not None
    which = str(rng.choice(["return", "volatility", "cvar"]))
    margin = float(rng.choice([0.01, 0.1, 0.5]))
    given: dict[str, Any] = {}
    # Least volatility that reaches a return has a name of its own, and so has the reverse.
    named = {"return": ("min_volatility", "max_return"), "volatility": ("min_volatility",)}
    named["cvar"] = ("min_cvar",)
    if asked.objective in named.get(which, ()):
        return asked
    if which == "return" and asked.target_return is None:
        given["target_return"] = asked.earned(w) - margin * asked.return_unit
    elif which == "volatility" and asked.risk_budget is None:
        given["risk_budget"] = asked.volatility(w) + margin * asked.risk_unit
    elif which == "cvar" and asked.cvar_budget is None:
        given["cvar_budget"] = asked.cvar(w) + margin * asked.loss_unit
    return replace(asked, **given)


def _ties(rng: Rng, kind: str) -> Asked:
    """Blocks of tied means, caps that only corners meet, rows that repeat others (N 20–240).

    What stops a method that walks from corner to corner; the idea is that of cvxcla's tests.
    """
    n = int(rng.choice([20, 40, 80, 240], p=[0.4, 0.3, 0.2, 0.1]))
    made = SHAPES[str(rng.choice(["plain", "duplicates"]))](rng, n)
    style = rng.random()
    if style < 0.4:
        means = np.resize(np.repeat(rng.normal(0.05, 0.1, max(1, n // 4)), 4), n)
    else:
        means = np.round(made.means, 1 if style < 0.8 else 2)
    count = int(rng.integers(2, n // 2))
    upper = np.full(n, 1.0 / count) if rng.random() < 0.5 else np.full(n, rng.uniform(2 / n, 1.0))
    asked = Asked(
        kind,
        means,
        made.covariance,
        lower=np.zeros(n),
        upper=upper,
        scenarios=made.scenarios[:60],
        known=np.full(n, 1.0 / n),
    )
    return _aimed(rng, _redundant(rng, asked) if rng.random() < 0.5 else asked)


def _redundant(rng: Rng, asked: Asked) -> Asked:
    """Groups that say what bounds, full investment or another group says already."""
    upper = np.broadcast_to(asked.upper, asked.n)
    i, everyone = int(rng.integers(asked.n)), tuple(range(asked.n))
    half = everyone[: (asked.n + 1) // 2]
    most = min(float(upper[list(half)].sum()), 1.0)
    said = (
        Group("one", (i,), 0.0, float(upper[i])),
        Group("all", everyone, 1.0, 1.0),
        Group("half", half, 0.0, most),
        Group("half again", half, 0.0, most),
        Group("any", everyone, 0.0, 2.0),
    )
    chosen = rng.choice(len(said), int(rng.integers(1, len(said) + 1)), replace=False)
    return replace(asked, groups=tuple(said[int(k)] for k in sorted(chosen)))


def _large(rng: Rng, kind: str) -> Asked:
    asked = _base(rng, kind, None, int(rng.choice([50, 100, 160, 240])))
    asked = replace(asked, scenarios=asked.scenarios[:60])  # type: ignore[index]
    return _aimed(rng, _limited(rng, asked) if rng.random() < 0.6 else asked)


def _with(limit: Callable[[Rng, Asked], Asked], objective: str | None = None) -> Any:
    return lambda rng, kind: _aimed(rng, limit(rng, _base(rng, kind)), objective)


def _both(*limits: Callable[[Rng, Asked], Asked]) -> Callable[[Rng, Asked], Asked]:
    def made(rng: Rng, asked: Asked) -> Asked:
        for limit in limits:
            asked = limit(rng, asked)
        return asked

    return made


KINDS: dict[str, Callable[[Rng, str], Asked]] = {
    **{shape: _of_shape(shape) for shape in SHAPES},
    "singular targets": _singular_target,
    "scaled": _scaled,
    "shorts": _shorts,
    "exposures": _with(_exposed),
    "groups": _with(_grouped),
    "groups that leave no room": _with(lambda rng, a: _grouped(rng, a, True)),
    "groups with shorts": _with(_both(_short, _grouped)),
    "turnover": _with(_held),
    "turnover with groups": _with(_both(_grouped, lambda rng, a: _held(rng, a))),
    "idle limits": _idle,
    "costs": _with(_costly),
    "cvar": _tails(None),
    "cvar of cash funds": _tails("cash funds"),
    "tracking error": _with(lambda rng, a: _active(rng, a, "tracking")),
    "least tracking error": _with(_both(_grouped, _benchmark), "min_tracking_error"),
    "active weights": _with(lambda rng, a: _active(rng, a, "active")),
    "beta": _with(lambda rng, a: _active(rng, a, "beta")),
    "two limits": lambda rng, kind: _aimed(rng, _limited(rng, _base(rng, kind), 2)),
    "few holdings": _few,
    "rows that repeat others": _with(_redundant),
    "anything": _anything,
    "ties at corners": _ties,
    "large": _large,
}
# Large problems, and those that are solved many times over, are fewer than the others.
SELDOM = {"large": 0.1, "ties at corners": 0.1, "few holdings": 0.5}


def draw(kind: str, seed: int) -> Asked:
    """The problem of a kind and a seed, always the same."""
    rng = np.random.default_rng([zlib.crc32(kind.encode()), seed])
    asked = KINDS[kind](rng, kind)
    if asked.objective != "min_cvar" and asked.cvar_budget is None:
        asked = replace(asked, scenarios=None)
    if asked.known is not None and worst(asked, asked.known) > truth.STRICT:
        asked = replace(asked, known=None)
    return asked
