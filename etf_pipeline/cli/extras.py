"""What a command needs that the library alone does not: the extra `pipeline`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from etf_pipeline.errors import SettingsError


@contextmanager
def pipeline_imports() -> Iterator[None]:
    """Around imports that need the extra.

    Raises:
        SettingsError: it is not installed; names what is missing, and the remedy.
        ImportError: what is missing is a part of this package, which no extra brings.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "etf_pipeline":
            raise
        raise _missing(str(error.name)) from None


def need_pipeline(*modules: str) -> None:
    """Look whether modules of the extra can be imported, which would take seconds.

    Raises:
        SettingsError: as above.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise _missing(" and ".join(missing))


def _missing(what: str) -> SettingsError:
    return SettingsError(f"this command needs {what}: pip install 'etf_pipeline[pipeline]'")
