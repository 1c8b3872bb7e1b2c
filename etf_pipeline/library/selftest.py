"""`etf selftest`: does this installation, with these settings and this store, do its job?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etf_pipeline.errors import EtfError, EventError, InsufficientDataError

if TYPE_CHECKING:
    from etf_pipeline.library.system import ETFSystem

_WEIGHTS_TOLERANCE = 1e-9
_SEND_SECONDS = 15.0


@dataclass(frozen=True)
class Step:
    """One step: what was tried, whether it went well, and what came of it."""

    name: str
    ok: bool
    detail: str


def selftest(open_system: Callable[[], ETFSystem]) -> Iterator[Step]:
    """Every step in order, as it is done; later ones are left out when nothing can be opened."""
    try:
        system = open_system()
    except EtfError as error:
        yield Step("initialise", False, str(error))
        return
    try:
        yield Step("initialise", True, f"store {system.layout.root.resolve()}")
        yield Step("detect mode", True, system.event_store.describe())
        tickers = system.provider.available_etfs
        results: dict[str, Any] = {}
        for name, step in _steps(system, tickers, results):
            try:
                yield Step(name, True, step())
            except (EtfError, ValueError) as error:
                yield Step(name, False, str(error))
    finally:
        system.close()


def _steps(
    system: ETFSystem, tickers: list[str], results: dict[str, Any]
) -> Iterator[tuple[str, Callable[[], str]]]:
    provider = system.provider

    def load() -> str:
        if not tickers:
            raise InsufficientDataError(f"no history in {system.layout.root}; run `etf run` first")
        results["first"] = provider.load_etf_data(tickers[0])
        return f"{tickers[0]}: {len(results['first'])} sessions; {len(tickers)} tickers in all"

    def risk() -> str:
        found = provider.calculate_risk_metrics(_first(tickers), lookback_years=None)
        if found["volatility"] is None:
            raise InsufficientDataError(str(found["reason"]))
        return f"{tickers[0]}: volatility {found['volatility']:.2%} over {found['n_obs']} returns"

    def optimise() -> str:
        chosen = _several(provider, tickers)
        results["chosen"] = chosen
        found = provider.optimize_portfolio_mean_variance(chosen, risk_budget=1.0)
        if not found["optimization_success"]:
            raise InsufficientDataError(found["optimization_message"])
        weights = found["optimal_weights"]
        if abs(sum(weights.values()) - 1.0) > _WEIGHTS_TOLERANCE:
            raise ValueError(f"weights add up to {sum(weights.values())!r}")
        return f"{', '.join(chosen)}: proven within {found['optimality_gap']:.1e}"

    def correlate() -> str:
        found = provider.calculate_correlation_matrix(_several(provider, tickers))
        return f"{found.shape[0]} x {found.shape[1]}, eigenvalue >= " + (
            f"{found.attrs['least_eigenvalue']:.2g}"
        )

    def latest() -> str:
        found = provider.get_latest_prices([_first(tickers)])
        if found["close"].iloc[0] != results["first"]["close"].iloc[-1]:
            raise ValueError("the latest price is not the last of the history")
        return f"{tickers[0]}: {found['close'].iloc[0]:g} on {found['date'].iloc[0]:%Y-%m-%d}"

    yield from (
        ("load data", load),
        ("compute risk", risk),
        ("optimise", optimise),
        ("correlate", correlate),
        ("latest prices", latest),
    )
    if system.event_store.recording:
        yield "emit, replay and compare", lambda: _events(system, _first(tickers))


def _events(system: ETFSystem, ticker: str) -> str:
    before = asyncio.run(system.replay_events())
    system.provider.load_etf_data(ticker)
    waiting = system.event_store.drain(_SEND_SECONDS)
    if waiting:
        why = system.event_store.problem
        raise EventError(f"{waiting} events wait for Kafka after {_SEND_SECONDS:g} s: {why}")
    after = asyncio.run(system.replay_events())
    asked = after.query_counts[ticker] - before.query_counts.get(ticker, 0)
    if asked < 1 or not before.event_ids < after.event_ids:
        raise EventError(f"the query of {ticker} was recorded but did not come back in a replay")
    if after != asyncio.run(system.replay_events()):
        raise EventError("two replays of the same events gave different states")
    return f"{len(after)} events, digest {after.digest()[:16]}"


def _first(tickers: list[str]) -> str:
    if not tickers:
        raise InsufficientDataError("there is no history")
    return tickers[0]


def _several(provider: Any, tickers: list[str]) -> list[str]:
    """Up to four tickers of one currency with five years in common, or as much as there is."""
    if len(tickers) < 2:
        raise InsufficientDataError("two histories are needed")
    found = provider.check_data_availability(tickers)
    usable = found[found["available"]].sort_values("rows", ascending=False, kind="stable")
    currencies = usable["currency"].fillna("")
    usable = usable[currencies == currencies.mode().iloc[0]] if len(usable) else usable
    if len(usable) < 2:
        raise InsufficientDataError("two readable histories are needed")
    return sorted(usable.index[:4])
