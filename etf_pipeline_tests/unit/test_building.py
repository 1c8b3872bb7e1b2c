"""From estimates and limits by ticker to a problem."""

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.portfolio import stated
from etf_pipeline.portfolio.building import group_limits, problem_from, problem_of
from etf_pipeline.portfolio.limits import (
    ActiveWeights,
    BetaRange,
    CvarCeiling,
    GrossExposure,
    GroupLimit,
    ReturnFloor,
    TrackingErrorCeiling,
    TurnoverCeiling,
    VolatilityCeiling,
)
from etf_pipeline.risk.estimates import Estimates

TICKERS = ["VAS", "VGS", "VAF"]
RETURNS = np.random.default_rng(5).normal(0, 0.01, (80, 3))
ESTIMATES = Estimates(
    pd.DataFrame(), RETURNS, np.array([0.1, 0.2, 0.05]), np.diag([0.04, 0.09, 0.01]), 252
)
COLUMNS = {"asset_class": {"VAS": "shares", "VGS": "shares", "VAF": "bonds"}}


def spec(objective="min_volatility", **changes):
    return PortfolioSpec(name="p", tickers=TICKERS, objective=objective, **changes)


def test_estimates_are_taken_as_they_are():
    problem = problem_from(ESTIMATES, TICKERS, "max_sharpe", 0.03)
    assert problem.means.tolist() == [0.1, 0.2, 0.05]
    assert problem.covariance.tolist() == np.diag([0.04, 0.09, 0.01]).tolist()
    assert problem.names == ("VAS", "VGS", "VAF")
    assert (problem.objective, problem.risk_free_rate) == ("max_sharpe", 0.03)
    assert problem.lower.tolist() == [0, 0, 0]
    assert problem.upper.tolist() == [1, 1, 1]
    assert problem.holdings is None


def test_limits_by_ticker_are_put_in_the_order_of_the_tickers():
    problem = problem_from(
        ESTIMATES,
        TICKERS,
        "min_volatility",
        0.0,
        min_weight=0.05,
        max_weight=0.8,
        bounds={"VAF": (0.1, 0.3)},
        holdings={"VAF": 0.4, "VAS": 0.6},
        cost_rate=0.01,
    )
    assert problem.lower.tolist() == [0.05, 0.05, 0.1]
    assert problem.upper.tolist() == [0.8, 0.8, 0.3]
    assert problem.holdings.tolist() == [0.6, 0.0, 0.4]
    assert problem.cost_rate == 0.01


@pytest.mark.parametrize("what", ["bounds", "holdings"])
def test_a_ticker_that_was_not_asked_for_is_named(what):
    value = {"bounds": (0.0, 0.5), "holdings": 0.5}[what]
    with pytest.raises(ValueError, match=f"{what}: IVV was not asked for"):
        problem_from(ESTIMATES, TICKERS, "min_volatility", 0.0, **{what: {"IVV": value}})


def test_a_specification_is_passed_on_whole():
    problem = problem_of(
        spec(
            "max_return",
            risk_budget=0.2,
            max_weight=0.7,
            bounds={"VAS": (0.1, 0.4)},
            groups={"asset_class": {"bonds": (0.1, 0.5)}},
            holdings={"VAS": 1.0},
            max_turnover=0.6,
            cost_rate=0.002,
        ),
        ESTIMATES,
        0.03,
        COLUMNS,
    )
    assert (problem.objective, problem.risk_free_rate) == ("max_return", 0.03)
    assert problem.lower.tolist() == [0.1, 0, 0]
    assert problem.upper.tolist() == [0.4, 0.7, 0.7]
    assert problem.holdings.tolist() == [1, 0, 0]
    assert problem.cost_rate == 0.002
    group, turnover, budget = problem.limits
    assert turnover == TurnoverCeiling(0.6)
    assert budget == VolatilityCeiling(0.2)
    assert (group.name, group.members) == ("asset_class bonds", ("VAF",))
    assert (group.lower, group.upper) == (0.1, 0.5)
    assert problem.scenarios is None


@pytest.mark.parametrize(
    ("objective", "changes"),
    [("min_cvar", {"cvar_level": 0.9}), ("max_return", {"cvar_budget": 0.05, "cvar_level": 0.9})],
)
def test_cvar_is_over_the_returns_behind_the_estimates(objective, changes):
    problem = problem_of(spec(objective, **changes), ESTIMATES, 0.0)
    assert problem.scenarios.returns.tolist() == RETURNS.tolist()
    assert problem.scenarios.level == 0.9
    expected = (CvarCeiling(changes["cvar_budget"]),) if "cvar_budget" in changes else ()
    assert problem.limits == expected


def test_a_target_is_passed_on():
    problem = problem_of(spec("target_return", target_return=0.12), ESTIMATES, 0.0)
    assert problem.limits == (ReturnFloor(0.12),)


def test_every_limit_that_is_stated_becomes_one():
    """One of each, in any order; what is not asked for is not there."""
    problem = stated(
        [0.1, 0.2],
        np.diag([0.01, 0.09]),
        ("a", "b"),
        "max_utility",
        risk_aversion=2.0,
        groups=(GroupLimit("g", ("a",), 0.1, 0.5),),
        holdings=[0.5, 0.5],
        max_turnover=0.3,
        benchmark=[0.4, 0.6],
        max_tracking_error=0.1,
        max_active_weight=0.2,
        beta=(0.5, 1.5),
        gross_exposure=1.2,
        target_return=0.12,
        risk_budget=0.2,
        cvar_budget=0.05,
        scenarios=np.eye(2),
    )
    assert set(problem.limits) == {
        GroupLimit("g", ("a",), 0.1, 0.5),
        TurnoverCeiling(0.3),
        TrackingErrorCeiling(0.1),
        ActiveWeights(0.2),
        BetaRange(0.5, 1.5),
        GrossExposure(1.2),
        ReturnFloor(0.12),
        VolatilityCeiling(0.2),
        CvarCeiling(0.05),
    }
    assert stated([0.1, 0.2], np.diag([0.01, 0.09]), ("a", "b")).limits == ()


def test_groups_are_by_column_and_value_in_the_order_of_the_tickers():
    limited = spec(groups={"asset_class": {"shares": (0.0, 0.6), "bonds": (0.2, 1.0)}})
    groups = group_limits(limited, COLUMNS)
    assert [g.members for g in groups] == [("VAS", "VGS"), ("VAF",)]
    assert group_limits(spec(), COLUMNS) == ()


@pytest.mark.parametrize("columns", [COLUMNS, {}])
def test_a_group_without_a_member_is_named(columns):
    limited = spec(groups={"asset_class": {"property": (0.0, 0.6)}})
    with pytest.raises(ValueError, match="no ticker of p has asset_class 'property'"):
        group_limits(limited, columns)
