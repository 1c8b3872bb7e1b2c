"""What the files of the histories look like after a run, for the checks to judge by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from etf_pipeline.errors import EtfError
from etf_pipeline.history.build import validate_history
from etf_pipeline.history.quality import MISSING, QUARANTINED
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import distributions_in_words
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.steps.result import StepResult
from etf_pipeline.store.inventory import withheld_dates
from etf_pipeline.store.reader import file_info, read_table
from etf_pipeline.store.store import Store

_RECENT = 30


@dataclass(frozen=True)
class Examined:
    """One ticker's files.

    Attributes:
        error: why they cannot be used; None when they can.
        missing: sessions without a bar since the 30th newest row of the history.
        held_back: how many sessions are quarantined.
        distributions: what is wrong with its distributions, in words; None when nothing is known.
    """

    ticker: str
    error: str | None = None
    missing: tuple[dt.date, ...] = ()
    held_back: int = 0
    distributions: str | None = None


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
            found = _examined(store, instrument.ticker, path, validated=path in written)
            if found is not None:
                yield found


def _examined(store: Store, ticker: str, path: Path, validated: bool) -> Examined | None:
    """One ticker's; None when its history is not ours to judge."""
    try:
        info = file_info(path)
        if not info.ours:
            return None
        table = read_table(path, ["date"] if validated else None)
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
    return Examined(ticker, None, tuple(recent.tolist()), held_back, said)
