"""`portfolios.yaml`: the model portfolios, read and validated; problems are quoted by line."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from etf_pipeline.errors import PortfolioFileError
from etf_pipeline.model.currencies import check_currency
from etf_pipeline.model.instruments import Instrument, Universe, repeated
from etf_pipeline.model.objectives import (
    HALFLIFE,
    NEEDS_HOLDINGS,
    TWO_BUDGETS,
    Objective,
    lacks_holdings,
    lacks_target,
    misplaced,
    never_whole,
    strangers,
    takes_no_limits,
    two_budgets,
    weight_limits,
)
from etf_pipeline.model.universe import load_universe

Line = int
GroupColumn = Literal["asset_class", "issuer", "currency", "exchange"]


class PortfolioSpec(BaseModel):
    """One model portfolio, as a user writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=80)
    tickers: list[str] = Field(min_length=1)
    objective: Objective
    description: str = ""
    risk_budget: float | None = Field(None, gt=0, lt=5)
    target_return: float | None = Field(None, gt=-1, lt=5)
    lookback_years: int | None = Field(None, ge=1, le=100)
    base_currency: str | None = None
    min_weight: float = Field(0.0, ge=0, le=1)
    max_weight: float = Field(1.0, gt=0, le=1)
    bounds: dict[str, tuple[float, float]] = Field(default_factory=dict)
    groups: dict[GroupColumn, dict[str, tuple[float, float]]] = Field(default_factory=dict)
    holdings: dict[str, float] = Field(default_factory=dict)
    max_turnover: float | None = Field(None, ge=0, le=1)
    cost_rate: float = Field(0.0, ge=0, lt=1)
    cvar_level: float = Field(0.95, gt=0, lt=1)
    cvar_budget: float | None = Field(None, gt=0, lt=1)
    estimator: Literal["sample", "ledoit_wolf", "ewma"] = "sample"
    halflife: float = Field(HALFLIFE, gt=0, le=10_000)
    correlation_period: Literal["daily", "weekly"] | None = None
    rebalance: Literal["monthly", "quarterly", "yearly"] = "quarterly"
    trading_cost: float = Field(0.0, ge=0, lt=0.1)

    @field_validator("tickers")
    @classmethod
    def _distinct(cls, tickers: list[str]) -> list[str]:
        if twice := repeated(tickers):
            raise ValueError(f"{', '.join(twice)} is listed twice")
        return tickers

    @field_validator("base_currency")
    @classmethod
    def _currency(cls, code: str | None) -> str | None:
        return None if code is None else check_currency(code)

    @model_validator(mode="after")
    def _consistent(self) -> PortfolioSpec:
        self._check_objective()
        self._check_names()
        self._check_ranges()
        return self

    def _check_objective(self) -> None:
        if found := misplaced(self.objective, vars(self)):
            raise ValueError(f"{found[0]} goes with objective: {' or '.join(found[1])}")
        if lacks_target(self.objective, self.target_return):
            raise ValueError("objective: target_return needs a target_return")
        if two_budgets(self.risk_budget, self.cvar_budget):
            raise ValueError(TWO_BUDGETS)
        if lacks_holdings(self.max_turnover, self.cost_rate, bool(self.holdings)):
            raise ValueError(NEEDS_HOLDINGS)
        limited = bool(self.bounds or self.groups or self.min_weight or self.max_weight < 1)
        if takes_no_limits(self.objective, limited or bool(self.holdings)):
            raise ValueError(f"objective: {self.objective} takes no bounds, groups or holdings")

    def _check_names(self) -> None:
        for what, names in (("bounds", self.bounds), ("holdings", self.holdings)):
            if unknown := strangers(names, self.tickers):
                raise ValueError(f"{what} name {', '.join(unknown)}, which is not in tickers")

    def _check_ranges(self) -> None:
        for column, values in self.groups.items():
            for value, (low, high) in values.items():
                _check_range(f"groups.{column}.{value}", low, high)
        limits = [self.limits(t) for t in self.tickers]
        for ticker, (low, high) in zip(self.tickers, limits, strict=True):
            _check_range(f"bounds of {ticker}", low, high)
        if problem := never_whole(sum(low for low, _ in limits), sum(high for _, high in limits)):
            raise ValueError(problem)

    def lookback(self, otherwise: int) -> int:
        """Years of returns that it rests on: its own, else those of the settings."""
        return self.lookback_years or otherwise

    def limits(self, ticker: str) -> tuple[float, float]:
        """Least and greatest weight of one ticker."""
        return weight_limits(ticker, self.bounds, self.min_weight, self.max_weight)


def _check_range(what: str, low: float, high: float) -> None:
    if not 0 <= low <= high <= 1:
        raise ValueError(f"{what}: {low:g} to {high:g} is not within 0 to 1")


def load_portfolios(path: Path, universe: Universe) -> list[PortfolioSpec]:
    """Read the model portfolios; aliases of tickers become the tickers.

    Raises:
        PortfolioFileError: with every problem and its line.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise PortfolioFileError(
            f"portfolio file {path} does not exist; set ETF_PORTFOLIOS_FILE or create it"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PortfolioFileError(f"portfolio file {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        text = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise PortfolioFileError(f"{path} is not YAML: {where}{text}") from None
    nodes = _portfolio_nodes(path, root)
    problems = _repeated_keys(root, set())
    specs: list[PortfolioSpec] = []
    seen: dict[str, Line] = {}
    for node in nodes:
        spec = _one(node, universe, problems)
        if spec is None:
            continue
        first = seen.setdefault(spec.name, _line(node))
        if first != _line(node):
            problems.append(f"line {_line(node)}: {spec.name!r} is already on line {first}")
        specs.append(spec)
    if problems:
        raise PortfolioFileError(f"{path} is not usable: " + "; ".join(problems))
    return specs


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


def _repeated_keys(node: yaml.Node | None, done: set[int]) -> list[str]:
    """Keys that a mapping has twice, of which YAML would take the last without a word.

    `done` has the nodes looked at: one that is an alias stands in several places.
    """
    problems: list[str] = []
    inner: list[yaml.Node] = []
    if id(node) in done:
        return problems
    done.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, Line] = {}
        for key, value in node.value:
            inner.append(value)
            name = str(key.value)
            if name in seen:
                problems.append(f"line {_line(key)}: {name!r} is already on line {seen[name]}")
            seen.setdefault(name, _line(key))
    elif isinstance(node, yaml.SequenceNode):
        inner = list(node.value)
    for each in inner:
        problems += _repeated_keys(each, done)
    return problems


def _portfolio_nodes(path: Path, root: yaml.Node | None) -> list[yaml.Node]:
    if isinstance(root, yaml.MappingNode):
        for key, value in root.value:
            if key.value == "portfolios" and isinstance(value, yaml.SequenceNode) and value.value:
                return list(value.value)
    raise PortfolioFileError(
        f"{path} is not usable: line 1: it needs a list `portfolios:` of at least one portfolio"
    )


def _one(node: yaml.Node, universe: Universe, problems: list[str]) -> PortfolioSpec | None:
    # SafeLoader's constructor builds plain values only.
    loader = yaml.SafeLoader("")
    value = loader.construct_document(node)
    if not isinstance(value, Mapping):
        problems.append(f"line {_line(node)}: a portfolio must be a mapping with a name")
        return None
    try:
        spec = PortfolioSpec.model_validate(value)
    except ValidationError as error:
        for e in error.errors():
            message = e["msg"].removeprefix("Value error, ")
            where = ".".join(str(part) for part in e["loc"])
            line = _line(_find(node, e["loc"]))
            problems.append(f"line {line}: {where + ': ' if where else ''}{message}")
        return None
    unknown = [t for t in spec.tickers if t not in universe]
    for ticker in unknown:
        line = _line(_find(node, ("tickers", spec.tickers.index(ticker))))
        try:
            universe.get(ticker)
        except Exception as error:  # the message names the nearest tickers
            problems.append(f"line {line}: {error}")
    if unknown:
        return None
    problems += _pair_problems(spec, universe, node)
    names = [universe.get(t).ticker for t in spec.tickers]
    bounds = {universe.get(t).ticker: b for t, b in spec.bounds.items()}
    holdings = {universe.get(t).ticker: w for t, w in spec.holdings.items()}
    problems += _group_problems(spec, [universe.get(t) for t in spec.tickers], node)
    return spec.model_copy(update={"tickers": names, "bounds": bounds, "holdings": holdings})


def _pair_problems(spec: PortfolioSpec, universe: Universe, node: yaml.Node) -> list[str]:
    """Tickers that are currency pairs."""
    lines = [_line(_find(node, ("tickers", i))) for i in range(len(spec.tickers))]
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
                line = _line(_find(node, ("groups", column, value)))
                problems.append(
                    f"line {line}: groups.{column}: no ticker has {value!r}; there are "
                    f"{', '.join(there)}"
                )
    return problems


def _find(node: yaml.Node, loc: tuple[Any, ...]) -> yaml.Node:
    """The deepest node that `loc` leads to."""
    for part in loc:
        inner: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            inner = next((v for k, v in node.value if k.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            inner = node.value[part] if part < len(node.value) else None
        if inner is None:
            break
        node = inner
    return node


def _line(node: yaml.Node) -> Line:
    return int(node.start_mark.line) + 1
