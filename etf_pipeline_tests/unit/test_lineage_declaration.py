"""The declared lineage: true of the code, and told the same way to Dagster and to OpenLineage."""

import datetime as dt
import json
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from etf_pipeline.events.lineage import lineage_events
from etf_pipeline.events.orchestrator import LogRecord
from etf_pipeline.history.basis import Basis
from etf_pipeline.history.build import build
from etf_pipeline.model.lineage import DATASETS, LINEAGE
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import CORRECTIONS, HISTORY, TABLES, VALUE_COLUMNS
from etf_pipeline.model.universe import OPTIONAL, REQUIRED
from etf_pipeline.orchestration.assets.declared import deps, table_metadata
from etf_pipeline.store.layout import Layout

OPEN = dt.datetime(2025, 11, 12, 7, 0, tzinfo=dt.UTC)


FILES = {n: Path(f"/files/{n}") for n in ("universe", "portfolios", "risk_free")}


def complete(tmp_path, asset):
    """An asset's COMPLETE event."""
    layout = Layout(tmp_path)
    record = LogRecord(1, "materialisation", "run", "job", OPEN, asset)
    made = lineage_events(layout, record, "etf_pipeline", "store", FILES)
    (found,) = [b for b in (json.loads(e.data) for e in made) if b["eventType"] == "COMPLETE"]
    return found


def names(tmp_path):
    """What each dataset is called here, by its name in OpenLineage."""
    layout = Layout(tmp_path)
    tables = {layout.folder(t).resolve().as_posix(): t.name for t in TABLES}
    assets = {layout.folder(one.table).resolve().as_posix(): n for n, one in DATASETS.items()}
    return tables | assets | {path.as_posix(): n for n, path in FILES.items()}


def columns_of(tmp_path, output):
    called = names(tmp_path)
    fields = output["facets"].get("columnLineage", {"fields": {}})["fields"]
    return {
        c: {(called[f["name"]], f["field"]) for f in v["inputFields"]} for c, v in fields.items()
    }


def openlineage(tmp_path, asset):
    """Of an asset's COMPLETE event what there is of assets: inputs, columns, schema."""
    body = complete(tmp_path, asset)
    called, main = names(tmp_path), body["outputs"][0]
    read = [called[i["name"]] for i in body["inputs"]]
    columns = {
        c: {(a, n) for a, n in found if a in DATASETS}
        for c, found in columns_of(tmp_path, main).items()
    }
    return (
        [a for a in read if a in DATASETS],
        {c: found for c, found in columns.items() if found},
        [f["name"] for f in main["facets"]["schema"]["fields"]],
    )


def test_every_asset_is_declared_with_its_tables():
    assert {name: [t.name for t in one.tables] for name, one in LINEAGE.items()} == {
        "raw_prices": ["raw_prices"],
        "price_history": ["price_history", "quarantine"],
        "risk_metrics": ["risk_metrics"],
        "correlations": ["correlations"],
        "optimised_portfolios": ["weights", "summary", "frontier", "uncertainty"],
        "backtests": ["backtests", "backtest_weights", "backtest_events"],
        "sql_catalog": [],
        "reports": [],
    }
    # all but what people declare, and what runs and events leave behind
    published = {t.name for one in LINEAGE.values() for t in one.tables}
    assert {t.name for t in TABLES} - published == {"corrections", "manifests", "events"}


@pytest.mark.parametrize("asset", sorted(LINEAGE))
def test_it_names_only_assets_and_columns_that_there_are(asset):
    lineage = LINEAGE[asset]
    assert set(lineage.reads) <= set(LINEAGE) - {asset}
    assert set(lineage.goes_without) <= set(lineage.reads)
    # what is computed from tables cannot be without them; what people open shows what there is
    assert bool(lineage.goes_without) == (not lineage.tables)
    for column, origins in lineage.columns.items():
        assert column in lineage.table.names
        assert len(set(origins)) == len(origins) > 0
        for source, name in origins:
            assert source in lineage.reads
            assert name in LINEAGE[source].table.names


WRITTEN = {
    "universe": {*REQUIRED, *OPTIONAL},
    "portfolios": set(PortfolioSpec.model_fields),
    "corrections": set(CORRECTIONS.names),
    "risk_free": {"date", "rate"},
}


@pytest.mark.parametrize("asset", sorted(LINEAGE))
def test_what_people_declare_is_named_by_file_and_field(asset):
    lineage = LINEAGE[asset]
    assert set(lineage.files) <= set(WRITTEN)
    tables = {t.name: t for t in lineage.tables}
    assert set(lineage.declared) | set(lineage.further) <= set(tables)
    for name, columns in lineage.declared.items():
        for column, origins in columns.items():
            assert column in tables[name].names
            assert len(set(origins)) == len(origins) > 0
            for source, field in origins:
                assert source in lineage.files
                assert field in WRITTEN[source]


def test_every_field_of_a_portfolio_decides_over_something():
    """But its name, and what describes it to people."""
    of_portfolios = {
        field
        for lineage in LINEAGE.values()
        for columns in lineage.declared.values()
        for origins in columns.values()
        for source, field in origins
        if source == "portfolios"
    }
    assert set(PortfolioSpec.model_fields) - of_portfolios == {"name", "description"}


@pytest.mark.parametrize("asset", sorted(LINEAGE))
def test_every_table_of_an_asset_is_an_output_with_its_columns(tmp_path, asset):
    called = names(tmp_path)
    outputs = complete(tmp_path, asset)["outputs"]
    tables = LINEAGE[asset].tables
    if tables:
        assert [[f["name"] for f in o["facets"]["schema"]["fields"]] for o in outputs] == [
            list(t.names) for t in tables
        ]
        assert [called[o["name"]] for o in outputs][1:] == [t.name for t in tables[1:]]
    else:
        assert len(outputs) == 1
    for table, output in zip(tables, outputs, strict=bool(tables)):
        found = columns_of(tmp_path, output)
        assert set(found) == set(LINEAGE[asset].columns_of(table))
        assert bool(found) == (asset != "raw_prices")  # whose columns are the source's


def test_expected_returns_of_weights_name_all_they_come_from(tmp_path):
    """Prices, what a market is worth and what is said of it, fees, and what is free of risk."""
    weights = complete(tmp_path, "optimised_portfolios")["outputs"][0]
    found = columns_of(tmp_path, weights)["expected_return"]
    assert {
        ("price_history", "adj_close"),
        ("universe", "market_weight"),
        ("universe", "asset_class"),
        ("universe", "management_fee"),
        ("portfolios", "expected_returns"),
        ("risk_free", "rate"),
    } <= found


def test_what_people_open_is_made_from_every_table_it_shows(tmp_path):
    called = names(tmp_path)
    for asset, output in (("sql_catalog", "etf.duckdb"), ("reports", "reports")):
        body = complete(tmp_path, asset)
        assert body["outputs"][0]["name"] == (tmp_path / output).resolve().as_posix()
        read = {called[i["name"]] for i in body["inputs"]}
        assert {"price_history", "quarantine", "summary", "frontier", "backtests"} <= read


def test_only_keys_settings_and_properties_of_files_come_from_no_column():
    left = {n: sorted(set(one.table.names) - set(one.columns)) for n, one in DATASETS.items()}
    assert left == {
        "raw_prices": sorted(DATASETS["raw_prices"].table.names),  # from the source
        "price_history": [],
        "risk_metrics": [
            "benchmark",
            "currency",
            "risk_free",
            "source",
            "ticker",
            "window",
        ],
        # why a pair is null is its currencies; whether returns are weekly, its exchanges
        "correlations": ["currency", "other", "period", "reason", "source", "ticker", "window"],
        "optimised_portfolios": ["portfolio", "source", "ticker"],
        "backtests": ["portfolio", "source"],
    }


@pytest.mark.parametrize("asset", sorted(DATASETS))
def test_dagster_and_openlineage_are_told_the_same(tmp_path, asset):
    inputs, columns, schema = openlineage(tmp_path, asset)
    metadata = table_metadata(asset)
    theirs = metadata.get("dagster/column_lineage", dg.TableColumnLineage({}))
    assert {
        column: {(d.asset_key.to_user_string(), d.column_name) for d in found}
        for column, found in theirs.deps_by_column.items()
    } == columns
    read = [d.asset_key.to_user_string() for d in deps(asset)]
    assert read == inputs
    assert [c.name for c in metadata["dagster/column_schema"].columns] == schema


def test_nothing_waits_for_what_it_does_not_read():
    assert {n: [d.asset_key.to_user_string() for d in deps(n)] for n in LINEAGE} == {
        n: list(one.reads) for n, one in LINEAGE.items()
    }
    tables = ("risk_metrics", "correlations", "optimised_portfolios", "backtests")
    assert {n: LINEAGE[n].reads for n in tables} == dict.fromkeys(tables, ("price_history",))


def rows():
    """Bars with a stale run, a large move, a split, a dividend and a gain of its own."""
    days = pd.bdate_range("2024-01-01", periods=120)
    close = 50.0 + np.sin(np.arange(120.0)) + np.arange(120) / 50
    close[20:26] = close[20]
    close[60:] *= 2.1
    frame = pd.DataFrame(0.0, index=days.as_unit("s").rename("date"), columns=list(VALUE_COLUMNS))
    for name, factor in {"open": 1.0, "high": 1.01, "low": 0.99, "close": 1.0}.items():
        frame[name] = close * factor
    frame["volume"] = 1000.0
    frame.loc[days[40], "dividends"] = 0.7
    frame.loc[days[80], "capital_gains"] = 0.3
    return frame


def values(frame):
    """The history of these rows, columns by name."""
    sessions = frame.index.to_numpy().astype("datetime64[D]")
    built = build(frame, Basis(sessions[sessions != np.datetime64("2024-03-05")]))
    return {name: built.history.column(name).to_pylist() for name in HISTORY.names}


# What is changed, in one row or in all of them, and which columns of the history must follow.
CHANGES = {
    "open": (30, 1.001, {"open"}),
    "high": (30, 1.001, {"high"}),
    "low": (30, 0.999, {"low"}),
    # the close before an ex-date, and in the middle of a stale run
    "close": (39, 1.001, {"close", "adj_close"}),
    "volume": (30, 2.0, {"volume"}),
    "dividends": (40, 1.5, {"dividends", "adj_close"}),
    "capital_gains": (80, 1.5, {"capital_gains", "adj_close"}),
}


@pytest.mark.parametrize("column", sorted(CHANGES))
def test_a_change_of_a_raw_column_reaches_the_columns_declared_to_come_from_it(column):
    position, factor, expected = CHANGES[column]
    before, changed = rows(), rows()
    changed.iloc[position, changed.columns.get_loc(column)] *= factor
    first, second = values(before), values(changed)
    reached = {c for c in HISTORY.names if first[c] != second[c]}
    assert reached == expected
    declared = LINEAGE["price_history"].columns
    assert all(("raw_prices", column) in declared[c] for c in reached)


def test_flags_come_from_closes_splits_and_the_calendar():
    """Each origin that is declared of `flag` makes a difference, and no price but the close."""
    plain = values(rows())["flag"]
    assert plain[20] == "stale_run"
    assert plain[60] == "large_move"
    changed = rows()
    changed.iloc[22, changed.columns.get_loc("close")] *= 1.001
    assert values(changed)["flag"][20] is None
    changed = rows()
    changed.iloc[60, changed.columns.get_loc("stock_splits")] = 2.1
    assert values(changed)["flag"] != plain
    # a day without a session, which is flagged as somebody traded on it
    off = list(rows().index).index(pd.Timestamp("2024-03-05"))
    assert plain[off] == "unscheduled_session"
    changed = rows()
    changed.iloc[off, changed.columns.get_loc("volume")] = 0.0
    assert len(values(changed)["flag"]) == len(plain) - 1
    assert {name for _, name in LINEAGE["price_history"].columns["flag"]} == {
        "date",
        "close",
        "volume",
        "stock_splits",
    }
