"""What a derived file was made from, and when its rows may be taken over."""

import dataclasses
import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.model.schemas import FRONTIER
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.made_from import MadeFrom, is_whole, newest_kept
from etf_pipeline.store.reader import read_table
from etf_pipeline.store.writer import publish
from etf_pipeline_tests.stored_support import damage_rows

DAY = dt.date(2025, 1, 3)
FROM = MadeFrom({"a": "1", "b": "2"}, {"a": {"fx": "AUDUSD=X:0"}}, {"release": "0"})


def rows(*returns):
    return pa.Table.from_pylist(
        [
            {
                "portfolio": name,
                "point": 0,
                "expected_return": r,
                "volatility": 0.1,
                "source": "files",
            }
            for name, r in zip("abc", returns, strict=False)
        ],
        schema=FRONTIER.arrow,
    )


def save(root, data, made_from=FROM, day=DAY, **changes):
    path = Layout(root).of(FRONTIER, day)
    raw = None if made_from is None else made_from.as_bytes()
    changed = publish(path, FRONTIER, data, {"source": "files"}, made_from=raw, **changes)
    return path, changed


def test_what_was_published_is_kept_with_what_it_was_made_from(tmp_path):
    data = rows(0.1, 0.2)
    path, _ = save(tmp_path, data)
    kept = newest_kept(Layout(tmp_path), FRONTIER)
    assert (kept.table, kept.path, kept.as_of) == (FRONTIER, path, DAY)
    assert (kept.made_from, kept.source) == (FROM, "files")
    assert kept.content_hash == content_hash(data)
    assert kept.data.equals(data)


def test_a_file_that_has_none_of_the_parts_is_of_no_use(tmp_path):
    save(tmp_path, rows(0.1), MadeFrom({"a": "1", "b": "2"}))
    layout = Layout(tmp_path)
    for parts in ({"a": "1"}, {"a": "other", "b": "2", "c": "3"}):
        assert newest_kept(layout, FRONTIER, parts) == newest_kept(layout, FRONTIER) is not None
    for parts in ({}, {"a": "2", "b": "1"}, {"c": "1"}):
        assert newest_kept(layout, FRONTIER, parts) is None


def test_the_newest_day_counts(tmp_path):
    save(tmp_path, rows(0.1))
    save(tmp_path, rows(0.2), day=DAY + dt.timedelta(days=1))
    assert newest_kept(Layout(tmp_path), FRONTIER).as_of == DAY + dt.timedelta(days=1)
    # even where it is of no use: an older one is not what the tables say now
    save(tmp_path, rows(0.2), made_from=None, day=DAY + dt.timedelta(days=2))
    assert newest_kept(Layout(tmp_path), FRONTIER) is None


def by_hand(path):
    """Another return in a row, the footer as it was: what a script over the file leaves."""
    table = pq.read_table(path)
    at = table.schema.names.index("expected_return")
    changed = table.set_column(at, table.schema.field(at), pa.array([0.5, 0.2]))
    pq.write_table(changed, path)


def without_footer(path):
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)


def older_columns(path):
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["source"]), path)


def unreadable_origin(path):
    table = pq.read_table(path)
    meta = table.schema.metadata | {b"etf_pipeline.made_from": b"{"}
    pq.write_table(table.replace_schema_metadata(meta), path)


SPOILT = {
    "missing": lambda path: path.unlink(),
    "no Parquet": lambda path: path.write_bytes(b"half a file"),
    "rows damaged": damage_rows,
    "changed by hand": by_hand,
    "footer gone": without_footer,
    "columns of another release": older_columns,
    "what it was made from cannot be read": unreadable_origin,
}


@pytest.mark.parametrize("kind", SPOILT)
def test_nothing_is_taken_from_a_file_that_is_not_what_was_published(tmp_path, kind):
    path, _ = save(tmp_path, rows(0.1, 0.2))
    assert newest_kept(Layout(tmp_path), FRONTIER) is not None
    SPOILT[kind](path)
    assert newest_kept(Layout(tmp_path), FRONTIER) is None


@pytest.mark.parametrize("kind", sorted(SPOILT.keys() - {"what it was made from cannot be read"}))
def test_such_a_file_is_not_whole_and_can_be_replaced_by_what_it_should_be(tmp_path, kind):
    data = rows(0.1, 0.2)
    path, _ = save(tmp_path, data)
    right = path.read_bytes()
    assert is_whole(path, FRONTIER)
    SPOILT[kind](path)
    assert not is_whole(path, FRONTIER)
    assert save(tmp_path, data, anew=True) == (path, True)
    assert path.read_bytes() == right


def test_equal_content_that_was_made_from_something_else_is_no_change_and_says_so(tmp_path):
    data, other = rows(0.1, 0.2), dataclasses.replace(FROM, parts={"a": "1", "b": "3"})
    path, first = save(tmp_path, data)
    node = path.stat().st_ino
    assert save(tmp_path, data) == (path, False)
    assert path.stat().st_ino == node  # left alone
    assert save(tmp_path, data, other) == (path, False)
    assert newest_kept(Layout(tmp_path), FRONTIER).made_from == other
    assert read_table(path).equals(data)
    assert first
    assert save(tmp_path, rows(0.1, 0.3), other) == (path, True)


def test_the_parts_that_are_the_same_have_the_same_fingerprint():
    assert FROM.same_parts({"a": "1", "b": "3", "c": "1"}) == {"a"}
    assert FROM.same_parts({}) == frozenset()


def test_equal_origins_are_equal_bytes():
    other = MadeFrom(dict(reversed(FROM.parts.items())), FROM.told, FROM.read)
    assert other.as_bytes() == FROM.as_bytes()
    assert MadeFrom.from_bytes(FROM.as_bytes()) == FROM


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff", b"1"])
def test_what_is_no_origin_is_none(raw):
    assert MadeFrom.from_bytes(raw) is None
