"""`reports`: the pages as files, `reports/<portfolio>.html` and `reports/universe.html`.

A page that would show the same is left alone: it says itself what it was made from, see
`report.seal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etf_pipeline.model import assets
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.report.inputs import Inputs
from etf_pipeline.report.seal import key_of, made_from, sealed
from etf_pipeline.steps.result import StepResult
from etf_pipeline.store.store import Store
from etf_pipeline.store.writer import sweep_temp_files, write_text

ASSET = assets.REPORTS
UNIVERSE = "universe"


def reports(store: Store, inputs: Inputs, only: Sequence[str] | None = None) -> StepResult:
    """Write the universe's report and each portfolio's, or those of the portfolios of `only`.

    Those that show the same as before are left as they are. No manifest records any.

    Raises:
        InsufficientDataError: a portfolio of `only` is not in the newest tables, or there is no
            history at all.
    """
    names = [r["portfolio"] for r in inputs.rows("summary")] if only is None else only
    sweep_temp_files(store.layout.reports)
    asked: dict[str, str | None] = {} if only is not None else {UNIVERSE: None}
    pages: dict[str, Path] = {}
    kinds: dict[str, OutcomeKind] = {}
    for subject, name in (asked | {n: n for n in names}).items():
        pages[subject] = store.layout.report(name)
        kinds[subject] = _written(pages[subject], inputs, name)
    outcomes = [
        Outcome(name, kinds[name], last_date=inputs.as_of, path=store.layout.relative(path))
        for name, path in pages.items()
    ]
    return StepResult(
        ASSET,
        outcomes,
        as_of=inputs.as_of,
        details={f"report_{name}": path for name, path in pages.items()},
        location=store.layout.reports,
    )


def _written(path: Path, inputs: Inputs, name: str | None) -> OutcomeKind:
    """Write one page, unless it is there and would be the same."""
    key = key_of(inputs, name)
    if key is not None and _key_of_file(path) == key:
        return OutcomeKind.UNCHANGED
    # They draw with matplotlib, whose import is slower than to see that nothing is to be drawn.
    from etf_pipeline.report.portfolio import portfolio_report
    from etf_pipeline.report.universe import universe_report

    page = universe_report(inputs) if name is None else portfolio_report(inputs, name)
    write_text(path, sealed(page, key))
    return OutcomeKind.UPDATED


def _key_of_file(path: Path) -> str | None:
    try:
        return made_from(path.read_bytes())
    except OSError:
        return None


def pages_of(store: Store, result: StepResult) -> dict[str, Path]:
    """Where each report of a result is, by portfolio, `universe` for the universe's."""
    return {o.subject: store.layout.absolute(o.path) for o in result.outcomes if o.path}
