"""Checks of the derived tables, by the rules of `steps.table_checks`."""

from __future__ import annotations

import dagster as dg

from etf_pipeline.model.schemas import CORRELATIONS, RISK_METRICS, SUMMARY, WEIGHTS
from etf_pipeline.orchestration.checks.check import Check, TableCheck, unjudged
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.steps.table_checks import (
    impossible_correlations,
    impossible_metrics,
    not_correlated,
    not_optimised,
    wrong_weights,
)

METRICS_POSSIBLE = Check(
    "metrics_possible",
    "risk_metrics",
    "Every metric is within its possible range.",
    blocking=True,
)
CORRELATIONS_PSD = Check(
    "correlations_psd",
    "correlations",
    "Correlations are symmetric, within −1 and 1, 1 with themselves, and each set of them is PSD.",
    blocking=True,
)
EVERY_TICKER_CORRELATED = Check(
    "every_ticker_correlated",
    "correlations",
    "Every ticker that covers a window goes with others, or says why it does not.",
)
WEIGHTS_ADD_UP = Check(
    "weights_add_up",
    "optimised_portfolios",
    "Published weights and cash sum to 1; none is short unless a gross_exposure allows it.",
    blocking=True,
)
EVERY_PORTFOLIO_OPTIMISED = Check(
    "every_portfolio_optimised",
    "optimised_portfolios",
    "Every model portfolio was optimised, with proof.",
)


def _members(pipeline: Pipeline) -> list[list[list[str]]]:
    """The tickers of every model portfolio, as one argument."""
    return [[s.tickers for s in pipeline.portfolios()]]


TABLE_CHECKS = (
    TableCheck(METRICS_POSSIBLE, RISK_METRICS, impossible_metrics),
    TableCheck(CORRELATIONS_PSD, CORRELATIONS, impossible_correlations, also=_members),
    TableCheck(EVERY_TICKER_CORRELATED, CORRELATIONS, not_correlated),
    TableCheck(WEIGHTS_ADD_UP, WEIGHTS, wrong_weights, (SUMMARY,)),
    TableCheck(EVERY_PORTFOLIO_OPTIMISED, SUMMARY, not_optimised),
)


def specs_of(asset: str) -> list[dg.AssetCheckSpec]:
    """What an asset announces of the checks on its tables."""
    return [one.check.spec for one in TABLE_CHECKS if one.check.asset == asset]


def unjudged_of(asset: str) -> list[dg.AssetCheckResult]:
    """What they say while there is no table to read."""
    return [unjudged(one.check) for one in TABLE_CHECKS if one.check.asset == asset]


def results_of(asset: str, pipeline: Pipeline) -> list[dg.AssetCheckResult]:
    """What the checks say of the newest tables of an asset."""
    return [one.result(pipeline) for one in TABLE_CHECKS if one.check.asset == asset]
