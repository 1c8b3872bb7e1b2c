"""Makes a failing problem small, and prints it as a few lines of Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from etf_pipeline_tests.property.fuzz.asked import Asked

_NOT_AT_ALL: dict[str, Any] = {
    "groups": (),
    "max_turnover": None,
    "cost_rate": 0.0,
    "max_tracking_error": None,
    "max_active_weight": None,
    "beta": None,
    "benchmark": None,
    "holdings": None,
    "gross_exposure": None,
    "max_holdings": None,
    "min_position": None,
    "risk_budget": None,
    "cvar_budget": None,
    "target_return": None,
    "risk_free_rate": 0.0,
}


def smallest(asked: Asked, fails: Callable[[Asked], bool], seconds: float = 20.0) -> Asked:
    """A simpler problem that fails too: fewer limits, fewer assets, rounder numbers."""
    until = time.monotonic() + seconds
    progress = True
    while progress:
        progress = False
        for simpler in _simpler(asked):
            if time.monotonic() > until:
                return asked
            try:
                failed = fails(simpler)
            except Exception:  # what is no problem at all is not simpler
                continue
            if failed:
                asked, progress = simpler, True
                break
    return asked


def _simpler(asked: Asked) -> Iterator[Asked]:
    for name, nothing in _NOT_AT_ALL.items():
        value = getattr(asked, name)
        if value is not None and (isinstance(value, np.ndarray) or value != nothing):
            yield replace(asked, **{name: nothing})
    for group in asked.groups:
        yield replace(asked, groups=tuple(g for g in asked.groups if g is not group))
    if asked.n > 1:
        for i in range(asked.n):
            yield asked.without(i)
    t = 0 if asked.scenarios is None else len(asked.scenarios)
    if t > 4:
        assert asked.scenarios is not None
        yield replace(asked, scenarios=asked.scenarios[: t // 2], known=None)
        yield replace(asked, scenarios=asked.scenarios[t // 2 :], known=None)
    for name, plain in (("lower", 0.0), ("upper", 1.0)):
        value = np.broadcast_to(getattr(asked, name), (asked.n,))
        for i in np.flatnonzero(value != plain):
            changed = value.copy()
            changed[i] = plain
            yield replace(asked, known=None, **{name: changed})
    for name in ("means", "covariance", "scenarios", "lower", "upper", "holdings", "benchmark"):
        value = getattr(asked, name)
        if isinstance(value, np.ndarray):
            for digits in (1, 2, 3):
                rounder = _rounded(value, digits)
                if not np.array_equal(rounder, value):
                    yield replace(asked, known=None, **{name: rounder})
                    break


def _rounded(values: Any, digits: int) -> Any:
    """Values to some digits of the largest one."""
    size = float(np.abs(values).max())
    return values if size == 0 else np.round(values, digits - 1 - int(np.floor(np.log10(size))))


def snippet(asked: Asked) -> str:
    """Python that states and solves the problem."""
    lines = [
        "import numpy as np",
        "from etf_pipeline.portfolio import Benchmark, GroupLimit, optimise, stated",
        "inf = np.inf",
        "",
        "print(optimise(stated(",
        f"    {_text(asked.means)},",
        f"    {_text(asked.covariance)},",
        f"    {asked.names!r},",
        f"    {asked.objective!r},",
    ]
    lines += [f"    {name}={_text(value)}," for name, value in asked.given().items()]
    return "\n".join([*lines, ")))"])


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"np.array({value.tolist()!r})"
    if type(value).__name__ == "Benchmark":
        return (
            f"Benchmark({_text(value.covariances)}, {float(value.variance)!r}, "
            f"{float(value.mean)!r})"
        )
    return repr(value)
