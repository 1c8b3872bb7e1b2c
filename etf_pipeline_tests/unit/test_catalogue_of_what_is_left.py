"""What SQL says of a store that lacks something: days that were let go, files that are damaged."""

import datetime as dt

import pyarrow as pa
import pytest

from etf_pipeline.errors import CorruptFileError, QueryError
from etf_pipeline.model import assets
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.model.schemas import RISK_METRICS, WEIGHTS
from etf_pipeline.settings import Settings
from etf_pipeline.steps.catalogue import ensure_catalogue, open_catalogue
from etf_pipeline.steps.maintain import judged, record, removed
from etf_pipeline.steps.result import Run
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.store import Store
from etf_pipeline.store.writer import publish

D = dt.date.fromisoformat
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


def test_a_damaged_file_is_named_and_is_no_mistake_of_ours(store):
    path = store.layout.of(WEIGHTS, D("2023-01-31"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CorruptFileError) as caught:
        ensure_catalogue(store, store.layout.root / "universe.csv")
    assert str(path) in str(caught.value)
    assert "move it away" in str(caught.value)
    path.unlink()
    ensure_catalogue(store, store.layout.root / "universe.csv")
