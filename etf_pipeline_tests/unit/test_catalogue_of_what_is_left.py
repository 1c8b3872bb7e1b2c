"""What SQL says of a store that lacks something: days that were let go, files that are damaged."""

import datetime as dt
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.cli.exit_codes import ExitCode, of_error
from etf_pipeline.errors import LackingPricesWarning, QueryError
from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.sources.simulated import SimulatedSource
from etf_pipeline.model import assets
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.model.schemas import (
    CORRECTIONS,
    HISTORY,
    MANIFEST,
    QUARANTINE,
    RAW,
    RISK_METRICS,
    WEIGHTS,
)
from etf_pipeline.settings import Settings
from etf_pipeline.steps.catalogue import described_views, open_catalogue, sql_catalogue
from etf_pipeline.steps.catalogue_damage import tables_of
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.maintain import judged, record, removed
from etf_pipeline.steps.result import Run
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.store import Store
from etf_pipeline.store.writer import publish
from etf_pipeline_tests.stored_support import publish_closes
from etf_pipeline_tests.support import asx_days, instrument, walk

D = dt.date.fromisoformat
NOW = dt.datetime(2025, 3, 31, 12, tzinfo=dt.UTC)
THREE = ("AAA", "MMM", "ZZZ")
DAYS = ("2023-01-04", "2023-01-31", "2023-02-08", "2023-02-28", "2025-03-28", "2025-03-31")


@pytest.fixture
def store(tmp_path):
    store = Store.at(tmp_path / "store", 10)
    for table in (RISK_METRICS, WEIGHTS):
        values = {"string": "VAS", "double": 1.0, "bool": True, "int64": 1}
        row = {c.name: values.get(c.kind) for c in table.columns}
        for day in DAYS:
            rows = pa.Table.from_pylist([row], schema=table.arrow)
            publish(store.layout.of(table, D(day)), table, rows)
    return store


def let_go(store):
    session = D(DAYS[-1])
    kinds = judged(store.layout, Settings(), session, lambda manifest: False)
    record(store, Run("upkeep", dt.datetime(2025, 3, 31, 12, tzinfo=dt.UTC)), session, kinds)
    assert sum(removed(found, table, dry_run=False).removed for found, table in kinds) == 4


def known(store, table, moment):
    with open_catalogue(store, store.layout.root / "universe.csv", None, None) as db:
        sql = f"SELECT DISTINCT as_of FROM {table.name}_as_of('{moment}')"
        return [str(day) for (day,) in db.query(sql).rows]


@pytest.mark.parametrize("table", [RISK_METRICS, WEIGHTS], ids=lambda t: t.name)
def test_what_was_let_go_is_never_answered_by_an_older_day(store, table):
    moments = ("2023-02-10", "2023-01-05", "2023-02-28", "2023-02-07", "2025-03-30", "2022-01-01")
    before = [known(store, table, moment) for moment in moments]
    newest = ["2023-02-08", "2023-01-04", "2023-02-28", "2023-01-31", "2025-03-28"]
    assert before == [*([day] for day in newest), []]
    let_go(store)
    with pytest.raises(QueryError, match=r"2023-02-08.*let it go.*as_of = '2023-01-31'"):
        known(store, table, "2023-02-10")
    with pytest.raises(QueryError, match=r"2023-01-04.*let it go.*no day before is kept"):
        known(store, table, "2023-01-05")
    # what was the newest then is still there
    assert [known(store, table, moment) for moment in moments[2:]] == before[2:]


def test_a_manifest_that_was_let_go_is_no_day_of_a_table(store):
    """Its path has the name of the table too, and it is younger than what it told of."""
    row = Outcome(
        "manifests/risk_metrics/run-ALL.parquet", OutcomeKind.REMOVED, last_date=D("2023-02-20")
    )
    now = dt.datetime(2025, 3, 31, tzinfo=dt.UTC)
    write_manifest(store.layout, assets.MAINTENANCE, "upkeep", "", [row], now, "")
    assert known(store, RISK_METRICS, "2023-02-21") == ["2023-02-08"]


def ask(store, sql):
    with open_catalogue(store, store.layout.root / "universe.csv") as db:
        return db.query(sql).rows


def said(store, sql):
    """Why a query fails; nothing where it does not."""
    try:
        ask(store, sql)
    except QueryError as error:
        return str(error)
    return ""


NOT_PARQUET = (b"", b"x", b"PAR1 and half a file")
FOREIGN = pa.table({"a": [1]})
DAY = D("2023-01-31")


@pytest.mark.parametrize("catalogued", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("content", [*NOT_PARQUET, FOREIGN], ids=["empty", "x", "half", "foreign"])
def test_a_file_that_is_none_stops_the_views_of_its_table_alone(store, content, catalogued):
    if catalogued:  # when the file comes
        ask(store, "FROM weights")
    path = store.layout.of(WEIGHTS, DAY)
    good = path.read_bytes()
    pq.write_table(content, path) if content is FOREIGN else path.write_bytes(content)
    queries = [
        "FROM weights_history",
        "SELECT count(*) FROM weights_history",
        f"SELECT ticker FROM weights_history WHERE as_of = DATE '{DAY}'",
        f"SELECT ticker FROM weights_as_of('{DAY} 12:00:00+00')",
    ]
    what = "not of this package: move it away" if content is FOREIGN else "not readable Parquet"
    for sql in queries:
        with pytest.raises(QueryError) as caught:
            ask(store, sql)
        assert f"{path} is {what}" in str(caught.value), sql
        assert "move it away" in str(caught.value)
    assert len(ask(store, "FROM risk_metrics_history")) == len(DAYS)
    assert ask(store, "FROM runs") == ask(store, "FROM latest_prices") == []
    path.write_bytes(good)
    assert len(ask(store, "FROM weights_history")) == len(DAYS)
    assert ask(store, "FROM unfit_files") == []


def test_no_condition_makes_a_damaged_file_an_answer_without_rows(store):
    """DuckDB works out first what is constant, and looks at no row then."""
    store.layout.of(WEIGHTS, DAY).write_bytes(b"x")
    for what in ("ticker = 'VAS' AND as_of > DATE '2030-01-01'", "as_of IS NOT NULL", "weight > 2"):
        with pytest.raises(QueryError, match="not readable Parquet"):
            ask(store, f"FROM weights_history WHERE {what}")
    assert ask(store, "SELECT name FROM unfit_files") == [
        ("portfolios/weights/as_of=2023-01-31/part.parquet",)
    ]


@pytest.mark.parametrize("table", [QUARANTINE, RAW, MANIFEST, CORRECTIONS], ids=lambda t: t.name)
def test_every_other_table_is_there_beside_a_damaged_one(store, table):
    key = {QUARANTINE: ["VAS"], CORRECTIONS: ["a"]}.get(table, ["part", "20250101T000000000000Z"])
    path = store.layout.of(table, *key)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    told = {name: said(store, f"FROM {name}") for name in described_views()}
    stopped = {name for name, words in told.items() if f"{path} is not readable" in words}
    assert all(words == "" for name, words in told.items() if name not in stopped)
    own = {QUARANTINE: {"quality", "distributions"}, RAW: {"raw_answers"}, MANIFEST: {"runs"}}
    assert stopped == own.get(table, {"corrections"})


@pytest.mark.parametrize("catalogued", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("own", [False, True], ids=["ours alone", "beside a user's"])
@pytest.mark.parametrize("ticker", THREE)
def test_no_query_of_prices_leaves_out_a_damaged_history(tmp_path, ticker, own, catalogued):
    store, run, some = Store.at(tmp_path, 10), Run("a", NOW, "XASX"), [instrument(t) for t in THREE]
    layout = store.layout
    download(store, run, SimulatedSource(lambda: NOW), some, Terms(), clock=lambda: NOW)
    update_histories(store, run, some)
    if own:
        layout.of(HISTORY, "OWN").parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"date": [DAY], "close": [1.0]}), layout.of(HISTORY, "OWN"))
    if catalogued:
        ask(store, "FROM prices")
    path = layout.of(HISTORY, ticker)
    path.write_bytes(path.read_bytes()[:-100])
    for sql in ("SELECT count(*) FROM prices", "FROM latest_prices", "FROM histories"):
        with pytest.raises(QueryError, match=re.escape(f"{path} is not readable Parquet")):
            ask(store, sql)
    assert ask(store, "SELECT count(*) FROM runs")


def parts_of(path):
    """Where a Parquet file's pages end, and where its footer does."""
    size = path.stat().st_size
    return size - int.from_bytes(path.read_bytes()[-8:-4], "little") - 8, size - 8


@pytest.mark.parametrize("where", ["pages", "footer"])
def test_a_query_that_fails_at_a_damaged_file_names_it_with_what_helps(tmp_path, where):
    """DuckDB says that it does not know a type, or that a page is too large."""
    root = tmp_path / "store"
    days = asx_days("2024-01-02", 40)
    path = [publish_closes(root, t, days, walk(40)) for t in THREE][1]
    store, whole = Store.at(root, 10), path.read_bytes()
    pages, end = parts_of(path)
    begin, end = (4, pages) if where == "pages" else (pages, end)
    errors = []
    for at in range(begin, end - 3, (end - begin) // 9):
        path.write_bytes(whole[:at] + b"\xfe\xff\xfa" + whole[at + 3 :])
        try:
            ask(store, "FROM prices")
        except QueryError as error:
            errors.append(error)
    assert len(errors) > 1
    told = f"{path} is not readable Parquet"
    for error in errors:
        assert told in str(error) and "move it away and run `etf run`" in str(error)
        assert of_error(error) is ExitCode.FAILED
    path.write_bytes(whole)
    assert len(ask(store, "FROM prices")) == 3 * 40


def test_what_is_wrong_with_a_query_is_no_damage(store):
    for sql in ("SELECT 1 / 'a'", "SELECT CAST(ticker AS INT) FROM weights", "FROM weightz"):
        with pytest.raises(QueryError) as caught:
            ask(store, sql)
        assert of_error(caught.value) is ExitCode.USAGE


def test_the_tables_of_a_query_are_those_of_its_views_and_macros():
    def names(sql):
        return {table.name for table in tables_of(sql)}

    assert names("SELECT 1") == set()
    assert names("FROM PRICES JOIN weights USING (ticker)") == {HISTORY.name, WEIGHTS.name}
    assert names("FROM latest_prices") == {HISTORY.name}
    assert names("FROM risk_metrics") == {RISK_METRICS.name}
    assert QUARANTINE.name in names("FROM distributions")
    assert RAW.name in names("FROM prices_as_of(now())")


@pytest.mark.parametrize("name", ["as_of=tmp/part.parquet", "as_of=2023-01-31/copy.parquet"])
def test_what_lies_beside_the_days_of_a_table_is_none_of_its_rows(store, name):
    path = store.layout.folder(WEIGHTS) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    assert len(ask(store, "FROM weights_history")) == len(DAYS)


def test_a_folder_of_no_day_is_named(store):
    path = store.layout.folder(WEIGHTS) / "as_of=2023-02-31" / "part.parquet"
    path.parent.mkdir()
    path.write_bytes(store.layout.of(WEIGHTS, DAY).read_bytes())
    with pytest.raises(QueryError, match=r"folder as_of=2023-02-31 .* is no day: move it away"):
        ask(store, "FROM weights")


def test_whoever_opens_the_catalogue_is_told_of_an_own_file_that_prices_lack(store):
    path = store.layout.of(HISTORY, "OWN")
    path.parent.mkdir()
    twice = [dt.date(2024, 1, 2)] * 2
    pq.write_table(pa.table({"date": twice, "close": [1.0, 2.0]}), path)
    for _ in range(2):  # when it is made, and when it is there
        with pytest.warns(LackingPricesWarning, match=f"prices lack its rows: OWN: {path}") as told:
            assert ask(store, "FROM prices") == []
        assert len(told) == 1
    path.unlink()
    assert ask(store, "FROM prices") == []


def test_the_step_says_whether_it_made_the_catalogue(store):
    universe = store.layout.root / "universe.csv"
    kinds = [[o.outcome for o in sql_catalogue(store, universe).outcomes] for _ in range(2)]
    assert kinds == [[OutcomeKind.UPDATED], [OutcomeKind.UNCHANGED]]
