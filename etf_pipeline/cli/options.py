"""The options that several commands share, each declared once, and how their values are read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etf_pipeline.cli.render.output import print_warning
from etf_pipeline.errors import ArgumentError, EtfError, SettingsError
from etf_pipeline.model.instants import aware

if TYPE_CHECKING:
    from etf_pipeline.events.model.heads import Kept


def completing(words: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """What a shell is told when a value is begun and asked to be completed."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words() if word.startswith(incomplete)]

    return complete


def _tickers() -> list[str]:
    """Those with a history in the store of ETF_DATA_DIR."""
    from etf_pipeline.settings import environment
    from etf_pipeline.store.inventory import available_tickers
    from etf_pipeline.store.layout import Layout

    return available_tickers(Layout(environment.data_dir()))


def _portfolios() -> list[str]:
    """Those of the portfolio file; none while it cannot be used."""
    from etf_pipeline.library.specs import specs_of_file

    try:
        return list(specs_of_file())
    except EtfError:
        return []


DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Store to use (ETF_DATA_DIR).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Window = Annotated[str, typer.Option(help="Window of the risk table: 1y, 3y, 5y, 10y or max.")]
Years = Annotated[int, typer.Option(min=0, help="Years of history; 0 is all of it.")]
OwnYears = Annotated[
    int | None,
    typer.Option(
        "--years",
        min=0,
        help="Years of history; 0 is all of it. By default 5, or the portfolio's own.",
    ),
]
Benchmark = Annotated[
    str | None,
    typer.Option(help="Ticker to compare with.", autocompletion=completing(_tickers)),
]


def _number_if_any(text: str | None) -> float | str | None:
    """What the library takes as a number, if it is written as one."""
    try:
        return text if text is None else float(text)
    except ValueError:
        return text


Rate = Annotated[
    str | None,
    typer.Option(
        "--risk-free-rate",
        help="A year, a fraction; or a ticker, or a CSV of rates (ETF_RISK_FREE_RATE).",
        callback=_number_if_any,
    ),
]
Portfolio = Annotated[
    str | None,
    typer.Option(
        "--portfolio",
        help="One of portfolios.yaml, in place of tickers.",
        autocompletion=completing(_portfolios),
    ),
]
_TICKERS = typer.Argument(help="Tickers, such as VAS VGS.", autocompletion=completing(_tickers))
SomeTickers = Annotated[list[str] | None, _TICKERS]
Tickers = Annotated[list[str], _TICKERS]
Currency = Annotated[
    str | None,
    typer.Option("--base-currency", help="What returns are in, such as AUD (ETF_BASE_CURRENCY)."),
]
Instant = Annotated[
    str | None, typer.Option(help="A time, in UTC unless it names its zone; now by default.")
]


def split_names(text: str) -> list[str]:
    """The names in a list that is separated by commas; none for an empty one."""
    return [name.strip() for name in text.split(",") if name.strip()]


def distinct_names(tickers: Sequence[str]) -> list[str]:
    """The tickers of a command line, each argument one or several separated by commas.

    Raises:
        ArgumentError: there is no ticker, or one is named twice.
    """
    from etf_pipeline.library.arguments import tickers_of

    return tickers_of([name for text in tickers for name in split_names(text)])


def parse_instant(text: str | None, option: str = "--at") -> dt.datetime:
    """A time given on the command line; now when there is none, UTC when it names no zone.

    Raises:
        SettingsError: not a time.
    """
    if text is None or text == "now":
        return dt.datetime.now(dt.UTC)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"{option} {text!r}: not a time; write 2025-11-01T09:30:00+11:00"
        ) from None
    return aware(moment, option, print_warning)


def parse_head(text: str) -> Kept:
    """A head of the event log as it was printed, or its hash alone.

    Raises:
        ArgumentError: it is neither.
    """
    from etf_pipeline.events.model.heads import read_kept

    found = read_kept(text)
    if found is None:
        raise ArgumentError(
            f"--head {text!r}: is no head; give what `etf events verify` printed, LOG:EVENT:HASH, "
            "or the 64 digits of its hash"
        )
    return found
