"""Whom an outcome's prices are from, where the outcome itself does not say."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from etf_pipeline.errors import CorruptFileError
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import Outcome
from etf_pipeline.model.schemas import HISTORY, MANIFEST
from etf_pipeline.steps.download import ASSET as DOWNLOAD
from etf_pipeline.steps.result import Run
from etf_pipeline.store.batches import BatchReader, list_batch_ids
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import read_manifest
from etf_pipeline.store.reader import file_info


def with_sources(
    layout: Layout,
    reader: BatchReader,
    run: Run,
    instruments: list[Instrument],
    outcomes: list[Outcome],
    default: str,
) -> list[Outcome]:
    """The outcomes, those without a source (rejected, failed) with the one they are about.

    That is whom this run asked; else whose history or newest batch it is; else `default`.
    """
    if all(o.source for o in outcomes):
        return outcomes
    asked: dict[str, str] = {}
    with contextlib.suppress(FileNotFoundError, CorruptFileError):
        path = layout.of(MANIFEST, DOWNLOAD, run.run_id, run.partition)
        asked = {o.subject: o.source for o in read_manifest(path)}
    return [
        o
        if o.source
        else replace(o, source=asked.get(o.subject) or _origin(layout, reader, i, run) or default)
        for i, o in zip(instruments, outcomes, strict=True)
    ]


def _origin(layout: Layout, reader: BatchReader, instrument: Instrument, run: Run) -> str | None:
    """The source that a ticker's history names, else its newest batch; None when neither does."""
    with contextlib.suppress(FileNotFoundError, CorruptFileError):
        info = file_info(layout.of(HISTORY, instrument.ticker))
        if info.ours:
            return info.source
    for batch_id in reversed(list_batch_ids(layout, run.partition)):
        with contextlib.suppress(CorruptFileError):
            batch = reader.batch(run.partition, batch_id)
            if any(name in batch.slices for name in instrument.names):
                return batch.source
    return None
