"""Arrow types by what they hold, and the columns that many tables share."""

from __future__ import annotations

from etf_pipeline.model.tables import Column

FRACTION, TEXT, WHOLE, DAY, TRUTH = "double", "string", "int64", "date32[day]", "bool"
INSTANT = "timestamp[us, tz=UTC]"

DATE = Column("date", DAY, "exchange session (a date, never an instant)", nullable=False)
TICKER = Column("ticker", TEXT, "ticker id of the universe", nullable=False)
SOURCE = Column("source", TEXT, "yahoo, files, simulated or user", nullable=False)
