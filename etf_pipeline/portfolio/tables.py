"""The portfolio tables: weights, summary and frontier of every model portfolio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from etf_pipeline.errors import EtfError, InsufficientDataError, ReasonCode
from etf_pipeline.model.benchmark_portfolios import (
    as_decided,
    benchmark_portfolio,
    benchmarks_first,
    measured_against,
    without_benchmark,
)
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import FRONTIER, SUMMARY, WEIGHTS
from etf_pipeline.model.tables import Table
from etf_pipeline.portfolio.answer import Answer, refused_by
from etf_pipeline.portfolio.benchmarks import Followed
from etf_pipeline.portfolio.building import Columns, problem_of
from etf_pipeline.portfolio.curve import Curve, proven_curve
from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.optimise import optimise
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.risk.conversion import NO_PRICES, OWN_CURRENCY, Conversion, Together
from etf_pipeline.risk.estimates import Estimates, estimate_of
from etf_pipeline.risk.prices import PriceSeries, sources, window_start
from etf_pipeline.risk.risk_free import Constant, RiskFree, risk_free


@dataclass(frozen=True)
class PortfolioTables:
    """The three tables, the answer to each portfolio, and the prices it rests on if there are.

    `specs` are the portfolios by name, with weights in place of those that they are measured
    against.
    """

    weights: pa.Table
    summary: pa.Table
    frontier: pa.Table
    answers: Mapping[str, Answer]
    inputs: Mapping[str, Together]
    specs: Mapping[str, PortfolioSpec]


def series_of(spec: PortfolioSpec, series: Mapping[str, PriceSeries]) -> list[PriceSeries]:
    """The prices of a portfolio's tickers, in its order.

    Raises:
        InsufficientDataError: naming those without a history.
    """
    return _there(spec.tickers, series)


def beside_of(
    spec: PortfolioSpec, series: Mapping[str, PriceSeries], followed: Followed | None = None
) -> list[PriceSeries]:
    """The prices of what its benchmark holds besides, in the order of `spec.beside`.

    Of a portfolio walked forward, of all that it ever decided to hold.

    Raises:
        InsufficientDataError: naming those without a history.
    """
    if followed is None:
        return _there(spec.beside, series)
    return _there([t for t in followed.tickers if t not in spec.tickers], series)


def _there(tickers: Sequence[str], series: Mapping[str, PriceSeries]) -> list[PriceSeries]:
    absent = [t for t in tickers if t not in series]
    if absent:
        raise InsufficientDataError(
            f"no history of {', '.join(absent)}; run `etf run`", code=ReasonCode.NO_HISTORY
        )
    return [series[t] for t in tickers]


def against_answer(
    spec: PortfolioSpec, benchmark: PortfolioSpec, answer: Answer
) -> tuple[PortfolioSpec, str]:
    """A portfolio beside what the answer to its benchmark holds, and what that is in words.

    Raises:
        EtfError: the benchmark has no answer.
    """
    if not answer.success or answer.weights is None:
        why = without_benchmark(spec, benchmark.name, "answer", answer.message)
        raise EtfError(why, code=answer.code)
    weights = dict(zip(benchmark.tickers, answer.weights.tolist(), strict=True))
    return measured_against(spec, weights), as_decided(benchmark.name, weights)


def together_of(
    spec: PortfolioSpec,
    series: Mapping[str, PriceSeries],
    lookback_years: int | None,
    conversion: Conversion,
) -> Together:
    """The prices of a portfolio's tickers in its currency, as far back as it looks.

    Those of its benchmark are beside them, and have no say in the currency.

    Raises:
        InsufficientDataError: naming those without a history.
        CurrencyError: they cannot be brought to one currency.
    """
    held, others = series_of(spec, series), beside_of(spec, series)
    start = window_start(min(s.end for s in [*held, *others]), spec.lookback(lookback_years))
    found, beside = conversion.beside(held, others, spec.base_currency, start)
    return replace(found, beside=tuple(beside))


@dataclass(frozen=True)
class Stated:
    """A portfolio's problem, and the estimates that it rests on."""

    problem: Problem
    estimates: Estimates


def stated_problem(
    spec: PortfolioSpec,
    together: Together,
    lookback_years: int | None,
    risk_free_rate: RiskFree | float,
    columns: Columns | None = None,
    periods_per_year: float | None = None,
) -> Stated:
    """What a portfolio asks for over prices that are together: the one way from there to a problem.

    Args:
        spec: the portfolio.
        together: see `together_of`.
        lookback_years: for a specification that names none; None for all there is.
        risk_free_rate: annual effective rate, or returns without risk: what they came to over
            each portfolio's own window.
        columns: of the universe, for groups and expected returns, each a value per ticker.
        periods_per_year: A, fixed by convention; by default what there was.

    Raises:
        InsufficientDataError: too few common returns, or no risk-free rate over them.
        CurrencyError: the risk-free returns are in another currency.
        ValueError: the specification asks for what cannot be.
    """
    free = risk_free(risk_free_rate).like(together.currency)
    estimates = estimate_of(
        spec,
        together.series,
        lookback_years,
        free,
        columns,
        periods_per_year,
        beside=together.beside,
    )
    dates = estimates.prices.index
    said = free.remarks(dates[0].date(), dates[-1].date())
    estimates = replace(estimates, remarks=(*estimates.remarks, *said))
    return Stated(problem_of(spec, estimates, estimates.rate(free), columns), estimates)


def portfolio_tables(
    specs: Iterable[PortfolioSpec],
    series: Mapping[str, PriceSeries],
    lookback_years: int,
    risk_free_rate: RiskFree | float,
    columns: Columns | None = None,
    conversion: Conversion = OWN_CURRENCY,
    periods_per_year: float | None = None,
) -> PortfolioTables:
    """Optimise every portfolio; one that cannot be is a summary row that says why.

    Those that others are measured against come first, as their weights are the others' benchmark.

    Args:
        specs: the portfolios.
        series: prices by ticker; a ticker without any makes its portfolios fail, by name.
        lookback_years: for specifications that name none.
        risk_free_rate: as `stated_problem` has it, and so the others.
        columns: of the universe.
        conversion: brings prices to one currency.
        periods_per_year: A.
    """
    weights: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    frontier: list[dict[str, Any]] = []
    answers: dict[str, Answer] = {}
    inputs: dict[str, Together] = {}
    free = risk_free(risk_free_rate)
    known = {s.name: s for s in specs}
    for spec in benchmarks_first(known.values()):
        held = [series[t] for t in spec.tickers if t in series]
        base = {"portfolio": spec.name, "source": sources(held) or "none"}
        estimates: Estimates | None = None
        rate = free.rate if isinstance(free, Constant) else None
        said: list[str] = []
        try:
            if (other := benchmark_portfolio(spec, known)) is not None:
                spec, told = against_answer(spec, other, answers[other.name])
                known[spec.name], said = spec, [told]
            inputs[spec.name] = together = together_of(spec, series, lookback_years, conversion)
            base["source"] = together.source
            stated = stated_problem(spec, together, lookback_years, free, columns, periods_per_year)
            estimates = stated.estimates
            rate = stated.problem.risk_free_rate
            answer = optimise(stated.problem)
            curve = proven_curve(stated.problem) if answer.weights is not None else Curve(())
        except (EtfError, ValueError) as error:
            answer, curve = refused_by(error), Curve(())
        answers[spec.name] = answer
        priced = inputs.get(spec.name, NO_PRICES)
        money = {"base_currency": priced.currency, "fx": priced.fx}
        row = _summary(spec, answer, estimates, [*said, *curve.remarks, *priced.remarks])
        row |= {"risk_free": free.name, "risk_free_rate": rate}
        summary.append(base | money | row)
        frontier += [base | _point(i, point) for i, point in curve.points]
        if answer.weights is not None and estimates is not None:
            weights += [base | row for row in _weights(spec, answer.weights, estimates)]
    made = _table(WEIGHTS, weights), _table(SUMMARY, summary), _table(FRONTIER, frontier)
    return PortfolioTables(*made, answers, inputs, known)


def _table(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows in the order of the table's key."""
    rows.sort(key=lambda row: [row[name] for name in table.key])
    return pa.Table.from_pylist(rows, schema=table.arrow)


def _weights(spec: PortfolioSpec, weights: Floats, estimates: Estimates) -> list[dict[str, Any]]:
    deviations = np.sqrt(np.diag(estimates.covariance))
    return [
        {
            "ticker": ticker,
            "weight": float(weights[i]),
            "expected_return": float(estimates.means[i]),
            "volatility": float(deviations[i]),
        }
        for i, ticker in enumerate(spec.tickers)
    ]


def _summary(
    spec: PortfolioSpec,
    answer: Answer,
    estimates: Estimates | None,
    remarks: Sequence[str],
) -> dict[str, Any]:
    return {
        "objective": spec.objective,
        "success": answer.success,
        "message": "; ".join([answer.message, *(estimates.remarks if estimates else ()), *remarks]),
        "expected_return": answer.expected_return,
        "volatility": answer.volatility,
        "sharpe_ratio": answer.sharpe_ratio,
        "optimality_gap": answer.optimality_gap,
        "cvar": answer.cvar,
        "tracking_error": answer.tracking_error,
        "beta": answer.beta,
        "cash": answer.cash,
        "gross_exposure": spec.gross_exposure,
        "risk_budget": spec.risk_budget,
        "risk_budget_binding": answer.risk_budget_binding,
        "n_obs": estimates.n_obs if estimates else 0,
        "start": estimates.prices.index[0].date() if estimates else None,
        "end": estimates.prices.index[-1].date() if estimates else None,
        "correlation_period": estimates.correlation_period if estimates else None,
    }


def _point(number: int, answer: Answer) -> dict[str, Any]:
    return {
        "point": number,
        "expected_return": answer.expected_return,
        "volatility": answer.volatility,
        "sharpe_ratio": answer.sharpe_ratio,
    }
