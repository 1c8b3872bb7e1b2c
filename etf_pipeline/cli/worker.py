"""The command that takes runs from a broker: `etf worker`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from etf_pipeline.cli.extras import need_pipeline
from etf_pipeline.cli.options import Json
from etf_pipeline.cli.render.output import print_json
from etf_pipeline.errors import SettingsError
from etf_pipeline.settings.environment import dagster_home


def worker(
    runs: Annotated[int, typer.Option(min=1, max=64, help="How many runs at a time.")] = 1,
    as_json: Json = False,
) -> None:
    """Execute runs that Dagster hands over (ETF_CELERY_BROKER), until Ctrl-C or SIGTERM.

    Example: etf worker --runs 2
    """
    need_pipeline("dagster")
    from etf_pipeline.orchestration import broker, database
    from etf_pipeline.settings import load_settings

    settings = load_settings()

    url, records = broker.broker_url(), database.database_url()
    if not url or records is None:
        raise SettingsError(
            "a worker needs ETF_CELERY_BROKER and DAGSTER_POSTGRES_URL, the same as Dagster's "
            "daemon; see docs/operations.md"
        )
    broker.ensure_reachable(url)
    begun = {
        "broker": broker.shown(url),
        "records": database.shown(records),
        "home": str(dagster_home()),
        "store": str(settings.data_dir.resolve()),
        "runs": runs,
    }
    if as_json:
        print_json(begun)
    else:
        told = ", ".join(f"{name} {value}" for name, value in begun.items())
        Console(stderr=True).print(f"worker: {told}", soft_wrap=True, highlight=False)
    from etf_pipeline.orchestration.worker import serve

    serve(runs)
