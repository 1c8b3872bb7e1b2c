"""Which store this is: an id that is made once and kept with it.

It lies in a file beside the log and in the log itself, so that the store is still itself when one
of them is lost, and says so when they do not belong together.
"""

from __future__ import annotations

import uuid

from etf_pipeline.errors import EventError, SettingsError
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.writer import write_text

_FACT = "instance"
# Fact: other machines record for this store, or did.
SHARED = "shared"


def store_id(layout: Layout, log: SqliteLog, stated: str | None) -> str:
    """The id of a store; on a machine that has none yet, the `stated` one or a new one.

    Raises:
        SettingsError: another id is stated than the store has.
        EventError: log and store are of different ids, or the file cannot be written.
    """
    filed = known_store_id(layout)
    if filed is not None and stated not in (None, filed):
        raise SettingsError(
            f"EVENT_STORE_ID={stated}: the store at {layout.root} is {filed}; unset it, or choose "
            "an empty ETF_DATA_DIR to continue another store on this machine"
        )
    fresh = log.fact(_FACT) is None
    found = log.settle(_FACT, filed or stated or str(uuid.uuid4()))
    if fresh and (filed or stated):
        log.settle(SHARED, "1")
    if filed is None and stated not in (None, found):
        raise SettingsError(
            f"EVENT_STORE_ID={stated}: {log.path} is of store {found}; unset it, or choose an "
            "empty ETF_DATA_DIR to continue another store on this machine"
        )
    if filed is None:
        write_text(layout.store_id, found)
    elif filed != found:
        raise EventError(
            f"{log.path} is of store {found}, but {layout.store_id} says {filed}: put the log of "
            "this store back, or move both files away if they are not to be kept"
        )
    return found


def known_store_id(layout: Layout) -> str | None:
    """What the store's file says; None without one."""
    try:
        return layout.store_id.read_text().strip() or None
    except FileNotFoundError:
        return None
