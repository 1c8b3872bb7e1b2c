"""Every test that docs/cases.md names is there."""

import re

import pytest

from etf_pipeline_tests.conftest import ROOT

TESTS = ROOT / "etf_pipeline_tests"
ROWS = [
    line
    for line in (ROOT / "docs" / "cases.md").read_text().splitlines()
    if line.startswith("|") and "`test_" in line
]
FILES = {path.name: path.read_text() for path in TESTS.rglob("test_*.py")}


def named(row):
    """Test files of a row, each with the functions (or what they begin with) that it names."""
    file = None
    for name in re.findall(r"`(test_[\w.]+…?)`", row):
        if name.endswith(".py"):
            file = name
            yield file, None
        else:
            yield file, name


def missing(row):
    for file, name in named(row):
        texts = FILES.values() if file is None else [FILES.get(file)]
        if texts == [None]:
            yield file
        elif name is not None:
            pattern = re.escape(name.removesuffix("…")) + (r"\w*" if name.endswith("…") else "")
            if not any(re.search(rf"def {pattern}\(", text) for text in texts):
                yield f"{file}: {name}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:30])
def test_a_listed_test_is_there(row):
    assert list(missing(row)) == []


def test_a_row_that_names_what_is_not_there_is_found():
    assert list(missing("| 1 | x | y | `test_no_such_file.py` |")) == ["test_no_such_file.py"]
    row = "| 1 | x | y | `test_cases_listed.py`: `test_a_listed…`, `test_nothing_like_this…` |"
    assert list(missing(row)) == ["test_cases_listed.py: test_nothing_like_this…"]
