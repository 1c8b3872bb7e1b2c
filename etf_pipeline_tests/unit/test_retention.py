"""What is older than is kept, and that nothing else ever goes."""

import datetime as dt
import os
import threading

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import QueryError, ReasonCode, SettingsError, StoreError
from etf_pipeline.model import assets
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.model.schemas import SUMMARY, WEIGHTS
from etf_pipeline.settings import Settings, load_settings
from etf_pipeline.sql.safe import SafeConnection
from etf_pipeline.steps.maintain import Line, counted_from, in_words, judged, record, removed
from etf_pipeline.steps.result import Run
from etf_pipeline.store import retention
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifest_checks import damaged_manifests
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.reader import read_table
from etf_pipeline.store.store import Store
from etf_pipeline.store.writer import publish

D = dt.date.fromisoformat
NOW = dt.datetime(2025, 3, 31, 12, tzinfo=dt.UTC)


def told(manifest):
    return False


def weights(layout, *days, ticker="VAS", table=WEIGHTS):
    """A file of weights for each day."""
    values = {"string": ticker, "double": 1.0, "bool": True, "int64": 1}
    row = {c.name: values.get(c.kind) for c in table.columns}
    for day in days:
        publish(layout.of(table, day), table, pa.Table.from_pylist([row], schema=table.arrow))


def manifest(layout, run, recorded, asset=assets.RISK_METRICS, partition="", outcomes=None, **row):
    outcomes = [Outcome("VAS", OutcomeKind.UPDATED, **row)] if outcomes is None else outcomes
    moment = dt.datetime.combine(recorded, dt.time(12), dt.UTC)
    return write_manifest(layout, asset, run, partition, outcomes, moment, "simulated")


def days_of(layout, table=WEIGHTS):
    return [layout.as_of(p) for p in layout.files(table)]


def gone(found):
    return [held.path for held in found.expired]


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "store")


@given(
    st.sets(st.integers(0, 1_500), min_size=1, max_size=60), st.integers(35, 900), st.integers(0, 9)
)
def test_a_table_keeps_its_dailies_and_the_last_day_of_every_month(tmp_path_factory, ns, keep, n):
    """As pandas groups them, and with the newest always among what stays."""
    layout = Layout(tmp_path_factory.mktemp("store"))
    days = pd.DatetimeIndex(sorted(np.datetime64("2021-03-05") + k for k in ns))
    weights(layout, *days.date)
    last = days.to_series().groupby([days.year, days.month]).max()
    recent = days[days >= days.max() - pd.Timedelta(days=keep)]
    stays = sorted({*recent.date, *last.dt.date})

    found = retention.judged_days(layout, WEIGHTS, keep)
    line = removed(found, WEIGHTS, dry_run=False)

    assert days_of(layout) == stays
    assert days.max().date() in stays
    assert (line.removed, line.kept) == (len(days) - len(stays), len(stays))
    assert retention.judged_days(layout, WEIGHTS, keep).expired == []


def test_what_somebody_else_put_there_stays(layout):
    old, month_end = D("2023-01-04"), D("2023-01-31")
    weights(layout, old, month_end, D("2025-03-31"))
    beside = layout.of(WEIGHTS, old).with_name("mine.parquet")
    pq.write_table(pa.table({"a": [1]}), beside)
    theirs = layout.of(WEIGHTS, D("2023-01-05"))
    theirs.parent.mkdir()
    pq.write_table(pa.table({"a": [1]}), theirs)
    damaged = layout.of(WEIGHTS, D("2023-01-06"))
    damaged.parent.mkdir()
    damaged.write_bytes(b"half a file")
    other = layout.of(WEIGHTS, D("2023-01-09"))  # ours, of another table
    other.parent.mkdir()
    weights(layout, D("2023-01-09"), table=SUMMARY)
    layout.of(SUMMARY, D("2023-01-09")).replace(other)
    (layout.folder(WEIGHTS) / "as_of=notes").mkdir()
    (layout.folder(WEIGHTS) / "as_of=notes" / "part.parquet").write_bytes(b"notes")

    found = retention.judged_days(layout, WEIGHTS, 400)
    assert gone(found) == [layout.of(WEIGHTS, old)]
    line = removed(found, WEIGHTS, dry_run=False)

    assert not layout.of(WEIGHTS, old).exists()
    assert beside.exists() and theirs.exists() and damaged.exists() and other.exists()
    told = in_words(line)
    assert f"1 damaged and left ({damaged}): put a good copy in its place, or move it away" in told
    notes = layout.folder(WEIGHTS) / "as_of=notes" / "part.parquet"
    assert f"4 not this package's and left ({beside}, {notes}, {theirs} and 1 more)" in told


def test_a_month_ends_with_the_last_file_of_ours_and_not_with_somebody_elses(layout):
    weights(layout, D("2023-01-04"), D("2023-01-05"), D("2025-03-31"))
    theirs = layout.of(WEIGHTS, D("2023-01-31"))
    theirs.parent.mkdir()
    pq.write_table(pa.table({"a": [1]}), theirs)
    found = retention.judged_days(layout, WEIGHTS, 400)
    assert gone(found) == [layout.of(WEIGHTS, D("2023-01-04"))]


def test_times_of_files_say_nothing(layout):
    weights(layout, D("2023-01-04"), D("2023-01-31"), D("2025-03-31"))
    new, old = layout.of(WEIGHTS, D("2025-03-31")), layout.of(WEIGHTS, D("2023-01-04"))
    os.utime(new, (0, 0))
    os.utime(old, (4e9, 4e9))
    assert gone(retention.judged_days(layout, WEIGHTS, 400)) == [old]


def test_each_table_counts_from_its_own_newest_day(layout):
    """One that is no longer made keeps its last days, whatever the others go on to."""
    weights(layout, D("2023-01-04"), D("2023-01-05"))
    weights(layout, D("2023-01-04"), D("2025-03-28"), D("2025-03-31"), table=SUMMARY)
    assert retention.judged_days(layout, WEIGHTS, 400).expired == []


def test_a_file_that_was_replaced_meanwhile_stays(layout):
    weights(layout, D("2023-01-04"), D("2023-01-31"), D("2025-03-31"))
    found = retention.judged_days(layout, WEIGHTS, 400)
    weights(layout, D("2023-01-04"), ticker="VGS")
    line = removed(found, WEIGHTS, dry_run=False)
    assert (line.removed, line.kept) == (0, 3)
    assert layout.of(WEIGHTS, D("2023-01-04")).exists()


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be removed there")
def test_whoever_has_a_file_open_reads_on(layout):
    weights(layout, D("2023-01-04"), D("2023-01-31"), D("2025-03-31"))
    path = layout.of(WEIGHTS, D("2023-01-04"))
    with path.open("rb") as handle:
        opened = pq.ParquetFile(handle)
        removed(retention.judged_days(layout, WEIGHTS, 400), WEIGHTS, dry_run=False)
        assert not path.parent.exists()
        assert opened.read().column("ticker").to_pylist() == ["VAS"]


def test_manifests_by_when_they_were_recorded(layout):
    old = [manifest(layout, f"r{i}", D("2023-01-02") + dt.timedelta(i)) for i in range(3)]
    edge = manifest(layout, "edge", D("2024-02-25"))
    new = manifest(layout, "new", D("2025-03-31"))
    other = manifest(layout, "else", D("2022-05-05"), partition="XASX")
    found = retention.judged_manifests(layout, assets.RISK_METRICS, D("2024-02-25"), told)
    assert gone(found) == old
    assert {edge, new, other}.isdisjoint(gone(found))
    assert found.kept == 3


def test_a_manifest_without_rows_has_an_age_too(layout):
    empty = manifest(layout, "empty", D("2023-01-02"), assets.OPTIMISED_PORTFOLIOS, outcomes=[])
    manifest(layout, "new", D("2025-03-31"), assets.OPTIMISED_PORTFOLIOS)
    found = retention.judged_manifests(layout, assets.OPTIMISED_PORTFOLIOS, D("2024-02-25"), told)
    assert gone(found) == [empty]


def test_a_manifest_of_an_earlier_release_is_dated_by_its_rows(layout):
    path = manifest(layout, "old", D("2023-01-02"))
    table = read_table(path)
    meta = {k: v.replace(b'"recorded_at"', b'"other"') for k, v in table.schema.metadata.items()}
    pq.write_table(table.replace_schema_metadata(meta), path)
    manifest(layout, "new", D("2025-03-31"))
    found = retention.judged_manifests(layout, assets.RISK_METRICS, D("2024-02-25"), told)
    assert [(h.path, h.day) for h in found.expired] == [(path, D("2023-01-02"))]


def test_a_download_that_names_a_raw_batch_stays(layout):
    named = manifest(layout, "a", D("2023-01-02"), assets.RAW_PRICES, "XASX", batch_id="b1")
    same = manifest(layout, "b", D("2023-01-03"), assets.RAW_PRICES, "XASX")
    manifest(layout, "c", D("2025-03-31"), assets.RAW_PRICES, "XASX")
    found = retention.judged_manifests(layout, assets.RAW_PRICES, D("2024-02-25"), told)
    assert gone(found) == [same]
    assert named.exists()
    assert found.waiting == {"they name raw batches, which are kept for ever": 1}


def test_a_manifest_whose_events_wait_stays_with_the_tables_that_they_are_told_from(layout):
    day = D("2023-01-04")
    weights(layout, day, D("2023-01-05"), D("2023-01-31"), D("2025-03-31"))
    weights(layout, day, D("2023-01-05"), D("2023-01-31"), D("2025-03-31"), table=SUMMARY)
    path = layout.relative(layout.of(WEIGHTS, day))
    asset = assets.OPTIMISED_PORTFOLIOS
    waits = manifest(layout, "waits", day, asset, path=path, content_hash="x", last_date=day)
    manifest(layout, "new", D("2025-03-31"), asset)

    kinds = judged(layout, Settings(), D("2025-03-31"), lambda m: m == waits)
    lines = {found.kind: removed(found, table, dry_run=False) for found, table in kinds}

    for table in (WEIGHTS, SUMMARY):
        assert days_of(layout, table) == [day, D("2023-01-31"), D("2025-03-31")]
        assert lines[table.name].notes == (
            "1 older kept: the events of their run are not recorded yet",
        )
    assert waits.exists()


def test_what_goes_is_recorded_before_with_its_hash(layout):
    weights(layout, D("2023-01-04"), D("2023-01-31"), D("2025-03-31"))
    path = layout.of(WEIGHTS, D("2023-01-04"))
    digest = retention.judged_days(layout, WEIGHTS, 400).expired[0].content_hash
    store, run = Store.at(layout.root, 1.0), Run("upkeep", NOW)
    kinds = judged(layout, Settings(), D("2025-03-31"), told)
    where = record(store, run, D("2025-03-31"), kinds)
    assert path.exists()
    (row,) = read_table(where).to_pylist()
    assert row["subject"] == "portfolios/weights/as_of=2023-01-04/part.parquet"
    assert (row["outcome"], row["reason_code"]) == ("removed", "expired")
    assert (row["content_hash"], row["last_date"]) == (digest, D("2023-01-04"))
    assert (row["asset"], row["recorded_at"]) == ("maintenance", NOW)
    for found, table in kinds:
        removed(found, table, dry_run=False)
    again = judged(layout, Settings(), D("2025-03-31"), told)
    assert record(store, run, D("2025-03-31"), again) is None
    assert layout.manifest_files(assets.MAINTENANCE) == [where]


def test_a_clock_that_is_behind_is_not_believed(layout):
    weights(layout, D("2025-03-31"))
    with pytest.raises(StoreError, match=r"2025-03-31.*2024-03-31.*nothing is removed") as caught:
        counted_from(layout, NOW - dt.timedelta(days=365))
    assert caught.value.code is ReasonCode.CLOCK_BEHIND


def test_a_clock_a_year_ahead_makes_nothing_older(layout):
    weights(layout, D("2024-03-04"), D("2024-03-28"), D("2025-03-31"))
    session = counted_from(layout, NOW + dt.timedelta(days=365))
    assert session == D("2025-03-31")
    assert all(not f.expired for f, _ in judged(layout, Settings(), session, told))


def test_a_store_without_tables_has_nothing_old(layout):
    assert counted_from(layout, NOW) is None


def test_for_ever_keeps_everything(layout):
    weights(layout, D("1990-01-04"), D("1990-01-05"), D("2025-03-31"))
    manifest(layout, "old", D("1990-01-04"))
    manifest(layout, "new", D("2025-03-31"))
    settings = Settings(keep_days=-1, keep_manifest_days=-1)
    assert all(not f.expired for f, _ in judged(layout, settings, D("2025-03-31"), told))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("keep_days", 34, "35 or more, as a month's last session"),
        ("keep_days", 0, "-1, which keeps all"),
        ("keep_manifest_days", 10, "35 or more, as `etf status`"),
        ("keep_dagster_days", 6, "7 or more"),
        ("keep_dagster_days", -2, "7 or more"),
    ],
)
def test_too_few_days_are_refused_with_the_reason(name, value, why):
    with pytest.raises(SettingsError) as caught:
        load_settings(**{name: value})
    assert f"ETF_{name.upper()}={value}" in str(caught.value)
    assert why in str(caught.value)


def test_queries_go_on_while_files_go(layout):
    """One that has listed a file which is gone when it is opened looks again."""
    days = [D("2022-01-01") + dt.timedelta(n) for n in range(150)]
    weights(layout, *days, D("2025-03-31"))
    database = duckdb.connect()
    where = layout.root / layout.pattern(WEIGHTS)
    database.execute(f"CREATE VIEW w AS FROM read_parquet('{where}', union_by_name=true)")
    failed, seen, done = [], [], threading.Event()

    def ask():
        with SafeConnection(database, layout.root) as connection:
            while not done.is_set() or seen[-1:] != [6]:
                try:
                    seen.append(connection.query("SELECT count(*) FROM w").rows[0][0])
                except QueryError as error:
                    failed.append(error)
                    return

    reader = threading.Thread(target=ask)
    reader.start()
    removed(retention.judged_days(layout, WEIGHTS, 400), WEIGHTS, dry_run=False)
    done.set()
    reader.join(60)
    assert not failed
    assert seen[-1] == 6, "five months, and the newest"


def test_a_record_that_was_changed_shows(layout):
    path = manifest(layout, "upkeep", D("2025-03-31"), assets.MAINTENANCE)
    assert list(damaged_manifests(layout)) == []
    rows = read_table(path)
    changed = rows.set_column(3, "subject", pa.array(["another"]))
    pq.write_table(changed.replace_schema_metadata(rows.schema.metadata), path)
    assert [str(path) in text for text in damaged_manifests(layout)] == [True]


def test_what_a_link_leads_to_stays(layout, tmp_path):
    """A day that was moved elsewhere is there, though the store still shows it."""
    weights(layout, D("2023-01-04"), D("2023-01-05"), D("2023-01-06"), D("2023-01-31"))
    weights(layout, D("2025-03-31"))
    folder, file = (layout.of(WEIGHTS, D(f"2023-01-0{n}")) for n in (4, 5))
    folder = folder.parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    file.rename(tmp_path / "moved.parquet")
    file.symlink_to(tmp_path / "moved.parquet")
    found = retention.judged_days(layout, WEIGHTS, 400)
    assert gone(found) == [layout.of(WEIGHTS, D("2023-01-06"))]
    assert [p.parent.name for p in found.others] == ["as_of=2023-01-04", "as_of=2023-01-05"]
    removed(found, WEIGHTS, dry_run=False)
    assert (tmp_path / "elsewhere" / file.name).exists()
    assert (tmp_path / "moved.parquet").exists()
    assert file.is_symlink()


def test_what_is_never_removed_is_not_overdue(layout):
    weights(layout, D("2023-01-04"), D("2023-01-31"), D("2025-03-31"))
    assert retention.overdue(layout, 400) == 1
    pq.write_table(pa.table({"a": [1]}), layout.of(WEIGHTS, D("2023-01-04")))
    assert retention.overdue(layout, 400) == 0


def test_bytes_that_stay_are_not_said_to_have_gone():
    line = Line("dagster files", kept_bytes=1_938_432)
    assert in_words(line) == "dagster files: 0 removed, 1893 KiB kept"
