"""Publishing a ticker's history and its quarantine: two files that belong together."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from etf_pipeline.errors import ProofError
from etf_pipeline.history.build import RULES_VERSION, Built, validate_history
from etf_pipeline.history.slices import BatchSlice
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.schemas import HISTORY, QUARANTINE
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.origins import ORIGIN_KEYS, UNTOLD, Origin
from etf_pipeline.store.reader import FileInfo
from etf_pipeline.store.writer import META_KEY, file_metadata, footer_metadata, publish


@dataclass(frozen=True)
class NewHistory:
    """A ticker's history and quarantine as they are to be published.

    Attributes:
        ticker: whose they are.
        built: their content.
        symbol: what the source calls it.
        exchange: ISO 10383 MIC.
        currency: of every price and distribution, per unit.
        source: `yahoo`, `files` or `simulated`.
        listed_since: rows before it were left out, see `Basis`.
        aliases: former tickers whose raw batches it is made from too, ascending.
        origin: the raw batches that it rests on.
    """

    ticker: str
    built: Built
    symbol: str
    exchange: str
    currency: str
    source: str
    listed_since: dt.date | None = None
    aliases: tuple[str, ...] = ()
    origin: Origin = UNTOLD

    @property
    def label(self) -> dict[str, object]:
        """Whose it is and from whom, for footers."""
        names = ("ticker", "symbol", "exchange", "currency", "source")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def of(
        cls,
        instrument: Instrument,
        built: Built,
        slices: Sequence[BatchSlice],
        origin: Origin = UNTOLD,
    ) -> NewHistory:
        """With what the newest of the slices that it was built from says of it."""
        newest = slices[-1]
        return cls(
            instrument.ticker,
            built,
            newest.info.symbol,
            instrument.exchange,
            newest.info.currency,
            newest.source,
            instrument.listed_since,
            tuple(sorted(instrument.aliases)),
            origin,
        )


@dataclass(frozen=True)
class PublishedHistory:
    """A history on disk; `changed` False when the file held the same already.

    A history that only rests on more batches than before is the same.

    `info` is what its footer says.
    """

    path: Path
    content_hash: str
    changed: bool
    info: FileInfo


def publish_history(
    layout: Layout, new: NewHistory, expected: str | None = None
) -> PublishedHistory:
    """Publish a ticker's quarantine, then its history, each in one step.

    A history names the quarantine it belongs to, so a kill between the two shows as a mismatch
    and is mended from the raw batches. A file that holds the same already is left alone.

    Args:
        layout: the store to publish into.
        new: content and origin; the caller holds the ticker's lock.
        expected: content hash (SHA-256, hex) that the history must have; None when any will do.

    Raises:
        ProofError: the history has another hash than `expected`; nothing was written.
        RejectedDataError: dates do not ascend or a price is not positive; the old history stays.
        StoreError: the disk is full or read-only; the old file is untouched.
    """
    built = new.built
    quarantine_hash, history_hash = content_hash(built.quarantine), content_hash(built.history)
    if expected is not None and history_hash != expected:
        raise ProofError(
            f"{new.ticker}: rebuilt from its raw batches, the history has the hash "
            f"{history_hash[:16]}…, the events say {expected[:16]}…"
        )
    publish(
        layout.of(QUARANTINE, new.ticker),
        QUARANTINE,
        built.quarantine,
        new.label | {"evidence": built.evidence.as_json()},
        digest=quarantine_hash,
    )
    path, told = layout.of(HISTORY, new.ticker), _told(new, quarantine_hash)
    before = footer_metadata(path)
    publish(
        path,
        HISTORY,
        built.history,
        told,
        validate=validate_history,
        digest=history_hash,
        held=before,
    )
    after = file_metadata(HISTORY, history_hash, told)[META_KEY]
    was = before.get(META_KEY)
    changed = was != after and _but_batches(was) != _but_batches(after)
    info = FileInfo(path, json.loads(after), built.history.num_rows)
    return PublishedHistory(path, history_hash, changed, info)


def _told(new: NewHistory, quarantine_hash: str) -> dict[str, object]:
    """What the footer of a history says of it."""
    built = new.built
    return (
        new.label
        | {
            "quarantine_hash": quarantine_hash,
            "quarantined": built.quarantined,
            "findings": built.quarantine.num_rows,
            **_doubts(built),
            "adj_close_gap": built.adj_close_gap,
            "rules": RULES_VERSION,
        }
        | ({"listed_since": day_as_text(new.listed_since)} if new.listed_since is not None else {})
        | ({"aliases": list(new.aliases)} if new.aliases else {})
        | ({"corrections": built.corrections_hash} if built.corrections_hash else {})
        | new.origin.as_meta()
    )


def _but_batches(footer: bytes | None) -> dict[str, object]:
    """What a footer says, but for the batches; nothing where there is no readable file."""
    try:
        meta = dict(json.loads(footer)) if footer else {}
    except (ValueError, TypeError):
        return {}
    return {key: value for key, value in meta.items() if key not in ORIGIN_KEYS}


def _doubts(built: Built) -> dict[str, list[str]]:
    """The dates that metrics have to speak of."""
    days = {"withheld": built.withheld, "large_moves": built.large_moves, "unseen": built.unseen}
    return {name: [str(day) for day in found] for name, found in days.items()}


def day_as_text(day: dt.date | None) -> str | None:
    """A day as a footer has it."""
    return None if day is None else day.isoformat()
