"""The list of many ETFs as it stands on a page: exact, small, and harmless whatever names say."""

import base64
import hashlib
import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.report.alike import Alike
from etf_pipeline.report.cells import DASH, number, percent
from etf_pipeline.report.listing import (
    Listing,
    choices,
    counts,
    numbers,
    percentages,
    script,
    script_source,
    texts,
)


@given(st.floats(-30, 30), st.integers(0, 3))
def test_a_cell_is_rounded_as_in_every_other_table(value, digits):
    assert percentages("x", np.array([value]), digits).shown(0) == f"{value:z,.{digits}%}"
    assert numbers("x", np.array([value]), digits).shown(0) == number(value, digits)


def test_cells_as_readers_see_them():
    assert percentages("x", np.array([0.1234, np.nan, -0.00001])).shown(0) == percent(0.1234, 1)
    assert [percentages("x", np.array([np.nan, -0.00001])).shown(i) for i in (0, 1)] == [
        DASH,
        "0.0%",
    ]
    column = choices("x", ["b", None, "a", "b"])
    assert [column.shown(i) for i in range(4)] == ["b", DASH, "a", "b"]
    assert column.packed["among"] == ["a", "b"]
    assert column.packed["values"] == [1, None, 0, 1]
    assert counts("x", [3]).shown(0) == "3"


@given(st.text(max_size=40), st.text(max_size=20))
def test_nothing_ends_the_element_and_everything_comes_back(name, word):
    hostile = f"{name}</script><!--{word}"
    listing = Listing("x", [texts("ETF", [hostile]), choices("y", [hostile])])
    assert "<" not in listing.data
    told = json.loads(listing.data)
    assert told["columns"][0]["values"] == [hostile]
    assert told["columns"][1]["among"] == [hostile]


def test_others_are_packed_by_position():
    found = Alike(
        np.array([[1], [0]]),
        np.array([[0.987], [0.987]]),
        np.array([[1], [-1]]),
        np.array([[-0.5], [np.nan]]),
    )
    told = json.loads(Listing("x", [texts("ETF", ["A", "B"])], found, "how").data)["alike"]
    assert told == {
        "said": "how",
        "count": 1,
        "nearest": [1, 0],
        "nearestBy": [99, 99],
        "farthest": [1, -1],
        "farthestBy": [-50, None],
    }


def test_the_policy_names_the_script_that_stands_on_the_page():
    assert "</script" not in script().lower()
    digest = hashlib.sha256(script().encode()).digest()
    assert script_source() == f"'sha256-{base64.b64encode(digest).decode()}'"
    for word in ("innerHTML", "eval(", "document.write", "fetch(", "http", "import("):
        assert word not in script()


def test_only_the_first_rows_are_on_the_page_twice():
    listing = Listing("x", [texts("ETF", [f"T{i}" for i in range(1_000)])])
    assert [row[0] for row in listing.first] == [f"T{i}" for i in range(25)]
    assert listing.rows == 1_000
    assert len(listing.data) < 10_000
