"""What the files of the histories look like after a run, for the checks to judge by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import EtfError
from etf_pipeline.history.build import validate_history
from etf_pipeline.history.peers import FEWEST
from etf_pipeline.history.quality import MISSING, QUARANTINED
from etf_pipeline.model.calendars import WITHOUT_EXCHANGE, sessions
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import distributions_in_words
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.steps.result import StepResult
from etf_pipeline.store.inventory import withheld_dates
from etf_pipeline.store.reader import file_info, read_table
from etf_pipeline.store.store import Store

_RECENT = 30
Days = npt.NDArray[np.datetime64]
NO_DAYS: Days = np.array([], dtype="datetime64[D]")


@dataclass(frozen=True)
class Examined:
    """One ticker's files.

    Attributes:
        error: why they cannot be used; None when they can.
        missing: sessions without a bar since the 30th newest row of the history.
        held_back: how many sessions are quarantined.
        distributions: what is wrong with its distributions, in words; None when nothing is known.
        exchange: ISO 10383 MIC, or a pseudo-MIC.
        traded: days with a bar whose volume is not 0, ascending, datetime64[D].
    """

    ticker: str
    error: str | None = None
    missing: tuple[dt.date, ...] = ()
    held_back: int = 0
    distributions: str | None = None
    exchange: str = ""
    traded: Days = field(default_factory=lambda: NO_DAYS, compare=False)


def examine(
    store: Store, instruments: Iterable[Instrument], result: StepResult
) -> Iterator[Examined]:
    """Every ticker that has a history of ours, as its files are on disk now.

    What this run published was validated as it was written; only the other files are validated
    here.
    """
    written = {p.path for p in result.published if p.table is HISTORY and p.changed}
    for instrument in instruments:
        path = store.layout.of(HISTORY, instrument.ticker)
        if path.exists():
            found = _examined(store, instrument, path, validated=path in written)
            if found is not None:
                yield found


def untraded(files: Iterable[Examined]) -> dict[dt.date, int]:
    """Sessions on which nobody traded, with how many tickers have bars before and after them.

    The exchange was closed and its calendar does not know, or the source lacks the day of all. Of
    fewer than four tickers nothing is said, as it may be their own gap.
    """
    out: dict[dt.date, int] = {}
    by_exchange: dict[str, list[Days]] = {}
    for one in files:
        if one.error is None and len(one.traded) and one.exchange not in WITHOUT_EXCHANGE:
            by_exchange.setdefault(one.exchange, []).append(one.traded)
    for exchange, traded in by_exchange.items():
        if len(traded) <= FEWEST:
            continue
        known = sessions(exchange)
        spans = np.zeros(len(known) + 1, dtype=np.int64)
        anybody = np.zeros(len(known), dtype=np.bool_)
        for days in traded:
            begin, end = np.searchsorted(known, (days[0], days[-1]))
            spans[begin] += 1
            spans[end] -= 1
            anybody[np.isin(known, days)] = True
        around = np.cumsum(spans[:-1])
        quiet = ~anybody & (around > FEWEST)
        out |= dict(zip(known[quiet].tolist(), around[quiet].tolist(), strict=True))
    return out


def _examined(store: Store, instrument: Instrument, path: Path, validated: bool) -> Examined | None:
    """One ticker's; None when its history is not ours to judge."""
    ticker = instrument.ticker
    try:
        info = file_info(path)
        if not info.ours:
            return None
        table = read_table(path, ["date", "volume"] if validated else None)
        if not validated:
            validate_history(table)
        findings = read_table(store.layout.of(QUARANTINE, ticker), ["date", "severity"])
    except (EtfError, FileNotFoundError) as error:
        return Examined(ticker, str(error))
    days = table.column("date").to_numpy()
    severity = np.array(findings.column("severity").to_pylist(), dtype=object)
    dates = findings.column("date").to_numpy()
    recent = dates[(severity == MISSING) & (dates >= days[max(0, len(days) - _RECENT)])]
    held_back = len(np.unique(dates[severity == QUARANTINED]))
    said = distributions_in_words(withheld_dates(info), info.meta.get("adj_close_gap"))
    volume = table.column("volume").to_numpy()
    traded = days[volume != 0].astype("datetime64[D]")
    return Examined(
        ticker, None, tuple(recent.tolist()), held_back, said, instrument.exchange, traded
    )
