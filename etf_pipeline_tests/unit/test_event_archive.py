"""Which archive file is whose, and where the archive ends."""

import datetime as dt

import pyarrow.parquet as pq
import pytest

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.events.log.archive import LOG, TOPICS, Archive, Origin, ends_of
from etf_pipeline.events.model.envelope import micros
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import T0, queries, read_file


def placed(n):
    """Events where a log of one partition has them."""
    return [e._replace(position=i) for i, e in enumerate(queries(n), start=1)]


def test_a_file_belongs_to_the_log_that_its_footer_names(tmp_path):
    archive = Archive(Layout(tmp_path))
    events = placed(5)
    mine = Origin(LOG, "a-log")
    (path,) = archive.add(mine, events, "20251112T060000000000Z-0000")
    path.rename(path.with_name(path.name.replace("embedded", "kafka")))
    assert [f.rows for f in archive.files_of(mine)] == [5]
    assert archive.files_of(Origin(TOPICS)) == archive.files_of(Origin(LOG, "another")) == []
    key = (events[0].channel, events[0].partition)
    assert ends_of(archive.files_of(mine)) == {key: (6, events[-1].id)}


def test_files_follow_each_other_when_the_clock_goes_back(tmp_path):
    """So that an end between two files leaves no hole before the last archived event."""
    archive, days = Archive(Layout(tmp_path)), [1, 3, 1, 3, 2, 4]
    events = [
        e._replace(recorded_us=micros(T0 + dt.timedelta(days=d)))
        for e, d in zip(placed(6), days, strict=True)
    ]
    paths = archive.add(Origin(LOG, "a"), events, "20251112T060000000000Z-0000")
    assert [[e.position for e in read_file(p)] for p in paths] == [[1], [2, 3, 4, 5], [6]]


def test_a_file_whose_footer_names_no_log_is_none_of_ours(tmp_path):
    archive = Archive(Layout(tmp_path))
    (path,) = archive.add(Origin(LOG, "a"), placed(2), "20251112T060000000000Z-0000")
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    with pytest.raises(CorruptFileError, match="restore it from a backup"):
        archive.files()


def test_footers_are_looked_at_again_once_a_file_is_another(tmp_path):
    archive = Archive(Layout(tmp_path))
    (path,) = archive.add(Origin(LOG, "a"), placed(5), "20251112T060000000000Z-0000")
    assert [f.rows for f in archive.files()] == [5]
    held = path.read_bytes()
    path.unlink()
    archive.make(path, Origin(LOG, "b"), placed(5)[:3])
    assert [(f.log, f.rows) for f in archive.files()] == [("b", 3)]
    path.write_bytes(held[:-9])
    with pytest.raises(CorruptFileError, match="restore it from a backup"):
        archive.files()
    path.write_bytes(held)
    assert [(f.log, f.rows) for f in archive.files()] == [("a", 5)]
