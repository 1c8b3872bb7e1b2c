"""What calls of the library are recorded as."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from etf_pipeline.events.factory import shared_events
from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.model.envelope import make_event
from etf_pipeline.events.model.state import SystemState
from etf_pipeline.events.model.types import (
    DATA,
    EventData,
    PortfolioOptimized,
    PriceDataQueried,
    RiskMetricsCalculated,
    rates_used,
)
from etf_pipeline.events.proof.archiving import read_all
from etf_pipeline.events.proof.own import own_first
from etf_pipeline.events.protocol import Events
from etf_pipeline.store.cache import FileCache
from etf_pipeline.store.layout import Layout

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_PORTFOLIO_NAME = 200


class _Facts(NamedTuple):
    """What a history's footer says of it."""

    rows: int
    first: dt.date | None
    last: dt.date | None
    content_hash: str | None
    currency: str | None


class CallLog:
    """Records the calls made on one store."""

    def __init__(self, events: Events, layout: Layout, cache: FileCache) -> None:
        self.events = events
        self._layout = layout
        self._cache = cache

    @property
    def recording(self) -> bool:
        """Whether calls are being recorded."""
        return self.events.recording

    def prices(
        self,
        operation: str,
        tickers: Sequence[str],
        index: pd.Index | Mapping[str, pd.Index] | None = None,
    ) -> None:
        """Prices of these tickers were handed out, by one call.

        Those of `index`, of each ticker's own where it is a mapping, or their whole histories.
        """
        call = uuid.uuid4().hex
        own = index if isinstance(index, Mapping) else dict.fromkeys(tickers, index)
        self._record(call, {t: self._query(operation, t, call, own[t]) for t in tickers})

    def as_of(self, ticker: str, days: pa.ChunkedArray, digest: str, currency: str | None) -> None:
        """A history was handed out as it once was: its days, and the hash of that content."""
        call, n = uuid.uuid4().hex, len(days)
        data = PriceDataQueried(
            ticker=ticker,
            run_id=call,
            operation="history_as_of",
            rows=n,
            first_date=days[0].as_py() if n else None,
            last_date=days[-1].as_py() if n else None,
            content_hash=digest,
            currency=currency,
        )
        self._record(call, {ticker: data})

    def _query(
        self, operation: str, ticker: str, call: str, index: pd.Index | None
    ) -> PriceDataQueried:
        facts = self._facts(ticker)
        rows, first, last = facts.rows, facts.first, facts.last
        if index is not None:
            rows = len(index)
            first, last = (index[0].date(), index[-1].date()) if rows else (None, None)
        return PriceDataQueried(
            ticker=ticker,
            run_id=call,
            operation=operation,
            rows=rows,
            first_date=first,
            last_date=last,
            content_hash=facts.content_hash,
            currency=facts.currency,
        )

    def risk(self, ticker: str, parameters: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        """Risk metrics were computed for a caller."""
        call, years = uuid.uuid4().hex, parameters["lookback_years"]
        window = "max" if years is None else f"{years}y"
        values = {k: v.isoformat() if isinstance(v, dt.date) else v for k, v in found.items()}
        end, facts = found.get("end"), self._facts(ticker)
        data = RiskMetricsCalculated(
            ticker=ticker,
            origin="library",
            run_id=call,
            as_of=end if isinstance(end, dt.date) else None,
            content_hash=facts.content_hash,
            parameters=dict(parameters),
            metrics={window: values},
            currency=found.get("currency") or facts.currency,
            fx=rates_used(found.get("fx")),
        )
        self._record(call, {ticker: data})

    def portfolio(
        self, tickers: Sequence[str], parameters: Mapping[str, Any], answer: Mapping[str, Any]
    ) -> None:
        """A portfolio was optimised for a caller."""
        call = uuid.uuid4().hex
        name = "+".join(sorted(tickers))[:_PORTFOLIO_NAME]
        given = {k: v for k, v in parameters.items() if v is not None} | {"tickers": list(tickers)}
        data = PortfolioOptimized(
            portfolio=name,
            origin="library",
            run_id=call,
            as_of=answer["end"],
            content_hash=None,
            parameters=_plain(given),
            success=answer["optimization_success"],
            message=answer["optimization_message"],
            weights=answer["optimal_weights"],
            expected_return=answer["expected_return"],
            volatility=answer["volatility"],
            sharpe_ratio=answer["sharpe_ratio"],
            optimality_gap=answer["optimality_gap"],
            currency=answer.get("base_currency"),
            fx=rates_used(answer.get("fx")),
        )
        self._record(call, {name: data})

    def restore(self, ticker: str) -> bool:
        """Put a history whose file is gone back from events; False when no event tells of it.

        Raises:
            ProofError: it cannot be proven to be what it was.
        """
        from etf_pipeline.events.proof.rebuild import restore

        state = SystemState()
        found = read_all(self.events, Archive(self._layout), [DATA])
        for batch in own_first(found, self.events.log):
            state.apply(e for e in batch if e.subject == ticker)
        etf = state.etf(ticker)
        if etf.updated is None:
            return False
        restore(self._layout, etf)
        return True

    def _facts(self, ticker: str) -> _Facts:
        """What a history's footer says, kept until it changes."""
        path = self._layout.find_history(ticker)
        found: _Facts | None = self._cache.get("facts", path)
        if found is None:
            from etf_pipeline.store.inventory import describe
            from etf_pipeline.store.reader import file_info

            stamp = self._cache.stamp(path)
            info, digest = describe(self._layout, ticker), file_info(path).content_hash
            found = _Facts(info.rows, info.first_date, info.last_date, digest, info.currency)
            self._cache.put("facts", path, stamp, found)
        return found

    def _record(self, call: str, payloads: Mapping[str, EventData]) -> None:
        now = dt.datetime.now(dt.UTC)
        instance = self.events.instance
        self.events.append(
            [make_event(d, subject, (call,), now, instance, now) for subject, d in payloads.items()]
        )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as JSON has them: numpy numbers as numbers, anything strange as its text."""
    text = json.dumps(values, default=lambda o: o.tolist() if hasattr(o, "tolist") else str(o))
    return dict(json.loads(text))


def call_log(events: Events | None, layout: Layout, cache: FileCache) -> CallLog:
    """The log of calls for a provider; the process's events of the store unless some are given.

    Raises:
        SettingsError: an event setting has a value that cannot be used.
        EventError: the local event log cannot be opened.
    """
    if events is None:
        events = shared_events(layout.root)
        if events.recording:
            events.log.verify_writable()
    return CallLog(events, layout, cache)
