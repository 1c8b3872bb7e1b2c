"""Whether what an orchestrator recorded has been told, as far as the store itself knows."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.events.model.checks import Check, first_few
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.store.layout import Layout

# Name of the fact with what the tailer said last; the same with the instance's id is of that one.
STATUS = "relay_status"
# A run is told by the next tick; for this long it is not missed.
_SOON = dt.timedelta(days=1)


def relayed(log: SqliteLog, layout: Layout, now: dt.datetime) -> list[Check]:
    """Whether the tailer has come to the end of the log that it reads; nothing where none ever did.

    Args:
        log: the local log, with what the tailer said.
        layout: of the store, with the manifests of its runs.
        now: aware.
    """
    said = [json.loads(text) for text in log.facts(f"{STATUS}:").values()]
    if not said:
        return []
    said.sort(key=lambda one: str(one["at"]), reverse=True)
    newest, others = said[0], [one for one in said[1:] if one["behind"]]
    bad = [_behind(newest)] if newest["behind"] else []
    bad += _untold(layout, dt.datetime.fromisoformat(newest["at"]), now)
    # Their homes may be gone, and what they held is told by the manifests.
    more = "".join(f"; {_behind(one)}, and another instance has been read since" for one in others)
    at = str(newest["at"])[:16].replace("T", " ")
    text = first_few(bad) if bad else f"up to {at} UTC{more}"
    return [Check("runs told", not bad, text)]


def _behind(said: dict[str, Any]) -> str:
    more = " or more" if said.get("more") else ""
    why = f" ({said['problem']})" if said.get("problem") else ""
    at = str(said["at"])[:16].replace("T", " ")
    return (
        f"{said['behind']}{more} records of Dagster at {said.get('where')} were not told at {at} "
        f"UTC{why}: start its sensor event_relay, or run `etf run`"
    )


def _untold(layout: Layout, told: dt.datetime, now: dt.datetime) -> Iterator[str]:
    """Manifests that nobody has looked for since they were written."""
    late, count, first = now - _SOON, 0, now
    for asset in LINEAGE:
        for path in layout.manifest_files(asset):
            with contextlib.suppress(FileNotFoundError):
                written = dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
                if told < written < late:
                    count, first = count + 1, min(first, written)
    if count:
        yield (
            f"{count} manifests were written since {first:%Y-%m-%d %H:%M} UTC, and nobody has "
            "looked for what they tell: start Dagster's sensor event_relay, or run `etf run`"
        )
