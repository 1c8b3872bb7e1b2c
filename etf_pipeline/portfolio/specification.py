"""`portfolios.yaml`: the model portfolios, read and validated; problems are quoted by line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from etf_pipeline.errors import PortfolioFileError
from etf_pipeline.universe.instruments import Universe

Line = int


class PortfolioSpec(BaseModel):
    """One model portfolio, as a user writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=80)
    tickers: list[str] = Field(min_length=1)
    objective: Literal["max_return", "min_volatility", "max_sharpe", "target_return"]
    description: str = ""
    risk_budget: float | None = Field(None, gt=0, lt=5)
    target_return: float | None = Field(None, gt=-1, lt=5)
    lookback_years: int | None = Field(None, ge=1, le=100)
    min_weight: float = Field(0.0, ge=0, le=1)
    max_weight: float = Field(1.0, gt=0, le=1)
    bounds: dict[str, tuple[float, float]] = Field(default_factory=dict)

    @field_validator("tickers")
    @classmethod
    def _distinct(cls, tickers: list[str]) -> list[str]:
        twice = sorted({t for t in tickers if tickers.count(t) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is listed twice")
        return tickers

    @model_validator(mode="after")
    def _consistent(self) -> PortfolioSpec:
        if self.risk_budget is not None and self.objective != "max_return":
            raise ValueError("risk_budget goes with objective: max_return")
        if (self.target_return is not None) != (self.objective == "target_return"):
            raise ValueError("target_return goes with objective: target_return")
        strangers = sorted(set(self.bounds) - set(self.tickers))
        if strangers:
            raise ValueError(f"bounds name {', '.join(strangers)}, which is not in tickers")
        for ticker in self.tickers:
            low, high = self.limits(ticker)
            if not 0 <= low <= high <= 1:
                raise ValueError(f"bounds of {ticker}: {low:g} to {high:g} is not within 0 to 1")
        low, high = (sum(self.limits(t)[k] for t in self.tickers) for k in (0, 1))
        if low > 1 + 1e-12 or high < 1 - 1e-12:
            raise ValueError(
                f"weights cannot sum to 1: the bounds allow sums from {low:g} to {high:g}"
            )
        return self

    def limits(self, ticker: str) -> tuple[float, float]:
        """Least and greatest weight of one ticker."""
        return self.bounds.get(ticker, (self.min_weight, self.max_weight))


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
    problems: list[str] = []
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
    names = [universe.get(t).ticker for t in spec.tickers]
    bounds = {universe.get(t).ticker: b for t, b in spec.bounds.items()}
    return spec.model_copy(update={"tickers": names, "bounds": bounds})


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
