"""Which files lie below a folder: what `glob` finds, and an error where it cannot look."""

import glob
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from etf_pipeline.cli.app import app
from etf_pipeline.errors import ShareError, StoreError
from etf_pipeline.share.local import LocalPlace
from etf_pipeline.store.listing import any_matching, matching

NAMES = st.sampled_from(("a", "b.parquet", ".hidden", "as_of=2025-01-31", "[1]", "A"))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
PARTS = st.sampled_from(("*", "*.parquet", "as_of=*", "a", "as_of=[0-9]*", "?", "b.parquet"))
PATTERNS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


@given(st.lists(PATHS, max_size=6), PATTERNS)
def test_the_same_is_found_as_by_the_standard_library(paths, pattern):
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        for path in paths:
            (root / path).mkdir(parents=True, exist_ok=True)
        found = sorted(root / name for name in glob.glob(pattern, root_dir=root))  # noqa: PTH207
        assert matching(root, pattern) == found
        assert any_matching(root, pattern) == bool(found)


def test_where_there_is_no_folder_nothing_is(tmp_path):
    (tmp_path / "file").write_text("")
    for pattern in ("none/*", "file/*", "*/*", "file/a"):
        assert matching(tmp_path, pattern) == []
        assert not any_matching(tmp_path, pattern)


@pytest.fixture
def circle(tmp_path):
    """A folder that nobody can open, root neither."""
    path = tmp_path / "risk" / "risk_metrics"
    path.parent.mkdir()
    path.symlink_to(path)
    return path


def test_what_cannot_be_opened_is_not_empty(tmp_path, circle):
    for pattern in ("risk/risk_metrics/*", "risk/*/*", "risk/risk_metrics/part.parquet"):
        for look in (matching, any_matching):
            with pytest.raises(StoreError, match=f"cannot open {circle}: .*make it readable"):
                look(tmp_path, pattern)


@pytest.mark.parametrize("command", ["status", "doctor", "maintain --dry-run"])
def test_no_command_takes_it_for_a_table_without_rows(circle, command):
    store = circle.parent.parent
    (store / "historical").mkdir()
    done = CliRunner().invoke(app, [*command.split(), "--data-dir", str(store)])
    assert done.exit_code != 0
    assert str(circle) in f"{done.output}{done.exception}"


@pytest.mark.parametrize("beside", ["a", "z"])
def test_what_is_found_elsewhere_makes_no_folder_readable(tmp_path, circle, beside):
    (circle.parent / beside).mkdir()
    (circle.parent / beside / "1.parquet").write_text("")
    for look in (matching, any_matching):
        with pytest.raises(StoreError, match=f"cannot open {circle}"):
            look(tmp_path, "risk/*/*.parquet")


def test_a_share_that_cannot_be_listed_is_not_empty(tmp_path, circle):
    with pytest.raises(ShareError):
        LocalPlace(tmp_path, 0.0).list("risk/risk_metrics")
