"""The automation condition: when an asset is made again though nobody asked for it.

Belongs here: conditions on assets. What evaluates them is the sensor `derived_tables`; what runs by
the clock is in `schedules`.
"""

from __future__ import annotations

import dagster as dg

# Not `eager()`: that waits for every partition of a dependency, so an exchange that has not been
# downloaded yet would hold back the tables of all the others.
WHEN_INPUTS_CHANGE = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
    & dg.AutomationCondition.all_deps_blocking_checks_passed()
).with_label("when inputs change")
