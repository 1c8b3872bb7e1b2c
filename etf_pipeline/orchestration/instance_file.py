"""`dagster.yaml`: what the settings of the environment ask of it.

Belongs here: the sections that a setting brings, and what is done about a file of before it was
set. What somebody wrote into the file by hand stays; where it contradicts a setting, that is said
and nothing is started.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from etf_pipeline.errors import SettingsError
from etf_pipeline.settings import environment
from etf_pipeline.settings.defaults import default_text

NAME = "dagster.yaml"
_STORAGE = """\
storage:
  postgres:
    postgres_url:
      env: DAGSTER_POSTGRES_URL
"""
# The launcher, what follows a run that is lost, and how often that is looked for. Of waiting for a
# worker a run may take as long as those before it.
_LAUNCHER = """\
run_launcher:
  module: etf_pipeline.orchestration.launcher
  class: WatchedLauncher
  config:
    broker:
      env: ETF_CELERY_BROKER
"""
_RETRIES = """\
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false # only runs that were lost; a step has retries of its own
"""
_MONITORING = """\
run_monitoring:
  enabled: true
  start_timeout_seconds: 3600
  max_runtime_seconds: 7200
  poll_interval_seconds: 15
  free_slots_after_run_end_seconds: 30
"""
_BROKER = "ETF_CELERY_BROKER"
_LONGEST_POLL, _SHORTEST_START = 30, 600
_OLDER_STORAGE = frozenset({"run_storage", "event_log_storage", "schedule_storage"})


@dataclass(frozen=True)
class Brought:
    """A file's new text, and the sections that it had not before."""

    text: str
    added: tuple[str, ...] = ()


def first_text() -> str:
    """The file of a home that has none."""
    return brought_up(default_text(NAME), Path(NAME)).text


def brought_up(text: str, path: Path) -> Brought:
    """What a file must be for the settings that there are now.

    Args:
        text: what it is.
        path: where, for what is said of it.

    Raises:
        SettingsError: it is no YAML, or contradicts a setting; names the section and the remedy.
    """
    found = _read(text, path)
    missing: dict[str, str] = {}
    if environment.postgres_url():
        missing |= _storage_missing(found, path)
    else:
        _refuse_unset(found, path)
    if environment.celery_broker():
        missing |= _launcher_missing(found, path)
    elif _of_launcher(found, "broker") == {"env": _BROKER}:
        raise SettingsError(
            f"{path} sends runs to workers by way of the broker {_BROKER}, which is not set: set "
            "it, or remove the sections `run_launcher` and `run_retries`"
        )
    return Brought(_with(text, missing), tuple(missing))


def _read(text: str, path: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f":{where.line + 1}" if where is not None else ""
        raise SettingsError(
            f"{path}{line} is no YAML; mend it, or move it away and it is made again"
        ) from None
    if not isinstance(found, dict):
        raise SettingsError(f"{path} has no sections; move it away and it is made again")
    return found


def _storage_missing(found: Mapping[str, Any], path: Path) -> dict[str, str]:
    """The section of the database, unless it is there."""
    other = sorted(_OLDER_STORAGE & found.keys())
    if "storage" not in found and not other:
        return {"storage": _STORAGE}
    if _names_variable(found):
        return {}
    raise SettingsError(
        f"{path} says in `{(other or ['storage'])[0]}` where Dagster's records are, and "
        "DAGSTER_POSTGRES_URL is set too: unset it, or remove that section and the database is used"
    )


def _launcher_missing(found: Mapping[str, Any], path: Path) -> dict[str, str]:
    """The sections of runs on other machines, unless they are there."""
    launcher = found.get("run_launcher")
    ours = yaml.safe_load(_LAUNCHER)["run_launcher"]
    if launcher is not None and {k: launcher.get(k) for k in ("module", "class")} != {
        k: ours[k] for k in ("module", "class")
    }:
        raise SettingsError(
            f"{path} names another `run_launcher`, and {_BROKER} is set too: unset it, or remove "
            "that section and runs go to the workers of the broker"
        )
    missing = {} if launcher is not None else {"run_launcher": _LAUNCHER}
    if "run_retries" not in found:
        missing["run_retries"] = _RETRIES
    monitoring = found.get("run_monitoring")
    if monitoring in (None, yaml.safe_load(default_text(NAME)).get("run_monitoring")):
        missing["run_monitoring"] = _MONITORING
    elif not _watches(monitoring):
        raise SettingsError(
            f"{path} has a `run_monitoring` by which runs on a machine that is gone are found late "
            f"or never; remove that section, and this one is written:\n{_MONITORING}"
        )
    return missing


def _watches(monitoring: Mapping[str, Any]) -> bool:
    """Whether lost runs are found within two minutes, and those that wait for a worker are left."""
    often = monitoring.get("poll_interval_seconds", 120) <= _LONGEST_POLL
    patient = not 0 < monitoring.get("start_timeout_seconds", 180) < _SHORTEST_START
    return bool(monitoring.get("enabled")) and often and patient


def _of_launcher(found: Mapping[str, Any], field: str) -> Any:
    launcher = found.get("run_launcher")
    config = launcher.get("config") if isinstance(launcher, dict) else None
    return config.get(field) if isinstance(config, dict) else None


def _refuse_unset(found: Mapping[str, Any], path: Path) -> None:
    if _names_variable(found):
        raise SettingsError(
            f"{path} keeps Dagster's records in the database DAGSTER_POSTGRES_URL, which is not "
            "set: set it, or remove the section `storage` to begin anew in SQLite"
        )


def _names_variable(found: Mapping[str, Any]) -> bool:
    """Whether the database is the one that the variable names."""
    place: Any = found
    for key in ("storage", "postgres", "postgres_url", "env"):
        place = place.get(key) if isinstance(place, dict) else None
    return bool(place == "DAGSTER_POSTGRES_URL")


def _with(text: str, sections: Mapping[str, str]) -> str:
    """The text with sections at its end, in the place of those of the same name."""
    if not sections:
        return text
    for key in sections:
        text = re.sub(rf"(?m)^{key}:.*\n(?:[ \t#].*\n|\n(?=[ \t]))*", "", text)
    if text and not text.endswith("\n"):
        text += "\n"
    return text + "".join(f"\n{section}" for section in sections.values())
