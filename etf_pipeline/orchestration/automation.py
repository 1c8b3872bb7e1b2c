"""The automation condition: when an asset is made again though nobody asked for it.

Belongs here: conditions on assets. What evaluates them is the sensor `derived_tables`; what runs by
the clock is in `schedules`.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from etf_pipeline.model.lineage import LINEAGE


def when_inputs_change(asset: str) -> dg.AutomationCondition[Any]:
    """When a dependency was updated, none is in progress, and what it cannot go without is sound.

    Not `eager()`: that waits for every partition of a dependency, so an exchange that has not been
    downloaded yet would hold back the tables of all the others.
    """
    sound = dg.AutomationCondition.all_deps_blocking_checks_passed()
    if without := LINEAGE[asset].goes_without:
        sound = sound.ignore(dg.AssetSelection.assets(*without))
    return (
        dg.AutomationCondition.any_deps_updated().since_last_handled()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
        & sound
    ).with_label("when inputs change")
