"""The jobs: which assets run together, under a name that schedules, commands and people use.

Belongs here: a selection of assets, its name, what it is for. When a job runs is in `schedules`.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from etf_pipeline.events.log.identity import known_store_id
from etf_pipeline.store.layout import Layout

# On a run: the folder of the store that it works on, and the store's id where it has one by then.
STORE_TAG, STORE_ID_TAG = "etf/store", "etf/store-id"
# On a run that Dagster's daemon is not to try again.
NEVER_AGAIN = {"dagster/max_retries": "0"}
INGEST, DERIVE, MAINTAIN = "ingest", "derive", "maintain"
DOWNLOADED = ("ingest", "history")
DERIVED = ("risk", "portfolios", "serving")


def store_tags(root: Path) -> dict[str, str]:
    """Tags of a run that say which store it works on, as one instance may be used for several."""
    found = known_store_id(Layout(root))
    return {STORE_TAG: str(root.resolve())} | ({} if found is None else {STORE_ID_TAG: found})


def ingest_job(root: Path) -> dg.UnresolvedAssetJobDefinition:
    """From the source to the histories of a store, one partition of its assets a run."""
    return dg.define_asset_job(
        INGEST,
        selection=dg.AssetSelection.groups(*DOWNLOADED),
        description="Download an exchange and bring its histories up to date.",
        run_tags=store_tags(root),
    )


def derive_job(root: Path) -> dg.UnresolvedAssetJobDefinition:
    """From the histories to everything that is computed from them."""
    return dg.define_asset_job(
        DERIVE,
        selection=dg.AssetSelection.groups(*DERIVED),
        description="Tables, portfolios, SQL catalogue and reports from the histories there are.",
        run_tags=store_tags(root),
    )
