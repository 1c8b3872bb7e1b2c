"""Portfolios of a file that others of it are measured against: which, in what order, and in words.

A benchmark that is a text is a ticker or the name of a portfolio. What reads a file makes weights
of the ticker, so that a text that is left names a portfolio.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from etf_pipeline.model.portfolios import PortfolioSpec

_MOST_TOLD = 10  # weights in a remark
_NO_CASH = 1e-9  # how far from 1 weights sum that leave none


def benchmark_portfolio(
    spec: PortfolioSpec, known: Mapping[str, PortfolioSpec]
) -> PortfolioSpec | None:
    """The portfolio that one is measured against; None where that is no portfolio, or nothing."""
    return known.get(spec.benchmark) if isinstance(spec.benchmark, str) else None


def benchmarks_first(specs: Iterable[PortfolioSpec]) -> list[PortfolioSpec]:
    """By name, but for benchmarks, which come before what is measured against them.

    Raises:
        ValueError: they go in a circle, which no file that can be read has.
    """
    known = {s.name: s for s in specs}
    for one in known.values():
        if why := circle(one, known):
            raise ValueError(why)
    found: dict[str, PortfolioSpec] = {}
    for name in sorted(known):
        for one in reversed(chain(known[name], known)):
            found.setdefault(one.name, one)
    return list(found.values())


def chain(spec: PortfolioSpec, known: Mapping[str, PortfolioSpec]) -> list[PortfolioSpec]:
    """A portfolio, its benchmark, that one's, and so on; each once."""
    found = {spec.name: spec}
    following = benchmark_portfolio(spec, known)
    while following is not None and following.name not in found:
        found[following.name] = following
        following = benchmark_portfolio(following, known)
    return list(found.values())


def circle(spec: PortfolioSpec, known: Mapping[str, PortfolioSpec]) -> str | None:
    """That a portfolio is measured against itself, perhaps by way of others; None: it is not."""
    names = [one.name for one in chain(spec, known)]
    last = benchmark_portfolio(known[names[-1]], known)
    if last is None or last.name != spec.name:
        return None
    told = ", ".join(f"{a} against {b}" for a, b in zip(names, [*names[1:], names[0]], strict=True))
    return f"benchmark: {told}: give one of them a ticker, weights or another portfolio"


def measured_against(spec: PortfolioSpec, weights: Mapping[str, float]) -> PortfolioSpec:
    """The same with weights in place of the portfolio that was named.

    They need not sum to 1, and may be short, as those of a portfolio may.
    """
    held = {ticker: weight for ticker, weight in weights.items() if weight}
    return spec.model_copy(update={"benchmark": held})


def without_benchmark(spec: PortfolioSpec, benchmark: str, lacks: str, why: str) -> str:
    """Why a portfolio cannot be had, as the one that it is measured against cannot."""
    return f"{spec.name} is measured against {benchmark}, which has no {lacks}: {why}"


def within_weights(field: str, name: str) -> str:
    """Why a portfolio is none of the tickers of a mix."""
    return (
        f"{field}: {name} is a portfolio, and weights are of tickers: name the portfolio alone, as "
        f"{field}: {name}"
    )


def as_decided(benchmark: str, weights: Mapping[str, float]) -> str:
    """What the portfolio that another is measured against holds."""
    held = sorted((-w, t) for t, w in weights.items() if w)
    told = [f"{ticker} {-negated:.2%}" for negated, ticker in held]
    more = [f"{len(told) - _MOST_TOLD} more"] if len(told) > _MOST_TOLD else []
    rest = 1.0 - math.fsum(weights.values())
    cash = f" and {rest:.2%} cash" if abs(rest) > _NO_CASH else ""
    return f"measured against {benchmark}, which is {', '.join([*told[:_MOST_TOLD], *more])}{cash}"
