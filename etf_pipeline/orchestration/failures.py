"""When a step fails as a whole, and whether trying again can help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from etf_pipeline.model.outcomes import Outcome

INTERRUPTED = "interrupted; what was published is whole"


@contextmanager
def not_retried_when_interrupted() -> Iterator[None]:
    """Whoever stops a run does not want the step again after a pause, as its retry policy has it.

    Raises:
        dagster.Failure: the block was interrupted, by Ctrl-C, SIGTERM or the UI.
    """
    try:
        yield
    except dg.DagsterExecutionInterruptedError as error:
        raise dg.Failure(INTERRUPTED, allow_retries=False) from error


def raise_if_nothing_good(outcomes: Sequence[Outcome], asset: str) -> None:
    """Fail the step when not one ticker came out right; retry only what may pass.

    Raises:
        dagster.Failure: with each ticker's reason. Rejected and permanently missing tickers are
            not retried.
    """
    if not outcomes:
        raise dg.Failure(
            f"{asset}: no ticker of this partition was asked for; check the tickers in the run "
            "configuration",
            allow_retries=False,
        )
    if any(o.good for o in outcomes):
        return
    reasons = "; ".join(f"{o.subject}: {o.reason}" for o in outcomes[:10])
    more = f" (and {len(outcomes) - 10} more)" if len(outcomes) > 10 else ""
    transient = any(o.outcome == "failed" and o.failure_kind == "transient" for o in outcomes)
    raise dg.Failure(
        f"{asset}: none of {len(outcomes)} tickers succeeded: {reasons}{more}",
        allow_retries=transient,
    )
