"""What a portfolio's values mean, and the words for those that mean nothing."""

import re

import pytest
from pydantic import ValidationError

from etf_pipeline.model.portfolio_values import placed, problems, read_spec

BASE = {"name": "p", "tickers": ["VAS", "VGS"], "objective": "min_volatility"}


def refusal(**changes):
    with pytest.raises(ValidationError) as caught:
        read_spec(BASE | changes)
    return "; ".join(placed(*p) for p in problems(caught.value))


@pytest.mark.parametrize(
    "name", ["Ré", "Re\u0301", "增长 📈", "پس‌انداز", "a b", "<b>", "..", "Ausgewogen – ß"]
)
def test_names_are_of_any_script(name):
    assert read_spec(BASE | {"name": name}).name == name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_weight": "0.5"}, "max_weight: '0.5' is text; give a number, without quotes"),
        ({"max_weight": "40%"}, "is text; give a fraction, without quotes: 40 % is 0.4$"),
        ({"max_weight": "0.5 %"}, "0.5 % is 0.005$"),
        ({"max_weight": "nan%"}, "give a number, without quotes$"),
        ({"max_weight": "half"}, "'half' is text; give a number, without quotes$"),
        ({"max_weight": True}, "^max_weight: True: must be a number$"),
        ({"max_weight": float("nan")}, "max_weight: input should be a finite number"),
        ({"max_weight": float("inf")}, "max_weight: input should be a finite number"),
        ({"max_weight": 60}, "60: must be less than or equal to 5; fractions are meant: 60 % is"),
        ({"max_weight": 1.5}, "1.5 % is 0.015"),
        (
            {"min_weight": -0.1},
            "-0.1 to 1 is not within 0 to 1; short positions and",
        ),
        ({"objective": "max_return", "risk_budget": 9}, "must be less than 5; .*9 % is 0.09"),
        ({"objective": "max_return", "risk_budget": 900}, "900: must be less than 5$"),
        ({"lookback_years": 0.5}, "^lookback_years: 0.5: must be a whole number$"),
        ({"resamples": True}, "^resamples: True: must be a whole number$"),
        ({"description": 5}, "^description: 5: must be a text, such as '5' in quotes$"),
        ({"gross_exposure": 160}, "160: must be .* to 10; fractions are meant: 160 % is 1.6$"),
        ({"tickers": "VAS, VGS"}, r"give a list, such as \['VAS', 'VGS'\]$"),
        ({"lookback_years": 150}, "150: must be less than or equal to 100$"),
        # Half-lives in years leave the newest return or two all the weight.
        ({"estimator": "ewma", "halflife": 0.25}, "^halflife: 0.25: must be from 1 to 10000 bars"),
        ({"estimator": "ewma", "halflife": 1e-9}, "not years: a quarter of a year is 63$"),
        ({"estimator": "ewma", "halflife": 20_000}, "^halflife: 20000: must be from 1 to"),
        ({"name": "  "}, "^name: '  ' is blank; give it a name$"),
        ({"name": "a\nb"}, r"^name: 'a\\nb' has control characters: '\\n'$"),
        ({"name": "\x1b[31mred\0"}, r"^name: .* has control characters: '\\x00', '\\x1b'$"),
        ({"name": "a\u2028b"}, r"has control characters: '\\u2028'$"),
        ({"max_holdings": 10**30}, "^max_holdings: 1000.*: must be less than or equal to 10000$"),
        ({"bounds": {"VAS": 0.2}}, r"bounds.VAS: 0.2: give the least and the greatest, such as"),
        ({"bounds": {"VAS": [0.2]}}, r"\[0.2\]: give the least and the greatest"),
        ({"bounds": {"VAS": [0.2, 0.3, 0.4]}}, "give the least and the greatest"),
        ({"bounds": [[0, 1], [0, 1]]}, r"bounds: \[\[0, 1\], \[0, 1\]\]: give it by name"),
        ({"bounds": {"VAS": [0.5, 0.2]}}, "VAS: the least, 0.5, is above the greatest, 0.2"),
        ({"bounds": {"VAS": [0.2, None]}}, "bounds.VAS.1: None: must be a number$"),
        ({"groups": {"asset_clas": {"a": [0, 1]}}}, "groups.asset_clas: .*did you mean asset_cla"),
        ({"max_wieght": 0.5}, "max_wieght: there is no such field; did you mean max_weight"),
        ({"objective": "max_sharp"}, "objective: 'max_sharp': .*did you mean max_sharpe"),
        ({"holdings": {"VAS": 100, "VGS": 250}}, "holdings sum to 350, not to 1: give weights"),
        ({"holdings": {"VAS": 40, "VGS": 60}}, "holdings sum to 100, .*not units, money or per"),
        ({"benchmark": "VAS", "max_tracking_error": 2}, "less than 1; .*: 2 % is 0.02"),
        ({"benchmark": "VAS", "max_active_weight": 2}, "less than 1; .*: 2 % is 0.02"),
        ({"trading_cost": 10}, "10: must be less than 0.1$"),  # 0.1 would be refused too
        ({"trading_cost": 0.1}, "0.1: must be less than 0.1$"),
        ({"trading_cost": 2}, "2: must be less than 0.1; .*2 % is 0.02$"),
        (
            {"benchmark": ["VAS"]},
            r"^benchmark: \['VAS'\]: give a ticker, a portfolio or weights by name",
        ),
        ({"compare_with": 7}, "^compare_with: 7: give a ticker, or weights by name, such as"),
        (
            {"benchmark": {"VAS": "1"}},
            "^benchmark.VAS: '1' is text; give a number, without quotes$",
        ),
        ({"half_spreads": {"VAS": 0.0005}}, "0.0005 basis points are less .* is 5 basis points$"),
        ({"halflife": 20}, "halflife goes with estimator: ewma"),
        ({"cvar_level": 0.9}, "cvar_level goes with objective: min_cvar or a cvar_budget"),
        ({"tickers": "VAS"}, r"tickers: 'VAS': give a list, such as \['VAS'\]"),
    ],
)
def test_what_means_nothing_is_refused_with_the_remedy(changes, words):
    assert re.search(words, refusal(**changes), re.I), refusal(**changes)


def test_what_means_something():
    spec = read_spec(
        BASE
        | {
            "estimator": "ewma",
            "halflife": 20,
            "bounds": {"VAS": [0, 0.5]},
            "holdings": {"VAS": 0.333, "VGS": 0.66},
            "max_turnover": 1,
        }
    )
    assert spec.halflife == 20.0
    assert spec.bounds == {"VAS": (0.0, 0.5)}
    assert spec.holdings == {"VAS": 0.333, "VGS": 0.66}
    assert (spec.lookback(7), spec.lookback(None)) == (7, None)


def test_the_narrowest_and_the_widest_half_spread():
    spreads = {"VAS": 0.05, "VGS": 1000}
    assert read_spec(BASE | {"half_spreads": spreads}).half_spreads == spreads
    assert read_spec(BASE | {"half_spreads": {"VAS": 0}}).half_spreads == {"VAS": 0.0}
