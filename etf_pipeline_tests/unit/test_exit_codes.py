"""What a scheduler is told: by code, never by words, and as the README says."""

import datetime as dt
import re
import subprocess
import sys

import pytest

from etf_pipeline import errors
from etf_pipeline.cli.exit_codes import ExitCode, of_checks, of_error, of_run
from etf_pipeline.errors import EtfError, ReasonCode
from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind
from etf_pipeline.orchestration.report import RunReport
from etf_pipeline.store.stages import Stage
from etf_pipeline_tests.conftest import ROOT

USAGE = {
    "SettingsError",
    "ArgumentError",
    "UniverseError",
    "PortfolioFileError",
    "CorrectionsError",
    "UnknownTickerError",
    "EventsOffError",
    "QueryError",
}


def kinds(base=EtfError):
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


def test_the_table_of_the_readme():
    text = (ROOT / "README.md").read_text()
    table = text.partition("| exit code | meaning |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", table, re.M)
    assert rows == [(str(int(code)), code.meaning) for code in ExitCode]


def test_every_kind_of_error_has_its_exit_code():
    found = {k.__name__: of_error(k("words")) for k in kinds()}
    assert len(found) > 15
    assert set(found) > USAGE
    assert {n for n, c in found.items() if c is ExitCode.USAGE} == USAGE
    assert {c for n, c in found.items() if n not in USAGE} == {ExitCode.FAILED}


@pytest.mark.parametrize(
    "words", ["", "bad setting: ETF_X", "ticker 'X' is not in y; did you mean"]
)
def test_the_code_decides_and_the_words_do_not(words):
    assert of_error(EtfError(words)) is ExitCode.FAILED
    assert of_error(EtfError(words, code=ReasonCode.BAD_SETTING)) is ExitCode.USAGE
    assert of_error(errors.SettingsError(words, code=ReasonCode.LOCKED)) is ExitCode.FAILED


def test_other_errors():
    assert of_error(KeyboardInterrupt()) is ExitCode.INTERRUPTED
    assert of_error(ValueError("bad setting")) is ExitCode.FAILED
    assert of_error(OSError("disk")) is ExitCode.FAILED


def test_checks():
    assert of_checks(True) is ExitCode.DONE
    assert of_checks(False) is ExitCode.FAILED


GOOD = Outcome("VAS", OutcomeKind.UPDATED)
SAME = Outcome("VGS", OutcomeKind.UNCHANGED)
NEW = Outcome("VTS", OutcomeKind.COLLECTED)
BAD = Outcome("VAF", OutcomeKind.FAILED, "429", FailureKind.TRANSIENT, ReasonCode.RATE_LIMITED)
REFUSED = Outcome("VAF", OutcomeKind.REJECTED, "currency", reason_code=ReasonCode.OTHER_CURRENCY)
# The words of each portfolio are the other's: they must not matter.
LACKING = Outcome(
    "calm", OutcomeKind.FAILED, "infeasible", FailureKind.PERMANENT, ReasonCode.NO_HISTORY
)
INFEASIBLE = Outcome(
    "calm", OutcomeKind.FAILED, "no history of VAF", FailureKind.PERMANENT, ReasonCode.INFEASIBLE
)


def stage(name, broken):
    """How a stage of a run went."""
    kind = OutcomeKind.FAILED if broken else OutcomeKind.UPDATED
    outcome = Outcome(name, kind, reason_code=ReasonCode.LOCKED if broken else None)
    return Stage(outcome, "run", "", dt.datetime(2025, 11, 12, tzinfo=dt.UTC))


@pytest.mark.parametrize(
    ("tickers", "portfolios", "broken", "chosen", "expected"),
    [
        ([GOOD, SAME, NEW], [GOOD], "", False, ExitCode.DONE),
        ([GOOD], [], "", False, ExitCode.DONE),
        ([GOOD, BAD], [GOOD], "", False, ExitCode.PARTIAL),
        ([GOOD, REFUSED], [], "", True, ExitCode.PARTIAL),
        ([BAD, REFUSED], [GOOD], "", False, ExitCode.FAILED),
        ([], [GOOD], "", False, ExitCode.FAILED),
        ([GOOD], [GOOD], "correlations", False, ExitCode.PARTIAL),
        ([GOOD], [GOOD], "raw_prices", False, ExitCode.PARTIAL),
        ([GOOD], [GOOD], "risk_metrics correlations", False, ExitCode.FAILED),
        ([BAD], [GOOD], "correlations", False, ExitCode.FAILED),
        ([GOOD], [GOOD, LACKING], "", False, ExitCode.PARTIAL),
        ([GOOD], [GOOD, LACKING], "", True, ExitCode.DONE),
        ([GOOD, BAD], [LACKING], "", True, ExitCode.PARTIAL),
        ([GOOD], [GOOD, INFEASIBLE], "", False, ExitCode.PARTIAL),
        ([GOOD], [GOOD, INFEASIBLE], "", True, ExitCode.PARTIAL),
    ],
)
def test_a_run(tickers, portfolios, broken, chosen, expected):
    stages = ("raw_prices", "price_history", "risk_metrics", "correlations")
    report = RunReport(
        {o.subject: o for o in tickers},
        {f"{i} {o.subject}": o for i, o in enumerate(portfolios)},
        [stage(name, broken=name in broken.split()) for name in stages],
    )
    assert of_run(report, chosen=chosen) is expected


RAISING = """
import sys
from etf_pipeline import errors
from etf_pipeline.cli import app
def broken():
    raise {error}
app.app.command("broken")(broken)
sys.argv = ["etf", "broken"]
app.main()
"""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        ("errors.QueryError('[no] such table')", 2, "error: [no] such table"),
        ("errors.StoreError('gone')", 1, "error: gone"),
        (
            "ZeroDivisionError('by 0')",
            1,
            "error: unexpected ZeroDivisionError: by 0; ETF_TRACEBACK=1 shows where",
        ),
    ],
)
@pytest.mark.parametrize("traceback", ["", "1"])
def test_an_error_is_one_line_and_a_code(monkeypatch, error, code, line, traceback):
    monkeypatch.setenv("ETF_TRACEBACK", traceback)
    run = subprocess.run(
        [sys.executable, "-c", RAISING.format(error=error)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == code
    assert run.stdout == ""
    assert run.stderr.splitlines()[-1] == line
    assert ("Traceback" in run.stderr) == bool(traceback)
    assert (run.stderr.count("\n") == 1) == (not traceback)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from etf_pipeline.cli.app import app; sys.argv = ['etf', '--help']\n"
        "try:\n    app()\nexcept SystemExit:\n    pass\n"
        "heavy = {'pandas', 'numpy', 'pyarrow', 'scipy', 'dagster', 'duckdb', 'pydantic', "
        "'confluent_kafka', 'yfinance', 'asyncio', 'sqlite3'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "optimise" in run.stdout
    assert run.stderr.strip() == "[]"
