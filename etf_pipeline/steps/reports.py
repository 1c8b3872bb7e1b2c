"""`reports`: the pages as files, `reports/<portfolio>.html` and `reports/universe.html`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etf_pipeline.model import assets
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.report.inputs import Inputs
from etf_pipeline.report.portfolio import portfolio_report
from etf_pipeline.report.universe import universe_report
from etf_pipeline.steps.result import StepResult
from etf_pipeline.store.store import Store
from etf_pipeline.store.writer import sweep_temp_files, write_text

ASSET = assets.REPORTS
UNIVERSE = "universe"


def reports(store: Store, inputs: Inputs, only: Sequence[str] | None = None) -> StepResult:
    """Write the universe's report and each portfolio's, or those of the portfolios of `only`.

    Every page names the moment it was made, so each is written anew; no manifest records it.

    Raises:
        InsufficientDataError: a portfolio of `only` is not in the newest tables, or there is no
            history at all.
    """
    names = [r["portfolio"] for r in inputs.rows("summary")] if only is None else only
    sweep_temp_files(store.layout.reports)
    pages: dict[str, Path] = {}
    if only is None:
        pages[UNIVERSE] = store.layout.report(None)
        write_text(pages[UNIVERSE], universe_report(inputs))
    for name in names:
        pages[name] = store.layout.report(name)
        write_text(pages[name], portfolio_report(inputs, name))
    outcomes = [
        Outcome(
            name,
            OutcomeKind.UPDATED,
            last_date=inputs.as_of,
            path=store.layout.relative(path),
        )
        for name, path in pages.items()
    ]
    return StepResult(
        ASSET,
        outcomes,
        as_of=inputs.as_of,
        details={f"report_{name}": path for name, path in pages.items()},
        location=store.layout.reports,
    )


def pages_of(store: Store, result: StepResult) -> dict[str, Path]:
    """Where each report of a result is, by portfolio, `universe` for the universe's."""
    return {o.subject: store.layout.absolute(o.path) for o in result.outcomes if o.path}
