"""A model portfolio as a user writes it, validated."""

from __future__ import annotations

import unicodedata
from typing import Literal, overload

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from etf_pipeline.model.backtesting import (
    Calendar,
    Membership,
    comparison_weights,
    wrong_comparison,
    wrong_spreads,
)
from etf_pipeline.model.benchmarks import wrong_benchmark, wrong_beta
from etf_pipeline.model.currencies import check_currency
from etf_pipeline.model.expected_returns import ExpectedReturns
from etf_pipeline.model.exposures import (
    WIDEST,
    wrong_exposures,
    wrong_holdings,
    wrong_range,
    wrong_turnover,
)
from etf_pipeline.model.instruments import repeated
from etf_pipeline.model.objectives import (
    HALFLIFE,
    NEEDS_HOLDINGS,
    NEEDS_TARGET,
    Objective,
    against_rule,
    lacking,
    lacks_holdings,
    misplaced,
    needs_scenarios,
    never_whole,
    strangers,
    weight_limits,
    wrong_halflife,
)
from etf_pipeline.model.risk_budgets import wrong_budgets

FEWEST_RESAMPLES = 20  # the 5 % quantile of fewer is a guess at their least
_WHOLE = 0.01  # how far from 1 weights may sum that somebody rounded to two or three digits
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")  # Unicode's controls, surrogates and separators of lines
GroupColumn = Literal["asset_class", "issuer", "currency", "exchange"]
FEW = ("max_holdings", "min_position")  # what a search for few holdings is for
# What only a backtest obeys, and what only goes with a portfolio of the file: its name, and what
# is computed of it night by night.
BACKTEST_FIELDS = frozenset(
    {"rebalance", "band", "trading_cost", "half_spreads", "members", "compare_with"}
)
FILE_FIELDS = frozenset({"name", "description", "resamples"})
WALKED = "walked"  # in the context of a validation: what is held is what was bought by then


class PortfolioSpec(BaseModel):
    """One model portfolio, as a user writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=80)
    tickers: list[str] = Field(min_length=1)
    objective: Objective
    description: str = ""
    risk_budget: float | None = Field(None, gt=0, lt=5)
    target_return: float | None = Field(None, gt=-1, lt=5)
    lookback_years: int | None = Field(None, ge=1, le=100)
    base_currency: str | None = None
    risk_aversion: float | None = Field(None, gt=0, le=1_000)
    min_weight: float = Field(0.0, ge=-WIDEST, le=1)
    max_weight: float = Field(1.0, gt=0, le=WIDEST)
    bounds: dict[str, tuple[float, float]] = Field(default_factory=dict)
    groups: dict[GroupColumn, dict[str, tuple[float, float]]] = Field(default_factory=dict)
    holdings: dict[str, float] = Field(default_factory=dict)
    max_turnover: float | None = Field(None, ge=0)
    cost_rate: float = Field(0.0, ge=0, lt=1)
    risk_budgets: dict[str, float] | None = None
    cvar_level: float = Field(0.95, gt=0, lt=1)
    cvar_budget: float | None = Field(None, gt=-1, lt=1)
    benchmark: str | dict[str, float] | None = None
    max_tracking_error: float | None = Field(None, gt=0, lt=1)
    max_active_weight: float | None = Field(None, ge=0, lt=1)
    beta: tuple[float, float] | None = None
    net_exposure: tuple[float, float] = (1.0, 1.0)
    gross_exposure: float | None = Field(None, gt=0, le=2 * WIDEST)
    max_holdings: int | None = Field(None, ge=1, le=10_000)
    min_position: float | None = Field(None, gt=0, le=1)
    search_limit: int = Field(2_000, ge=1, le=1_000_000)
    estimator: Literal["sample", "ledoit_wolf", "ewma"] = "sample"
    halflife: float = HALFLIFE
    correlation_period: Literal["daily", "weekly"] | None = None
    expected_returns: ExpectedReturns = Field(default_factory=ExpectedReturns)
    rebalance: Calendar = "quarterly"
    band: float | None = Field(None, ge=0, lt=1)
    trading_cost: float | None = Field(None, ge=0, lt=0.1)
    half_spreads: dict[str, float] = Field(default_factory=dict)
    members: Membership = "as_listed"
    compare_with: str | dict[str, float] | None = None
    resamples: int = Field(0, ge=0, le=10_000)

    @field_validator("name")
    @classmethod
    def _readable(cls, name: str) -> str:
        if not name.strip():
            raise ValueError(f"{name!r} is blank; give it a name")
        if unseen := sorted({c for c in name if unicodedata.category(c) in _UNSEEN}):
            # Lines of a table break at them, and a terminal obeys some.
            raise ValueError(f"{name!r} has control characters: {', '.join(map(repr, unseen))}")
        return name

    @field_validator("tickers")
    @classmethod
    def _distinct(cls, tickers: list[str]) -> list[str]:
        if twice := repeated(tickers):
            raise ValueError(f"{', '.join(twice)} is listed twice")
        return tickers

    @field_validator("resamples")
    @classmethod
    def _enough(cls, resamples: int) -> int:
        if 0 < resamples < FEWEST_RESAMPLES:
            raise ValueError(
                f"{resamples} are too few for quantiles: ask for {FEWEST_RESAMPLES} or more, such "
                "as 500, or 0 for none"
            )
        return resamples

    @field_validator("halflife")
    @classmethod
    def _of_bars(cls, halflife: float) -> float:
        if (why := wrong_halflife(halflife)) is not None:
            raise ValueError(why)
        return halflife

    @field_validator("base_currency")
    @classmethod
    def _currency(cls, code: str | None) -> str | None:
        return None if code is None else check_currency(code)

    @field_validator("expected_returns")
    @classmethod
    def _of_its_tickers(cls, asked: ExpectedReturns, info: ValidationInfo) -> ExpectedReturns:
        tickers = info.data.get("tickers")
        if tickers is not None and (problems := asked.misnamed(tickers)):
            raise ValueError("; ".join(problems))
        return asked

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> PortfolioSpec:
        self._check_objective()
        walked = bool((info.context or {}).get(WALKED))
        if not walked and lacks_holdings(self.max_turnover, self.cost_rate, bool(self.holdings)):
            raise ValueError(NEEDS_HOLDINGS)
        self._check_idle()
        self._check_names()
        self._check_ranges()
        self._check_active()
        self._check_few()
        self._check_backtest()
        return self

    def _check_objective(self) -> None:
        if found := misplaced(self.objective, vars(self)):
            raise ValueError(f"{found[0]} goes with objective: {' or '.join(found[1])}")
        if name := lacking(self.objective, vars(self), benchmark=bool(self.against)):
            raise ValueError(f"objective: {self.objective} needs {NEEDS_TARGET[name]}")
        if why := against_rule(self.objective, bool(self.groups), self._beyond_bounds):
            raise ValueError(f"objective: {why}")
        if why := wrong_budgets(self.risk_budgets, self.tickers):
            raise ValueError(why)

    @property
    def _beyond_bounds(self) -> bool:
        """Whether there is any limit but bounds and groups."""
        few = any(getattr(self, name) is not None for name in FEW)
        exposed = self.gross_exposure is not None or not self.invested
        return bool(self.holdings or self.against or exposed or few)

    def _check_idle(self) -> None:
        """What is written down, and nothing would obey."""
        asked = self.model_fields_set
        if "halflife" in asked and self.estimator != "ewma":
            raise ValueError("halflife goes with estimator: ewma")
        if "cvar_level" in asked and not needs_scenarios(self.objective, self.cvar_budget):
            raise ValueError("cvar_level goes with objective: min_cvar or a cvar_budget")

    def _check_names(self) -> None:
        for what, names in (("bounds", self.bounds), ("holdings", self.holdings)):
            if unknown := strangers(names, self.tickers):
                raise ValueError(f"{what} name {', '.join(unknown)}, which is not in tickers")

    def _check_ranges(self) -> None:
        limits = [self.limits(t) for t in self.tickers]
        ranges = {
            f"groups.{column}.{value}": given
            for column, values in self.groups.items()
            for value, given in values.items()
        }
        ranges |= {f"bounds of {t}": x for t, x in zip(self.tickers, limits, strict=True)}
        net, gross = self.net_exposure, self.gross_exposure
        low, high = (sum(side) for side in zip(*limits, strict=True))
        for problem in (
            wrong_holdings(self.holdings, net, _WHOLE),
            *(wrong_range(what, given, net, gross) for what, given in ranges.items()),
            wrong_exposures(net, gross, limits),
            wrong_turnover(self.max_turnover, net, gross, self.holdings),
            never_whole(low, high, net),
        ):
            if problem is not None:
                raise ValueError(problem)

    def _check_backtest(self) -> None:
        if unknown := strangers(self.half_spreads, [*self.tickers, *self.comparison]):
            raise ValueError(
                f"half_spreads name {', '.join(unknown)}, which is not in tickers or compare_with"
            )
        if self.band is not None and self.rebalance == "never":
            raise ValueError("band goes with rebalance: monthly, quarterly or yearly, not never")
        for problem in (
            wrong_spreads(self.half_spreads),
            wrong_comparison("compare_with", self.comparison),
        ):
            if problem is not None:
                raise ValueError(problem)

    def _check_active(self) -> None:
        if self.benchmark is not None and not self.against:
            raise ValueError(
                "benchmark: give a ticker, a portfolio, or weights such as {VAS: 0.6, VAF: 0.4}"
            )
        for problem in (
            wrong_comparison("benchmark", self.against),
            wrong_benchmark(self.objective, vars(self), self.against, self._perhaps_own),
            wrong_beta(self.beta),
        ):
            if problem is not None:
                raise ValueError(problem)

    def _check_few(self) -> None:
        few = [name for name in FEW if getattr(self, name) is not None]
        short = [t for t in self.tickers if self.limits(t)[0] < 0]
        if few and short:
            raise ValueError(
                f"{few[0]} is for portfolios without short positions, and {short[0]} may be short"
            )
        if "search_limit" in self.model_fields_set and not few:
            raise ValueError(f"search_limit goes with {' or '.join(FEW)}")

    @property
    def _perhaps_own(self) -> list[str]:
        """Its tickers, and a benchmark that may be a portfolio of them: only a file knows."""
        return [*self.tickers, *([self.benchmark] if isinstance(self.benchmark, str) else [])]

    @property
    def against(self) -> dict[str, float]:
        """The benchmark of its active risk, as weights by ticker; none when there is none."""
        return comparison_weights(self.benchmark)

    @property
    def beside(self) -> list[str]:
        """Tickers of the benchmark that are none of its own, which are priced too."""
        return [t for t, weight in self.against.items() if weight and t not in self.tickers]

    @property
    def invested(self) -> bool:
        """Whether weights sum to 1; else the rest is cash."""
        return self.net_exposure == (1.0, 1.0)

    @property
    def comparison(self) -> dict[str, float]:
        """What its backtest is compared with, as weights by ticker; none when nothing is."""
        return comparison_weights(self.compare_with)

    @overload
    def lookback(self, otherwise: int) -> int: ...
    @overload
    def lookback(self, otherwise: int | None) -> int | None: ...
    def lookback(self, otherwise: int | None) -> int | None:
        """Years of returns that it rests on: its own, else those of the settings."""
        return self.lookback_years or otherwise

    def limits(self, ticker: str) -> tuple[float, float]:
        """Least and greatest weight of one ticker."""
        return weight_limits(ticker, self.bounds, self.min_weight, self.max_weight)
