"""`ETFDataProvider`: the store read as a library. Direct mode needs no infrastructure."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from etf_pipeline.store.catalog import available_tickers, unknown_ticker
from etf_pipeline.store.layout import Layout

if TYPE_CHECKING:
    import pandas as pd

    from etf_pipeline.universe.instruments import Instrument


class ETFDataProvider:
    """Reads one data folder; touches nothing else.

    Args:
        data_dir: root of the Parquet store.
    """

    def __init__(self, data_dir: str | Path = "data/etf") -> None:
        self._layout = Layout(Path(data_dir))

    @property
    def available_etfs(self) -> list[str]:
        """Tickers with a history, sorted."""
        return available_tickers(self._layout)

    def load_etf_data(self, ticker: str) -> pd.DataFrame:
        """One ticker's daily history, indexed by naive session date, ascending.

        Columns are those of `schemas.HISTORY`: prices per unit in the ticker's currency,
        split-adjusted, and `adj_close` adjusted for distributions. A user's own Yahoo-shaped
        file in the folder loads the same way.

        Raises:
            UnknownTickerError: naming the nearest tickers there are.
            CorruptFileError: the file is damaged.
        """
        from etf_pipeline.store.reader import read_history

        try:
            return read_history(self._layout.find_history(ticker))
        except FileNotFoundError:
            where = str(self._layout.historical_dir)
            raise unknown_ticker(ticker, self.available_etfs, where) from None

    def history_as_of(self, instrument: Instrument, instant: dt.datetime) -> pd.DataFrame | None:
        """One ticker's history as it was known at `instant` (aware); None when nothing was.

        Rebuilt from the immutable raw batches; needs the instrument because a former ticker's
        batches belong to it too.
        """
        from etf_pipeline.history.state import history_as_of
        from etf_pipeline.store.reader import to_frame

        built = history_as_of(self._layout, instrument, instant)
        return None if built is None else to_frame(built.history)
