"""The one resource: what every asset needs to know about where and how.

Belongs here: what is opened once per process and shared by assets, checks and sensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from etf_pipeline.errors import EventsOffError
from etf_pipeline.events.factory import open_events
from etf_pipeline.events.protocol import Events
from etf_pipeline.events.settings import EventSettings
from etf_pipeline.ingest.source import Clock, PriceSource, utc_now
from etf_pipeline.ingest.sources import open_source
from etf_pipeline.model.corrections import Correction, load_corrections
from etf_pipeline.model.currencies import Pair
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.lineage import PORTFOLIOS, RISK_FREE, UNIVERSE
from etf_pipeline.model.outcomes import Outcome
from etf_pipeline.model.portfolio_file import load_portfolios, universe_with_rates
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.risk_free import Published, asked
from etf_pipeline.settings import Settings
from etf_pipeline.settings.environment import plain_http_allowed
from etf_pipeline.steps.derived import Histories, read_histories
from etf_pipeline.store.cache import FileCache
from etf_pipeline.store.corrections import keep_corrections
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.store import Store

if TYPE_CHECKING:
    from etf_pipeline.share.copy import Copy

Progress = Callable[[str, Outcome], None]


@dataclass
class Pipeline:
    """Settings, store, universe and clock of one code location.

    `event_settings` say where events go; None for nowhere. `pairs` are currency pairs that are
    asked for besides those that the universe needs. `progress` is told each outcome as it comes,
    `say` what somebody who waits for a run should know.
    """

    settings: Settings
    event_settings: EventSettings | None = None
    clock: Clock = utc_now
    progress: Progress | None = None
    source: Callable[[str, Settings, Clock], PriceSource] = field(default=open_source)
    pairs: tuple[Pair, ...] = ()
    say: Callable[[str], None] | None = None
    _cache: FileCache = field(default_factory=FileCache, repr=False)

    @cached_property
    def store(self) -> Store:
        """The data folder, as the steps see it."""
        layout = Layout(self.settings.data_dir)
        return Store(layout, self.settings.lock_timeout_seconds, self._cache)

    @cached_property
    def working_copy(self) -> Copy | None:
        """The store as the working copy of a share; None where it stands for itself."""
        if self.settings.store_url is None:
            return None
        from etf_pipeline.share.opening import STEP_PATIENCE, working_copy

        plain = plain_http_allowed()
        return working_copy(self.store, self.settings.store_url, STEP_PATIENCE, plain_http=plain)

    @property
    def layout(self) -> Layout:
        """Paths of the store."""
        return self.store.layout

    @cached_property
    def events(self) -> Events:
        """Where the tailer's events go; the tailer itself has them sent on.

        Raises:
            EventsOffError: there are no settings for them.
        """
        if self.event_settings is None:
            raise EventsOffError("events are off: give the pipeline event settings")
        return open_events(self.layout, self.event_settings, publish=False)

    @cached_property
    def universe(self) -> Universe:
        """Which ETFs there are, and the currency pairs that they need."""
        chosen = self.settings
        universe = universe_with_rates(
            chosen.universe_file, chosen.portfolios_file, chosen.base_currency
        )
        return universe.with_pairs(self.pairs)

    @property
    def files(self) -> dict[str, Path]:
        """The files that people edit, by their names in `model.lineage`."""
        chosen = self.settings
        found = {UNIVERSE: chosen.universe_file, PORTFOLIOS: chosen.portfolios_file}
        free = asked(chosen.risk_free_rate)
        return found | ({RISK_FREE: free.path} if isinstance(free, Published) else {})

    def rates_for(self, tickers: Sequence[str]) -> list[str]:
        """The currency pairs that some tickers need, those of the portfolios included."""
        bases = {s.base_currency for s in self.portfolios()} | {self.settings.base_currency}
        return self.universe.rates_for(tickers, [b for b in bases if b])

    def portfolios(self) -> list[PortfolioSpec]:
        """The model portfolios, read afresh."""
        return load_portfolios(self.settings.portfolios_file, self.universe)

    def declared(self) -> tuple[Correction, ...]:
        """The corrections file as it is now, read afresh.

        Raises:
            CorrectionsError: it cannot be used.
        """
        return load_corrections(self.settings.corrections_file, self.universe, self.clock())

    def corrections(self) -> tuple[Correction, ...]:
        """The corrections that count from now on, kept in the store.

        Raises:
            CorrectionsError: they cannot be used, or would undo what another machine declared.
        """
        copy, declared = self.working_copy, self.declared()
        if copy is None:
            return keep_corrections(self.store, declared, self.clock())
        from etf_pipeline.share.declared import counting

        return counting(copy, self.settings.corrections_file, declared, self.clock())

    def open_source(self, name: str | None) -> PriceSource:
        """The price source of this run."""
        return self.source(name or self.settings.source, self.settings, self.clock)

    def report(self, asset: str) -> Callable[[Outcome], None] | None:
        """A callback that tells the progress display of one outcome."""
        progress = self.progress
        if progress is None:
            return None
        return lambda outcome: progress(asset, outcome)

    def histories(self) -> Histories:
        """Prices of every ETF of the universe that has any, and all rates that there are."""
        return read_histories(self.store, [i.ticker for i in self.universe.etfs])
