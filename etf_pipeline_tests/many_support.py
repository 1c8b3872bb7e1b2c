"""A store of more ETFs than a report shows each of: real files and tables, of made-up closes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np

from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.report.inputs import Inputs
from etf_pipeline.steps.backtests import backtests
from etf_pipeline.steps.derived import Assumptions, read_histories
from etf_pipeline.steps.portfolios import optimised_portfolios
from etf_pipeline.steps.report_inputs import report_inputs
from etf_pipeline.steps.result import Run
from etf_pipeline.steps.risk_tables import correlations, risk_metrics
from etf_pipeline.store.inventory import available_tickers
from etf_pipeline.store.store import Store
from etf_pipeline_tests.stored_support import publish_closes
from etf_pipeline_tests.support import asx_days, instrument

NOW = dt.datetime(2025, 6, 2, 3, 4, tzinfo=dt.UTC)
HOSTILE = '</script><script>alert("1")</script><!-- <b>&amp; \u2028 é'
GONE, SPOILT, HOSTILE_NAMED = "T007", "T011", "T013"
ASSUMED = Assumptions(lookback_years=1, risk_free_rate=0.0, benchmark=None)
_DAYS = asx_days("2023-01-03", 420)


class LargeStore:
    """So many tickers, T000 and on, over 420 sessions; two portfolios.

    T007 trades no more, T011 has a bar that a rule holds back, T013 has a hostile name.
    """

    def __init__(self, folder: Path, many: int) -> None:
        """Publish the histories, and make every derived table."""
        self.store = Store.at(folder, 10)
        self.tickers = [f"T{i:03d}" for i in range(many)]
        self.universe = Universe(tuple(self._instrument(i) for i in range(many)))
        self.specs = [
            PortfolioSpec(
                name="calm", tickers=["T000", "T001", "T002"], objective="min_volatility"
            ),
            PortfolioSpec(name="even", tickers=["T003", "T004"], objective="risk_parity"),
        ]
        market = np.random.default_rng(0).normal(0.0003, 0.006, len(_DAYS))
        for i, ticker in enumerate(self.tickers):
            own = np.random.default_rng(i + 1).normal(0.0002, 0.002 + 0.0001 * (i % 50), len(_DAYS))
            self.publish(ticker, np.round(100 * np.cumprod(1 + market * (i % 3) / 2 + own), 4))
        self.derive()

    def _instrument(self, i: int):
        ticker = self.tickers[i]
        name = HOSTILE if ticker == HOSTILE_NAMED else f"Fund number {i} of {i % 7}"
        return instrument(ticker, name=name, asset_class=("equity", "fixed_income")[i % 2])

    def publish(self, ticker: str, closes: np.ndarray) -> None:
        """Publish one history, of as many sessions as there are closes."""
        closes = closes[:-60] if ticker == GONE else closes.copy()
        if ticker == SPOILT:
            closes[200] *= 10
        publish_closes(self.store.layout.root, ticker, _DAYS[: len(closes)], closes)

    @property
    def histories(self):
        """As they are now."""
        return read_histories(self.store, available_tickers(self.store.layout))

    def derive(self) -> None:
        """Make the derived tables."""
        run, found = Run("run-1", NOW), self.histories
        risk_metrics(self.store, run, found, self.universe, ASSUMED)
        correlations(self.store, run, found, self.specs, self.universe, ASSUMED)
        optimised_portfolios(self.store, run, found, self.specs, self.universe, ASSUMED)
        backtests(self.store, run, found, self.specs, self.universe, ASSUMED)

    def inputs(self, made_at: dt.datetime = NOW) -> Inputs:
        """What reports are made from now."""
        return report_inputs(
            self.store, self.histories, self.specs, self.universe, ASSUMED, made_at
        )
