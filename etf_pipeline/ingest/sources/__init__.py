"""The price sources, and the one place where a setting becomes one of them."""

from __future__ import annotations

import datetime as dt

from etf_pipeline.errors import SettingsError
from etf_pipeline.ingest.source import Clock, PriceSource, utc_now
from etf_pipeline.settings import Settings
from etf_pipeline.settings.pipeline import files_folder


def open_source(name: str, settings: Settings, clock: Clock = utc_now) -> PriceSource:
    """The price source that a setting names; never another one.

    Args:
        name: `yahoo`, `files:DIR` or `simulated`.
        settings: how hard to try, and how long after the close a bar is final.
        clock: what time it is, for simulated prices and to tell dates in the future.

    Raises:
        SettingsError: no such source, or no such folder.
    """
    # Only the source that is used is imported: yfinance alone takes longer than the rest of a run.
    if name == "yahoo":
        from etf_pipeline.ingest.sources.yahoo import YahooSource

        return YahooSource(settings)
    if (folder := files_folder(name)) is not None:
        from etf_pipeline.ingest.sources.files import FilesSource

        return FilesSource(folder, clock, settings.files_date_format)
    if name == "simulated":
        from etf_pipeline.ingest.sources.simulated import SimulatedSource

        return SimulatedSource(clock, dt.timedelta(minutes=settings.close_delay_minutes))
    raise SettingsError(f"source {name!r}: must be yahoo, files:DIR or simulated")
