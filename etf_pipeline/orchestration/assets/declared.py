"""What is declared of an asset before it ever runs, made from `model.lineage`."""

from __future__ import annotations

from typing import Any

import dagster as dg

from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.model.schemas import Table

OWNERS = ["team:etf_pipeline"]
# On a dependency: it is an order, no data flow along it.
ORDER_ONLY = {"order_only": True}


def deps(asset: str) -> list[dg.AssetDep]:
    """What an asset follows: the assets it reads, and those that it merely waits for."""
    lineage = LINEAGE[asset]
    return [dg.AssetDep(name) for name in lineage.reads] + [
        dg.AssetDep(name, metadata=ORDER_ONLY) for name in lineage.waits_for
    ]


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
