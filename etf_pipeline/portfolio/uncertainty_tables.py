"""The uncertainty table: how far the weights and figures of model portfolios could be others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from etf_pipeline.errors import EtfError
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import UNCERTAINTY
from etf_pipeline.portfolio.building import Columns, problem_of
from etf_pipeline.portfolio.problem import Problem
from etf_pipeline.portfolio.tables import stated_problem
from etf_pipeline.portfolio.uncertainty import CASH, SEED, Resampled, resampled
from etf_pipeline.risk.conversion import Together
from etf_pipeline.risk.estimates import Estimates
from etf_pipeline.risk.risk_free import RiskFree


def resampled_portfolio(
    spec: PortfolioSpec,
    together: Together,
    lookback_years: int | None,
    risk_free_rate: RiskFree | float,
    columns: Columns | None = None,
    periods_per_year: float | None = None,
    *,
    resamples: int,
    seed: int = SEED,
    block_length: float | None = None,
) -> Resampled:
    """The answers to resamples of a portfolio, its tickers sorted; see `uncertainty.resampled`.

    Args:
        spec: the portfolio, in any order of its tickers.
        together: see `tables.together_of`.
        lookback_years: for a specification that names none; None for all there is.
        risk_free_rate: annual effective rate, or returns without risk: what they came to over
            each portfolio's own window.
        columns: of the universe, each a value per ticker.
        periods_per_year: A, fixed by convention; by default what there was.
        resamples: how many.
        seed: of the draws.
        block_length: mean length of blocks, in days; None to let the returns choose it.

    Raises:
        EtfError: there is too little history, or no answer to begin with.
        ValueError: the specification or the resampling asks for what cannot be.
    """
    order = sorted(range(len(spec.tickers)), key=lambda i: spec.tickers[i])
    spec = spec.model_copy(update={"tickers": [spec.tickers[i] for i in order]})
    together = replace(together, series=[together.series[i] for i in order])
    stated = stated_problem(
        spec, together, lookback_years, risk_free_rate, columns, periods_per_year
    )

    def problem(estimates: Estimates) -> Problem:
        return problem_of(spec, estimates, stated.problem.risk_free_rate, columns)

    return resampled(stated.estimates, problem, resamples, seed, block_length)


@dataclass(frozen=True)
class UncertaintyTable:
    """The table, and why portfolios that ask for it are not in it, by name."""

    table: pa.Table
    failures: Mapping[str, str]


def uncertainty_table(
    specs: Iterable[PortfolioSpec],
    priced: Mapping[str, Together],
    lookback_years: int,
    risk_free_rate: RiskFree | float,
    columns: Columns | None = None,
    periods_per_year: float | None = None,
) -> UncertaintyTable:
    """Resample the portfolios that ask for it; `priced` has what each is optimised over."""
    rows: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    for spec in sorted(specs, key=lambda s: s.name):
        together = priced.get(spec.name)
        if not spec.resamples or together is None:
            continue
        try:
            found = resampled_portfolio(
                spec,
                together,
                lookback_years,
                risk_free_rate,
                columns,
                periods_per_year,
                resamples=spec.resamples,
            )
        except (EtfError, ValueError) as error:
            failures[spec.name] = str(error)
            continue
        base = {"portfolio": spec.name, "source": together.source}
        rows += [base | row for row in uncertainty_rows(found)]
    return UncertaintyTable(pa.Table.from_pylist(rows, schema=UNCERTAINTY.arrow), failures)


def uncertainty_rows(found: Resampled) -> list[dict[str, Any]]:
    """Rows of `schemas.UNCERTAINTY`, but for the portfolio and the source."""
    about = {
        "resamples": found.asked,
        "answered": len(found.weights),
        "seed": found.seed,
        "block_length": found.block_length,
        "remarks": "; ".join(found.remarks) or None,
    }
    kinds = {"weight": found.table(), CASH: found.cash()}
    named = {"ticker": "name", "weight": "estimate"}
    held = [f.reset_index().rename(columns=named).assign(kind=kind) for kind, f in kinds.items()]
    figures = found.figures().reset_index().rename(columns={"of": "kind", "figure": "name"})
    return [
        {str(key): _there(value) for key, value in row.items()} | about
        for frame in (*held, figures)
        for row in frame.to_dict("records")
    ]


def _there(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
