"""From the arguments of a call to a specification: what a file may ask for, by the same rules."""

import contextlib
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from etf_pipeline.errors import ArgumentError, UniverseError
from etf_pipeline.library.specs import plain_value, request
from etf_pipeline.model.portfolio_values import read_spec
from etf_pipeline.model.portfolios import FILE_FIELDS, PortfolioSpec
from etf_pipeline.portfolio import GroupLimit

TICKERS = ["VAS", "VGS", "VAF"]
FIELDS = sorted(PortfolioSpec.model_fields.keys() - FILE_FIELDS - {"tickers"})
NUMBERS = st.floats() | st.integers() | st.sampled_from([0, 1, 0.5, -0.1, 9, float("nan")])
NAMES = st.sampled_from([*TICKERS, "VSA", "asset_class", "bonds", ""])
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | NUMBERS
    | NAMES
    | st.text(max_size=4)
    | st.binary(max_size=2)
    | st.dates()
    | st.decimals()
    | st.complex_numbers()
    | st.builds(object)
    | st.builds(np.array, st.lists(NUMBERS, max_size=3))
    | st.builds(pd.Series, st.dictionaries(NAMES, st.floats(), max_size=3))
    | st.builds(GroupLimit, NAMES, st.tuples(NAMES), NUMBERS, NUMBERS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(NAMES | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


def finite(value):
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


@pytest.mark.parametrize("field", FIELDS)
@settings(max_examples=150)
@given(value=ANYTHING)
def test_whatever_is_given_means_something_or_is_refused(field, value):
    """And never ends in another error, nor in a value that is not finite."""
    values = {"objective": "max_return", field: value}
    with contextlib.suppress(ArgumentError, UniverseError):
        assert finite(request(TICKERS, values).spec.model_dump())


def test_a_call_and_the_file_say_the_same():
    """As a file has it: lists, plain numbers, no NumPy."""
    found = request(
        TICKERS,
        {
            "objective": "max_return",
            "max_weight": np.float32(0.5),
            "bounds": {"VAS": np.array([0.25, 0.5])},
            "holdings": pd.Series({"VAS": 0.5, "VAF": 0.5}),
            "max_turnover": 1,
            "risk_budget": None,
        },
    ).spec
    assert found == read_spec(
        {
            "name": "VAS, VGS, VAF",
            "tickers": TICKERS,
            "objective": "max_return",
            "max_weight": 0.5,
            "bounds": {"VAS": [0.25, 0.5]},
            "holdings": {"VAS": 0.5, "VAF": 0.5},
            "max_turnover": 1,
        }
    )


def test_groups_by_members_may_overlap():
    groups = [GroupLimit("a", ("VAS", "VGS"), 0.1, 0.6), GroupLimit("b", ("VGS", "VAF"), 0.2, 0.9)]
    found = request(TICKERS, {"objective": "max_return", "groups": groups})
    assert found.spec.groups == {"a": {"total": (0.1, 0.6)}, "b": {"total": (0.2, 0.9)}}
    members = {g: {t for t in TICKERS if found.columns[g].get(t) == "total"} for g in ("a", "b")}
    assert members == {"a": {"VAS", "VGS"}, "b": {"VGS", "VAF"}}


class Block(BaseModel):
    """As a part of a specification is."""

    method: str
    size: float = 1.0


@pytest.mark.parametrize("odd", ["a\nb", " ", "\x1b[31m", "Re\u0301"])
def test_tickers_may_be_called_anything(odd):
    assert request([odd], {"objective": "min_volatility"}).spec.tickers == [odd]


def test_plain_values():
    assert plain_value("x", Block(method="given")) == {"method": "given"}
    assert plain_value("x", (np.int64(1), {"a": {np.float64(0.5)}})) == [1, {"a": [0.5]}]
    with pytest.raises(ArgumentError, match=r"x\.a nan: must be a finite number"):
        plain_value("x", {"a": float("nan")})
    with pytest.raises(ArgumentError, match="x: 5 is no name"):
        plain_value("x", {5: 1.0})
    with pytest.raises(ArgumentError, match="is no number"):
        plain_value("x", object())
