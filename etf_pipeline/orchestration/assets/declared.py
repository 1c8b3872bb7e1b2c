"""What is declared of an asset before it ever runs, made from `model.lineage`."""

from __future__ import annotations

from typing import Any, TypedDict

import dagster as dg

from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.model.schemas import Table
from etf_pipeline.orchestration.automation import when_inputs_change
from etf_pipeline.orchestration.checks.tables import specs_of

OWNERS = ["team:etf_pipeline"]


class Followed(TypedDict):
    """Arguments of `dagster.asset`."""

    deps: list[dg.AssetDep]
    group_name: str
    kinds: set[str]
    owners: list[str]
    automation_condition: dg.AutomationCondition[Any]


class Derived(Followed):
    """The same with what a table says of itself."""

    description: str
    metadata: dict[str, Any]
    output_required: bool
    check_specs: list[dg.AssetCheckSpec]


def derived(asset: str, group: str, description: str | None = None) -> Derived:
    """What `dagster.asset` is told of an asset that follows from others and publishes a table.

    Args:
        asset: its name.
        group: where the UI shows it.
        description: that of its first table by default.
    """
    return Derived(
        **followed(asset, group, "parquet"),
        description=description or LINEAGE[asset].table.description,
        metadata=table_metadata(asset),
        output_required=False,  # see `waiting`
        check_specs=specs_of(asset),
    )


def followed(asset: str, group: str, kind: str) -> Followed:
    """What is told of any asset that is made again when those that it follows have changed."""
    return Followed(
        deps=deps(asset),
        group_name=group,
        kinds={kind},
        owners=OWNERS,
        automation_condition=when_inputs_change(asset),
    )


def deps(asset: str) -> list[dg.AssetDep]:
    """What an asset follows: the assets it reads, and no others."""
    return [dg.AssetDep(name) for name in LINEAGE[asset].reads]


def table_metadata(asset: str) -> dict[str, Any]:
    """Schema and column lineage of the table that stands for an asset."""
    lineage = LINEAGE[asset]
    found: dict[str, Any] = {"dagster/column_schema": table_schema(lineage.table)}
    if lineage.columns:
        found["dagster/column_lineage"] = dg.TableColumnLineage(
            {
                column: [dg.TableColumnDep(dg.AssetKey(a), name) for a, name in origins]
                for column, origins in lineage.columns.items()
            }
        )
    return found


def table_schema(table: Table) -> dg.TableSchema:
    """A table's columns with types, descriptions and constraints."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                c.name,
                str(c.type),
                c.description,
                constraints=dg.TableColumnConstraints(nullable=c.nullable),
            )
            for c in table.columns
        ]
    )
