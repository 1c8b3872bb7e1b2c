"""What follows a step's failure, on failures as Dagster itself records them."""

from contextlib import nullcontext

import dagster as dg
import psycopg2
import pytest
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy import exc

from etf_pipeline.errors import (
    CorruptFileError,
    DiskFullError,
    LockTimeoutError,
    ReasonCode,
    SettingsError,
)
from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind
from etf_pipeline.orchestration.failures import (
    StepFailure,
    raise_if_nothing_good,
    retried_only_if_it_may_pass,
    run_failure,
    step_failures,
)


def ran(body):
    """A run whose only step does what `body` does."""

    @dg.op
    def only_step():
        body()

    @dg.job
    def only_job():
        only_step()

    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return only_job.execute_in_process(run_config=quiet, raise_on_error=False)


def run(body):
    """The failures of such a run."""
    return step_failures(ran(body))


def outcome(subject, kind, failure_kind=None, code=None):
    return Outcome(subject, kind, f"why {subject}", failure_kind, code)


def raised(outcomes):
    with pytest.raises(dg.Failure) as caught:
        raise_if_nothing_good(outcomes, "raw_prices")
    return caught.value


REFUSED = [
    outcome("VAS", OutcomeKind.REJECTED, None, ReasonCode.OTHER_CURRENCY),
    outcome("VGS", OutcomeKind.FAILED, FailureKind.MISSING, ReasonCode.SYMBOL_MISSING),
    outcome("VAF", OutcomeKind.REJECTED, None, ReasonCode.OTHER_CURRENCY),
]


def test_one_good_ticker_is_enough():
    raise_if_nothing_good([*REFUSED, outcome("SPY", OutcomeKind.UNCHANGED)], "raw_prices")


def test_what_cannot_pass_is_not_tried_again():
    failure = raised(REFUSED)
    assert not failure.allow_retries
    assert failure.description == (
        "raw_prices: none of 3 tickers succeeded: VAS: why VAS; VGS: why VGS; VAF: why VAF"
    )


@pytest.mark.parametrize("code", [c for c in ReasonCode if c.transient])
def test_one_that_may_pass_is_enough_to_try_again(code):
    busy = outcome("SPY", OutcomeKind.FAILED, FailureKind.TRANSIENT, code)
    assert raised([*REFUSED, busy]).allow_retries


def test_the_code_alone_decides():
    """An outcome called transient, whose code says that waiting does not help."""
    damaged = outcome("SPY", OutcomeKind.FAILED, FailureKind.TRANSIENT, ReasonCode.CORRUPT_FILE)
    assert not raised([*REFUSED, damaged]).allow_retries


def test_only_the_first_reasons_are_told():
    many = [outcome(f"T{i}", OutcomeKind.REJECTED) for i in range(13)]
    assert raised(many).description.endswith("T9: why T9 (and 3 more)")


def test_nothing_asked_for_is_a_failure_that_names_the_remedy():
    failure = raised([])
    assert not failure.allow_retries
    assert "check the tickers in the run configuration" in failure.description


def test_the_code_of_most_outcomes_is_read_back_from_dagsters_record():
    (failure,) = run(lambda: raise_if_nothing_good(REFUSED, "raw_prices"))
    assert failure.code is ReasonCode.OTHER_CURRENCY
    assert failure.message.startswith("raw_prices: none of 3 tickers succeeded")


def test_a_failure_of_somebody_elses_has_no_code_of_ours():
    def fail():
        raise dg.Failure("theirs")

    assert run(fail) == [StepFailure(ReasonCode.UNEXPECTED, "theirs")]


def test_an_error_of_ours_is_told_without_its_class_name():
    def fail():
        raise SettingsError("ETF_SOURCE='x': must be yahoo")

    assert run(fail) == [StepFailure(ReasonCode.BAD_SETTING, "ETF_SOURCE='x': must be yahoo")]


def test_an_error_of_ours_counts_before_what_caused_it():
    def fail():
        try:
            raise OSError("no magic bytes")
        except OSError as error:
            raise CorruptFileError("a.parquet is not readable: run again") from error

    (failure,) = run(fail)
    assert failure == StepFailure(ReasonCode.CORRUPT_FILE, "a.parquet is not readable: run again")


def test_a_full_disk_is_told_by_its_code():
    def fail():
        raise DiskFullError("disk full while writing etf.duckdb")

    assert [f.code for f in run(fail)] == [ReasonCode.DISK_FULL]


def test_of_unknown_errors_the_innermost_is_told():
    def fail():
        try:
            raise KeyError("gone")
        except KeyError as error:
            raise RuntimeError("outer") from error

    assert run(fail) == [StepFailure(ReasonCode.UNEXPECTED, "'gone'")]


def test_whoever_interrupts_is_recognised_by_code_not_by_words():
    def stop():
        with retried_only_if_it_may_pass():
            raise dg.DagsterExecutionInterruptedError

    (failure,) = run(stop)
    assert failure.code is ReasonCode.INTERRUPTED


def _tried(error):
    """How often a step is tried that raises this, under a retry policy of two more tries."""
    tries = []

    @dg.op(retry_policy=dg.RetryPolicy(max_retries=2))
    def body():
        tries.append(1)
        with retried_only_if_it_may_pass():
            raise error

    @dg.job
    def job():
        body()

    result = job.execute_in_process(raise_on_error=False)
    (failure,) = step_failures(result)
    return len(tries), failure.code


@pytest.mark.parametrize(
    ("error", "tries", "code"),
    [
        (KeyError("close"), 1, ReasonCode.OUR_MISTAKE),
        (ValueError("no"), 1, ReasonCode.OUR_MISTAKE),
        (CorruptFileError("a"), 1, ReasonCode.CORRUPT_FILE),
        (SettingsError("a"), 1, ReasonCode.BAD_SETTING),
        (LockTimeoutError("a"), 3, ReasonCode.LOCKED),
        (OSError("a"), 3, ReasonCode.UNEXPECTED),
    ],
)
def test_only_what_may_pass_is_tried_again(error, tries, code, caplog):
    assert _tried(error) == (tries, code)
    ours = [r for r in caplog.records if r.exc_info and r.name.startswith("etf_pipeline")]
    assert bool(ours) == (code is ReasonCode.OUR_MISTAKE)


@pytest.mark.parametrize("guarded", [True, False])
def test_the_loss_of_dagsters_database_is_told_in_plain_words(monkeypatch, guarded):
    """In a step of ours, and in what Dagster does around it, after its own attempts."""

    def lose():
        with retried_only_if_it_may_pass() if guarded else nullcontext():
            try:
                said = psycopg2.OperationalError("FATAL:  too many connections\n  for role x\n")
                raise exc.OperationalError("SELECT 1", {}, said) from said
            except exc.OperationalError as error:
                raise DagsterPostgresException("too many retries for DB connection") from error

    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql://x@127.0.0.1/x")
    told = (
        "Dagster's database was lost (FATAL:  too many connections; for role x); what was "
        "published is whole: run again when it is back"
    )
    assert run(lose) == [StepFailure(ReasonCode.RECORDS_UNUSABLE, told)]
    monkeypatch.delenv("DAGSTER_POSTGRES_URL")
    (other,) = run(lose)
    assert other.code is not ReasonCode.RECORDS_UNUSABLE


def test_a_run_that_succeeds_has_no_failure():
    assert run(lambda: None) == []


def of_theirs():
    raise dg.Failure("theirs")


def of_ours():
    try:
        raise OSError("no magic bytes")
    except OSError as error:
        raise CorruptFileError("a.parquet is not readable: run again") from error


def of_nobody():
    raise KeyError("gone")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (of_theirs, "theirs"),
        (of_ours, "a.parquet is not readable: run again"),
        (of_nobody, "'gone'"),
    ],
)
def test_a_run_says_of_its_failure_what_its_step_says(body, told):
    result = ran(body)
    (event,) = [e for e in result.all_events if e.event_type is dg.DagsterEventType.RUN_FAILURE]
    assert run_failure(event) == told == step_failures(result)[0].message


def test_a_run_that_failed_without_a_record_of_why():
    assert run_failure(None) == "the run failed"
