"""`portfolios.yaml` reaches every objective and limit of the optimiser."""

from dataclasses import replace

import pytest

from etf_pipeline.errors import PortfolioFileError, ReasonCode
from etf_pipeline.portfolio.tables import portfolio_tables
from etf_pipeline.risk.conversion import Conversion, Rates
from etf_pipeline.risk.covariance import risk_contributions
from etf_pipeline.risk.estimates import estimate_of
from etf_pipeline_tests.fx_support import BY_HAND, FX, IN_AUD, MIXED, NAMED, alike
from etf_pipeline_tests.portfolio_file import DAYS, SERIES, TICKERS, UNIVERSE, specs


def solve(tmp_path, text):
    tables = portfolio_tables(specs(tmp_path, text), SERIES, 5, 0.0, UNIVERSE.columns())
    weights = {r["ticker"]: r["weight"] for r in tables.weights.to_pylist()}
    return tables.summary.to_pylist()[0], weights


@pytest.mark.parametrize(
    "text",
    [
        "    objective: max_return\n",
        "    objective: max_return\n    risk_budget: 0.09\n",
        "    objective: max_return\n    cvar_budget: 0.02\n",
        "    objective: min_volatility\n    estimator: ewma\n    halflife: 40\n",
        "    objective: max_sharpe\n    estimator: ledoit_wolf\n    max_weight: 0.4\n",
        "    objective: target_return\n    target_return: 0.02\n",
        "    objective: target_return\n    target_return: 0.02\n    risk_budget: 0.5\n",
        "    objective: min_cvar\n    cvar_level: 0.9\n",
        "    objective: min_cvar\n    target_return: 0.01\n    min_weight: 0.05\n",
        "    objective: risk_parity\n",
        "    objective: risk_parity\n    max_weight: 0.3\n"
        "    groups: {asset_class: {fixed_income: [0, 0.4]}}\n",
        "    objective: hrp\n",
        "    objective: hrp\n    bounds: {VAF: [0.1, 0.3]}\n    max_weight: 0.6\n",
    ],
)
def test_every_objective(tmp_path, text):
    summary, weights = solve(tmp_path, text)
    assert summary["success"], summary["message"]
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-9)
    assert (summary["cvar"] is not None) == ("cvar" in text)


def test_groups_by_a_column_of_the_universe(tmp_path):
    text = "    objective: min_volatility\n    groups:\n      asset_class:\n"
    summary, weights = solve(tmp_path, text + "        fixed_income: [0.0, 0.25]\n")
    assert summary["success"]
    assert weights["VAF"] + weights["VGB"] <= 0.25 + 1e-9
    with pytest.raises(PortfolioFileError, match=r"line 8: .*no ticker has 'property'"):
        specs(tmp_path, text + "        property: [0.0, 0.25]\n")


def test_shares_of_the_risk_are_those_of_the_file(tmp_path):
    shares = {"VAS": 0.4, "VGS": 0.3, "VAF": 0.2, "VGB": 0.1}
    listed = ", ".join(f"{t}: {share}" for t, share in shares.items())
    asked = specs(tmp_path, f"    objective: risk_parity\n    risk_budgets: {{{listed}}}\n")
    tables = portfolio_tables(asked, SERIES, 5, 0.0)
    answer = tables.answers["p"]
    assert answer.success
    sigma = estimate_of(asked[0], [SERIES[t] for t in asked[0].tickers], 5, 0.0, None).covariance
    found = risk_contributions(answer.weights, sigma)
    assert found == pytest.approx([shares[t] for t in asked[0].tickers], rel=1e-6)


def test_turnover_against_holdings(tmp_path):
    text = (
        "    objective: max_return\n    holdings: {VAS: 0.5, VAF: 0.5}\n    max_turnover: 0.05\n"
        "    cost_rate: 0.001\n"
    )
    summary, weights = solve(tmp_path, text)
    assert summary["success"]
    held = {"VAS": 0.5, "VAF": 0.5, "VGS": 0.0, "VGB": 0.0}
    assert sum(abs(weights[t] - held[t]) for t in TICKERS) / 2 <= 0.05 + 1e-8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("    objective: hrp\n    holdings: {VAS: 1}\n", "takes no holdings"),
        (
            "    objective: hrp\n    groups: {currency: {AUD: [0, 0.5]}}\n",
            "hrp takes no groups: it splits a tree",
        ),
        (
            "    objective: hrp\n    risk_budgets: {VAS: 1}\n",
            "risk_budgets goes with objective: risk_parity",
        ),
        (
            "    objective: risk_parity\n    risk_budgets: {VAS: 0.5, VGS: 0.5}\n",
            "say nothing of",
        ),
        ("    objective: max_return\n    max_turnover: 0.1\n", "need holdings"),
        (
            "    objective: min_volatility\n    risk_budget: 0.1\n",
            "goes with objective: max_return",
        ),
        ("    objective: min_cvar\n    cvar_budget: 0.1\n", "goes with objective: max_return"),
        ("    objective: max_sharpe\n    groups: {color: {red: [0, 1]}}\n", "line 6"),
        ("    objective: max_sharpe\n    holdings: {IVV: 1}\n", "IVV, which is not in tickers"),
    ],
)
def test_nonsense_is_refused_with_its_line(tmp_path, text, words):
    with pytest.raises(PortfolioFileError) as caught:
        specs(tmp_path, text)
    assert words in str(caught.value)
    assert "line " in str(caught.value)


def test_correlations_of_a_portfolio_are_weekly_where_exchanges_differ_or_on_request(tmp_path):
    """The summary says so, in a column and in its message."""

    def summary(text, series):
        asked = specs(tmp_path, "    objective: min_volatility\n" + text)
        (row,) = portfolio_tables(asked, series, 5, 0.0).summary.to_pylist()
        assert row["success"]
        return row

    here = {t: replace(s, exchange="XASX") for t, s in SERIES.items()}
    abroad = here | {"VGB": replace(here["VGB"], exchange="XNYS")}
    daily, weekly = summary("", here), summary("", abroad)
    assert daily["correlation_period"] == "daily"
    assert "weekly" not in daily["message"]
    assert weekly["correlation_period"] == "weekly"
    assert "weekly returns, as the calendars of XASX and XNYS differ" in weekly["message"]
    assert weekly["volatility"] != daily["volatility"]
    assert weekly["n_obs"] == daily["n_obs"]
    same = summary("    correlation_period: weekly\n", here)
    assert same["volatility"] == pytest.approx(weekly["volatility"], rel=1e-12)
    back = summary("    correlation_period: daily\n", abroad)
    assert back["volatility"] == pytest.approx(daily["volatility"], rel=1e-12)
    with pytest.raises(PortfolioFileError, match=r"line 6: .*must be one of daily, weekly"):
        specs(tmp_path, "    objective: hrp\n    correlation_period: hourly\n")


def test_a_convention_reaches_the_portfolios(tmp_path):
    asked = specs(tmp_path, "    objective: risk_parity\n")
    rows = [
        portfolio_tables(asked, SERIES, 5, 0.0, periods_per_year=a).summary.to_pylist()[0]
        for a in (252.0, 63.0)
    ]
    assert rows[0]["expected_return"] == pytest.approx(4 * rows[1]["expected_return"], rel=1e-6)
    assert rows[0]["volatility"] == pytest.approx(2 * rows[1]["volatility"], rel=1e-6)


def test_what_fails_says_why_in_a_code(tmp_path):
    """The text may change, the code is what exit codes and events go by."""

    def code(text, series=SERIES):
        tables = portfolio_tables(specs(tmp_path, text), series, 5, 0.0, UNIVERSE.columns())
        assert not tables.summary.to_pylist()[0]["success"]
        return tables.answers["p"].code

    without = {t: s for t, s in SERIES.items() if t != "VGB"}
    short = {t: s.since(DAYS[-20].date()) for t, s in SERIES.items()}
    assert code("    objective: hrp\n", without) is ReasonCode.NO_HISTORY
    assert code("    objective: hrp\n", short) is ReasonCode.TOO_FEW_RETURNS
    impossible = "    objective: max_return\n    risk_budget: 0.0001\n"
    assert code(impossible) is ReasonCode.INFEASIBLE


def test_what_succeeds_has_no_code(tmp_path):
    tables = portfolio_tables(specs(tmp_path, "    objective: hrp\n"), SERIES, 5, 0.0)
    assert tables.answers["p"].code is None
    assert tables.answers["p"].success


@pytest.mark.parametrize("objective", ["max_sharpe", "risk_parity", "min_cvar"])
def test_members_of_another_currency_are_converted(tmp_path, objective):
    asked = specs(tmp_path, f"    objective: {objective}\n")
    found = portfolio_tables(asked, MIXED, 5, 0.0, conversion=IN_AUD)
    right = portfolio_tables(asked, BY_HAND, 5, 0.0)
    assert found.answers["p"].success
    # a solver's weights are as near as its certificate says, the rest to rounding
    assert alike(found.frontier.to_pylist(), right.frontier.to_pylist(), 1e-5)
    held = [[r["weight"] for r in tables.weights.to_pylist()] for tables in (found, right)]
    assert held[0] == pytest.approx(held[1], abs=1e-5)
    (told,), (plain,) = found.summary.to_pylist(), right.summary.to_pylist()
    assert (told["base_currency"], told["fx"]) == ("AUD", NAMED)
    assert (plain["base_currency"], plain["fx"]) == ("AUD", None)
    # taken as one currency, as they are not, the answer is another
    wrong = portfolio_tables(asked, SERIES, 5, 0.0).summary.to_pylist()[0]
    assert told["volatility"] == pytest.approx(plain["volatility"], rel=1e-9)
    assert abs(wrong["volatility"] - plain["volatility"]) > 1e-6


def test_a_rate_of_another_source_is_told_in_the_source(tmp_path):
    made_up = replace(FX.series["AUDUSD=X"], source="simulated")
    conversion = Conversion(Rates({"AUDUSD=X": made_up}), default="AUD")
    asked = specs(tmp_path, "    objective: hrp\n")
    tables = portfolio_tables(asked, MIXED, 5, 0.0, conversion=conversion)
    assert {r["source"] for r in tables.summary.to_pylist()} == {"files,simulated"}
    assert {r["source"] for r in tables.weights.to_pylist()} == {"files,simulated"}


def test_the_currency_of_the_portfolio_goes_before_the_default(tmp_path):
    asked = specs(tmp_path, "    objective: min_volatility\n    base_currency: USD\n")
    found = portfolio_tables(asked, MIXED, 5, 0.0, conversion=IN_AUD)
    assert found.summary.to_pylist()[0]["base_currency"] == "USD"
    # the other way round: what is in USD is as it was
    assert found.inputs["p"].series[3] is MIXED["VGB"]


def test_a_portfolio_that_cannot_be_converted_says_how_it_could(tmp_path):
    asked = specs(tmp_path, "    objective: min_volatility\n")
    mixed = portfolio_tables(asked, MIXED, 5, 0.0, conversion=Conversion(FX))
    assert mixed.answers["p"].code is ReasonCode.MIXED_CURRENCIES
    (row,) = mixed.summary.to_pylist()
    for words in ("VAS in AUD", "VGB in USD", "base_currency", "ETF_BASE_CURRENCY"):
        assert words in row["message"]
    assert (row["base_currency"], row["fx"], mixed.weights.num_rows) == (None, None, 0)
    lacking = portfolio_tables(asked, MIXED, 5, 0.0, conversion=Conversion(default="AUD"))
    assert lacking.answers["p"].code is ReasonCode.MISSING_FX
    assert "etf run --tickers AUDUSD=X" in lacking.answers["p"].message


def test_rates_that_begin_within_the_window_are_refused(tmp_path):
    late = FX.series["AUDUSD=X"].since(DAYS[-300].date())
    conversion = Conversion(Rates({"AUDUSD=X": late}), default="AUD")
    asked = specs(tmp_path, "    objective: min_volatility\n")  # two years
    answer = portfolio_tables(asked, MIXED, 5, 0.0, conversion=conversion).answers["p"]
    assert answer.code is ReasonCode.MISSING_FX
    assert "or ask for fewer years" in answer.message
    one_year = [asked[0].model_copy(update={"lookback_years": 1})]
    assert portfolio_tables(one_year, MIXED, 5, 0.0, conversion=conversion).answers["p"].success
