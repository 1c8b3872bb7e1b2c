"""What the commands that ask the library share: the provider, its refusals, and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etf_pipeline.cli.render.output import print_json
from etf_pipeline.errors import EtfError, SettingsError

if TYPE_CHECKING:
    import pandas as pd

    from etf_pipeline.library.provider import ETFDataProvider


def provider_at(data_dir: Path | None) -> ETFDataProvider:
    """The library over a store."""
    from etf_pipeline.library.provider import ETFDataProvider
    from etf_pipeline.settings import load_settings

    return ETFDataProvider(load_settings(data_dir=data_dir).data_dir)


@contextmanager
def usage() -> Iterator[None]:
    """What the optimiser says of limits that contradict each other, as an error of usage."""
    try:
        yield
    except EtfError:
        raise
    except ValueError as error:
        raise SettingsError(str(error)) from None


def print_body(body: Any) -> None:
    """An answer as JSON."""
    from etf_pipeline.sql.output import plain

    print_json(plain(body))


def money(frame: pd.DataFrame) -> dict[str, Any]:
    """What a frame of the library says it is in, and its remarks."""
    return {name: frame.attrs[name] for name in ("base_currency", "fx", "remarks")}


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame by date as JSON has it: an object a row, null where there is no number."""
    days = [day.date() for day in frame.index]
    columns = [str(name) for name in frame.columns]
    rows = frame.to_numpy(dtype="float64").tolist()
    return [
        {"date": day, **dict(zip(columns, row, strict=True))}
        for day, row in zip(days, rows, strict=True)
    ]
