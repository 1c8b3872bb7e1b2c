"""Which store this is: an id that is made once and kept with it.

It lies in a file beside the log and in the log itself, so that the store is still itself when one
of them is lost, and says so when they do not belong together.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid

from etf_pipeline.errors import EventError, SettingsError
from etf_pipeline.events.log.sqlite import SqliteLog
from etf_pipeline.store.closed import cannot_open
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.writer import write_text

_FACT = "instance"
# Fact: other machines record for this store, or did.
SHARED = "shared"
# Fact: when this log was begun, in a store that had one before.
BEGUN = "begun_in_store"
_warnings = logging.getLogger(__name__)


def store_id(layout: Layout, log: SqliteLog, stated: str | None) -> str:
    """The id of a store; on a machine that has none yet, the `stated` one or a new one.

    Raises:
        SettingsError: another id is stated than the store has.
        EventError: log and store are of different ids, or the file cannot be written.
    """
    filed, kept = known_store_id(layout), log.fact(_FACT)
    _agree(layout, log, filed, kept, stated)
    found = log.settle(_FACT, filed or stated or str(uuid.uuid4()))
    if kept is None and (filed or stated):
        log.settle(SHARED, "1")
    if kept is None and filed:
        log.settle(BEGUN, f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC")
        _warnings.warning(
            "%s is begun anew, though the store is %s already: what the log before it had is in "
            "the archive or in Kafka, or gone. If it was lost, put it back from a backup",
            log.path,
            filed,
        )
    _agree(layout, log, filed, found, stated)
    if filed is None:
        write_text(layout.store_id, found)
    return found


def check_store_id(layout: Layout, log: SqliteLog, stated: str | None) -> None:
    """Show that what is there and what is stated is of one store; changes nothing.

    Raises:
        SettingsError: another id is stated than the store has.
        EventError: log and store are of different ids.
    """
    _agree(layout, log, known_store_id(layout), log.fact(_FACT), stated)


def _agree(
    layout: Layout, log: SqliteLog, filed: str | None, kept: str | None, stated: str | None
) -> None:
    if filed is not None and stated not in (None, filed):
        raise SettingsError(
            f"EVENT_STORE_ID={stated}: the store at {layout.root} is {filed}; unset it, or choose "
            "an empty ETF_DATA_DIR to continue another store on this machine"
        )
    if kept is not None and filed is None and stated not in (None, kept):
        raise SettingsError(
            f"EVENT_STORE_ID={stated}: {log.path} is of store {kept}; unset it, or choose an "
            "empty ETF_DATA_DIR to continue another store on this machine"
        )
    if kept is not None and filed not in (None, kept):
        raise EventError(
            f"{log.path} is of store {kept}, but {layout.store_id} says {filed}: put the log of "
            "this store back, or move both files away if they are not to be kept"
        )


def known_store_id(layout: Layout) -> str | None:
    """What the store's file says; None without one.

    Raises:
        UnreadableFileError: it may not be opened.
    """
    try:
        return layout.store_id.read_text().strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise cannot_open(layout.store_id, error) or error from error
