"""What a portfolio's expected returns rest on, as a user writes it, validated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from etf_pipeline.model.objectives import strangers

Method = Literal[
    "historical", "james_stein", "bayes_stein", "equilibrium", "black_litterman", "given"
]
# Universe columns by name, each a value per ticker that has one.
Facts = Mapping[str, Mapping[str, Any]]

MARKET_WEIGHT, MANAGEMENT_FEE, ASSET_CLASS = "market_weight", "management_fee", "asset_class"
# By field: the methods that it goes with.
GOES_WITH: dict[str, tuple[Method, ...]] = {
    "returns": ("given",),
    "asset_classes": ("given",),
    "market_weights": ("equilibrium", "black_litterman"),
    "risk_aversion": ("equilibrium", "black_litterman"),
    "views": ("black_litterman",),
    "tau": ("black_litterman",),
    "posterior_covariance": ("black_litterman",),
}
FROM_THE_PAST: frozenset[Method] = frozenset({"historical", "james_stein", "bayes_stein"})
RISK_AVERSION = 2.5  # of the world's average investor (He & Litterman, 1999)
TAU = 0.05  # the same
_MOST_AVERSE = 1000
_ROUNDING = 1e-9  # relative; weights of a view that are written with all their digits sum up within

# A number, neither the text of one nor yes or no.
Return = Annotated[float, Field(strict=True, gt=-1, lt=1)]
Share = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Weight = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


class View(BaseModel):
    """What somebody expects of one ticker, of one over another, or of a basket.

    `return` is a fraction a year in the portfolio's currency: in all for `ticker`, the difference
    for `ticker` and `over`; for `weights`, in all where they sum to 1 and a difference where they
    sum to 0. How sure it is: `confidence` (0 to 1, Idzorek 2005) or `variance` (of the return's
    error, (fraction a year)²).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ticker: str | None = None
    over: str | None = None
    weights: dict[str, Share] = Field(default_factory=dict)
    expected: Return = Field(alias="return")
    confidence: float | None = Field(None, strict=True, ge=0, le=1)
    variance: float | None = Field(None, strict=True, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _consistent(self) -> View:
        if (self.ticker is None) == (not self.weights):
            raise ValueError("a view is on a ticker or on weights {TICKER: share}, one of them")
        if self.over is not None and self.ticker in (None, self.over):
            raise ValueError("over goes with another ticker: the one that is to earn more")
        if (self.confidence is None) == (self.variance is None):
            raise ValueError("a view needs a confidence (0 to 1) or a variance, one of them")
        total, size = sum(self.weights.values()), sum(map(abs, self.weights.values()))
        if self.weights and size == 0:
            raise ValueError("the weights of a view are all 0")
        near = min(abs(total), abs(total - 1))
        if self.weights and near > _ROUNDING * max(size, 1.0):
            raise ValueError(
                f"the weights of a view sum to {total:.10g}: they must sum to 1 (what a basket "
                "earns) or to 0 (what it earns over another)"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """By the names of the file, so that what is dumped can be read again."""
        values = dump(self)
        return {("return" if name == "expected" else name): v for name, v in values.items()}

    @property
    def shares(self) -> dict[str, float]:
        """The portfolio that the view is on: weights by ticker, short ones negative."""
        if self.ticker is None:
            return dict(self.weights)
        return {self.ticker: 1.0} | ({} if self.over is None else {self.over: -1.0})

    @property
    def label(self) -> str:
        """How messages call it."""
        if self.ticker is None:
            return " ".join(f"{w:+g} {t}" for t, w in self.weights.items())
        return self.ticker if self.over is None else f"{self.ticker} over {self.over}"

    def renamed(self, names: Mapping[str, str]) -> View:
        """With other tickers."""
        changed = {
            "ticker": self.ticker and names[self.ticker],
            "over": self.over and names[self.over],
            "weights": {names[t]: w for t, w in self.weights.items()},
        }
        return self.model_copy(update=_those_set(self, changed))


class ExpectedReturns(BaseModel):
    """The `expected_returns` of a portfolio; `docs/portfolios.md` says what each method is.

    Attributes:
        method: where the means come from.
        returns: of `given`, by ticker, fraction a year.
        asset_classes: of `given`, by asset class, for tickers that `returns` does not name. It may
            name classes that the portfolio lacks, so that one list serves many portfolios.
        market_weights: by ticker, in any unit; the universe's column `market_weight` when empty.
        risk_aversion: δ of the market's investor, or `market` for (mean − rf)/variance of the
            market portfolio over the window.
        tau: how uncertain equilibrium returns are, as a multiple of the covariance.
        views: of `black_litterman`.
        posterior_covariance: whether risk includes the error of the means, Σ + M.
        net_of_fees: whether the universe's `management_fee` is taken off.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Method = "historical"
    returns: dict[str, Return] = Field(default_factory=dict)
    asset_classes: dict[str, Return] = Field(default_factory=dict)
    market_weights: dict[str, Weight] = Field(default_factory=dict)
    risk_aversion: float | Literal["market"] = RISK_AVERSION
    tau: float = Field(TAU, strict=True, gt=0, le=1)
    views: list[View] = Field(default_factory=list)
    posterior_covariance: bool = Field(False, strict=True)
    net_of_fees: bool = Field(False, strict=True)

    @field_validator("risk_aversion", mode="before")
    @classmethod
    def _positive(cls, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value == "market" or (number and 0 < value <= _MOST_AVERSE):
            return value
        raise ValueError(f"{value!r} is neither a number from 0 to {_MOST_AVERSE} nor market")

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        """The name of a method alone stands for a block that says no more."""
        return {"method": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> ExpectedReturns:
        for name, methods in GOES_WITH.items():
            if name in self.model_fields_set and self.method not in methods:
                raise ValueError(f"{name} goes with method: {' or '.join(methods)}")
        if self.net_of_fees and self.method in FROM_THE_PAST:
            raise ValueError(
                f"net_of_fees: past prices are net of fees already, so method: {self.method} is "
                "too; taken off again they would count twice"
            )
        if self.method == "given" and not (self.returns or self.asset_classes):
            raise ValueError("method: given needs returns by ticker, or asset_classes")
        if self.method == "black_litterman" and not self.views:
            raise ValueError("method: black_litterman needs views; without any it is equilibrium")
        if self.market_weights and sum(self.market_weights.values()) == 0:
            raise ValueError("market_weights are all 0")
        return self

    def misnamed(self, tickers: Sequence[str]) -> list[str]:
        """What is said of tickers that the portfolio does not hold, or not of those it does."""
        problems = []
        for what, names in (("returns", self.returns), ("market_weights", self.market_weights)):
            if unknown := strangers(names, tickers):
                problems.append(f"{what} name {', '.join(unknown)}, which is not in tickers")
        for number, view in enumerate(self.views, 1):
            if unknown := strangers(view.shares, tickers):
                problems.append(
                    f"view {number} ({view.label}) names {', '.join(unknown)}, which is not in "
                    "tickers"
                )
        if self.market_weights and (absent := strangers(tickers, self.market_weights)):
            problems.append(
                f"market_weights lack {', '.join(absent)}; 0 stands for what the market has none of"
            )
        return problems

    def lacking(self, tickers: Sequence[str], facts: Facts) -> list[tuple[str, str]]:
        """What the universe would have to say and does not: field and sentence, by ticker."""
        problems = []
        if self.method == "given":
            classes = facts.get(ASSET_CLASS, {})
            if self.asset_classes:
                problems += _unknown_classes(self.asset_classes, classes.values())
            rest = [t for t in tickers if t not in self.returns]
            absent = [t for t in rest if classes.get(t) not in self.asset_classes]
            if absent:
                told = ", ".join(f"{t} ({classes.get(t, 'no asset class')})" for t in absent)
                problems.append(
                    ("method", f"no return is given for {told}; add it to returns or asset_classes")
                )
        elif self.of_market and not self.market_weights:
            problems += _without(
                "method",
                MARKET_WEIGHT,
                tickers,
                facts,
                "fill it in the universe for every ticker, or give market_weights",
            )
        if self.net_of_fees:
            problems += _without(
                "net_of_fees", MANAGEMENT_FEE, tickers, facts, "fill it in the universe"
            )
        return problems

    @property
    def of_market(self) -> bool:
        """Whether they are those of equilibrium, with views or without, over a risk-free rate."""
        return self.method in GOES_WITH["market_weights"]

    @property
    def asks_the_universe(self) -> bool:
        """Whether a column of the universe has a say."""
        by_column = self.of_market and not self.market_weights
        return by_column or bool(self.asset_classes) or self.net_of_fees

    def renamed(self, names: Mapping[str, str]) -> ExpectedReturns:
        """With other tickers."""
        changed = {
            "returns": {names[t]: r for t, r in self.returns.items()},
            "market_weights": {names[t]: w for t, w in self.market_weights.items()},
            "views": [v.renamed(names) for v in self.views],
        }
        return self.model_copy(update=_those_set(self, changed))

    def among(self, tickers: Sequence[str]) -> ExpectedReturns:
        """The same for some of the tickers: views on any other are left out."""
        there = set(tickers)
        changed = {
            "returns": {t: r for t, r in self.returns.items() if t in there},
            "market_weights": {t: w for t, w in self.market_weights.items() if t in there},
            "views": [v for v in self.views if there.issuperset(v.shares)],
        }
        return self.model_copy(update=_those_set(self, changed))

    @property
    def hindsight(self) -> str | None:
        """What a backtest takes from today, and so knew before its time; None for nothing."""
        today = {
            "given": "the given returns",
            "equilibrium": "the market weights",
            "black_litterman": "the views and market weights",
        }.get(self.method)
        if today is None:
            return None
        return f"hindsight: {today} are today's at every past rebalance"


def _those_set(model: BaseModel, values: Mapping[str, Any]) -> dict[str, Any]:
    """Changes to a model, of what somebody wrote down alone: what is unset stays unset."""
    return {name: value for name, value in values.items() if name in model.model_fields_set}


def _without(
    field: str, column: str, tickers: Sequence[str], facts: Facts, remedy: str
) -> list[tuple[str, str]]:
    """A column that some tickers lack a value in."""
    absent = [t for t in tickers if t not in facts.get(column, {})]
    return [(field, f"no {column} of {', '.join(absent)}: {remedy}")] if absent else []


def _unknown_classes(asked: Iterable[str], known: Iterable[str]) -> list[tuple[str, str]]:
    there = sorted(set(known))
    problems = []
    for name in sorted(set(asked) - set(there)):
        near = get_close_matches(name, there, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(there) or 'none'}"
        problems.append(("asset_classes", f"no ticker of the universe is {name!r}; {hint}"))
    return problems
