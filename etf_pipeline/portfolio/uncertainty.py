"""How far the weights of a portfolio could be others, had the past gone a little differently.

Each of many histories drawn from the one there is (see `risk.resampling`) is estimated from, and
optimised for, as the portfolio itself is. Weights that are spread widely over the answers are what
the history happens to say, not what the tickers are (Michaud, 1998, "Efficient Asset Management",
who draws from a normal distribution; Politis & Romano, 1994, for blocks of the returns themselves).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd

from etf_pipeline.errors import EtfError, ReasonCode
from etf_pipeline.model.portfolios import FEWEST_RESAMPLES
from etf_pipeline.portfolio.answer import Answer, refused_by
from etf_pipeline.portfolio.check import FEASIBLE, allowed
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.optimise import optimise
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.risk.estimates import Estimates
from etf_pipeline.risk.resampling import length_for, stationary_draws
from etf_pipeline.risk.sample import Positions, Sample

SEED = 1  # of the draws, where nobody names another
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.50, "q75": 0.75, "q95": 0.95}
FIGURES = ("expected_return", "volatility", "sharpe_ratio")
CASH = "cash"  # what a row of it is called
_HELD = 1e-6  # a weight that is none


@dataclass(frozen=True)
class Average:
    """The mean of resampled weights (N,), judged by the history itself.

    It meets every limit whose allowed weights are a convex set that no estimate has a say in:
    bounds, groups, turnover. `cash` is what is in none of the tickers. `allowed` says whether it
    meets all of the portfolio's, budgets and targets by the history's own estimates too.
    """

    weights: Floats
    expected_return: float
    volatility: float
    sharpe_ratio: float
    cash: float
    allowed: bool


@dataclass(frozen=True)
class Resampled:
    """The answers to the resamples of one portfolio.

    Attributes:
        names: N tickers.
        chosen: the answer to the history itself.
        weights: of those resamples that have an answer, shape (B, N).
        optimal: expected return, volatility and Sharpe ratio of those answers, each by the
            estimates of its own resample, shape (B, 3): what an optimiser promises.
        kept: the same figures of the chosen weights by the estimates of every resample that could
            be estimated from: what they may turn out to earn, shape (at least B, 3).
        average: the mean of `weights`, judged by the history itself; None when B is 0.
        asked: how many resamples were drawn.
        failures: those without a proven answer, by reason.
        seed: of the draws.
        block_length: mean length of the blocks, in days of the sample.
        invested: whether weights sum to 1 whatever the history, and there is no cash.
        remarks: what a reader must know, the failures first.
    """

    names: tuple[str, ...]
    chosen: Answer
    weights: Floats
    optimal: Floats
    kept: Floats
    average: Average | None
    asked: int
    failures: Mapping[ReasonCode, int]
    seed: int
    block_length: float
    invested: bool = True
    remarks: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """A row per ticker: weight, mean, quantiles, and the share of answers that hold it."""
        assert self.chosen.weights is not None
        return _beside_chosen(self.names, self.chosen.weights, self.weights)

    def cash(self) -> pd.DataFrame:
        """The same of what is in none of the tickers, in one row; none where there is no cash.

        Below 0 it is borrowed; `held` is the share of answers that have or borrow any.
        """
        names = () if self.invested else (CASH,)
        chosen = np.full(len(names), _number(self.chosen.cash))
        rest = 1.0 - self.weights.sum(axis=1, keepdims=True)
        return _beside_chosen(names, chosen, rest[:, : len(names)])

    def figures(self) -> pd.DataFrame:
        """Expected return, volatility and Sharpe ratio of `kept` and `optimal`: mean, quantiles.

        Indexed by `of` (`chosen` weights, or each resample's own `optimal` ones) and `figure`.
        `estimate` is that of the history itself.
        """
        mine = [getattr(self.chosen, name) for name in FIGURES]
        parts = []
        for of, values in (("chosen", self.kept), ("optimal", self.optimal)):
            index = pd.MultiIndex.from_product([[of], FIGURES], names=["of", "figure"])
            columns = {"estimate": np.array(mine, dtype="float64"), **_spread(values)}
            parts.append(pd.DataFrame(columns, index=index))
        return pd.concat(parts)


def _beside_chosen(names: Sequence[str], chosen: Floats, resampled: Floats) -> pd.DataFrame:
    """A row per name: the chosen weight (N,), and what resampled ones (B, N) were."""
    columns = {"weight": chosen, **_spread(resampled)}
    held = np.abs(resampled) > _HELD
    columns["held"] = held.mean(axis=0) if len(held) else np.full(len(names), np.nan)
    return pd.DataFrame(columns, index=pd.Index(list(names), name="ticker", dtype="object"))


def _spread(values: Floats) -> dict[str, Floats]:
    """Mean and quantiles of each column, of the values that there are (linear between them)."""
    out: dict[str, list[float]] = {name: [] for name in ("mean", *QUANTILES)}
    for column in values.T:
        there = column[np.isfinite(column)]
        found = np.quantile(there, list(QUANTILES.values())) if len(there) else np.full(5, np.nan)
        out["mean"].append(float(there.mean()) if len(there) else math.nan)
        for name, value in zip(QUANTILES, found, strict=True):
            out[name].append(float(value))
    return {name: np.array(column) for name, column in out.items()}


def resampled(
    estimates: Estimates,
    problem_from: Callable[[Estimates], Problem],
    resamples: int,
    seed: int = SEED,
    block_length: float | None = None,
) -> Resampled:
    """Optimise for `resamples` drawn histories.

    Equal data and seeds give equal numbers. Ask for the tickers in one order (sorted, say), and the
    order of a request has no say in them.

    Args:
        estimates: of the history itself.
        problem_from: what the portfolio asks for, given estimates.
        resamples: how many.
        seed: of the draws.
        block_length: mean length of blocks, in days of the sample; `resampling.length_for` chooses
            it when None.

    Raises:
        EtfError: the portfolio has no answer; with its message and code.
        ValueError: fewer than `FEWEST_RESAMPLES`, or blocks under one day or over all of them.
    """
    if resamples < FEWEST_RESAMPLES:
        raise ValueError(
            f"{resamples} resamples are too few for quantiles: ask for {FEWEST_RESAMPLES} or more"
        )
    sample = estimates.sample
    if sample is None:
        raise ValueError("these estimates have no sample to draw from")
    days = len(sample.days)
    length = length_for(sample) if block_length is None else block_length
    if not 1 <= length <= days:
        raise ValueError(f"block_length {length:g}: must be from 1 to the {days} days there are")
    problem = problem_from(estimates)
    chosen = optimise(problem)
    if not chosen.success or chosen.weights is None:
        raise EtfError(chosen.message, code=chosen.code)
    draws = islice(stationary_draws(days, length, seed), resamples)
    kept, answers = _answers(estimates, sample, problem_from, chosen.weights, draws)
    good = [a for a in answers if a.success and a.weights is not None]
    bad = [a for a in answers if not (a.success and a.weights is not None)]
    weights = np.array([a.weights for a in good]).reshape(len(good), len(problem.names))
    average = _average(problem, weights)
    return Resampled(
        problem.names,
        chosen,
        weights,
        np.array([[_number(getattr(a, f)) for f in FIGURES] for a in good]).reshape(-1, 3),
        kept,
        average,
        resamples,
        dict(Counter(a.code or ReasonCode.UNPROVEN for a in bad).most_common()),
        seed,
        length,
        problem.invested,
        (*_failed(bad, resamples), *_off(problem, average), *_of_age(sample)),
    )


def _answers(
    estimates: Estimates,
    sample: Sample,
    problem_from: Callable[[Estimates], Problem],
    chosen: Floats,
    draws: Iterable[Positions],
) -> tuple[Floats, list[Answer]]:
    """Of draws: figures of the chosen weights (of those that can be estimated from), answers."""
    kept: list[tuple[float, float, float]] = []
    answers: list[Answer] = []
    for draw in draws:
        try:
            drawn = problem_from(estimates.of_drawn(sample.drawn(draw)))
        except (EtfError, ValueError) as error:
            answers.append(refused_by(error))
            continue
        kept.append(_figures(drawn, chosen))
        answers.append(optimise(drawn))
    return np.array(kept).reshape(-1, 3), answers


def _figures(problem: Problem, weights: Floats) -> tuple[float, float, float]:
    """Expected return, volatility and Sharpe ratio (NaN without a volatility) of weights (N,)."""
    mean, risk = problem.net_return(weights), problem.volatility(weights)
    return mean, risk, (mean - problem.risk_free_rate) / risk if risk > 0 else math.nan


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _average(problem: Problem, weights: Floats) -> Average | None:
    """The mean of the answers' weights; None of none."""
    if not len(weights):
        return None
    mean = weights.mean(axis=0)
    cash = 0.0 if problem.invested else 1.0 - float(mean.sum())
    return Average(mean, *_figures(problem, mean), cash, allowed(problem, mean))


def _failed(bad: Sequence[Answer], asked: int) -> list[str]:
    """What became of resamples without an answer, which no number is of."""
    said = []
    for code, n in Counter(a.code or ReasonCode.UNPROVEN for a in bad).most_common():
        example = next(a.message for a in bad if (a.code or ReasonCode.UNPROVEN) is code)
        said.append(
            f"{n} of {asked} resamples have no answer and are in no weight: {code.text} "
            f"(the first: {example})"
        )
    return said


def _off(problem: Problem, average: Average | None) -> list[str]:
    """Which of the portfolio's limits the average breaks: those that a mean need not keep."""
    if average is None:
        return ["no resample has an answer: there is no average portfolio"]
    return [
        f"the average of the resamples is not the portfolio asked for: it misses the {limit.name}"
        for limit in problem.limits
        if not limit.excess(problem, average.weights) <= FEASIBLE
    ]


def _of_age(sample: Sample) -> list[str]:
    if sample.estimator != "ewma":
        return []
    return [
        "the estimator weighs returns by their age, and draws do not: bands are of the whole "
        "window, and need not have the weights in their middle"
    ]
