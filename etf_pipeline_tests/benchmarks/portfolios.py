"""Optimisation against PyPortfolioOpt, at four sizes."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (10, 50, 150, 500)
REPEATS = {10: 5, 50: 5, 150: 3, 500: 2}


def estimates(n: int) -> tuple[Any, Any]:
    """Means and covariance of a five-year, one-factor sample, annualised."""
    rng = np.random.default_rng(n)
    returns = rng.normal(0.0004, 0.01, (1260, n)) + rng.normal(0, 0.007, (1260, 1))
    return returns.mean(0) * 252, np.cov(returns, rowvar=False) * 252


def best(work: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def compare(n: int) -> dict[str, Any]:
    """Seconds of both for a risk budget and for the best Sharpe ratio, and our gaps."""
    warnings.simplefilter("ignore")
    from pypfopt import EfficientFrontier

    from etf_pipeline.portfolio import optimise, stated

    means, covariance = estimates(n)
    names = tuple(f"T{i:03d}" for i in range(n))
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


def report(folder: Path, child: Callable[..., dict[str, Any]], line: Callable[..., None]) -> None:
    """Print one line per size and objective."""
    for n in SIZES:
        for what, t in child("portfolios", str(n)).items():
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


if __name__ == "__main__":
    print(json.dumps(compare(int(sys.argv[1]))))
