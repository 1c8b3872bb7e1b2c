"""The command that looks after a store: `etf maintain`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etf_pipeline.cli.exit_codes import ExitCode
from etf_pipeline.cli.extras import need_pipeline
from etf_pipeline.cli.options import DataDir, Json
from etf_pipeline.cli.render.output import print_either, print_error

if TYPE_CHECKING:
    from etf_pipeline.orchestration.maintenance import Upkeep

_EVENTS = (
    "events: not touched; `etf events archive --prune` keeps EVENT_STORE_RETENTION_DAYS={} of them "
    "in the local log"
)


def maintain(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Let go old dailies (month-ends stay), old run manifests, and Dagster's old records.

    Example: etf maintain --dry-run
    """
    from etf_pipeline.events.settings import load_event_settings
    from etf_pipeline.settings import load_settings

    need_pipeline("dagster")
    settings, events = load_settings(data_dir=data_dir), load_event_settings()
    from etf_pipeline.orchestration.instance import disk_told, instance_to_look_at, open_instance
    from etf_pipeline.orchestration.maintenance import maintain as looked_after
    from etf_pipeline.orchestration.resources import Pipeline

    with disk_told(), instance_to_look_at() if dry_run else open_instance() as instance:
        run_id = f"maintain-{uuid.uuid4()}"
        done = looked_after(Pipeline(settings, events), instance, run_id, dry_run=dry_run)
    told = _EVENTS.format(events.event_store_retention_days)
    print_either(as_json, _body(done), [*_lines(done, str(settings.data_dir)), told])
    for problem in done.problems:
        print_error(problem)
    raise typer.Exit(ExitCode.PARTIAL if done.problems else ExitCode.DONE)


def _lines(done: Upkeep, root: str) -> list[str]:
    from etf_pipeline.steps.maintain import in_words

    lines = [in_words(line, dry_run=done.dry_run) for line in done.lines]
    if done.session is None:
        none = f"{root} has no table of any day yet: nothing is old. `etf run` makes them"
        return [none, *lines]
    lines.append(f"ages are counted from the newest session, {done.session}")
    if done.record is not None:
        lines.append(f"recorded in {done.record}")
    return lines


def _body(done: Upkeep) -> dict[str, Any]:
    return {
        "dry_run": done.dry_run,
        "session": done.session,
        "record": done.record,
        "kinds": [vars(line) for line in done.lines],
    }
