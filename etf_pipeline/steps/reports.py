"""Reports as files: `reports/<portfolio>.html` and `reports/universe.html`."""

from __future__ import annotations

from pathlib import Path

from etf_pipeline.report.html import portfolio_report, universe_report
from etf_pipeline.steps.report_inputs import Inputs
from etf_pipeline.store.layout import Layout, encode_ticker
from etf_pipeline.store.writer import write_text

UNIVERSE = "universe"


def report_path(layout: Layout, portfolio: str | None) -> Path:
    """File of a portfolio's report, or of the universe's."""
    if portfolio is None:
        return layout.root / "reports" / f"{UNIVERSE}.html"
    return layout.root / "reports" / f"portfolio-{_file_name(portfolio)}.html"


def _file_name(portfolio: str) -> str:
    # Portfolio names are in lower case more often than not; only what is unsafe is encoded.
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "" for c in portfolio)
    return portfolio if safe == portfolio else encode_ticker(portfolio)


def publish_reports(inputs: Inputs, only: list[str] | None = None) -> dict[str, Path]:
    """Write the universe's report and each portfolio's; by name, where they are.

    Raises:
        InsufficientDataError: a portfolio of `only` is not in the newest tables.
    """
    names = only if only is not None else [r["portfolio"] for r in inputs.rows("summary")]
    found: dict[str, Path] = {}
    if only is None:
        found[UNIVERSE] = report_path(inputs.layout, None)
        write_text(found[UNIVERSE], universe_report(inputs))
    for name in names:
        path = report_path(inputs.layout, name)
        write_text(path, portfolio_report(inputs, name))
        found[name] = path
    return found
