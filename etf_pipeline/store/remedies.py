"""What helps where a file of the store is damaged, by whose place it is in."""

from __future__ import annotations

from pathlib import Path

from etf_pipeline.model.schemas import CORRECTIONS, DATED, HISTORY, MANIFEST, QUARANTINE, RAW

_GOOD_COPY = "put a good copy in its place"
# A run looks into no file that is on the disk as it was when it was last read (`store/seen.py`), so
# that it has to be moved away first.
_FROM_RAW = (
    "move it away and run `etf run`, which makes it again from the raw batches, or " + _GOOD_COPY
)
_NEWEST = (
    "move it away and run `etf run`, which makes the newest day again; an earlier day comes back "
    "from a backup or the share alone"
)
_FROM_SHARE = (
    f"{_GOOD_COPY} from a backup, or move it away: of a store that is shared, `etf run` pulls it "
    "again"
)
RAW_BATCH = (
    "restore it from a backup, or move it away and run `etf run --full` to download the tickers "
    "again"
)
_BY_FOLDER = {
    HISTORY.group: _FROM_RAW,
    QUARANTINE.group: _FROM_RAW,
    RAW.group: RAW_BATCH,
    MANIFEST.group: _FROM_SHARE,
    CORRECTIONS.group: _FROM_SHARE,
    **{table.group: _NEWEST for table in DATED},
    "archive": "restore it from a backup",
    "log": "remove the file `events/log.copied`, and `etf sql` copies the event log again",
}
OTHERWISE = f"{_GOOD_COPY}, or move it away"


def remedy_for(path: Path) -> str:
    """What helps where this file of a store is damaged."""
    folders = path.parts[-4:-1]  # a table's, a partition's, a day's
    return next((_BY_FOLDER[f] for f in reversed(folders) if f in _BY_FOLDER), OTHERWISE)
