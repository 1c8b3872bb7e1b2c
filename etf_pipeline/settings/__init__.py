"""Where settings come from: the only room that reads the environment, with `events/settings.py`.

`pipeline` holds what is checked and typed; `environment` is for those who cannot wait for pydantic.
Names load on first use, so that importing `settings.environment` costs no more than it must.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etf_pipeline.settings.pipeline import Settings, load_settings

__all__ = ["Settings", "load_settings"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from etf_pipeline.settings import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
