"""Scalars of `portfolios.yaml` are those of YAML 1.2, and nothing in it goes unread."""

import pytest

from etf_pipeline.errors import PortfolioFileError
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.portfolio_file import load_portfolios
from etf_pipeline.model.portfolio_yaml import plain, read_nodes
from etf_pipeline_tests.support import instrument

UNIVERSE = Universe(tuple(instrument(t) for t in ("VAS", "VGS", "ON", "NO", "0050", "2800", "5E3")))
HEAD = "portfolios:\n  - name: a\n    tickers: [VAS, VGS]\n    objective: max_return\n"


def load(tmp_path, text):
    path = tmp_path / "portfolios.yaml"
    path.write_text(text, encoding="utf-8")
    return load_portfolios(path, UNIVERSE)


def refusal(tmp_path, text):
    with pytest.raises(PortfolioFileError) as caught:
        load(tmp_path, text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [  # the examples of YAML 1.2.2, 10.3.2, and what 1.1 takes for something else
        ("null", None),
        ("~", None),
        ("", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-19", -19),
        ("+12", 12),
        ("0.", 0.0),
        ("-0.0", 0.0),
        (".5", 0.5),
        ("+12e03", 12000.0),
        ("-2E+05", -200000.0),
        ("9e-2", 0.09),
        ("1.5e3", 1500.0),
        ("-.Inf", float("-inf")),
        *((t, t) for t in ("no", "NO", "on", "Yes", "y", "1:30", "1_000", "0b11", "010", "0050")),
        *((t, t) for t in ("2025-06-30", "60%", "0,6", "0o14", "0x1F")),
        ("'0.5'", "0.5"),
    ],
)
def test_scalars(tmp_path, text, value):
    path = tmp_path / "p.yaml"
    path.write_text(f"portfolios:\n  - {text}\n")
    (node,), problems = read_nodes(path)
    assert not problems
    assert plain(node) == value
    assert type(plain(node)) is type(value)


def test_names_that_were_truth_values_and_numbers_that_were_tickers(tmp_path):
    (spec,) = load(
        tmp_path,
        "portfolios:\n  - name: no\n    tickers: [VAS, ON, NO, 0050]\n    objective: max_return\n"
        "    risk_budget: 9e-2\n    bounds: {0050: [0.1, 1], NO: [0, 0.5]}\n",
    )
    assert (spec.name, spec.tickers, spec.risk_budget) == ("no", ["VAS", "ON", "NO", "0050"], 0.09)
    assert spec.bounds == {"0050": (0.1, 1.0), "NO": (0.0, 0.5)}


@pytest.mark.parametrize("years", ["1:30", "010", "1_0"])
def test_a_number_that_may_be_another_is_refused(tmp_path, years):
    said = refusal(tmp_path, HEAD + f"    lookback_years: {years}\n")
    assert f"line 5: lookback_years: '{years}' is text; give a number" in said


@pytest.mark.parametrize("ticker", ["2800", "5E3"])
def test_the_remedy_is_of_the_text_that_is_there(tmp_path, ticker):
    start = "portfolios:\n  - name: a\n    objective: hrp\n    tickers:\n    - VAS\n    - "
    said = refusal(tmp_path, start + f"{ticker}\n")
    assert f"line 6: tickers.1: {ticker}: must be a text, such as '{ticker}' in quotes" in said
    (spec,) = load(tmp_path, start + f"'{ticker}'\n")
    assert spec.tickers == ["VAS", ticker]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("defaults: {max_weight: 0.4}\n" + HEAD, "line 1: defaults: nothing reads it"),
        (HEAD + "portfolio:\n  - name: b\n", "line 5: portfolio: .*; did you mean portfolios?"),
        (HEAD + "max_weight: 0.5\n", "line 5: max_weight: nothing reads it"),
    ],
)
def test_what_stands_beside_the_list_is_not_passed_over(tmp_path, text, said):
    with pytest.raises(PortfolioFileError, match=said):
        load(tmp_path, text)


def test_blocks_for_the_list_may_stand_beside_it(tmp_path):
    (spec,) = load(
        tmp_path,
        "house: &house {VAS: [0.1, 0.5]}\nlimits:\n  few: &few {max_weight: 0.7}\n"
        + HEAD
        + "    bounds: *house\n    <<: *few\n",
    )
    assert (spec.limits("VAS"), spec.limits("VGS")) == ((0.1, 0.5), (0.0, 0.7))


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("    bounds: {[VAS]: [0, 1]}\n", 5),
        ("    bounds: !house {VAS: [0, 1]}\n", 5),
        ("    risk_budget: !!int lots\n", 2),
        ("    bounds: {!!timestamp 2025-01-01: [0, 1]}\n", 2),
        ("    bounds: &a {VAS: *a}\n", 2),
    ],
)
def test_what_no_plain_value_is_is_a_problem_of_its_line(tmp_path, lines, line):
    assert f"is not usable: line {line}: " in refusal(tmp_path, HEAD + lines)


def test_a_truth_value_is_true_or_false(tmp_path):
    means = (
        "    expected_returns: {method: given, returns: {VAS: 0.1, VGS: 0.1}, net_of_fees: yes}\n"
    )
    said = refusal(tmp_path, HEAD + means)
    assert "line 5: expected_returns.net_of_fees: 'yes': must be true or false" in said
