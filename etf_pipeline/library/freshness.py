"""Readers of a store that is a working copy: what they read is pulled first, if it can be.

Without ETF_STORE_URL nothing happens here and nothing is imported.
"""

from __future__ import annotations

import datetime as dt
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from etf_pipeline.errors import StaleCopyWarning
from etf_pipeline.settings import environment

if TYPE_CHECKING:
    from etf_pipeline.settings import Settings
    from etf_pipeline.share.work import Freshness


def refreshed(
    data_dir: Path, url: str | None, lock_timeout: float, *, raw: bool = False
) -> Freshness | None:
    """Pull what readers read.

    Args:
        data_dir: the working copy.
        url: of the share; None where the store stands for itself.
        lock_timeout: seconds to wait for a step that is writing a file.
        raw: the raw batches too.

    Returns:
        How fresh the copy is, None where it is none.

    Raises:
        ShareError: the share refuses, or is another one than this is a copy of.
    """
    if url is None:
        return None
    from etf_pipeline.share.opening import READER_PATIENCE, working_copy
    from etf_pipeline.share.work import refresh
    from etf_pipeline.store.store import Store

    store = Store.at(data_dir, lock_timeout)
    plain = environment.plain_http_allowed()
    return refresh(working_copy(store, url, READER_PATIENCE, plain_http=plain), raw=raw)


def batches_of(settings: Settings, *, ask: bool = True) -> frozenset[str]:
    """Ids of the raw batches that the share of the store has; none where there is no share.

    Without `ask`, those that it had when it was asked last.
    """
    if settings.store_url is None:
        return frozenset()
    from etf_pipeline.share.opening import READER_PATIENCE, working_copy
    from etf_pipeline.share.work import batches_there
    from etf_pipeline.store.store import Store

    store = Store.at(settings.data_dir, settings.lock_timeout_seconds)
    plain = environment.plain_http_allowed()
    copy = working_copy(store, settings.store_url, READER_PATIENCE, plain_http=plain)
    return batches_there(copy, ask=ask)


def refresh_by_settings(settings: Settings, *, raw: bool = False, stacklevel: int = 2) -> None:
    """The same for the store that settings name; a copy that may be old is a `StaleCopyWarning`.

    Raises:
        ShareError: as `refreshed`.
    """
    timeout = settings.lock_timeout_seconds
    fresh = refreshed(settings.data_dir, settings.store_url, timeout, raw=raw)
    text = None if fresh is None else fresh.warning(dt.datetime.now(dt.UTC))
    if text is not None:
        warnings.warn(text, StaleCopyWarning, stacklevel=stacklevel + 1)


def refresh_for_reading(data_dir: Path, *, raw: bool = False, stacklevel: int = 2) -> None:
    """The same by the environment.

    ETF_STORE_URL goes with ETF_DATA_DIR: another folder is another store.

    Raises:
        ShareError: as `refreshed`.
        SettingsError: the URL cannot be one of a share.
    """
    known = environment.store_url()
    if known is None or not environment.same_folder(data_dir, environment.data_dir()):
        return
    from etf_pipeline.settings import load_settings

    refresh_by_settings(load_settings(), raw=raw, stacklevel=stacklevel + 1)
