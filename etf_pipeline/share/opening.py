"""Which kind of share a URL means, and the working copy of it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from etf_pipeline.errors import SettingsError
from etf_pipeline.share.copy import Copy
from etf_pipeline.share.local import LocalPlace
from etf_pipeline.share.place import Place
from etf_pipeline.store.store import Store

# Seconds for which a share that does not answer is tried again: a step would lose a night's work,
# a reader has a copy to go on with.
STEP_PATIENCE, READER_PATIENCE = 60.0, 4.0


def working_copy(store: Store, url: str, patience: float, *, plain_http: bool = False) -> Copy:
    """A store as the working copy of a share, which is reached when it is first needed."""
    return Copy(store, url, lambda: open_place(url, patience, plain_http=plain_http))


def open_place(url: str, patience: float, *, plain_http: bool = False) -> Place:
    """The share at a URL.

    Args:
        url: `s3://…`, `gs://…`, `az://…` or `file:///…`, as `Settings.store_url` allows it.
        patience: seconds for which a share that does not answer is tried again.
        plain_http: whether it may be reached without TLS.

    Raises:
        ShareAwayError: it is not there.
        SettingsError: the library that buckets need is not installed.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return LocalPlace(Path(unquote(parts.path)), patience)
    try:
        from etf_pipeline.share.remote import RemotePlace
    except ImportError:
        raise SettingsError(
            f"ETF_STORE_URL={url} needs obstore: pip install 'etf_pipeline[share]'"
        ) from None
    return RemotePlace(url.rstrip("/"), patience, plain_http)
