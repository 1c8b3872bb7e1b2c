"""Gathering what the rows of a ticker are judged by."""

from __future__ import annotations

from etf_pipeline.history.basis import Basis
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.instruments import Instrument


def basis_of(instrument: Instrument) -> Basis:
    """What the rows of an instrument are judged by."""
    return Basis(sessions(instrument.exchange))
