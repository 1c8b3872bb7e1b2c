"""The executors: in how many processes the steps of a run are executed.

Belongs here: what a name of the setting `ETF_EXECUTOR` stands for.
"""

from __future__ import annotations

import dagster as dg

# One interpreter start a run, instead of one a step: seconds against half a minute.
_EXECUTORS = {
    "in_process": dg.in_process_executor,
    "multiprocess": dg.multiprocess_executor,
}


def executor(name: str) -> dg.ExecutorDefinition:
    """The executor that a setting names."""
    return _EXECUTORS[name]
