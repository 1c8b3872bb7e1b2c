"""The jobs: which assets run together, under a name that schedules, commands and people use.

Belongs here: a selection of assets, its name, what it is for. When a job runs is in `schedules`.
"""

from __future__ import annotations

import dagster as dg

INGEST, DERIVE = "ingest", "derive"
DOWNLOADED = ("ingest", "history")
DERIVED = ("risk", "portfolios", "serving")


def ingest_job() -> dg.UnresolvedAssetJobDefinition:
    """From the source to the histories, one partition of its assets a run."""
    return dg.define_asset_job(
        INGEST,
        selection=dg.AssetSelection.groups(*DOWNLOADED),
        description="Download an exchange and bring its histories up to date.",
    )


def derive_job() -> dg.UnresolvedAssetJobDefinition:
    """From the histories to everything that is computed from them."""
    return dg.define_asset_job(
        DERIVE,
        selection=dg.AssetSelection.groups(*DERIVED),
        description="Tables, portfolios, SQL catalogue and reports from the histories there are.",
    )
