"""Typed settings from the environment, or one line that says what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from etf_pipeline.errors import SettingsError

MOST_DAYS = 365_000  # a thousand years: many more days ago there is no date
S = TypeVar("S", bound=BaseSettings)


def read_settings(kind: type[S], overrides: Mapping[str, object]) -> S:
    """Settings of a kind as the environment has them; `overrides` win, but for those that are None.

    Raises:
        SettingsError: one line that names every variable with a bad value.
    """
    prefix = kind.model_config.get("env_prefix") or ""
    try:
        return kind(**{k: v for k, v in overrides.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(
            f"{prefix}{str(e['loc'][0]).upper()}={shown(e['input'])!r}: "
            f"{e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise SettingsError(f"bad setting: {problems}") from None


def shown(value: object) -> object:
    """A value as it may be printed: before an @ can be a password, in a query a signature."""
    if not isinstance(value, str):
        return value
    value = re.sub(r".*@", "***@", value, flags=re.DOTALL)
    return re.sub(r"(://[^?]*)\?.*", r"\1?***", value, flags=re.DOTALL)
