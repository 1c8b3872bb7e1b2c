"""What every call of the library needs: one store, its cache, and the record of calls."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from etf_pipeline.errors import EventsOffError, unknown_ticker
from etf_pipeline.library.arguments import (
    currency_of,
    flag_of,
    folder_of,
    periods_of,
    risk_free_of,
)
from etf_pipeline.model.currencies import pair_of
from etf_pipeline.model.objectives import HALFLIFE
from etf_pipeline.model.risk_free import asked as as_asked
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.settings import environment
from etf_pipeline.store.cache import FileCache
from etf_pipeline.store.inventory import available_tickers
from etf_pipeline.store.layout import Layout

if TYPE_CHECKING:
    import pandas as pd

    from etf_pipeline.events.calls import CallLog
    from etf_pipeline.events.protocol import Events
    from etf_pipeline.risk.conversion import Together
    from etf_pipeline.risk.estimates import Estimates
    from etf_pipeline.risk.prices import PriceSeries
    from etf_pipeline.risk.risk_free import RiskFree
    from etf_pipeline.risk.together import Period


class StoreAccess:
    """Reads one data folder, through a cache; records what it is asked in event mode."""

    def __init__(
        self,
        data_dir: str | Path | None = None,
        risk_free_rate: float | str | Path | None = None,
        events: Events | None = None,
        use_event_sourcing: bool | None = None,
    ) -> None:
        wanted = flag_of(use_event_sourcing, "use_event_sourcing")
        self._layout = Layout(environment.data_dir() if data_dir is None else folder_of(data_dir))
        if environment.store_url() is not None:
            self._refresh()
        self._risk_free_asked = risk_free_of(risk_free_rate)
        self._cache = FileCache()
        self._calls: CallLog | None = None
        if wanted is not False and (events is not None or environment.events_asked_for()):
            from etf_pipeline.events.calls import call_log

            self._calls = call_log(events, self._layout, self._cache)
        if wanted and not self.use_event_sourcing:
            self._refuse()

    def _refresh(self, raw: bool = False) -> None:
        """Pull what a shared store has that this machine's copy has not."""
        from etf_pipeline.library.freshness import refresh_for_reading

        refresh_for_reading(self._layout.root, raw=raw, stacklevel=3)

    def _refuse(self) -> NoReturn:
        from etf_pipeline.events.factory import asked_for
        from etf_pipeline.events.modes.off import OFF

        settings = None if self._calls is None else self._calls.events.settings
        if settings is not None and asked_for(settings):
            raise EventsOffError(
                f"use_event_sourcing=True: Kafka at {settings.kafka_bootstrap_servers} does not "
                "answer, so nothing is being recorded; EVENT_STORE_TYPE=kafka keeps events for it"
            )
        raise EventsOffError(f"use_event_sourcing=True: {OFF}")

    @property
    def use_event_sourcing(self) -> bool:
        """Whether calls are being recorded as events; False in direct mode."""
        return self._calls is not None and self._calls.recording

    @property
    def available_etfs(self) -> list[str]:
        """Tickers with a history, sorted; rates of currency pairs are none."""
        return [t for t in available_tickers(self._layout) if pair_of(t) is None]

    def _load(self, ticker: str) -> pd.DataFrame:
        from etf_pipeline.store.reader import read_history

        path = self._layout.find_history(ticker)
        try:
            frame = self._cache.get("frame", path)
            if frame is None:
                stamp = self._cache.stamp(path)
                frame = read_history(path)
                self._cache.put("frame", path, stamp, frame)
        except FileNotFoundError:
            if self.use_event_sourcing and self._calls is not None and self._calls.restore(ticker):
                return self._load(ticker)
            where = str(self._layout.folder(HISTORY))
            raise unknown_ticker(ticker, self.available_etfs, where) from None
        return frame.copy(deep=False)  # copy-on-write: the cached values cannot be changed

    def _asked(
        self,
        operation: str,
        tickers: Sequence[str],
        index: pd.Index | Mapping[str, pd.Index] | None = None,
    ) -> None:
        if self._calls is not None and self._calls.recording:
            self._calls.prices(operation, tickers, index)

    def _rate(self, risk_free_rate: float | str | Path | None) -> RiskFree:
        """What is free of risk, as the call, else the provider, else the setting says."""
        from etf_pipeline.library.currencies import universe_currencies
        from etf_pipeline.store.risk_free import load_risk_free

        asked = risk_free_of(risk_free_rate)
        if asked is None:
            if self._risk_free_asked is None:
                from etf_pipeline.settings import load_settings

                self._risk_free_asked = as_asked(load_settings().risk_free_rate)
            asked = self._risk_free_asked
        known = None if isinstance(asked, float) else universe_currencies()
        return load_risk_free(self._layout, self._cache, asked, known)

    def _together(
        self,
        tickers: Iterable[str],
        base_currency: str | None,
        lookback_years: int | None = None,
        start: dt.date | None = None,
    ) -> Together:
        """Prices of tickers in one currency, as far back as a window of years or `start`."""
        from etf_pipeline.library.currencies import conversion_for
        from etf_pipeline.risk.prices import window_start

        base_currency = currency_of(base_currency)
        series = self._series(tickers)
        if lookback_years is not None:
            start = window_start(min(s.end for s in series), lookback_years)
        conversion = conversion_for(self._layout, self._cache, series, base_currency)
        return conversion.together(series, base_currency, start)

    def _estimates(
        self,
        together: Together,
        lookback_years: int | None,
        estimator: str = "sample",
        halflife: float = HALFLIFE,
        periods_per_year: float | None = None,
        correlation_period: Period | None = None,
    ) -> Estimates:
        from etf_pipeline.risk.estimates import estimate

        return estimate(
            together.series,
            lookback_years,
            estimator,
            halflife,
            periods_per_year=self._annual(periods_per_year),
            correlation_period=correlation_period,
        )

    def _annual(self, periods_per_year: float | None) -> float | None:
        """A as the call, else the setting fixes it; None for what there was."""
        asked = periods_of(periods_per_year)
        if asked is None and environment.periods_fixed():
            from etf_pipeline.settings import load_settings

            return load_settings().periods_per_year
        return asked

    def _series(self, tickers: Iterable[str]) -> list[PriceSeries]:
        from etf_pipeline.store.prices import cached_prices

        return [cached_prices(self._layout, t, self._cache) for t in tickers]
