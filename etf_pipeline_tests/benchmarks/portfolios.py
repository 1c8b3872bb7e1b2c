"""Optimisation against PyPortfolioOpt and skfolio: time at a stated accuracy, and memory."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from etf_pipeline_tests.benchmarks.memory import peak_mib

SIZES = (10, 50, 150, 500)
REPEATS = {10: 5, 50: 5, 150: 3, 500: 2}
LIMITED = (250, 500, 1000)
GROUPS = 10


def sample(n: int) -> Any:
    """Five years of daily returns with one common factor, shape (1260, n)."""
    rng = np.random.default_rng(n)
    return rng.normal(0.0004, 0.01, (1260, n)) + rng.normal(0, 0.007, (1260, 1))


def estimates(n: int) -> tuple[Any, Any]:
    """Means and covariance of the sample, annualised."""
    returns = sample(n)
    return returns.mean(0) * 252, np.cov(returns, rowvar=False) * 252


def names_of(n: int) -> tuple[str, ...]:
    return tuple(f"T{i:04d}" for i in range(n))


def best(work: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def peak() -> float:
    """Most memory that this process had, in GB."""
    return peak_mib() / 1024


# -- bounds alone


def compare(n: int) -> dict[str, Any]:
    """Seconds of both for a risk budget and for the best Sharpe ratio, and our gaps."""
    from pypfopt import EfficientFrontier

    from etf_pipeline.portfolio import optimise, stated

    means, covariance = estimates(n)
    names = names_of(n)
    low = optimise(stated(means, covariance, names))
    top = optimise(stated(means, covariance, names, "max_return"))
    budget = (low.volatility + top.volatility) / 2
    asked = {
        "risk budget": (
            lambda: optimise(stated(means, covariance, names, "max_return", risk_budget=budget)),
            lambda: EfficientFrontier(means, covariance).efficient_risk(budget),
        ),
        "max Sharpe": (
            lambda: optimise(stated(means, covariance, names, "max_sharpe")),
            lambda: EfficientFrontier(means, covariance).max_sharpe(risk_free_rate=0.0),
        ),
    }
    found = {}
    for what, (ours, theirs) in asked.items():
        answer = ours()
        assert answer.success
        times = REPEATS[n]
        try:
            theirs()
        except Exception as error:  # its solver gives up at some sizes
            found[what] = {
                "failed": f"{type(error).__name__}",
                "ours": best(ours, times),
                "gap": answer.optimality_gap,
            }
            continue
        found[what] = {
            "ours": best(ours, times),
            "theirs": best(theirs, times),
            "gap": answer.optimality_gap,
        }
    return found


def memory(n: int) -> dict[str, Any]:
    """Memory of bounds alone, the critical line and its proof."""
    from etf_pipeline.portfolio import optimise, stated

    means, covariance = estimates(n)
    before = peak()
    answer = optimise(stated(means, covariance, names_of(n), "max_sharpe", upper=0.1))
    assert answer.success, answer.message
    return {"before": before, "peak": peak(), "gap": answer.optimality_gap}


# -- groups, turnover, active risk


class _Case:
    """One problem for three libraries: its limits, its value, and how each is asked."""

    def __init__(self, kind: str, n: int) -> None:
        self.kind, self.n = kind, n
        self.returns = sample(n)
        self.means, self.covariance = self.returns.mean(0) * 252, np.cov(self.returns.T) * 252
        self.names = names_of(n)
        self.members = [range(k, n, GROUPS) for k in range(GROUPS)]
        # Every second group is to be small, and every group is held.
        self.upper = [0.04 if k % 2 else 1.0 for k in range(GROUPS)]
        self.start = np.full(n, 1.0 / n)
        self.turnover = 0.3
        self.ceiling = 0.02  # a tracking error, a year

    def value(self, w: Any) -> float:
        """The less the better: a volatility, or the return lost where active risk is limited."""
        if self.kind == "active risk":
            return -float(self.means @ w)
        return float(np.sqrt(w @ self.covariance @ w))

    def violation(self, w: Any) -> float:
        """The greatest excess over any limit, in weight or relative to the limit."""
        over = [abs(w.sum() - 1.0), float(-w.min()), 0.0]
        if self.kind == "groups":
            for members, upper in zip(self.members, self.upper, strict=True):
                total = w[list(members)].sum()
                over += [total - upper, 0.01 - total]
        if self.kind == "turnover":
            over.append(np.abs(w - self.start).sum() / 2 - self.turnover)
        if self.kind == "active risk":
            away = w - self.start
            over.append(float(np.sqrt(away @ self.covariance @ away)) / self.ceiling - 1.0)
        return float(max(over))

    def ours(self) -> Any:
        from etf_pipeline.portfolio import GroupLimit, optimise, stated

        limits: dict[str, Any] = {}
        objective: Any = "min_volatility"
        if self.kind == "groups":
            limits["groups"] = [
                GroupLimit(f"g{k}", tuple(self.names[i] for i in members), 0.01, upper)
                for k, (members, upper) in enumerate(zip(self.members, self.upper, strict=True))
            ]
        elif self.kind == "turnover":
            limits |= {"holdings": self.start, "max_turnover": self.turnover}
        else:
            objective = "max_return"
            limits |= {"benchmark": self.start, "max_tracking_error": self.ceiling}
        answer = optimise(stated(self.means, self.covariance, self.names, objective, **limits))
        assert answer.success, answer.message
        return answer.weights

    def pypfopt(self) -> Any:
        import cvxpy
        from pypfopt import EfficientFrontier

        asked = EfficientFrontier(self.means, self.covariance, solver="CLARABEL")
        if self.kind == "groups":
            for members, upper in zip(self.members, self.upper, strict=True):
                index = list(members)
                asked.add_constraint(lambda w, i=index: cvxpy.sum(w[i]) >= 0.01)
                asked.add_constraint(lambda w, i=index, u=upper: cvxpy.sum(w[i]) <= u)
        elif self.kind == "turnover":
            asked.add_constraint(lambda w: cvxpy.norm(w - self.start, 1) <= 2 * self.turnover)
        else:
            sigma = cvxpy.psd_wrap(self.covariance)
            asked.add_constraint(
                lambda w: cvxpy.quad_form(w - self.start, sigma) <= self.ceiling**2
            )
            found = asked.convex_objective(lambda w: -(w @ self.means))
            return np.array(list(found.values()))
        return np.array(list(asked.min_volatility().values()))

    def skfolio(self) -> Any:
        import cvxpy
        from skfolio.optimization import MeanRisk, ObjectiveFunction

        given: dict[str, Any] = {"prior_estimator": _prior(self), "solver": "CLARABEL"}
        index = None
        if self.kind == "groups":
            given["groups"] = [[f"g{i % GROUPS}" for i in range(self.n)]]
            given["linear_constraints"] = [f"g{k} >= 0.01" for k in range(GROUPS)] + [
                f"g{k} <= {u}" for k, u in enumerate(self.upper) if u < 1
            ]
        elif self.kind == "turnover":
            given["add_constraints"] = lambda w: cvxpy.norm(w - self.start, 1) <= 2 * self.turnover
        else:
            given["objective_function"] = ObjectiveFunction.MAXIMIZE_RETURN
            # Theirs is the root mean square of differences: of demeaned returns it is ours.
            given["max_tracking_error"] = self.ceiling / np.sqrt(252)
            index = (self.returns - self.returns.mean(0)) @ self.start
        return MeanRisk(**given).fit(self.returns, index).weights_


def _prior(case: _Case) -> Any:
    """The estimates as they are, so that estimating is nobody's time."""
    from skfolio.prior import BasePrior, ReturnDistribution

    class Given(BasePrior):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

        def fit(self, X: Any, y: Any = None, **_: Any) -> Any:
            self.return_distribution_ = ReturnDistribution(
                mu=case.returns.mean(0),
                covariance=case.covariance / 252,
                returns=case.returns - case.returns.mean(0),
            )
            return self

    return Given()


def limited(kind: str, n: int) -> dict[str, Any]:
    """Seconds and accuracy of the three: by how much the value is worse, and limits are broken."""
    case = _Case(kind, n)
    found: dict[str, Any] = {}
    answers = {}
    for who in ("ours", "pypfopt", "skfolio"):
        work = getattr(case, who)
        times = 3 if who == "ours" else (1 if n >= 1000 else 2)
        try:
            answers[who] = work()
            found[who] = {"seconds": best(work, times)}
        except Exception as error:  # their solvers give up at some sizes
            found[who] = {"failed": f"{type(error).__name__}: {error}"[:80]}
    # What breaks limits by more than 1e-6 is no standard to measure against.
    kept = [w for w in answers.values() if case.violation(w) <= 1e-6]
    top = min(case.value(w) for w in kept)
    for who, w in answers.items():
        worse = (case.value(w) - top) / max(abs(top), 1e-12)
        found[who] |= {"worse": max(worse, 0.0), "over": max(case.violation(w), 0.0)}
    return found


def three(kind: str) -> dict[str, Any]:
    """Three assets: seconds without and with a limit."""
    from etf_pipeline.portfolio import GroupLimit, optimise, stated

    means, covariance = estimates(3)
    names = names_of(3)
    limits = {
        "group": {"groups": (GroupLimit("pair", names[:2], 0.2, 0.5),)},
        "turnover": {"holdings": np.full(3, 1 / 3), "max_turnover": 0.1},
        "tracking error": {"benchmark": np.full(3, 1 / 3), "max_tracking_error": 0.02},
    }[kind]

    def ask(**given: Any) -> Any:
        answer = optimise(stated(means, covariance, names, "max_sharpe", **given))
        assert answer.success, answer.message
        return answer

    ask(), ask(**limits)
    return {"without": best(ask, 30), "with": best(lambda: ask(**limits), 30)}


# -- hierarchical risk parity, CVaR


def hrp(n: int) -> dict[str, Any]:
    """Seconds of both, and our memory before theirs is even imported."""
    from etf_pipeline.portfolio import optimise, stated

    returns = sample(n)
    means, covariance = returns.mean(0), np.cov(returns.T)
    names = names_of(n)
    before = peak()

    def ours() -> Any:
        answer = optimise(stated(means, covariance, names, "hrp"))
        assert answer.success, answer.message

    ours()
    found = {"before": before, "peak": peak()}
    if n > 500:
        return found | {"ours": best(ours, 1)}
    import pandas as pd
    from pypfopt import HRPOpt

    frame = pd.DataFrame(covariance, names, names)
    theirs = best(lambda: HRPOpt(cov_matrix=frame).optimize(), 3)
    return found | {"ours": best(ours, 3), "theirs": theirs}


def cvar(n: int) -> dict[str, Any]:
    """Least CVaR over 1,260 scenarios: seconds, and the CVaR that each has."""
    import pandas as pd
    from pypfopt import EfficientCVaR
    from skfolio import RiskMeasure
    from skfolio.optimization import MeanRisk

    from etf_pipeline.portfolio import optimise, stated

    scenarios = sample(n)
    means, covariance = scenarios.mean(0), np.cov(scenarios.T)
    frame = pd.DataFrame(scenarios, columns=names_of(n))

    def ours() -> Any:
        answer = optimise(stated(means, covariance, names_of(n), "min_cvar", scenarios=scenarios))
        assert answer.success, answer.message
        return answer.weights

    def pypfopt() -> Any:
        return np.array(list(EfficientCVaR(means, frame, solver="CLARABEL").min_cvar().values()))

    def skfolio() -> Any:
        return MeanRisk(risk_measure=RiskMeasure.CVAR, solver="CLARABEL").fit(frame).weights_

    def loss(w: Any) -> float:
        return float(np.sort(-(scenarios @ w))[-63:].mean())  # 5 % of 1,260

    found: dict[str, Any] = {}
    for who, work in (("ours", ours), ("pypfopt", pypfopt), ("skfolio", skfolio)):
        w = work()
        found[who] = {
            "seconds": best(work, 2),
            "value": loss(w),
            "over": max(abs(w.sum() - 1), -w.min(), 0),
        }
    top = min(f["value"] for f in found.values() if f["over"] <= 1e-6)
    for f in found.values():
        f["worse"] = max((f.pop("value") - top) / top, 0.0)
    return found


# -- the report


def report(folder: Path, child: Callable[..., dict[str, Any]], line: Callable[..., None]) -> None:
    """Print one line per size and what is asked."""
    for n in SIZES:
        for what, t in child("portfolios", "compare", str(n)).items():
            aim = ">= 15" if n == 500 else ">= 4"
            if "failed" in t:
                print(
                    f"PyPortfolioOpt fails ({t['failed']}): {what}, N = {n}; ours {t['ours']:.4f} s"
                )
                continue
            line(
                f"PyPortfolioOpt / ours, {what}, N = {n}",
                t["theirs"] / t["ours"],
                "x",
                aim,
                f"{t['theirs']:.4f} s / {t['ours']:.4f} s, gap {t['gap']:.1e}",
            )
    for kind in ("groups", "turnover", "active risk"):
        for n in LIMITED:
            _beside(f"{kind}, N = {n}", child("portfolios", "limited", kind, str(n)), ">= 2", line)
    for kind in ("group", "turnover", "tracking error"):
        t = child("portfolios", "three", kind)
        detail = f"{t['with'] * 1e3:.2f} ms / {t['without'] * 1e3:.2f} ms"
        line(f"three assets, {kind} / none", t["with"] / t["without"], "x", "<= 3", detail)
    t = child("portfolios", "hrp", "500")
    detail = f"{t['theirs']:.3f} s / {t['ours']:.3f} s"
    line("PyPortfolioOpt / ours, HRP, N = 500", t["theirs"] / t["ours"], "x", ">= 1", detail)
    t = child("portfolios", "hrp", "2000")
    detail = f"{t['ours']:.2f} s; {t['before']:.2f} GB before"
    line("memory, HRP, N = 2000", t["peak"], "GB", "<= 0.5", detail)
    _beside("CVaR, 150 x 1260", child("portfolios", "cvar", "150"), ">= 1", line)
    t = child("portfolios", "memory", "2000")
    line("memory, bounds, N = 2000", t["peak"], "GB", "<= 1", f"{t['before']:.2f} GB before")


def _beside(what: str, found: dict[str, Any], aim: str, line: Callable[..., None]) -> None:
    """A line for each of the others, with the accuracy of both."""

    def accuracy(t: dict[str, Any]) -> str:
        return f"{t['seconds']:.3f} s (worse by {t['worse']:.0e}, over by {t['over']:.0e})"

    ours = found.pop("ours")
    if "failed" in ours:
        raise SystemExit(f"{what}: {ours['failed']}")
    for who, t in found.items():
        title = {"pypfopt": "PyPortfolioOpt", "skfolio": "skfolio"}[who]
        if "failed" in t:
            print(f"{title} fails ({t['failed']}): {what}; ours {accuracy(ours)}")
            continue
        ratio = t["seconds"] / ours["seconds"]
        line(f"{title} / ours, {what}", ratio, "x", aim, f"{accuracy(t)} / {accuracy(ours)}")


_WORK: dict[str, Callable[..., dict[str, Any]]] = {
    "compare": compare,
    "limited": limited,
    "three": three,
    "hrp": hrp,
    "cvar": cvar,
    "memory": memory,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    given = [int(x) if x.isdigit() else x for x in sys.argv[2:]]
    print(json.dumps(_WORK[sys.argv[1]](*given)))
