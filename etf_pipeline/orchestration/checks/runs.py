"""Checks of what a run did and left behind; their results come with the materialisation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg

from etf_pipeline.model import assets
from etf_pipeline.model.outcomes import Outcome
from etf_pipeline.orchestration.checks.check import Check
from etf_pipeline.steps.history_checks import Examined, untraded
from etf_pipeline.steps.result import StepResult

ANSWERED = Check(
    "every_ticker_answered",
    assets.RAW_PRICES,
    "Every ticker that was asked for was answered with usable data.",
)
HISTORIES_VALID = Check(
    "histories_valid",
    assets.PRICE_HISTORY,
    "Every history on disk is readable, ascending and positive.",
    blocking=True,
)
HISTORIES_COMPLETE = Check(
    "histories_complete",
    assets.PRICE_HISTORY,
    "No ticker failed, and none has sessions missing in the last 30.",
)
NOTHING_QUARANTINED = Check(
    "nothing_quarantined",
    assets.PRICE_HISTORY,
    "No row is held back by a quality rule.",
)
DISTRIBUTIONS_AGREE = Check(
    "distributions_agree",
    assets.PRICE_HISTORY,
    "No distribution is withheld, and our adjusted close is the source's within 0.01 %.",
)
CALENDAR_AGREES = Check(
    "calendar_agrees",
    assets.PRICE_HISTORY,
    "On every session that the calendar has, some ticker traded.",
)
_ON_HISTORIES = (
    HISTORIES_VALID,
    HISTORIES_COMPLETE,
    NOTHING_QUARANTINED,
    DISTRIBUTIONS_AGREE,
    CALENDAR_AGREES,
)
DOWNLOAD_CHECKS = [ANSWERED.spec]
HISTORY_CHECKS = [c.spec for c in _ON_HISTORIES]


def download_results(result: StepResult) -> list[dg.AssetCheckResult]:
    """Which tickers were not answered, and why."""
    not_answered = {"not_answered": [o.subject for o in result.bad]}
    return [ANSWERED.result(_reasons(result.bad), not_answered)]


def history_results(
    examined: Iterable[Examined], outcomes: Sequence[Outcome]
) -> list[dg.AssetCheckResult]:
    """What is wrong with the files as they are on disk now, and with the tickers of this run."""
    files = list(examined)
    failed = _reasons([o for o in outcomes if not o.good])
    gaps = {f.ticker: [str(day) for day in f.missing] for f in files if f.missing}
    return [
        HISTORIES_VALID.result({f.ticker: f.error for f in files if f.error is not None}),
        HISTORIES_COMPLETE.result(failed | gaps),
        NOTHING_QUARANTINED.result({f.ticker: f.held_back for f in files if f.held_back}),
        DISTRIBUTIONS_AGREE.result({f.ticker: f.distributions for f in files if f.distributions}),
        CALENDAR_AGREES.result(
            {
                str(day): f"no bar of any of {count} tickers: a closure that the calendar does not "
                "know, or a day that the source lacks"
                for day, count in untraded(files).items()
            }
        ),
    ]


def _reasons(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    return {o.subject: o.reason or "" for o in outcomes}
