"""Removing histories that nothing stands for any more; the raw batches keep every row of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from etf_pipeline.errors import CorruptFileError, UnreadableFileError
from etf_pipeline.history.identity import same_prices
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.instruments import Instrument, Universe
from etf_pipeline.model.schemas import HISTORY, QUARANTINE, Table
from etf_pipeline.store.histories import made_under
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import FileInfo, file_info, read_history

log = logging.getLogger(__name__)
# Such a file stays: it is told of by who reads it, and stops no other ticker.
_NOT_TOLD = (FileNotFoundError, CorruptFileError, UnreadableFileError)


def retire(layout: Layout, instruments: Iterable[Instrument], universe: Universe | None) -> None:
    """Remove the files of names that some tickers have no more, once their own histories are there.

    Those are their former tickers, and whatever the universe has no name for and is of a ticker's
    symbol and prices: it was renamed without being told of, or a new name was taken back.

    Args:
        layout: the store.
        instruments: the tickers.
        universe: all there are; None where former tickers are all that is looked at.
    """
    those = list(instruments)
    for one in those:
        # Their footers are read of these alone: a night with nothing new opens no other.
        if one.aliases and (info := _history(layout, one.ticker)) and made_under(info, one):
            retire_aliases(layout, one)
    if universe is None:
        return
    for name, now in left_names(layout, universe, those):
        if _is_of(layout, name, now):
            log.warning("%s", _in_words(layout, name, now.ticker))
            remove(layout, name, f"it is {now.ticker}'s")


def _in_words(layout: Layout, name: str, now: str) -> str:
    said = f"{name} is no ticker of the universe any more, and {now} has its symbol and its prices"
    left = _only_there(layout, name, now)
    if not left:
        return f"{said}: its history goes, the raw batches keep every row of it"
    return (
        f"{said}: its history goes, of which {left} sessions are not in that of {now}; "
        f"{name} among the aliases of {now} in the universe brings them back from the raw batches"
    )


def retire_aliases(layout: Layout, instrument: Instrument) -> None:
    """Remove the files of former names; the raw batches keep every row of them."""
    for alias in instrument.aliases:
        remove(layout, alias, f"it was renamed to {instrument.ticker}")


def remove(layout: Layout, ticker: str, why: str) -> None:
    """Remove what we have published of a ticker, the history first; never a file of a user."""
    for path in (layout.of(HISTORY, ticker), layout.of(QUARANTINE, ticker)):
        try:
            ours = file_info(path).ours
        except _NOT_TOLD:
            continue
        if ours:
            path.unlink()
            log.info("%s: %s; removed %s", ticker, why, path)


def _history(layout: Layout, ticker: str, table: Table = HISTORY) -> FileInfo | None:
    """What a ticker's history of ours says, or its quarantine; None where there is none."""
    try:
        info = file_info(layout.of(table, ticker))
    except _NOT_TOLD:
        return None
    return info if info.ours else None


def left_names(
    layout: Layout, universe: Universe, instruments: Iterable[Instrument]
) -> Iterator[tuple[str, Instrument]]:
    """Names of files of ours that the universe does not know, and the ticker of their symbol.

    Args:
        layout: the store.
        universe: all tickers there are.
        instruments: those of which the ticker may be one.
    """
    by_symbol = {(i.symbol, i.exchange): i for i in instruments}
    paths = [*layout.files(HISTORY), *layout.files(QUARANTINE)]
    for name in sorted({decode_ticker(p.stem) for p in paths}):
        if name in universe:
            continue
        table = HISTORY if layout.of(HISTORY, name).exists() else QUARANTINE
        if (info := _history(layout, name, table)) is None:
            continue
        named = str(info.meta.get("symbol")), str(info.meta.get("exchange"))
        if (now := by_symbol.get(named)) is not None:
            yield name, now


def _only_there(layout: Layout, name: str, other: str) -> int:
    """How many sessions the history of a name has that another one lacks."""
    paths = [layout.of(HISTORY, n) for n in (name, other)]
    if not paths[0].exists():
        return 0
    mine, theirs = (read_history(path, ["close"]).index for path in paths)
    return len(mine.difference(theirs))


def _is_of(layout: Layout, name: str, now: Instrument) -> bool:
    """Whether the history of a name is one of the prices that a ticker has now."""
    path = layout.of(HISTORY, name)
    if _history(layout, now.ticker) is None:
        return False
    if not path.exists():  # a quarantine without its history is nobody's
        return True
    try:
        closes = read_history(layout.of(HISTORY, now.ticker), ["close"])["close"]
        return same_prices(read_history(path, ["close"])["close"], closes)
    except _NOT_TOLD:
        return False
