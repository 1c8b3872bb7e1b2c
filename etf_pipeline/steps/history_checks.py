"""What the files of the histories look like after a run, for the checks to judge by."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from etf_pipeline.errors import CorruptFileError, EtfError
from etf_pipeline.history.build import validate_history
from etf_pipeline.history.evidence import Evidence
from etf_pipeline.history.peers import FEWEST
from etf_pipeline.model.calendars import WITHOUT_EXCHANGE, sessions
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import distributions_in_words
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.steps.result import StepResult
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.histories import known_of
from etf_pipeline.store.inventory import withheld_dates
from etf_pipeline.store.reader import FileInfo, read_with_footer
from etf_pipeline.store.seen import Seen, SeenFile, stamps_of
from etf_pipeline.store.store import Store

_READ_EVERY = 30  # days
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
    store: Store, instruments: Sequence[Instrument], result: StepResult, today: dt.date
) -> list[Examined]:
    """Every ticker that has a history of ours, as its files are on disk now.

    What this run published was validated as it was written, and what nobody has touched since it
    was validated still is; only other files are validated here. Besides, each file is read to its
    last byte every thirty days, as a disk may change one without anybody touching it.

    Args:
        store: where the files are.
        instruments: the tickers.
        result: of the update of their histories.
        today: the day of the run, which decides whose turn it is to be read.
    """
    written = {p.path for p in result.published if p.table is HISTORY and p.changed}
    seen = {p: SeenFile(store.layout, p) for p in {i.partition for i in instruments}}
    found = []
    for instrument in instruments:
        path = store.layout.of(HISTORY, instrument.ticker)
        if path.exists():
            new, due = path in written, _due(instrument.ticker, today)
            found.append(_examined(store, instrument, seen[instrument.partition], new, due))
    for one in seen.values():
        one.save()
    return [one for one in found if one is not None]


def _due(ticker: str, today: dt.date) -> bool:
    """Whether it is a ticker's turn to be read; those of a universe are spread over the days."""
    return (zlib.crc32(ticker.encode()) + today.toordinal()) % _READ_EVERY == 0


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
            at = np.minimum(np.searchsorted(known, days), len(known) - 1)
            anybody[at[known[at] == days]] = True
        around = np.cumsum(spans[:-1])
        quiet = ~anybody & (around > FEWEST)
        out |= dict(zip(known[quiet].tolist(), around[quiet].tolist(), strict=True))
    return out


def _examined(
    store: Store, instrument: Instrument, seen: SeenFile, validated: bool, due: bool
) -> Examined | None:
    """One ticker's; None when its history is not ours to judge."""
    ticker = instrument.ticker
    known = None if due and not validated else seen.of(ticker)
    if known is None:
        try:
            known = _read(store, ticker, validated)
        except (EtfError, FileNotFoundError) as error:
            return Examined(ticker, str(error))
        if known is None:
            return None
        seen.note(ticker, known)
    said = distributions_in_words(withheld_dates(known.info), known.info.meta.get("adj_close_gap"))
    judged = known.judged
    return Examined(
        ticker, None, judged.missing, judged.held_back, said, instrument.exchange, judged.traded
    )


def _read(store: Store, ticker: str, validated: bool) -> Seen | None:
    """Both files of a ticker, read to their last byte; None when its history is not ours.

    Raises:
        CorruptFileError: one is damaged, or has other rows than its footer says.
        RejectedDataError: it holds what no reader should see.
        FileNotFoundError: one is gone.
    """
    layout = store.layout
    stamps = stamps_of(layout, ticker)  # before they are read
    info, history = _with_footer(layout.of(HISTORY, ticker))
    if not info.ours:
        return None
    if not validated:
        validate_history(history)
    theirs, quarantine = _with_footer(layout.of(QUARANTINE, ticker))
    for footer, table in ((info, history), (theirs, quarantine)):
        if content_hash(table) != footer.content_hash:
            raise CorruptFileError(
                f"{footer.path}: its rows are not those that it was published with; remove it and "
                "run `etf run`, which makes it again from the raw batches"
            )
    known = known_of(info, history, quarantine, Evidence.from_json(theirs.meta.get("evidence", {})))
    if theirs.content_hash != info.meta.get("quarantine_hash"):
        stamps = None  # the next update looks at them again
    return Seen.of(stamps, info, history, quarantine, known.said, known.rows)


def _with_footer(path: Path) -> tuple[FileInfo, pa.Table]:
    table, meta = read_with_footer(path)
    return FileInfo(path, meta, table.num_rows), table
