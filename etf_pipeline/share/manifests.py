"""Which of two manifests of one name is to stay: they are told, and never made again."""

from __future__ import annotations

import datetime as dt
from io import BytesIO

import pyarrow.parquet as pq

from etf_pipeline.model.schemas import MANIFEST
from etf_pipeline.share.copy import Copy
from etf_pipeline.share.fitness import Fitness, judged
from etf_pipeline.store.stages import STAGES


def tells_more(copy: Copy, name: str, ours: bytes, theirs: bytes) -> bool:
    """Whether ours is to stay: of a run its own, of how a stage went the later.

    Another machine may have told of a run from its batch, taking it for killed: that is less than
    the run tells itself. And what came of a stage may be published late, when another machine has
    carried it out since. A step pulls these before, and its own is recorded later than what it
    pulled: clocks decide only between machines that carried it out without knowing of each other.
    """
    if judged(copy.layout, MANIFEST, copy.names.path(name), theirs).fit is Fitness.DAMAGED:
        return True
    if name.startswith(f"{copy.layout.relative(copy.layout.manifests(STAGES))}/"):
        return _recorded_at(ours) >= _recorded_at(theirs)
    return _rows(ours) >= _rows(theirs)


def _rows(data: bytes) -> int:
    return int(pq.read_metadata(BytesIO(data)).num_rows)


def _recorded_at(data: bytes) -> dt.datetime:
    told = pq.ParquetFile(BytesIO(data)).read(columns=["recorded_at"]).column(0).to_pylist()
    return max(told, default=dt.datetime.min.replace(tzinfo=dt.UTC))
