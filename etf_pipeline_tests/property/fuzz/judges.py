"""What is wrong with our answer, judged by recomputing it and by witnesses of something better."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from etf_pipeline.portfolio import Answer, optimise
from etf_pipeline_tests.property.fuzz import truth
from etf_pipeline_tests.property.fuzz.asked import Asked
from etf_pipeline_tests.property.fuzz.limits import broken, worst
from etf_pipeline_tests.property.fuzz.reproduce import smallest, snippet

PROVEN = 1e-6  # what success promises, against the problem's unit
STEEP = 1e7  # most that a unit beyond a limit may be worth
ROUNDING = 1e-7  # of a gap: budgets are steep where they just can be met
FIGURES = 2e-8  # of an answer's figures


@dataclass(frozen=True)
class Fault:
    """What is wrong, in a few words by which faults are counted, and in detail."""

    what: str
    detail: str


def asked_of_us(asked: Asked) -> Answer:
    """Our answer; what cannot even be stated is refused by its error."""
    try:
        problem = asked.problem()
    except ValueError as error:
        return Answer(False, f"{error}")
    return optimise(problem)


def faults(asked: Asked) -> list[Fault]:
    """Everything that is wrong with our answer to one problem, in any order or unit."""
    return list(_faults(asked))


def _faults(asked: Asked) -> Iterator[Fault]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            answer = asked_of_us(asked)
        except Exception as error:  # anything that gets out is one
            yield Fault("raises", f"{type(error).__name__}: {error}")
            return
    if told:
        yield Fault("warns", f"{told[0].message} ({told[0].filename}, {told[0].lineno})")
    right = truth.best(asked)
    yield from _said(answer)
    yield from _figures(asked, answer)
    if answer.success:
        yield from _success(asked, answer, right)
    elif right.exact is not None and not may_refuse(asked, right.exact):
        yield Fault("false failure", f"{answer.message}; met by {right.exact.tolist()}")
    yield from _quotes(asked, answer)
    yield from _eased(asked, answer)
    yield from _other_words(asked, answer)


def _said(answer: Answer) -> Iterator[Fault]:
    """The message, the code and the flag say the same, in words for a reader."""
    if re.search(r"\bnan\b|\binf\b|singular matrix|traceback", answer.message, re.I):
        yield Fault("message", answer.message)
    if answer.message.startswith("optimal") and not answer.success:
        yield Fault("message says optimal without success", answer.message)
    if answer.success and (answer.weights is None or answer.code is not None):
        yield Fault("success without weights or with a code", f"{answer}")
    if answer.weights is not None and not np.all(np.isfinite(answer.weights)):
        yield Fault("weights are not finite", f"{answer.weights}")


def _figures(asked: Asked, answer: Answer) -> Iterator[Fault]:
    """Return, volatility, Sharpe ratio and CVaR are those of the weights."""
    w = answer.weights
    if w is None:
        return
    earned, vol = asked.earned(w), asked.volatility(w)
    right = {"expected_return": (earned, asked.return_unit), "volatility": (vol, asked.risk_unit)}
    if asked.objective == "min_cvar" or asked.cvar_budget is not None:
        right["cvar"] = (asked.cvar(w), asked.loss_unit)
    for name, (value, unit) in right.items():
        said = getattr(answer, name)
        if said is None or abs(said - value) > FIGURES * unit:
            yield Fault(f"{name} is not that of the weights", f"{said} for {value}")
    if answer.sharpe_ratio is not None and vol > 1e-6 * asked.risk_unit:
        ratio = (earned - asked.risk_free_rate) / vol
        if abs(answer.sharpe_ratio - ratio) > 1e-6 * max(abs(ratio), 1.0):
            yield Fault("sharpe_ratio is not that of the weights", f"{answer.sharpe_ratio}")


def _success(asked: Asked, answer: Answer, right: truth.Truth) -> Iterator[Fault]:
    """Every limit met, nothing better to be had, and a gap that covers what is left."""
    w, unit = answer.weights, truth.unit(asked)
    if w is None:
        return
    for limit in broken(asked, w):
        what = re.sub(r" (A\d+|g\d+)\b", "", limit.label)
        yield Fault(
            f"false success: {what}", f"{limit.label} by {limit.excess:.3g} of {limit.limit:.6g}"
        )
    gap = answer.optimality_gap
    if gap is None or not 0 <= gap <= PROVEN * unit * (1 + 1e-9):
        yield Fault("success with a gap that proves nothing", f"gap {gap} against {unit:.3g}")
    for better in (right.exact, right.near):
        if better is None:
            continue
        # What is beyond a limit by a little may be better by much more, where limits are steep.
        allowed = PROVEN + STEEP * max(worst(asked, better), 0.0)
        left = truth.shortfall(asked, w, better)
        if left > (allowed + _rounding(asked)) * unit:
            detail = f"{left / unit:.3g} of the unit better: {better.tolist()}"
            yield Fault("false success: not optimal", detail)
        if better is right.exact and gap is not None and left > gap + _rounding(asked) * unit:
            yield Fault("gap below the truth", f"gap {gap / unit:.3g}, truth {left / unit:.3g}")


def _rounding(asked: Asked) -> float:
    """What rounding makes of a value, against its unit: much where means hardly differ."""
    noise = 1e-15 * float(np.abs(asked.means).max())
    if asked.target_return is None or noise == 0.0:
        return ROUNDING
    return ROUNDING + noise / max(float(np.ptp(asked.means)), noise)


def may_refuse(asked: Asked, known: np.ndarray) -> bool:
    """Whether there is no greatest Sharpe ratio: nothing beats the rate, or something for free."""
    if asked.objective != "max_sharpe":
        return False
    if _for_free(asked, known) or _without_risk(asked):
        return True
    top = truth.extreme(asked, "max_return")
    if top is None:
        return True
    excess = asked.earned(top) - asked.risk_free_rate
    if excess <= 1e-7 * asked.return_unit:
        return True
    floor = asked.risk_free_rate + 1e-11 * asked.return_unit
    if asked.target_return is not None:
        floor = max(floor, asked.target_return)
    free = truth.extreme(asked, "target_return", target_return=floor)
    return free is not None and _for_free(asked, free)


def _without_risk(asked: Asked) -> bool:
    """Whether weights in the null space of the covariance earn more than the rate, by HiGHS.

    Of bounds, groups and net exposure alone; other limits are then looked at.
    """
    values, vectors = np.linalg.eigh(asked.covariance)
    risky = vectors[:, values > 1e-12 * values[-1]].T
    groups = np.array([[float(i in g.members) for i in range(asked.n)] for g in asked.groups])
    groups = groups.reshape(len(asked.groups), asked.n)
    found = optimize.linprog(
        asked.risk_free_rate - asked.means,
        A_ub=np.vstack([groups, -groups, np.ones((1, asked.n)), -np.ones((1, asked.n))]),
        b_ub=[
            *(g.upper for g in asked.groups),
            *(-g.lower for g in asked.groups),
            asked.net_exposure[1],
            -asked.net_exposure[0],
        ],
        A_eq=risky,
        b_eq=np.zeros(len(risky)),
        bounds=np.column_stack([np.broadcast_to(x, asked.n) for x in (asked.lower, asked.upper)]),
    )
    return found.x is not None and worst(asked, found.x) <= 1e-8 and _for_free(asked, found.x)


def _for_free(asked: Asked, w: np.ndarray) -> bool:
    excess = asked.earned(w) - asked.risk_free_rate
    return excess > 1e-12 * asked.return_unit and asked.volatility(w) <= 1e-6 * asked.risk_unit


# -- what a refusal quotes


def unit_of(asked: Asked, limit: str) -> float:
    """What a quoted limit is small against."""
    if limit == "target_return":
        return asked.return_unit
    return asked.loss_unit if limit == "cvar_budget" else asked.risk_unit


_NUMBER = r"(-?\d[\d.]*(?:e[-+]?\d+)?)"
QUOTED = {
    "target_return": rf"target return .*? at most {_NUMBER}",
    "risk_budget": rf"least attainable volatility {_NUMBER}",
    "cvar_budget": rf"least attainable CVaR {_NUMBER}",
    "max_tracking_error": rf"least attainable tracking error {_NUMBER}",
}


def quoted(message: str) -> dict[str, float]:
    """Limits that a refusal names as the nearest that can be met."""
    found = {name: re.search(pattern, message) for name, pattern in QUOTED.items()}
    return {name: float(match[1].rstrip(".")) for name, match in found.items() if match}


def _quotes(asked: Asked, answer: Answer) -> Iterator[Fault]:
    """Whatever number a refusal quotes, asking for it succeeds; and it is the nearest one."""
    if answer.success:
        return
    for name, number in quoted(answer.message).items():
        if getattr(asked, name) is None:
            yield Fault("quotes what was not asked for", answer.message)
            continue
        then = replace(asked, known=None, **{name: number})
        again = asked_of_us(then)
        if not again.success:
            yield Fault(f"quoted {name} fails", f"{answer.message} -> {again.message}")
            continue
        yield from (
            Fault(f"quoted {name}: {f.what}", f.detail)
            for f in _success(then, again, truth.best(then))
        )
        # Nearer to what was asked by more than six digits and the proof leave open.
        away = getattr(asked, name) - number
        step = max(0.01 * abs(away), 3e-5 * abs(number) + 1e-5 * unit_of(asked, name))
        nearer = replace(asked, known=None, **{name: number + math.copysign(step, away)})
        if step < abs(away) and truth.best(nearer).exact is not None:
            yield Fault(f"quoted {name} is not the nearest", answer.message)


_SHORT = re.compile(rf"(group (\S+)|turnover) at (most|least) {_NUMBER} \(short by {_NUMBER}\)")


def eased(asked: Asked, message: str) -> Asked | None:
    """The problem with its limits eased by what a refusal says they are short of, if it does."""
    found = _SHORT.findall(message)
    for _, group, side, _, by in found:
        if not group:
            assert asked.max_turnover is not None
            asked = replace(asked, max_turnover=asked.max_turnover + float(by))
            continue
        wider = tuple(
            replace(g, upper=g.upper + float(by))
            if g.name == group and side == "most"
            else replace(g, lower=g.lower - float(by))
            if g.name == group
            else g
            for g in asked.groups
        )
        asked = replace(asked, groups=wider)
    return replace(asked, known=None) if found else None


def _eased(asked: Asked, answer: Answer) -> Iterator[Fault]:
    """Limits that are eased by what they are said to be short of do not clash again."""
    other = None if answer.success else eased(asked, answer.message)
    if other is None:
        return
    again = asked_of_us(other)
    if _SHORT.search(again.message):
        yield Fault("short by more than it says", f"{answer.message} -> {again.message}")


# -- the same problem in other words


def _other_words(asked: Asked, answer: Answer) -> Iterator[Fault]:
    """Another order and other units change nothing but the order and the units."""
    rng = np.random.default_rng(asked.n)
    order = rng.permutation(asked.n)
    back = np.argsort(order)
    by = float(rng.choice([1 / 252, 1e-4, 1e4]))
    said = (
        ("order", asked.permuted(order), back),
        ("unit of time", asked.in_units(by), None),
        ("unit of money", asked.in_units(by, by), None),
    )
    for what, other, undo in said:
        try:
            again = asked_of_us(other)
        except Exception as error:
            yield Fault(f"{what}: raises", f"{type(error).__name__}: {error}")
            continue
        if again.success != answer.success:
            detail = f"{answer.message} / {again.message}"
            yield Fault(f"{what} changes success", detail)
            continue
        if answer.weights is None or again.weights is None or not answer.success:
            continue
        w = again.weights if undo is None else again.weights[undo]
        apart = truth.shortfall(asked, answer.weights, w)
        if abs(apart) > (2 * PROVEN + _rounding(asked)) * truth.unit(asked):
            yield Fault(f"{what} changes the value", f"{apart:.3g}")
        elif _unique(asked) and (off := float(np.abs(w - answer.weights).max())) > 1e-3:
            yield Fault(f"{what} changes the weights", f"by {off:.3g}")


def _unique(asked: Asked) -> bool:
    """Whether one portfolio is clearly better than all others: a well-conditioned risk decides."""
    if asked.objective not in ("min_volatility", "target_return", "min_tracking_error"):
        return False
    values = np.linalg.eigvalsh(asked.covariance)
    return bool(values[0] > 1e-3 * values[-1])


def _can_be_stated(asked: Asked) -> bool:
    try:
        asked.problem()
    except ValueError:
        return False
    return True


def report(asked: Asked, found: list[Fault], seed: int) -> str:
    """The faults of a problem and the smallest problem that has the first of them, as Python."""
    first, can_be = found[0].what, _can_be_stated(asked)

    def still(other: Asked) -> bool:
        return _can_be_stated(other) == can_be and any(f.what == first for f in faults(other))

    small = smallest(asked, still)
    same = [f for f in faults(small) if f.what == first]
    lines = [f"kind {asked.kind!r}, seed {seed}:", *(f"  {f.what}: {f.detail}" for f in found)]
    return "\n".join([*lines, f"smallest, {same[0].detail if same else '?'}:", snippet(small)])
