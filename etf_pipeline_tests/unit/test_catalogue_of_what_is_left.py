"""What SQL says of a store that lacks something: days that were let go, files that are damaged."""

import datetime as dt
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.errors import QueryError
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
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.maintain import judged, record, removed
from etf_pipeline.steps.result import Run
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.store import Store
from etf_pipeline.store.writer import publish
from etf_pipeline_tests.support import instrument

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


def test_the_step_says_whether_it_made_the_catalogue(store):
    universe = store.layout.root / "universe.csv"
    kinds = [[o.outcome for o in sql_catalogue(store, universe).outcomes] for _ in range(2)]
    assert kinds == [[OutcomeKind.UPDATED], [OutcomeKind.UNCHANGED]]
