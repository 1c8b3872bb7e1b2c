"""`sql_catalog`: `etf.duckdb`, views over the store that any DuckDB client opens.

The file is never changed in place: a new one replaces it, so that readers never wait and never see
half of one. It is made anew when the folder moved, or when tables or tickers of users appeared.

A catalogue that is as it should be is opened without pandas or Arrow, whose import takes a second.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from etf_pipeline.errors import LackingPricesWarning, QueryError, StoreError
from etf_pipeline.model import assets
from etf_pipeline.sql.limits import Limits
from etf_pipeline.sql.safe import SafeConnection
from etf_pipeline.sql.views import VIEWS
from etf_pipeline.steps.catalogue_freshness import open_fresh, signature
from etf_pipeline.store.event_marks import copied, logged
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.store import Store

if TYPE_CHECKING:
    from etf_pipeline.steps.result import StepResult

ASSET = assets.SQL_CATALOG
# Own files that cannot be read beyond doubt: `prices` is without them, and no query would say so.
# In one row, whatever the limit of rows is.
_LACKING = """
SELECT list(problem || '; ' || remedy ORDER BY own.name) FROM unfit_files AS unfit
JOIN user_files AS own ON ends_with(unfit.name, '/' || own.name) AND unfit.modified = own.modified
"""
# Brings the copy of the local event log up to date, for DuckDB cannot read the log itself.
CopyLog = Callable[[Layout], None]


def sql_catalogue(store: Store, universe_file: Path, copy_log: CopyLog | None = None) -> StepResult:
    """Make the views anew where they have to be.

    Raises:
        StoreError: there is no store, or its folder cannot be written.
    """
    from etf_pipeline.model.outcomes import Outcome, OutcomeKind
    from etf_pipeline.steps.result import StepResult
    from etf_pipeline.store.writer import sweep_temp_files

    # The store's own folder holds the catalogue alone; those of its folders are other steps'.
    sweep_temp_files(store.layout.root, below=False)
    sweep_temp_files(store.layout.event_log.parent)
    path, made = _ensured(store, universe_file, copy_log)
    kind = OutcomeKind.UPDATED if made else OutcomeKind.UNCHANGED
    return StepResult(
        ASSET,
        [Outcome(path.name, kind, path=store.layout.relative(path))],
        location=path,
        details={"try": 'etf sql "FROM latest_prices"'},
    )


def described_views() -> dict[str, str]:
    """What each view holds, by name."""
    return {view.name: view.description for view in VIEWS}


def ensure_catalogue(store: Store, universe_file: Path, copy_log: CopyLog | None = None) -> Path:
    """Make the catalogue if it is not there, or not what it should be; returns its path.

    Args:
        store: what it is about.
        universe_file: what its table of ETFs is read from; it may be missing.
        copy_log: called with the catalogue locked; None leaves the copy of events as it is.

    Raises:
        StoreError: there is no store, or its folder cannot be written.
    """
    return _ensured(store, universe_file, copy_log)[0]


def _ensured(store: Store, universe_file: Path, copy_log: CopyLog | None) -> tuple[Path, bool]:
    """The same, and whether it was made."""
    from etf_pipeline.steps.catalogue_building import build_catalogue
    from etf_pipeline.store.writer import locked

    layout = store.layout
    path = layout.catalogue
    if not layout.root.is_dir():
        raise StoreError(f"there is no store in {layout.root} yet; run `etf run` first")
    with locked(layout.lock("catalogue", path.name), store.lock_timeout):
        if copy_log is not None:
            copy_log(layout)
        db = open_fresh(layout, universe_file)
        if db is None:
            build_catalogue(layout, universe_file, signature(layout, universe_file))
        else:
            db.close()
    return path, db is None


def open_catalogue(
    store: Store,
    universe_file: Path,
    limits: Limits | None = None,
    copy_log: CopyLog | None = None,
) -> SafeConnection:
    """A safe connection to the store's catalogue, made or mended first where it has to be.

    A `LackingPricesWarning` names each file of the user's own that `prices` have no rows of.

    Raises:
        StoreError: there is no store, or its folder cannot be written.
    """
    layout = store.layout
    current = copy_log is None or logged(layout) == copied(layout)
    db = open_fresh(layout, universe_file) if current else None
    if db is None:
        path = ensure_catalogue(store, universe_file, copy_log)
        db = duckdb.connect(str(path), read_only=True)
    connection = SafeConnection(db, layout.root, limits, partial(_culprit, layout))
    ((lacking,),) = connection.query(_LACKING).rows
    for line in lacking or ():
        warnings.warn(line, LackingPricesWarning, stacklevel=2)
    return connection


def _culprit(layout: Layout, statement: str) -> QueryError | None:
    """What needs Arrow is imported when a query has failed."""
    from etf_pipeline.steps.catalogue_damage import culprit

    return culprit(layout, statement)
