"""The Dagster instance that the command line and the UI share.

Belongs here: DAGSTER_HOME, the `dagster.yaml` in it, and opening it safely from several processes.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from etf_pipeline.errors import SettingsError
from etf_pipeline.settings import environment
from etf_pipeline.settings.defaults import default_text
from etf_pipeline.store.writer import locked, write_text

_OPENING_SECONDS = 60.0

_POSTGRES = """
storage:
  postgres:
    postgres_url:
      env: DAGSTER_POSTGRES_URL
"""


def prepare_home() -> Path:
    """Make the home folder, put `dagster.yaml` into it unless there is one, and name it.

    Raises:
        SettingsError: DAGSTER_HOME is not a folder and cannot be made one.
    """
    home = environment.dagster_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "dagster.yaml").exists():
            postgres = _POSTGRES if environment.postgres_url() else ""
            write_text(home / "dagster.yaml", default_text("dagster.yaml") + postgres)
    except OSError as error:
        raise SettingsError(
            f"DAGSTER_HOME={home}: {error.strerror}; set it to a folder that can be written"
        ) from None
    environment.name_dagster_home(home)
    return home


def open_instance() -> dg.DagsterInstance:
    """The instance in DAGSTER_HOME, prepared.

    Two processes that make Dagster's tables at the same moment would fail on each other's, so the
    first use is under a lock.
    """
    home = prepare_home()
    with locked(home / ".opening.lock", _OPENING_SECONDS):
        instance = dg.DagsterInstance.get()
        instance.get_runs_count()
        instance.event_log_storage.get_maximum_record_id()
        instance.all_instigator_state()
        return instance


if __name__ == "__main__":
    print(prepare_home())
