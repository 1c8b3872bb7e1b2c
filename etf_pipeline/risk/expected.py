"""Expected returns: past means, shrunk ones, those of equilibrium, views on them, given ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etf_pipeline.model.expected_returns import (
    ASSET_CLASS,
    MANAGEMENT_FEE,
    MARKET_WEIGHT,
    ExpectedReturns,
    Facts,
)
from etf_pipeline.risk.black_litterman import (
    ContradictionError,
    black_litterman,
    equilibrium,
    idzorek,
    market_risk_aversion,
)
from etf_pipeline.risk.shrinkage import Shrunk, bayes_stein, james_stein, scaled

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Past:
    """What the past says of N tickers, a year: means (N,), covariance (N, N).

    `n_obs` is the number of returns behind the correlations, `years` the time behind the means.
    """

    tickers: tuple[str, ...]
    means: Floats
    covariance: Floats
    years: float
    n_obs: int


@dataclass(frozen=True)
class Expected:
    """Means (N,) and covariance (N, N) a year, and what the means rest on."""

    means: Floats
    covariance: Floats
    remarks: tuple[str, ...]


def expected(asked: ExpectedReturns, past: Past, risk_free_rate: float, facts: Facts) -> Expected:
    """Expected returns as they are asked for, fractions a year.

    Args:
        asked: the method and what it takes.
        past: what prices say.
        risk_free_rate: a year; equilibrium returns are over it.
        facts: columns of the universe, each a value per ticker that has one.

    Raises:
        ValueError: what it takes is not there, or contradicts itself; names the ticker or view.
    """
    problems = asked.misnamed(past.tickers)
    problems += [said for _, said in asked.lacking(past.tickers, facts)]
    if problems:
        raise ValueError("expected_returns: " + "; ".join(problems))
    if asked.method == "given":
        found = _given(asked, past, facts)
    elif asked.of_market:
        found = _of_market(asked, past, risk_free_rate, facts)
    else:
        found = _of_past(asked, past)
    return _less_fees(found, past.tickers, facts) if asked.net_of_fees else found


def _of_past(asked: ExpectedReturns, past: Past) -> Expected:
    over = f"{past.years:.1f} years"
    if asked.method == "historical":
        errors = np.sqrt(np.diag(past.covariance) / past.years)
        said = f"expected returns are past means over {over}, give or take {_range(errors)} a year"
        return Expected(past.means, past.covariance, (said,))
    if asked.method == "james_stein":
        shrunk, towards = _shrunk(james_stein, past), "their average"
    else:
        shrunk, towards = _shrunk(bayes_stein, past), "the mean of the least volatile portfolio"
    said = (
        f"expected returns are past means over {over}, shrunk by {shrunk.intensity:.0%} towards "
        f"{towards}, {shrunk.target:.1%} a year"
    )
    return Expected(shrunk.means, past.covariance, (said,))


def _shrunk(shrink: Callable[[Floats, Floats, float], Shrunk], past: Past) -> Shrunk:
    try:
        return shrink(past.means, scaled(past.covariance, past.n_obs), past.years)
    except ValueError as error:
        still = [t for t, v in zip(past.tickers, np.diag(past.covariance), strict=True) if v == 0]
        remedy = (
            f"{', '.join(still)} never moves; leave it out, or take a method that needs no inverse "
            "(equilibrium, black_litterman, given)"
            if still
            else "estimator: ledoit_wolf may mend that, or a longer lookback_years"
        )
        raise ValueError(f"expected_returns: means cannot be shrunk: {error}; {remedy}") from None


def _given(asked: ExpectedReturns, past: Past, facts: Facts) -> Expected:
    classes = facts.get(ASSET_CLASS, {})
    means = [
        asked.returns[t] if t in asked.returns else asked.asset_classes[classes[t]]
        for t in past.tickers
    ]
    by_class = sum(t not in asked.returns for t in past.tickers)
    how = {0: "by ticker", len(means): "by asset class"}.get(by_class, "by ticker and asset class")
    return Expected(np.array(means), past.covariance, (f"expected returns are given, {how}",))


def _of_market(asked: ExpectedReturns, past: Past, risk_free_rate: float, facts: Facts) -> Expected:
    """Of equilibrium, with views where there are any."""
    column = asked.market_weights or facts[MARKET_WEIGHT]
    sizes = np.array([float(column[t]) for t in past.tickers])
    if sizes.sum() <= 0:
        raise ValueError(
            f"expected_returns: every {MARKET_WEIGHT} of {', '.join(past.tickers)} is 0"
        )
    weights = sizes / sizes.sum()
    if asked.risk_aversion == "market":
        try:
            aversion = market_risk_aversion(past.means, past.covariance, weights, risk_free_rate)
        except ValueError as error:
            raise ValueError(f"expected_returns: {error}; give risk_aversion a number") from None
        whose = ", from the market's past Sharpe ratio"
    else:
        aversion, whose = asked.risk_aversion, ""
    prior = equilibrium(past.covariance, weights, aversion, risk_free_rate)
    said = (
        f"expected returns are those of equilibrium (risk aversion {aversion:.3g}{whose}, "
        f"risk-free rate {risk_free_rate:.2%})"
    )
    if not asked.views:
        return Expected(prior, past.covariance, (said,))
    return _with_views(asked, past, prior, said)


def _with_views(asked: ExpectedReturns, past: Past, prior: Floats, said: str) -> Expected:
    views = asked.views
    picks = np.array([[v.shares.get(t, 0.0) for t in past.tickers] for v in views])
    sure = np.array([np.nan if v.confidence is None else v.confidence for v in views])
    by_confidence = idzorek(picks, past.covariance, asked.tau, np.nan_to_num(sure))
    variances = np.array(
        [w if v.variance is None else v.variance for v, w in zip(views, by_confidence, strict=True)]
    )
    returns = np.array([v.expected for v in views])
    try:
        found = black_litterman(prior, past.covariance, asked.tau, picks, returns, variances)
    except ContradictionError as error:
        raise ValueError(_wrong_views(asked, prior, picks, error)) from None
    remarks = [f"{said}, with {len(views)} view{'s' if len(views) > 1 else ''}"]
    silent = [v.label for v in views if v.confidence == 0]
    remarks += [f"view {label}: of confidence 0, so it says nothing" for label in silent]
    covariance = past.covariance
    if asked.posterior_covariance:
        covariance = covariance + found.uncertainty
        remarks.append("risk includes the error of the expected returns (posterior covariance)")
    return Expected(found.means, covariance, tuple(remarks))


def _wrong_views(
    asked: ExpectedReturns, prior: Floats, picks: Floats, error: ContradictionError
) -> str:
    if error.riskless:
        told = "; ".join(
            f"{asked.views[k].label} is known to earn {picks[k] @ prior:.6g}, as it has no risk, "
            f"and the view says {asked.views[k].expected:g}"
            for k in error.views
        )
        return f"expected_returns: {told}"
    told = " and ".join(
        f"view {k + 1} ({asked.views[k].label}: {asked.views[k].expected:g})" for k in error.views
    )
    return (
        f"expected_returns: {told} contradict each other, and all are certain: give one of them a "
        "confidence below 1"
    )


def _less_fees(found: Expected, tickers: Sequence[str], facts: Facts) -> Expected:
    fees = np.array([float(facts[MANAGEMENT_FEE][t]) for t in tickers]) / 100.0
    said = f"management fees of {_range(fees, 2)} a year are taken off expected returns"
    return Expected(found.means - fees, found.covariance, (*found.remarks, said))


def _range(values: Floats, digits: int = 1) -> str:
    """The least to the greatest, in per cent."""
    low, high = f"{values.min():.{digits}%}", f"{values.max():.{digits}%}"
    return low if low == high else f"{low} to {high}"
