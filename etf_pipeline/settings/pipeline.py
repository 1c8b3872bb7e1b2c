"""Typed settings, read from `ETF_…` environment variables.

Every field is one row of the settings table in the README; a test keeps the two equal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from etf_pipeline.model.currencies import check_currency
from etf_pipeline.model.risk_free import asked
from etf_pipeline.settings.environment import (
    DATA_DIR,
    LOCK_TIMEOUT_SECONDS,
    UNIVERSE_FILE,
    data_dir,
    same_folder,
)
from etf_pipeline.settings.reading import MOST_DAYS, read_settings

PREFIX = "ETF_"
OVERLAP_DAYS = 30
CLOSE_DELAY_MINUTES = 45
FOR_EVER = -1
MOST_SECONDS = 1_000_000.0  # eleven days; clocks, sockets and locks take no number whatever
# Fewest days that may be kept, and why fewer would cost more than room.
_LEAST_KEPT = {
    "keep_days": (35, "a month's last session is known only when the next one has begun"),
    "keep_manifest_days": (
        35,
        "`etf status`, and whether a ticker is missing for good, are told from them",
    ),
    "keep_dagster_days": (7, "a run that failed over a weekend would be gone before it is seen"),
}
_SHARES = ("s3", "gs", "az", "file")


def files_folder(source: str) -> Path | None:
    """The folder that `files:DIR` names; None when it is another source, or names none."""
    prefix, _, folder = source.partition(":")
    return Path(folder) if prefix == "files" and folder else None


def share_url(text: str) -> str:
    """A URL that a share may have.

    Raises:
        ValueError: it is none, or holds credentials, which would end up in messages.
    """
    parts = urlsplit(text)
    if parts.scheme not in _SHARES or "\\" in text:
        raise ValueError("must begin with s3://, gs://, az:// or file:///")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            "must hold no credentials and no query; give them by AWS_ACCESS_KEY_ID and its like"
        )
    if parts.scheme == "file" and (parts.netloc or len(parts.path) < 2):
        raise ValueError("a folder is given by three slashes and its whole path, file:///srv/etf")
    if parts.scheme != "file" and not parts.netloc:
        raise ValueError("names no bucket")
    return text.rstrip("/")


class Settings(BaseSettings):
    """Where things are and how hard to try. Immutable; build a new one to change a value."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    data_dir: Path = Field(Path(DATA_DIR), description="Root of the Parquet store.")
    store_url: str | None = Field(
        None,
        description="Share of several machines (`s3://…`, `gs://…`, `az://…`, `file:///…`); the "
        "store is then this machine's copy of it.",
    )
    universe_file: Path = Field(Path(UNIVERSE_FILE), description="Which ETFs there are.")
    portfolios_file: Path = Field(
        Path("data/portfolios.yaml"), description="Which model portfolios to optimise."
    )
    corrections_file: Path = Field(
        Path("data/corrections.csv"), description="What somebody declares right; may be absent."
    )
    source: str = Field(
        "yahoo", description="Where prices come from: `yahoo`, `files:DIR` or `simulated`."
    )
    files_date_format: str | None = Field(
        None,
        description="Format (`%d/%m/%Y`) of dates in files that could be read in two ways.",
    )
    yahoo_concurrency: int = Field(
        2, ge=1, le=16, description="Simultaneous Yahoo requests; Yahoo refuses eager clients."
    )
    yahoo_timeout_seconds: float = Field(
        20.0, gt=0, le=MOST_SECONDS, description="Deadline of one request."
    )
    yahoo_attempts: int = Field(
        5, ge=1, le=20, description="Tries per ticker before a transient failure is final."
    )
    yahoo_backoff_seconds: float = Field(
        2.0,
        ge=0,
        le=MOST_SECONDS,
        description="First pause after a 429 or a fault; doubles, with jitter.",
    )
    yahoo_backoff_max_seconds: float = Field(
        60.0, ge=0, le=MOST_SECONDS, description="Longest such pause."
    )
    yahoo_url: str | None = Field(
        None, description="Send Yahoo requests to this base URL instead (proxy or test server)."
    )
    run_deadline_seconds: float = Field(
        1800.0,
        gt=0,
        le=MOST_SECONDS,
        description="A download run starts no request after this long.",
    )
    overlap_days: int = Field(
        OVERLAP_DAYS, ge=7, le=3650, description="Trailing days asked for again for a known ticker."
    )
    close_delay_minutes: int = Field(
        CLOSE_DELAY_MINUTES,
        ge=0,
        le=1440,
        description="A session's bar is final this long after the close.",
    )
    lock_timeout_seconds: float = Field(
        LOCK_TIMEOUT_SECONDS,
        ge=0,
        le=MOST_SECONDS,
        description="How long to wait for another process that is writing.",
    )
    risk_free_rate: float | str = Field(
        0.0,
        description="What is free of risk: an annual effective rate as a fraction, a ticker, or a "
        "CSV of rates.",
    )
    periods_per_year: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="Fixes the returns a year, as a convention such as 252 does; unset, they are "
        "counted.",
    )
    benchmark: str | None = Field(
        None,
        description="Ticker to compare with: beta, alpha, R², captures, tracking error, "
        "information ratio.",
    )
    base_currency: str | None = Field(
        None,
        description="Currency of returns side by side; the one that the tickers share if unset.",
    )
    lookback_years: int = Field(
        5, ge=1, le=100, description="Years of returns behind a portfolio that names none."
    )
    correlations_kept: int = Field(
        50,
        ge=0,
        le=1000,
        description="Nearest, and as many farthest, tickers of each that `correlations` keeps.",
    )
    retry_delay_seconds: float = Field(
        60.0,
        ge=0,
        le=MOST_SECONDS,
        description="Pause before Dagster retries a download that failed as a whole.",
    )
    schedules_enabled: bool = Field(
        False, description="Whether the schedules start switched on: downloads, upkeep."
    )
    keep_days: int = Field(
        400,
        description="Days of derived tables that `etf maintain` keeps daily, beside every month's "
        "last; -1 is for ever.",
    )
    keep_manifest_days: int = Field(
        400, description="Days that `etf maintain` keeps run manifests; -1 is for ever."
    )
    keep_dagster_days: int = Field(
        90, description="Days that `etf maintain` keeps Dagster's records of runs; -1 is for ever."
    )
    executor: Literal["in_process", "multiprocess"] = Field(
        "in_process",
        description="How steps are executed: `in_process`, one after the other, or `multiprocess`, "
        "side by side.",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Processes among which the tickers of a step, or many backtests, are shared "
        "out; one for each core, to 8, if unset.",
    )

    @field_validator("source")
    @classmethod
    def _known_source(cls, value: str) -> str:
        if value in ("yahoo", "simulated") or files_folder(value) is not None:
            return value
        raise ValueError("must be yahoo, files:DIR or simulated")

    @field_validator(*_LEAST_KEPT)
    @classmethod
    def _enough(cls, value: int, info: ValidationInfo) -> int:
        least, why = _LEAST_KEPT[str(info.field_name)]
        if value > MOST_DAYS:
            raise ValueError(f"must be {MOST_DAYS} or less; or {FOR_EVER}, which keeps all")
        if value == FOR_EVER or value >= least:
            return value
        raise ValueError(f"must be {least} or more, as {why}; or {FOR_EVER}, which keeps all")

    @field_validator("store_url")
    @classmethod
    def _share(cls, value: str | None) -> str | None:
        return share_url(value) if value else None

    @field_validator("risk_free_rate", mode="before")
    @classmethod
    def _free_of_risk(cls, value: float | str) -> float | str:
        found = asked(value)
        return found if isinstance(found, float) else value

    @field_validator("base_currency")
    @classmethod
    def _currency(cls, value: str | None) -> str | None:
        return None if not value else check_currency(value)

    @field_validator("yahoo_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is None or value.startswith(("http://", "https://")):
            return value
        raise ValueError("must start with http:// or https://")


def load_settings(**overrides: object) -> Settings:
    """Read the environment; `overrides` win over it.

    ETF_STORE_URL goes with ETF_DATA_DIR: another folder is another store, and stands for itself.

    Raises:
        SettingsError: one line that names every variable with a bad value.
    """
    folder = overrides.get("data_dir")
    if isinstance(folder, str | Path) and not same_folder(Path(folder), data_dir()):
        overrides = {"store_url": ""} | overrides
    return read_settings(Settings, overrides)
