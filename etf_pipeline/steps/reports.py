"""Reports as files: `reports/<portfolio>.html` and `reports/universe.html`."""

from __future__ import annotations

from pathlib import Path

from etf_pipeline.report.html import portfolio_report, universe_report
from etf_pipeline.steps.report_inputs import Inputs
from etf_pipeline.store.writer import write_text

UNIVERSE = "universe"


def publish_reports(inputs: Inputs, only: list[str] | None = None) -> dict[str, Path]:
    """Write the universe's report and each portfolio's; by name, where they are.

    Raises:
        InsufficientDataError: a portfolio of `only` is not in the newest tables.
    """
    names = only if only is not None else [r["portfolio"] for r in inputs.rows("summary")]
    found: dict[str, Path] = {}
    if only is None:
        found[UNIVERSE] = inputs.layout.report(None)
        write_text(found[UNIVERSE], universe_report(inputs))
    for name in names:
        path = inputs.layout.report(name)
        write_text(path, portfolio_report(inputs, name))
        found[name] = path
    return found
