"""ETF prices in; a trustworthy Parquet store, risk tables and optimised portfolios out.

Importing the package costs no more than it must: names load on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etf_pipeline._version import __version__

if TYPE_CHECKING:
    from etf_pipeline.library.provider import ETFDataProvider
    from etf_pipeline.library.system import get_etf_system

__all__ = ["ETFDataProvider", "__version__", "get_etf_system"]


def __getattr__(name: str) -> Any:
    if name == "ETFDataProvider":
        from etf_pipeline.library.provider import ETFDataProvider

        return ETFDataProvider
    if name == "get_etf_system":
        from etf_pipeline.library.system import get_etf_system

        return get_etf_system
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
