"""`portfolios.yaml`: the model portfolios, read; problems are quoted by line."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from etf_pipeline.errors import PortfolioFileError, UnknownTickerError, nearest
from etf_pipeline.model.benchmark_portfolios import benchmark_portfolio, circle, within_weights
from etf_pipeline.model.benchmarks import wrong_benchmark
from etf_pipeline.model.instruments import Instrument, Universe, repeated
from etf_pipeline.model.portfolio_values import placed, read_spec
from etf_pipeline.model.portfolio_values import problems as problems_of
from etf_pipeline.model.portfolio_yaml import find, line_of, plain, read_nodes, written
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.universe import load_universe


def load_portfolios(path: Path, universe: Universe) -> list[PortfolioSpec]:
    """Read the model portfolios; aliases of tickers become the tickers.

    Raises:
        PortfolioFileError: with every problem and its line.
    """
    nodes, problems = read_nodes(path)
    named = [find(node, ("name",)) for node in nodes]
    names = frozenset(str(n.value) for n in named if isinstance(n, yaml.ScalarNode))
    read: list[tuple[PortfolioSpec, yaml.Node]] = []
    seen: dict[str, int] = {}
    for node in nodes:
        spec = _one(node, universe, names, problems)
        if spec is None:
            continue
        first = seen.setdefault(spec.name, line_of(node))
        if first != line_of(node):
            problems.append(f"line {line_of(node)}: {spec.name!r} is already on line {first}")
        read.append((spec, node))
    known = {spec.name: spec for spec, _ in read}
    for spec, node in read:
        problems += _benchmark_problems(spec, known, node)
    if problems:
        raise PortfolioFileError(f"{path} is not usable: " + "; ".join(problems))
    return [spec for spec, _ in read]


def universe_with_rates(
    universe_file: Path, portfolios_file: Path, base_currency: str | None = None
) -> Universe:
    """The universe, with the currency pairs that its currencies and those of portfolios need.

    A portfolio file that cannot be used names none here; whoever reads the portfolios is told.

    Raises:
        UniverseError: the universe file is not usable.
    """
    universe = load_universe(universe_file)
    bases = {base_currency} if base_currency else set()
    with contextlib.suppress(PortfolioFileError):
        specs = load_portfolios(portfolios_file, universe)
        bases |= {s.base_currency for s in specs if s.base_currency}
    return universe.with_rates(sorted(bases))


def _one(
    node: yaml.Node, universe: Universe, portfolios: frozenset[str], problems: list[str]
) -> PortfolioSpec | None:
    """One portfolio by tickers in place of aliases; `portfolios` are the names of them all."""
    try:
        value = plain(node)
    except ValueError as error:
        problems.append(str(error))
        return None
    if not isinstance(value, Mapping):
        problems.append(f"line {line_of(node)}: a portfolio must be a mapping with a name")
        return None
    try:
        spec = read_spec(value)
    except ValidationError as error:
        for loc, message in problems_of(error, partial(written, node)):
            problems.append(f"line {line_of(find(node, loc))}: {placed(loc, message)}")
        return None
    except (TypeError, ValueError, RecursionError) as error:  # a block within itself, say
        problems.append(f"line {line_of(node)}: {error}")
        return None
    unknown = [t for t in spec.tickers if t not in universe]
    for ticker in unknown:
        line = line_of(find(node, ("tickers", spec.tickers.index(ticker))))
        try:
            universe.get(ticker)
        except Exception as error:  # the message names the nearest tickers
            problems.append(f"line {line}: {error}")
    for field, weights in (("compare_with", spec.comparison), ("benchmark", spec.against)):
        problems += _mix_problems(field, weights, universe, node, portfolios)
    if unknown:
        return None
    problems += _pair_problems(spec, universe, node)
    names = [universe.get(t).ticker for t in spec.tickers]
    problems += _twice_problems(spec.tickers, names, node)
    bounds = {universe.get(t).ticker: b for t, b in spec.bounds.items()}
    holdings = {universe.get(t).ticker: w for t, w in spec.holdings.items()}
    problems += _group_problems(spec, [universe.get(t) for t in spec.tickers], node)
    means = spec.expected_returns.renamed(dict(zip(spec.tickers, names, strict=True)))
    for field, said in means.lacking(names, universe.facts()):
        line = line_of(find(node, ("expected_returns", field)))
        problems.append(f"line {line}: expected_returns: {said}")
    budgets = spec.risk_budgets and {
        universe.get(t).ticker: share for t, share in spec.risk_budgets.items()
    }
    renamed = {
        "tickers": names,
        "risk_budgets": budgets,
        "bounds": bounds,
        "holdings": holdings,
        "expected_returns": means,
    }
    return spec.model_copy(update=renamed | _renamed_mixes(spec, universe, portfolios))


def _renamed_mixes(
    spec: PortfolioSpec, universe: Universe, portfolios: frozenset[str]
) -> dict[str, Any]:
    """Costs and mixes, by tickers in place of aliases; as they are if one is unknown."""
    against: str | dict[str, float] | None = spec.benchmark
    try:
        spreads = {universe.get(t).ticker: s for t, s in spec.half_spreads.items()}
        asked = {universe.get(t).ticker: w for t, w in spec.comparison.items()}
        if not (isinstance(against, str) and against in portfolios):
            against = {universe.get(t).ticker: w for t, w in spec.against.items()} or None
    except UnknownTickerError:  # told as a problem of its line
        return {}
    return {"half_spreads": spreads, "compare_with": asked or None, "benchmark": against}


def _benchmark_problems(
    spec: PortfolioSpec, known: Mapping[str, PortfolioSpec], node: yaml.Node
) -> list[str]:
    """Why what a portfolio is measured against cannot be that, with its tickers known."""
    other = benchmark_portfolio(spec, known)
    weights = spec.against if other is None else dict.fromkeys(other.tickers, 1.0)
    if isinstance(spec.benchmark, str) and other is None:  # told on its own line
        return []
    why = circle(spec, known) or wrong_benchmark(
        spec.objective, vars(spec), weights, spec.tickers, of="" if other is None else other.name
    )
    return [] if why is None else [f"line {line_of(find(node, ('benchmark',)))}: {why}"]


def _mix_problems(
    field: str,
    weights: Mapping[str, float],
    universe: Universe,
    node: yaml.Node,
    portfolios: Collection[str],
) -> list[str]:
    """Tickers of a mix that nobody knows, that are no funds, or that are one.

    One of `portfolios` may stand in place of a benchmark, and in no mix.
    """
    problems = []
    found: list[str] = []
    alone = isinstance(find(node, (field,)), yaml.ScalarNode)
    for ticker in weights:
        line = line_of(find(node, (field, ticker)))
        if ticker in portfolios and (ticker not in universe or (alone and field == "benchmark")):
            if why := _not_that_portfolio(field, ticker, alone, universe):
                problems.append(f"line {line}: {why}")
            continue
        try:
            one = universe.get(ticker)
        except UnknownTickerError as error:
            names = portfolios if field == "benchmark" else ()
            near = nearest(ticker, names, "the portfolio ")
            problems.append(f"line {line}: {field}: {error}{near}")
            continue
        if one.is_rate:
            problems.append(f"line {line}: {ticker} is a currency pair, which nobody holds")
        found.append(one.ticker)
    line = line_of(find(node, (field,)))
    problems += [f"line {line}: {field} names {t} twice" for t in repeated(found)]
    return problems


def _not_that_portfolio(field: str, name: str, alone: bool, universe: Universe) -> str | None:
    """Why the name of a portfolio does not stand for it; None where it does."""
    if field != "benchmark":
        return f"{field}: {name} is a portfolio; give a ticker, or the weights that it is of"
    if not alone:
        return within_weights(field, name)
    if name in universe:
        return (
            f"{field}: {name} is a ticker and a portfolio of this file: give {{{name}: 1}} for "
            "the ticker, or rename the portfolio"
        )
    return None


def _twice_problems(asked: list[str], names: list[str], node: yaml.Node) -> list[str]:
    """Tickers that are others by a former name: one holding would be two."""
    return [
        f"line {line_of(find(node, ('tickers', i)))}: {asked[i]} is {name}, which is listed twice"
        for i, name in enumerate(names)
        if names.index(name) < i
    ]


def _pair_problems(spec: PortfolioSpec, universe: Universe, node: yaml.Node) -> list[str]:
    """Tickers that are currency pairs."""
    lines = [line_of(find(node, ("tickers", i))) for i in range(len(spec.tickers))]
    return [
        f"line {line}: {ticker} is a currency pair, which converts prices and is held by nobody"
        for ticker, line in zip(spec.tickers, lines, strict=True)
        if universe.get(ticker).is_rate
    ]


def _group_problems(
    spec: PortfolioSpec, instruments: list[Instrument], node: yaml.Node
) -> list[str]:
    """Groups that none of the portfolio's tickers belongs to."""
    problems = []
    for column, values in spec.groups.items():
        there = sorted({str(getattr(i, column)) for i in instruments})
        for value in values:
            if value not in there:
                line = line_of(find(node, ("groups", column, value)))
                problems.append(
                    f"line {line}: groups.{column}: no ticker has {value!r}; there are "
                    f"{', '.join(there)}"
                )
    return problems
