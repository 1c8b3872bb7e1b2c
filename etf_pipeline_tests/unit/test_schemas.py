"""Every table is declared whole: group, granularity, key, and columns that say what they hold."""

from dataclasses import replace

import pyarrow as pa
import pytest

from etf_pipeline.model.schemas import (
    BAR_COLUMNS,
    BENCHMARK_METRICS,
    EVENT_COLUMNS,
    HISTORY,
    OWN_METRICS,
    OWN_NUMBERS,
    QUARANTINE,
    RAW,
    RISK_METRICS,
    TABLES,
    VALUE_COLUMNS,
    Granularity,
    Table,
)


def problems_of(table: Table) -> list[str]:
    """What is wrong with the declaration of a table."""
    columns = {c.name: c for c in table.columns}
    wrong = {
        "no group": not table.group,
        "no granularity": not isinstance(table.granularity, Granularity),
        "no description": not table.description or not all(c.description for c in table.columns),
        "a column twice": len(columns) != len(table.columns),
        "no key": not table.key or not set(table.key) <= columns.keys(),
        "a key that may be null": any(columns[k].nullable for k in table.key if k in columns),
    }
    return [f"{table.name}: {what}" for what, is_so in wrong.items() if is_so]


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_every_table_is_declared_whole(table):
    assert problems_of(table) == []
    assert table.arrow.names == table.names


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"group": ""}, "no group"),
        ({"granularity": None}, "no granularity"),
        ({"description": ""}, "no description"),
        ({"key": ("day",)}, "no key"),
        ({"key": ("date", "close")}, "a key that may be null"),
        ({"columns": HISTORY.columns * 2}, "a column twice"),
    ],
)
def test_a_table_that_is_not_whole_is_found(change, words):
    assert f"{HISTORY.name}: {words}" in problems_of(replace(HISTORY, **change))


def test_names_of_tables_and_kinds_of_files_are_all_used_once():
    assert len({t.name for t in TABLES}) == len(TABLES)
    assert {t.granularity for t in TABLES} == set(Granularity)


def test_schemas_by_hand():
    """Dates are dates, never instants; prices are doubles, volumes whole."""
    schema = HISTORY.arrow
    assert schema.field("date") == pa.field("date", pa.date32(), False)
    assert schema.field("close") == pa.field("close", pa.float64(), True)
    assert schema.field("volume").type == pa.int64()
    assert schema.field("adj_close") == pa.field("adj_close", pa.float64(), False)
    assert schema.field("flag").type == pa.string()


def test_a_bar_and_its_events_are_the_same_in_every_table_of_prices():
    assert (*BAR_COLUMNS, *EVENT_COLUMNS) == VALUE_COLUMNS
    for table in (RAW, HISTORY, QUARANTINE):
        assert [n for n in table.names if n in VALUE_COLUMNS] == list(VALUE_COLUMNS)


def test_the_metrics_are_the_columns_that_are_computed_from_prices():
    others = {"ticker", "window", "start", "end", "n_obs", "n_excluded", "periods_per_year"}
    others |= {
        "n_months",
        "benchmark",
        "risk_free",
        "risk_free_rate",
        "reason",
        "source",
        "currency",
    }
    assert [*OWN_METRICS, *BENCHMARK_METRICS] == [n for n in RISK_METRICS.names if n not in others]
    assert BENCHMARK_METRICS == (
        "beta",
        "alpha",
        "r_squared",
        "tracking_error",
        "information_ratio",
        "up_capture",
        "down_capture",
    )
    dates = {f"drawdown_{what}" for what in ("peak", "trough", "recovery")}
    assert list(OWN_NUMBERS) == [n for n in OWN_METRICS if n not in dates]
