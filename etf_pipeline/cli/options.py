"""The options that several commands share, each declared once, and how their values are read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from etf_pipeline.errors import SettingsError

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Store to use (ETF_DATA_DIR).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Window = Annotated[str, typer.Option(help="Window of the risk table: 1y, 3y, 5y, 10y or max.")]
Years = Annotated[int, typer.Option(min=0, help="Years of history; 0 is all of it.")]
Tickers = Annotated[list[str], typer.Argument(help="Tickers, such as VAS VGS.")]
Weight = Annotated[float, typer.Option(min=0.0, max=1.0, help="Of every ticker, a fraction.")]
Currency = Annotated[
    str | None,
    typer.Option("--base-currency", help="What returns are in, such as AUD (ETF_BASE_CURRENCY)."),
]
Instant = Annotated[str | None, typer.Option(help="A time with its zone; now by default.")]


def split_names(text: str) -> list[str]:
    """The names in a list that is separated by commas; none for an empty one."""
    return [name.strip() for name in text.split(",") if name.strip()]


def distinct_names(tickers: Sequence[str]) -> list[str]:
    """The tickers of a command line, each argument one or several separated by commas.

    Raises:
        SettingsError: a ticker is named twice.
    """
    from etf_pipeline.model.instruments import repeated

    names = [name for text in tickers for name in split_names(text)]
    if twice := repeated(names):
        raise SettingsError(f"asked for twice: {', '.join(twice)}")
    return names


def parse_instant(text: str | None, option: str = "--at") -> dt.datetime:
    """A time given on the command line; now when there is none.

    Raises:
        SettingsError: not a time, or one without a zone.
    """
    if text is None or text == "now":
        return dt.datetime.now(dt.UTC)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"{option} {text!r}: not a time; write 2025-11-01T09:30:00+11:00"
        ) from None
    if moment.tzinfo is None:
        raise SettingsError(f"{option} {text!r}: has no time zone; add one, as in {text}+00:00")
    return moment
