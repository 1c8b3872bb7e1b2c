"""What the lineage says of datasets: names, columns, versions, and where columns come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    dataset_version_dataset,
    datasource_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.events.model.types import rates_used
from etf_pipeline.events.orchestrator import LogRecord
from etf_pipeline.model import assets
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.model.schemas import CORRECTIONS, HISTORY, MANIFEST, Table
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_table

_KIND = "file"


class Datasets:
    """The datasets of one store, and the files that people edit.

    `files` has those files by the name that they have in `model.lineage`; the corrections are
    kept in the store itself, in versions.
    """

    def __init__(self, layout: Layout, files: Mapping[str, Path]) -> None:
        self._layout = layout
        self._files = {
            name: path.expanduser().resolve().as_posix() for name, path in files.items()
        } | {CORRECTIONS.name: self._name(CORRECTIONS)}

    def inputs(self, record: LogRecord, asset: str) -> list[InputDataset]:
        """What an asset reads: tables, exchange rates in their versions, files that people edit."""
        lineage = LINEAGE[asset]
        tables = [LINEAGE[source].table for source in lineage.reads] + list(lineage.besides)
        found = [InputDataset(_KIND, self._name(t), facets=self._facets(t)) for t in tables]
        found += self._rates(record, asset)
        return found + [
            InputDataset(_KIND, self._files[name], facets=self._source())
            for name in lineage.files
            if name in self._files
        ]

    def outputs(self, asset: str, rows: int | None = None) -> list[OutputDataset]:
        """What an asset publishes; `rows` of its first table, where they are known."""
        lineage = LINEAGE[asset]
        if not lineage.tables:
            where = self._opened(asset)
            return [OutputDataset(_KIND, where.resolve().as_posix(), facets=self._source())]
        found = []
        for table in lineage.tables:
            facets = self._facets(table) | self._columns(asset, table)
            counted = rows is not None and table == lineage.table
            statistics: dict[str, Any] = {}
            if counted:
                facet = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
                statistics["outputStatistics"] = facet(rowCount=rows)
            found.append(OutputDataset(_KIND, self._name(table), statistics, facets=facets))
        return found

    def _opened(self, asset: str) -> Path:
        """The file or folder of an asset that people open."""
        return self._layout.catalogue if asset == assets.SQL_CATALOG else self._layout.reports

    def _rates(self, record: LogRecord, asset: str) -> list[InputDataset]:
        """Histories of the currency pairs that prices were converted with, each in its version."""
        try:
            path = self._layout.of(MANIFEST, asset, record.run_id, record.partition)
            rows = read_table(path)
        except (FileNotFoundError, CorruptFileError):
            return []
        named = rows.column("fx").to_pylist() if "fx" in rows.column_names else []
        used: dict[str, str | None] = {}
        for one in named:
            used |= rates_used(one) or {}
        return [
            InputDataset(
                _KIND,
                self._layout.of(HISTORY, pair).resolve().as_posix(),
                facets=self._facets(HISTORY) | _version(digest),
            )
            for pair, digest in sorted(used.items())
        ]

    def _name(self, table: Table) -> str:
        """Folder of a table, or that of all its days."""
        return self._layout.folder(table).resolve().as_posix()

    def _facets(self, table: Table) -> dict[str, Any]:
        fields = [
            schema_dataset.SchemaDatasetFacetFields(c.name, str(c.type), c.description)
            for c in table.columns
        ]
        return {"schema": schema_dataset.SchemaDatasetFacet(fields=fields)} | self._source()

    def _source(self) -> dict[str, Any]:
        root = self._layout.root.resolve()
        return {"dataSource": datasource_dataset.DatasourceDatasetFacet(root.name, root.as_uri())}

    def _columns(self, asset: str, table: Table) -> dict[str, Any]:
        """Which input columns each output column comes from."""
        fields = {}
        for column, origins in LINEAGE[asset].columns_of(table).items():
            named = [(self._of(source), name) for source, name in origins]
            fields[column] = column_lineage_dataset.Fields(
                [
                    column_lineage_dataset.InputField(_KIND, where, name)
                    for where, name in named
                    if where is not None
                ]
            )
        if not fields:
            return {}
        return {"columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet(fields=fields)}

    def _of(self, source: str) -> str | None:
        """Name of the dataset that an asset or a file stands for; None for a file not in use."""
        lineage = LINEAGE.get(source)
        return self._files.get(source) if lineage is None else self._name(lineage.table)


def _version(digest: str | None) -> dict[str, Any]:
    if not digest:
        return {}
    return {"version": dataset_version_dataset.DatasetVersionDatasetFacet(digest)}
