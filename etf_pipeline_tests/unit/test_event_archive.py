"""Which archive file is whose, and where the archive ends."""

import pyarrow.parquet as pq
import pytest

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.events.log.archive import Archive
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import queries


def placed(n):
    """Events where a log of one partition has them."""
    return [e._replace(position=i) for i, e in enumerate(queries(n), start=1)]


def test_a_file_belongs_to_the_log_that_its_footer_names(tmp_path):
    archive = Archive(Layout(tmp_path))
    events = placed(5)
    (path,) = archive.add("embedded", events, "20251112T060000000000Z-0000")
    path.rename(path.with_name(path.name.replace("embedded", "kafka")))
    assert [f.rows for f in archive.files_of("embedded")] == [5]
    assert archive.files_of("kafka") == []
    key = (events[0].channel, events[0].partition)
    assert archive.ends("embedded") == {key: (6, events[-1].id)}


def test_a_file_whose_footer_names_no_log_is_none_of_ours(tmp_path):
    archive = Archive(Layout(tmp_path))
    (path,) = archive.add("embedded", placed(2), "20251112T060000000000Z-0000")
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    with pytest.raises(CorruptFileError, match="restore it from a backup"):
        archive.files()
