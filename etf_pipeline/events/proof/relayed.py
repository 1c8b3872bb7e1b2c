"""Whether what an orchestrator recorded has been told, as far as the store itself knows."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etf_pipeline.errors import EtfError
from etf_pipeline.events.facts import ASSETS, told_of_manifest
from etf_pipeline.events.model.checks import Check, first_few
from etf_pipeline.events.model.ids import IdSet
from etf_pipeline.events.protocol import Events
from etf_pipeline.model.lineage import LINEAGE
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import read_table

# Name of the fact with what the tailer said last; the same with the instance's id is of that one.
STATUS = "relay_status"
# A run is told by the next tick; for this long it is not missed.
_SOON = dt.timedelta(days=1)


def relayed(events: Events, layout: Layout, known: IdSet, now: dt.datetime) -> list[Check]:
    """Whether the tailer has come to the end of the log that it reads; nothing where none ever did.

    Args:
        events: of the store; its local log has what the tailer said.
        layout: of the store, with the manifests of its runs.
        known: ids of all events that there are.
        now: aware.
    """
    said = [json.loads(text) for text in events.log.facts(f"{STATUS}:").values()]
    if not said:
        return []
    said.sort(key=lambda one: str(one["at"]), reverse=True)
    newest, others = said[0], [one for one in said[1:] if one["behind"]]
    bad = [_behind(newest)] if newest["behind"] else []
    late = _late(layout, dt.datetime.fromisoformat(newest["at"]), now)
    bad += _untold(_without_told(late, events.instance, layout, known))
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


def _late(layout: Layout, told: dt.datetime, now: dt.datetime) -> dict[Path, dt.datetime]:
    """When manifests were written that nobody has looked for since, as their files' times say."""
    found = {}
    for asset in LINEAGE:
        for path in layout.manifest_files(asset):
            with contextlib.suppress(FileNotFoundError):
                written = dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
                if told < written < now - _SOON and not _recorded_long_before(path, told):
                    found[path] = written
    return found


def _recorded_long_before(path: Path, told: dt.datetime) -> bool:
    """Whether a manifest's run began so long before that it is only a copy that is newer."""
    try:
        times = read_table(path, ["recorded_at"]).column("recorded_at").to_pylist()
    except EtfError:
        return False
    return bool(times) and max(times) + _SOON < told


def _without_told(
    late: dict[Path, dt.datetime], store: str, layout: Layout, known: IdSet
) -> list[dt.datetime]:
    """When those were written that were not told after all: a copied store has new times of files.

    What has no events of its own was told with its run, if what is known of that is a copy too.
    """
    runs: dict[str, bool] = {}
    told = set()
    for path in late:
        if path.parent.name in ASSETS:
            found = told_of_manifest(layout, path, store)
            whole = not found.unreadable and all(e.id in known for e in found.events)
            told |= {path} if whole else set()
            runs[path.name] = runs.get(path.name, True) and whole
    told |= {p for p in late if p.parent.name not in ASSETS and runs.get(p.name, False)}
    return [written for path, written in late.items() if path not in told]


def _untold(written: list[dt.datetime]) -> Iterator[str]:
    if written:
        yield (
            f"{len(written)} manifests were written since {min(written):%Y-%m-%d %H:%M} UTC, and "
            "nobody has looked for what they tell: start Dagster's sensor event_relay, or run "
            "`etf run`"
        )
