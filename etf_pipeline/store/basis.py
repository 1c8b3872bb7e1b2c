"""Gathering what the rows of a ticker are judged by."""

from __future__ import annotations

from collections.abc import Sequence

from etf_pipeline.history.basis import Basis
from etf_pipeline.history.corrections import of_ticker
from etf_pipeline.model.calendars import WITHOUT_EXCHANGE, sessions
from etf_pipeline.model.corrections import Correction
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.store.peers import RawPeers


def basis_of(instrument: Instrument, peers: RawPeers, corrections: Sequence[Correction]) -> Basis:
    """What the rows of an instrument are judged by.

    Args:
        instrument: whose rows.
        peers: the tickers of the store that the rows are of.
        corrections: every one that counts, of any ticker.
    """
    weekdays = WITHOUT_EXCHANGE.get(instrument.exchange)
    return Basis(
        sessions(instrument.exchange),
        holidays_known=weekdays is None,
        rests_otherwise=weekdays is None or weekdays.rests_at_weekends,
        listed_since=instrument.listed_since,
        peers=peers.of(instrument.names),
        corrections=of_ticker(corrections, instrument.ticker),
    )
