"""What skfolio and PyPortfolioOpt publish as examples of each feature, computed by them and by us.

Their examples download prices; here the twenty US shares that skfolio ships stand in for them. Both
sides get the same means, covariance and scenarios. Ours must be at least as good by the example's
own objective, within every limit of it, and near in weights where the optimum is sharp.
"""

import cvxpy
import numpy as np
import pandas as pd
import pytest
from pypfopt import (
    EfficientCVaR,
    EfficientFrontier,
    objective_functions,
)
from skfolio import RiskMeasure
from skfolio.datasets import load_sp500_dataset
from skfolio.optimization import MeanRisk, ObjectiveFunction

from etf_pipeline.portfolio import GroupLimit, optimise, stated

PRICES = load_sp500_dataset().loc["2018-12-31":]
RETURNS = PRICES.pct_change().dropna()
NAMES = tuple(RETURNS.columns)
MEANS = RETURNS.mean().to_numpy() * 252
COVARIANCE = np.cov(RETURNS.to_numpy(), rowvar=False) * 252
N = len(NAMES)
TIGHT = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}
# As PyPortfolioOpt's guide has sectors, for these shares.
SECTORS = {
    "tech": ("AAPL", "AMD", "MSFT"),
    "health": ("JNJ", "LLY", "MRK", "PFE", "UNH"),
    "energy": ("CVX", "RRC", "XOM"),
    "banks": ("BAC", "JPM"),
    "retail": ("BBY", "HD", "WMT"),
    "staples": ("KO", "PEP", "PG"),
    "industry": ("GE",),
}


def frontier(bounds=(0, 1)):
    return EfficientFrontier(
        pd.Series(MEANS, NAMES),
        pd.DataFrame(COVARIANCE, NAMES, NAMES),
        weight_bounds=bounds,
        solver="CLARABEL",
        solver_options=TIGHT,
    )


def ask(objective="min_volatility", **limits):
    answer = optimise(stated(MEANS, COVARIANCE, NAMES, objective, **limits))
    assert answer.success, answer.message
    return answer


def weights(found):
    return np.array([found[name] for name in NAMES])


def volatility(w):
    return float(np.sqrt(w @ COVARIANCE @ w))


def test_pyportfolioopt_sector_constraints():
    """Its user guide: `add_sector_constraints(sector_mapper, sector_lower, sector_upper)`."""
    lower = {"tech": 0.10, "energy": 0.02}
    upper = {"tech": 0.40, "health": 0.10, "staples": 0.30}
    theirs = frontier()
    theirs.add_sector_constraints(
        {name: s for s, names in SECTORS.items() for name in names}, lower, upper
    )
    found = weights(theirs.min_volatility())
    groups = [
        GroupLimit(s, names, lower.get(s, 0.0), upper.get(s, 1.0)) for s, names in SECTORS.items()
    ]
    ours = ask(groups=groups)
    assert ours.weights == pytest.approx(found, abs=1e-5)
    assert ours.volatility <= volatility(found) * (1 + 1e-9)
    health = [NAMES.index(n) for n in SECTORS["health"]]
    assert ours.weights[health].sum() == pytest.approx(0.10, abs=1e-9)


def test_pyportfolioopt_max_quadratic_utility_and_transaction_cost():
    """Its user guide: `add_objective(transaction_cost, w_prev=…, k=0.001)`."""
    held = np.full(N, 1.0 / N)
    theirs = frontier()
    theirs.add_objective(objective_functions.transaction_cost, w_prev=held, k=0.01)
    found = weights(theirs.max_quadratic_utility(risk_aversion=4))

    def utility(w):
        return MEANS @ w - 2 * w @ COVARIANCE @ w - 0.01 * np.abs(w - held).sum()

    ours = ask("max_utility", risk_aversion=4.0, holdings=held, cost_rate=0.01)
    assert ours.weights == pytest.approx(found, abs=1e-4)
    assert utility(ours.weights) >= utility(found) - 1e-9


def test_pyportfolioopt_turnover_as_a_constraint():
    """Its user guide's `add_constraint`, with the turnover from equal weights."""
    held = np.full(N, 1.0 / N)
    theirs = frontier()
    theirs.add_constraint(lambda w: cvxpy.norm(w - held, 1) <= 0.4)
    found = weights(theirs.min_volatility())
    ours = ask(holdings=held, max_turnover=0.2)
    assert ours.weights == pytest.approx(found, abs=1e-4)
    assert ours.volatility <= volatility(found) * (1 + 1e-7)
    assert np.abs(ours.weights - held).sum() == pytest.approx(0.4, abs=1e-8)


def test_pyportfolioopt_ex_ante_tracking_error():
    """Its user guide: `convex_objective(ex_ante_tracking_error, cov_matrix, benchmark_weights)`."""
    benchmark = np.linspace(1, 3, N) / np.linspace(1, 3, N).sum()
    theirs = frontier((0, 0.07))
    theirs.convex_objective(
        objective_functions.ex_ante_tracking_error,
        cov_matrix=COVARIANCE,
        benchmark_weights=benchmark,
    )
    found = np.array([theirs.clean_weights(cutoff=0, rounding=None)[n] for n in NAMES])
    ours = ask("min_tracking_error", benchmark=benchmark, upper=0.07)
    assert ours.weights == pytest.approx(found, abs=1e-4)
    assert volatility(ours.weights - benchmark) <= volatility(found - benchmark) * (1 + 1e-6)


def test_pyportfolioopt_market_neutral():
    """Its user guide: `efficient_risk(target_volatility, market_neutral=True)`, weights ±1."""
    theirs = frontier((-1, 1))
    found = weights(theirs.efficient_risk(0.20, market_neutral=True))
    ours = ask("max_return", lower=-1.0, upper=1.0, net_exposure=(0.0, 0.0), risk_budget=0.20)
    assert ours.weights.sum() == pytest.approx(0.0, abs=1e-9)
    assert ours.volatility <= 0.20 * (1 + 1e-8)
    assert ours.expected_return >= MEANS @ found - 1e-6
    assert ours.weights == pytest.approx(found, abs=1e-3)


def test_pyportfolioopt_long_short():
    """Its cookbook: `weight_bounds=(None, None)`-like shorts with `efficient_return`."""
    theirs = frontier((-1, 1))
    found = weights(theirs.efficient_return(0.35))
    ours = ask("target_return", lower=-1.0, upper=1.0, target_return=0.35)
    assert ours.weights == pytest.approx(found, abs=1e-4)
    assert ours.volatility <= volatility(found) * (1 + 1e-7)


@pytest.mark.parametrize("way", ["min_cvar", "efficient_return", "efficient_risk"])
def test_pyportfolioopt_efficient_cvar(way):
    """Its user guide's `EfficientCVaR`: least CVaR, a return to reach, a CVaR to keep."""
    scenarios = RETURNS.to_numpy()[-500:]
    means = scenarios.mean(0)
    theirs = EfficientCVaR(
        pd.Series(means, NAMES), RETURNS[-500:], solver="CLARABEL", solver_options=TIGHT
    )
    given = {"scenarios": scenarios, "cvar_level": 0.95}
    if way == "min_cvar":
        found, given["objective"] = theirs.min_cvar(), "min_cvar"
    elif way == "efficient_return":
        found = theirs.efficient_return(0.001)
        given |= {"objective": "min_cvar", "target_return": 0.001}
    else:
        found = theirs.efficient_risk(0.03)
        given |= {"objective": "max_return", "cvar_budget": 0.03}
    found = weights(found)
    ours = optimise(stated(means, np.cov(scenarios, rowvar=False), NAMES, **given))
    assert ours.success, ours.message
    losses = np.sort(-(scenarios @ ours.weights))[-25:]
    assert ours.cvar == pytest.approx(losses.mean(), rel=1e-9)
    their_cvar = np.sort(-(scenarios @ found))[-25:].mean()
    if way == "efficient_risk":
        assert ours.cvar <= 0.03 * (1 + 1e-7)
        assert ours.expected_return >= means @ found - 1e-8
    else:
        assert ours.cvar <= their_cvar + 1e-9
        assert ours.cvar == pytest.approx(their_cvar, rel=1e-5)


def mean_risk(returns=RETURNS, y=None, **given):
    """Weights of skfolio's `MeanRisk`, at tight tolerances."""
    model = MeanRisk(solver="CLARABEL", solver_params=TIGHT, **given)
    return model.fit(returns, y).weights_


DAILY_MEANS, DAILY = RETURNS.mean().to_numpy(), np.cov(RETURNS.to_numpy(), rowvar=False)


def ask_daily(objective="min_volatility", **limits):
    """The same in days, as skfolio has it."""
    answer = optimise(stated(DAILY_MEANS, DAILY, NAMES, objective, **limits))
    assert answer.success, answer.message
    return answer


def test_skfolio_weight_constraints():
    """Its example "Weight Constraints": groups and linear constraints on least variance."""
    found = mean_risk(
        groups=[
            [next(s for s, names in SECTORS.items() if n in names) for n in NAMES],
            ["dow" if i % 2 else "other" for i in range(N)],
        ],
        linear_constraints=["health <= 0.2", "tech >= 0.1", "dow <= 0.4"],
        max_weights={"WMT": 0.15},
    )
    upper = np.where(np.array(NAMES) == "WMT", 0.15, 1.0)
    groups = [
        GroupLimit("health", SECTORS["health"], 0.0, 0.2),
        GroupLimit("tech", SECTORS["tech"], 0.1, 1.0),
        GroupLimit("dow", NAMES[1::2], 0.0, 0.4),
    ]
    ours = ask_daily(groups=groups, upper=upper)
    assert ours.weights == pytest.approx(found, abs=1e-4)
    assert ours.volatility**2 <= found @ DAILY @ found * (1 + 1e-7)


def test_skfolio_transaction_costs():
    """Its example "Transaction Costs": greatest utility net of costs from previous weights."""
    held = np.full(N, 1.0 / N)
    found = mean_risk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
        risk_aversion=1.0,
        transaction_costs=0.0002,
        previous_weights=held,
    )

    def utility(w):
        return DAILY_MEANS @ w - w @ DAILY @ w - 0.0002 * np.abs(w - held).sum()

    # Theirs is mean − λ · variance, ours mean − λ/2 · variance.
    ours = ask_daily("max_utility", risk_aversion=2.0, holdings=held, cost_rate=0.0002)
    assert utility(ours.weights) >= utility(found) - 1e-10
    assert ours.weights == pytest.approx(found, abs=1e-3)


def test_skfolio_max_turnover_is_by_asset():
    """Its `max_turnover` limits what each asset trades: bounds around the holdings, here."""
    held = np.full(N, 1.0 / N)
    found = mean_risk(previous_weights=held, max_turnover=0.02)
    ours = ask_daily(lower=np.maximum(held - 0.02, 0), upper=held + 0.02)
    assert ours.weights == pytest.approx(found, abs=1e-4)
    # Our limit is on the part of the portfolio that changes hands.
    half = np.abs(ours.weights - held).sum() / 2
    again = ask_daily(holdings=held, max_turnover=half)
    assert again.volatility <= ours.volatility * (1 + 1e-9)


def test_skfolio_tracking_error():
    """Its example "Tracking Error": greatest Sharpe ratio within a tracking error of an index.

    Its tracking error is the root mean square of differences (T − 1), not demeaned: with demeaned
    returns on both sides the two are one, so least variance is compared.
    """
    demeaned = RETURNS - RETURNS.mean()
    index = demeaned.mean(axis=1)
    found = mean_risk(demeaned, index, max_tracking_error=0.004)
    benchmark = np.full(N, 1.0 / N)
    ours = ask_daily(benchmark=benchmark, max_tracking_error=0.004)
    away = ours.weights - benchmark
    assert np.sqrt(away @ DAILY @ away) == pytest.approx(0.004, rel=1e-6)
    assert ours.weights == pytest.approx(found, abs=1e-4)


def test_skfolio_long_short_with_a_budget():
    """Its `MeanRisk(min_weights=-1, budget=…)`: least variance with a net of a half."""
    found = mean_risk(min_weights=-0.2, max_weights=0.5, budget=0.5)
    ours = ask_daily(lower=-0.2, upper=0.5, net_exposure=(0.5, 0.5))
    assert ours.weights == pytest.approx(found, abs=1e-4)


def test_skfolio_max_short_and_max_long_are_a_gross_exposure():
    """Full investment with shorts of at most 0.3 is a gross exposure of at most 1.6."""
    found = mean_risk(min_weights=-0.2, max_weights=1.0, budget=1.0, max_short=0.3)
    ours = ask_daily(lower=-0.2, upper=1.0, gross_exposure=1.6)
    assert np.abs(ours.weights).sum() == pytest.approx(1.6, abs=1e-7)
    assert ours.weights == pytest.approx(found, abs=1e-4)


def test_skfolio_least_cvar():
    """Its example "Minimize CVaR"."""
    found = mean_risk(risk_measure=RiskMeasure.CVAR, cvar_beta=0.95)
    scenarios = RETURNS.to_numpy()
    ours = ask_daily("min_cvar", scenarios=scenarios, cvar_level=0.95)
    tail = 0.05 * len(scenarios)
    whole = int(tail)

    def cvar(w):
        losses = np.sort(-(scenarios @ w))[::-1]
        return (losses[:whole].sum() + (tail - whole) * losses[whole]) / tail

    assert ours.cvar == pytest.approx(cvar(ours.weights), rel=1e-9)
    assert ours.cvar <= cvar(found) + 1e-10
    assert ours.cvar == pytest.approx(cvar(found), rel=1e-6)


def test_skfolio_cardinality():
    """Its example "Cardinality Constraints": at most four shares of at least a tenth each."""
    scenarios = RETURNS.to_numpy()[-250:]
    theirs = MeanRisk(
        risk_measure=RiskMeasure.CVAR, cardinality=4, threshold_long=0.1, solver="HIGHS"
    )
    found = theirs.fit(RETURNS[-250:]).weights_
    ours = optimise(
        stated(
            scenarios.mean(0),
            np.cov(scenarios, rowvar=False),
            NAMES,
            "min_cvar",
            scenarios=scenarios,
            max_holdings=4,
            min_position=0.1,
        )
    )
    assert ours.success, ours.message
    assert ours.weights == pytest.approx(found, abs=1e-6)
    assert np.count_nonzero(ours.weights) == 4
    assert ours.weights[ours.weights > 0].min() >= 0.1


def test_skfolio_greatest_sharpe_ratio_within_a_cvar():
    """Its `MAXIMIZE_RATIO` beside `max_cvar`."""
    scenarios = RETURNS.to_numpy()
    found = mean_risk(objective_function=ObjectiveFunction.MAXIMIZE_RATIO, max_cvar=0.025)
    ours = ask_daily("max_sharpe", scenarios=scenarios, cvar_level=0.95, cvar_budget=0.025)
    ratio = DAILY_MEANS @ found / np.sqrt(found @ DAILY @ found)
    assert ours.cvar <= 0.025 * (1 + 1e-7)
    assert ours.sharpe_ratio >= ratio * (1 - 1e-7)
    assert ours.weights == pytest.approx(found, abs=1e-3)
