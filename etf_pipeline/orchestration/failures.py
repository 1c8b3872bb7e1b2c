"""What follows the failure of a step: whether it is tried again, and what the run says of it.

Belongs here: every decision about a failure, made by its code. The code travels with Dagster's own
record of the failure, in its metadata, and is read back from there.
"""

from __future__ import annotations

import errno
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import dagster as dg

from etf_pipeline.errors import EtfError, ReasonCode
from etf_pipeline.model.outcomes import Outcome, sentences
from etf_pipeline.orchestration.database import outage, outage_on_record

log = logging.getLogger(__name__)
_CODE = "reason_code"  # name of the metadata entry
_TOLD = 10
_FULL = (errno.ENOSPC, errno.EDQUOT)
# Errors that are not ours, by the class name that is all that Dagster keeps of one.
_THEIRS = {
    dg.DagsterExecutionInterruptedError.__name__: ReasonCode.INTERRUPTED,
    "KeyboardInterrupt": ReasonCode.INTERRUPTED,
    "DagsterAssetCheckFailedError": ReasonCode.CHECK_FAILED,
    "ChildProcessCrashException": ReasonCode.KILLED,
}
_NO_MEMORY = "there was not enough memory ({}); free some, or take a part of the universe at a time"


@dataclass(frozen=True)
class StepFailure:
    """One step that failed, as a run's report has it."""

    code: ReasonCode
    message: str


class _Error(Protocol):
    """An error as Dagster records it: the class by its name, the cause behind it."""

    @property
    def message(self) -> str: ...
    @property
    def cls_name(self) -> str | None: ...
    @property
    def cause(self) -> _Error | None: ...


def retry_policy(delay: float) -> dg.RetryPolicy:
    """How a download that failed as a whole is tried again; `delay` in seconds, before the first.

    A step that must not be tried again says so in its failure.
    """
    return dg.RetryPolicy(
        max_retries=2,
        delay=delay,
        backoff=dg.Backoff.EXPONENTIAL,
        jitter=dg.Jitter.PLUS_MINUS,
    )


def step_failure(message: str, code: ReasonCode, retry: bool = False) -> dg.Failure:
    """What a step raises to fail for a reason that is known."""
    return dg.Failure(message, metadata={_CODE: code.value}, allow_retries=retry)


@contextmanager
def retried_only_if_it_may_pass() -> Iterator[None]:
    """Keeps a step's retry policy from what would only fail again.

    That is an interruption (whoever stops a run does not want the step again after a pause), an
    error that is not transient by its code, a lack of memory or of disk, the loss of Dagster's
    database (the whole run is tried again then), and a mistake of ours.

    Raises:
        dagster.Failure: for each of these.
    """
    try:
        yield
    except dg.DagsterExecutionInterruptedError as error:
        text = "interrupted; what was published is whole"
        raise step_failure(text, ReasonCode.INTERRUPTED) from error
    except dg.Failure:
        raise
    except MemoryError as error:
        # numpy and Arrow say how much they asked for, Python itself says nothing
        text = _NO_MEMORY.format(str(error) or type(error).__name__)
        raise step_failure(text, ReasonCode.OUT_OF_MEMORY) from error
    except OSError as error:
        if error.errno in _FULL:
            raise step_failure(f"the disk is full: {error}", ReasonCode.DISK_FULL) from error
        raise
    except EtfError as error:
        if error.code.transient:
            raise
        raise step_failure(str(error), error.code) from error
    except Exception as error:
        if (lost := outage(error)) is not None:
            raise step_failure(str(lost), lost.code) from error
        log.exception("the step failed by a mistake of this program")
        text = f"{ReasonCode.OUR_MISTAKE.text} ({type(error).__name__}: {error})"
        raise step_failure(text, ReasonCode.OUR_MISTAKE) from error


def raise_if_nothing_good(outcomes: Sequence[Outcome], asset: str) -> None:
    """Fail the step when not one ticker came out right; retry only what may pass.

    Raises:
        dagster.Failure: with each ticker's reason, and the code that most of them have. Rejected
            and permanently missing tickers are not retried.
    """
    if not outcomes:
        raise step_failure(
            f"{asset}: no ticker of this partition was asked for; check the tickers in the run "
            "configuration",
            ReasonCode.BAD_SETTING,
        )
    if any(o.good for o in outcomes):
        return
    codes = Counter(o.reason_code or ReasonCode.UNEXPECTED for o in outcomes)
    raise step_failure(
        f"{asset}: none of {len(outcomes)} tickers succeeded: {sentences(outcomes, _TOLD)}",
        codes.most_common(1)[0][0],
        retry=any(map(_may_pass, outcomes)),
    )


def _may_pass(outcome: Outcome) -> bool:
    return outcome.reason_code is not None and outcome.reason_code.transient


def failure_of(error: Exception) -> StepFailure:
    """What an error that a step ended with says."""
    if isinstance(error, dg.Failure):
        return _read_failure(error.description, error.metadata)
    if isinstance(error, EtfError):
        return StepFailure(error.code, str(error))
    return StepFailure(ReasonCode.UNEXPECTED, f"{type(error).__name__}: {error}")


def step_failures(result: dg.ExecuteInProcessResult) -> list[StepFailure]:
    """The steps of a run that failed, in order; a step that was tried again counts once."""
    return [_read(e.step_failure_data) for e in result.all_events if e.is_step_failure]


def step_failure_of(event: dg.DagsterEvent) -> StepFailure:
    """What Dagster's record of a step's failure says."""
    return _read(event.step_failure_data)


def run_failure(event: dg.DagsterEvent | None) -> str:
    """Why a run failed, by Dagster's record of that: what its first failed step says."""
    data: Any = event.event_specific_data if event is not None else None
    step = getattr(data, "first_step_failure_event", None)
    error = getattr(data, "error", None)
    if step is not None:
        found = _read(step.step_failure_data).message
    else:
        found = _read_error(error).message if error is not None else ""
    return found or (event.message if event is not None else None) or "the run failed"


def _read(failure: Any) -> StepFailure:
    """Ours where a step raised one, else the innermost cause that Dagster recorded."""
    ours = failure.user_failure_data
    if ours is not None and ours.description:
        return _read_failure(ours.description, ours.metadata)
    if failure.error is None:
        return StepFailure(ReasonCode.UNEXPECTED, "the step failed")
    return _read_error(failure.error)


def _read_failure(description: str | None, metadata: Mapping[str, Any]) -> StepFailure:
    written = getattr(metadata.get(_CODE), "value", None)
    code = next((c for c in ReasonCode if c.value == written), ReasonCode.UNEXPECTED)
    return StepFailure(code, description or "the step failed")


def _read_error(error: _Error) -> StepFailure:
    """The outermost error that is known here, else the innermost of the chain."""
    if (lost := outage_on_record(error)) is not None:
        return StepFailure(lost.code, str(lost))
    chain = [error]
    while (cause := chain[-1].cause) is not None:
        chain.append(cause)
    known = _codes_by_class()
    chosen = next((e for e in chain if e.cls_name in known), chain[-1])
    text = chosen.message.strip()
    # "package.module.ErrorName: message", as Dagster writes it
    name, _, rest = text.partition(": ")
    message = rest if name.rpartition(".")[2] == chosen.cls_name and rest else text
    return StepFailure(known.get(chosen.cls_name or "", ReasonCode.UNEXPECTED), message)


def _codes_by_class() -> dict[str, ReasonCode]:
    """Codes by the class name that is all that Dagster keeps of an error."""
    return {kind.__name__: kind.code for kind in _subclasses(EtfError)} | _THEIRS


def _subclasses(kind: type[EtfError]) -> list[type[EtfError]]:
    return [kind, *(s for c in kind.__subclasses__() for s in _subclasses(c))]
