"""Which ETFs there are: `universe.csv` read, validated and typed."""

from etf_pipeline.universe.instruments import Instrument, Universe
from etf_pipeline.universe.loader import load_universe

__all__ = ["Instrument", "Universe", "load_universe"]
