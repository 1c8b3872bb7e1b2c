"""The options of commands about portfolios: the vocabulary of portfolios.yaml, read exactly."""

import json
import re
from typing import get_args

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from etf_pipeline.cli.app import app as etf
from etf_pipeline.cli.limits import OPTIONS, LimitOption, read_shares, with_limits
from etf_pipeline.cli.options import Json
from etf_pipeline.errors import SettingsError
from etf_pipeline.model.objectives import Objective
from etf_pipeline.model.portfolios import BACKTEST_FIELDS, FILE_FIELDS, PortfolioSpec

BY_FIELD = {o.field: o for o in OPTIONS}


def test_every_option_is_a_field_of_a_portfolio():
    assert len(BY_FIELD) == len(OPTIONS)
    assert BY_FIELD.keys() <= PortfolioSpec.model_fields.keys() - FILE_FIELDS
    assert {o.field for o in OPTIONS if o.backtest} <= BACKTEST_FIELDS
    assert {o.field for o in OPTIONS if not o.backtest}.isdisjoint(BACKTEST_FIELDS)


def test_words_to_complete_are_all_there_are():
    schema = PortfolioSpec.model_json_schema()["properties"]
    assert BY_FIELD["objective"].words == get_args(Objective)
    assert BY_FIELD["estimator"].words == tuple(schema["estimator"]["enum"])
    allowed = [part.get("enum") for part in schema["correlation_period"]["anyOf"]]
    assert list(BY_FIELD["correlation_period"].words) in allowed
    for field in ("rebalance", "members"):
        assert BY_FIELD[field].words == tuple(schema[field]["enum"])


@pytest.fixture
def given_limits():
    """A command that tells what limits it was given."""
    app = typer.Typer()

    @app.callback()
    def root() -> None:
        pass

    @app.command()
    @with_limits(backtest=True, without=("hrp",))
    def ask(name: str, as_json: Json = False, *, limits: dict[str, object]) -> None:
        """Say what was given."""
        typer.echo(json.dumps({"name": name, "json": as_json, "limits": limits}))

    def run(*args):
        result = CliRunner().invoke(app, ["ask", "x", *args], catch_exceptions=True)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return json.loads(result.output)["limits"] if result.exit_code == 0 else result.output

    return run


def test_each_kind_of_value(given_limits):
    assert given_limits() == {}
    assert given_limits("--compare-with", "VGS") == {"compare_with": "VGS"}
    assert given_limits("--compare-with", "VGS=0.6", "--compare-with", "VAF=0.4") == {
        "compare_with": {"VGS": 0.6, "VAF": 0.4}
    }
    assert given_limits("--expected-returns", "bayes_stein") == {"expected_returns": "bayes_stein"}
    assert given_limits(
        *("--risk-budget", "0.09", "--min-weight", "0", "--objective", "max_return"),
        *("--bound", "VAS=0.1:0.5", "--bound", "VAF=0:1"),
        *("--group", "asset_class=fixed_income:0.2:0.6", "--group", "asset_class=a:b=c:0:1"),
        *("--group", "issuer=Vanguard:0:0.5", "--holding", "VAS=0.5", "--holding", "VAF=5e-1"),
        *("--set", "max-turnover=0.2", "--set", "rebalance=monthly", "--trading-cost", "0.001"),
        *("--set", 'other={"a": [1, 2]}', "--expected-returns", '{"method": "given"}'),
    ) == {
        "expected_returns": {"method": "given"},
        "risk_budget": 0.09,
        "min_weight": 0.0,
        "objective": "max_return",
        "bounds": {"VAS": [0.1, 0.5], "VAF": [0.0, 1.0]},
        "groups": {
            "asset_class": {"fixed_income": [0.2, 0.6], "a:b=c": [0.0, 1.0]},
            "issuer": {"Vanguard": [0.0, 0.5]},
        },
        "holdings": {"VAS": 0.5, "VAF": 0.5},
        "max_turnover": 0.2,
        "rebalance": "monthly",
        "trading_cost": 0.001,
        "other": {"a": [1, 2]},
    }


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--bound", "VAS"), "--bound 'VAS': write TICKER=LEAST:GREATEST, such as VAS=0.1:0.5"),
        (("--bound", "VAS=0.2"), "write TICKER=LEAST:GREATEST"),
        (("--bound", "VAS=0.1:0.2:0.3"), "write TICKER=LEAST:GREATEST"),
        (("--bound", "VAS=a:b"), "write TICKER=LEAST:GREATEST"),
        (("--bound", "=0:1"), "write TICKER=LEAST:GREATEST"),
        (("--bound", "VAS=0:1", "--bound", "VAS=0:0.5"), "VAS is given twice"),
        (("--group", "asset_class=0.1:0.2"), "such as asset_class=fixed_income:0.2:0.6"),
        (("--group", "fixed_income:0.1:0.2"), "such as asset_class=fixed_income:0.2:0.6"),
        (("--group", "a=b:0:1", "--group", "a=b:0:1"), "b is given twice"),
        (("--holding", "VAS=all"), "write TICKER=NUMBER, such as VAS=0.5"),
        (("--compare-with", "VGS", "--compare-with", "VAF"), "such as VGS, or VGS=0.6 and VAF=0.4"),
        (("--set", "max_turnover"), "write FIELD=VALUE, such as max_turnover=0.2"),
        (("--risk-budget", "0.1", "--set", "risk_budget=0.2"), "risk_budget is given twice"),
        (("--set", "a=1", "--set", "a=2"), "a is given twice"),
    ],
)
def test_what_cannot_be_read_says_how_to_write_it(given_limits, args, words):
    with pytest.raises(SettingsError, match=re.escape(words)):
        given_limits(*args)


@given(
    st.dictionaries(
        st.text("ABCXYZ.=:^-", min_size=1, max_size=6), st.floats(allow_nan=False), max_size=4
    )
)
def test_shares_are_read_as_they_are_written(shares):
    assert read_shares([f"{t}={w!r}" for t, w in shares.items()], "weight") == shares


def test_a_command_that_is_no_backtest_has_no_such_option():
    runner = CliRunner(env={"COLUMNS": "200"})
    text = runner.invoke(etf, ["optimise", "--help"]).output
    assert "--bound" in text
    assert "--rebalance" not in text
    assert "--objective" not in runner.invoke(etf, ["frontier", "--help"]).output


def test_a_field_without_an_option_is_still_reached(given_limits):
    assert LimitOption("max_weight", "").name == "--max-weight"
    for field in PortfolioSpec.model_fields.keys() - BY_FIELD.keys() - FILE_FIELDS:
        assert given_limits("--set", f"{field}=1") == {field: 1}
