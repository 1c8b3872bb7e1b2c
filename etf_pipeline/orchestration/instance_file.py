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
    for key in sections:
        text = re.sub(rf"(?m)^{key}:.*\n(?:[ \t#].*\n|\n(?=[ \t]))*", "", text)
    if text and not text.endswith("\n"):
        text += "\n"
    return text + "".join(f"\n{section}" for section in sections.values())
