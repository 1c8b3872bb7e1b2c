"""Whether final weights meet every limit of a problem: by definition, without any solver's part."""

from __future__ import annotations

import numpy as np

from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.problem import Problem

FEASIBLE = 1e-9  # of a limit's own size


def violations(problem: Problem, weights: Floats, tolerance: float = FEASIBLE) -> list[str]:
    """What weights (N,) break, in words; empty when they meet every limit within `tolerance`."""
    if not np.all(np.isfinite(weights)):
        return ["weights that are not finite"]
    size = max(1.0, float(np.abs(weights).sum()))
    found = []
    least, most = problem.net_exposure
    total = float(weights.sum())
    if not least - tolerance * size <= total <= most + tolerance * size:
        found.append(f"weights sum to {total:.12g}")
    beyond = np.maximum(weights - problem.upper, problem.lower - weights)
    found += [
        f"{problem.names[i]} at {weights[i]:.9g} is not within its bounds"
        for i in np.flatnonzero(beyond > tolerance * size)
    ]
    for limit in problem.limits:
        excess = limit.excess(problem, weights)
        if not excess <= tolerance:
            found.append(f"{limit.name} is not met, by {excess:.3g} of its size")
    return found


def allowed(problem: Problem, weights: Floats, tolerance: float = FEASIBLE) -> bool:
    """Whether weights (N,) meet every limit within `tolerance`, relative to its size."""
    return not violations(problem, weights, tolerance)
