"""The executors: in how many processes the steps of a run are executed.

Belongs here: what a name of the setting `ETF_EXECUTOR` stands for, to Dagster. What the command
line makes of it is in `executing`.
"""

from __future__ import annotations

import dagster as dg

IN_PROCESS, MULTIPROCESS = "in_process", "multiprocess"
# One interpreter start a run, instead of one a step: seconds against half a minute.
_EXECUTORS = {
    IN_PROCESS: dg.in_process_executor,
    MULTIPROCESS: dg.multiprocess_executor,
}


def executor(name: str) -> dg.ExecutorDefinition:
    """The executor that a setting names."""
    return _EXECUTORS[name]
