"""The command line as a scheduler and a person use it: a subprocess, its exit code, its words."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from etf_pipeline_tests.conftest import AMBIENT
from etf_pipeline_tests.pipeline.support import PORTFOLIOS, write_universe
from etf_pipeline_tests.support import asx_days, bars, disk_in_memory, walk, yahoo_rows
from etf_pipeline_tests.yahoo_standin import Series, StandIn

ETF = Path(sys.executable).with_name("etf")
TICKERS = ("VAS", "VGS", "VAF")


def laid_out(folder, yahoo):
    """A working folder as a user has it, with Yahoo on loopback."""
    data = folder / "data"
    write_universe(data, dict.fromkeys(TICKERS, "XASX"))
    (data / "portfolios.yaml").write_text(PORTFOLIOS)
    for i, ticker in enumerate(TICKERS):
        rows = bars(asx_days("2022-09-01", 800), walk(800, seed=i))
        yahoo.series[f"{ticker}.AX"] = Series(yahoo_rows(rows))
    return folder


def command(folder, yahoo, *args, **env):
    environment = (
        {k: v for k, v in os.environ.items() if not k.startswith(AMBIENT)}
        | {
            "ETF_YAHOO_URL": yahoo.url,
            "ETF_YAHOO_ATTEMPTS": "2",
            "ETF_RETRY_DELAY_SECONDS": "0",
            "ETF_YAHOO_BACKOFF_SECONDS": "0.01",
            "ETF_YAHOO_BACKOFF_MAX_SECONDS": "0.02",
            "DAGSTER_HOME": str(folder / "home"),
            "COLUMNS": "100",
        }
        | env
    )
    return subprocess.run(
        [str(ETF), *args],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def project(tmp_path, yahoo):
    return laid_out(tmp_path, yahoo)


@pytest.fixture
def etf(project, yahoo):
    return functools.partial(command, project, yahoo)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A working folder in which all was downloaded: that, its Yahoo, and how the first run ended.

    For tests that ask no more of it than that; each may come after any other.
    """
    with StandIn() as yahoo:
        folder = laid_out(tmp_path_factory.mktemp("ran"), yahoo)
        run = command(folder, yahoo, "run")
        assert run.returncode == 0, run.stderr
        yield folder, yahoo, run


def one_line(text):
    """The error message; there must be exactly one, and no traceback."""
    lines = [line for line in text.splitlines() if line.strip()]
    assert "Traceback" not in text
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, text
    return errors[0]


def test_a_run_and_a_status(ran):
    project, yahoo, run = ran
    etf = functools.partial(command, project, yahoo)
    for words in ("collected", "Risk, window 3y", "Portfolios", "pair", "VAS", str(project)):
        assert words in run.stdout
    assert "downloading" in run.stdout
    again = etf("run", "--window", "1y")
    assert again.returncode == 0
    assert "unchanged" in again.stdout
    status = etf("status", "--json")
    assert status.returncode == 0
    rows = {r["ticker"]: r for r in json.loads(status.stdout)["tickers"]}
    assert rows["VAS"]["rows"] == 800
    assert rows["VAS"]["source"] == "yahoo"
    assert rows["VAS"]["outcome"] == "unchanged"
    assert "VAS" in etf("status").stdout


def test_partial_is_3(etf, yahoo):
    del yahoo.series["VAF.AX"]
    run = etf("run")
    assert run.returncode == 3
    assert "failed (missing)" in run.stdout
    status = etf("status")
    assert status.returncode == 3
    assert "VAF" in status.stdout


def test_failed_is_1_and_says_why_once(etf):
    run = etf("run", ETF_YAHOO_URL="http://127.0.0.1:9")
    assert run.returncode == 1
    assert "none of 3 tickers succeeded" in one_line(run.stderr)


def test_some_tickers_only(etf, yahoo):
    run = etf("run", "--tickers", "VAS,VGS", "--partition", "XASX")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "VAF.AX" not in yahoo.seen
    assert "no history of VAF" in run.stdout  # the portfolio that needs it says so


@pytest.mark.parametrize(
    ("args", "env", "words"),
    [
        (["run", "--tickers", "VSA"], {}, "'VSA' is not in data/universe.csv; did you mean V"),
        (["run", "--tickers", ","], {}, "--tickers names no ticker"),
        (["run", "--partition", "XNYS"], {}, "--partition 'XNYS': must be one of XASX"),
        (["run", "--source", "yahho"], {}, "ETF_SOURCE='yahho'"),
        (["run", "--source", "files:/nowhere"], {}, "there is no such folder"),
        (["run", "--window", "2y"], {}, "--window '2y'"),
        (["run"], {"ETF_YAHOO_CONCURRENCY": "99"}, "ETF_YAHOO_CONCURRENCY='99'"),
        (["run"], {"ETF_UNIVERSE_FILE": "nope.csv"}, "universe file nope.csv does not exist"),
        (["events", "missing", "--accept", "--who", "A", "--why", " "], {}, "--who and --why"),
    ],
)
def test_bad_usage_is_2_and_one_line(etf, args, env, words):
    run = etf(*args, **env)
    assert run.returncode == 2
    assert words in one_line(run.stderr)


def test_a_universe_with_one_bad_line(etf, project):
    path = project / "data" / "universe.csv"
    path.write_text(path.read_text().replace("VGS.AX,XASX", "VGS.AX,ASX"))
    run = etf("run")
    assert run.returncode == 2
    assert "line 3: exchange 'ASX'" in one_line(run.stderr)


def test_a_bad_portfolio_file_is_told_before_anything_is_downloaded(etf, project, yahoo):
    (project / "data" / "portfolios.yaml").write_text("portfolios:\n  - name: a\n")
    run = etf("run")
    assert run.returncode == 2
    assert "line 2" in one_line(run.stderr)
    assert not yahoo.seen


def test_unknown_options_are_2(etf):
    assert etf("run", "--nonsense").returncode == 2
    assert etf("nonsense").returncode == 2


def test_an_empty_store_is_told(etf):
    status = etf("status")
    assert status.returncode == 1
    assert "run `etf run`" in one_line(status.stderr)


def test_files_as_the_source(etf, project):
    folder = project / "prices"
    folder.mkdir()
    for i, ticker in enumerate(TICKERS):
        rows = bars(asx_days("2022-09-01", 800), walk(800, seed=i))
        yahoo_rows(rows).to_csv(folder / f"{ticker}.csv")
    run = etf("run", "--source", f"files:{folder}", "--data-dir", "other")
    assert run.returncode == 0, run.stderr
    assert "(files prices)" in run.stdout


def test_sources_are_not_mixed_in_one_store(ran):
    project, yahoo, _ = ran
    run = command(project, yahoo, "run", "--source", "simulated", "--full")
    assert run.returncode == 1
    assert "would mix source simulated and yahoo" in run.stdout + run.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_there(ran, number):
    """And does not go on with the next step, as after a failure."""
    project, yahoo, _ = ran
    manifests = sorted((project / "data/etf/manifests/optimised_portfolios").iterdir())
    yahoo.fault("*", "hang")
    asked = yahoo.seen.total()
    process = subprocess.Popen(
        [str(ETF), "run", "--json"],
        cwd=project,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ
        | {
            "ETF_YAHOO_URL": yahoo.url,
            "DAGSTER_HOME": str(project / "home"),
            "ETF_YAHOO_TIMEOUT_SECONDS": "5",
            "ETF_YAHOO_ATTEMPTS": "1",
        },
    )
    deadline = time.monotonic() + 60
    while yahoo.seen.total() == asked:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    said, errors = process.communicate(timeout=60)
    yahoo.faults.clear()
    assert process.returncode == 130, errors
    assert "interrupted; what was published is whole" in one_line(errors)
    told = json.loads(said)
    assert (told["exit_code"], told["state"], told["reason_code"]) == (130, *2 * ["interrupted"])
    assert "interrupted; what was published is whole" in told["reason"]
    assert told["stages"][0]["reason_code"] == "interrupted"
    found = sorted((project / "data/etf/manifests/optimised_portfolios").iterdir())
    assert found == manifests


def test_two_runs_at_once_both_end_well(etf, project, yahoo):
    environment = os.environ | {
        "ETF_YAHOO_URL": yahoo.url,
        "DAGSTER_HOME": str(project / "home"),
        "COLUMNS": "100",
    }
    both = [
        subprocess.Popen(
            [str(ETF), "run"],
            cwd=project,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [p.communicate(timeout=300) for p in both]
    assert [p.returncode for p in both] == [0, 0], outputs
    assert etf("status").returncode == 0


def test_a_second_run_that_may_not_wait_names_the_remedy(etf, project):
    from etf_pipeline.store.layout import Layout
    from etf_pipeline.store.writer import locked

    with locked(Layout(project / "data" / "etf").lock("raw", "XASX"), 1):
        run = etf("run", ETF_LOCK_TIMEOUT_SECONDS="0")
    assert run.returncode == 1
    assert "ETF_LOCK_TIMEOUT_SECONDS" in one_line(run.stderr)


@pytest.fixture
def tiny_disk(project):
    with disk_in_memory(project / "tiny", "size=12m") as folder:
        yield folder


def test_a_disk_that_fills_in_the_middle(etf, project, tiny_disk, yahoo):
    assert etf("run", "--tickers", "VAS", "--data-dir", str(tiny_disk)).returncode == 0
    history = tiny_disk / "historical" / "VAS.parquet"
    old = history.read_bytes()
    free = shutil.disk_usage(tiny_disk).free
    (tiny_disk / "ballast").write_bytes(os.urandom(max(free - 8192, 0)))
    run = etf("run", "--data-dir", str(tiny_disk))
    assert run.returncode in (1, 3)
    text = run.stdout + run.stderr
    assert "disk full while writing" in text
    assert "free some space" in text
    assert "Traceback" not in text
    assert history.read_bytes() == old
    assert list(tiny_disk.rglob("*.tmp")) == []
    (tiny_disk / "ballast").unlink()


def test_a_read_only_data_folder(etf, tiny_disk):
    assert etf("run", "--tickers", "VAS", "--data-dir", str(tiny_disk)).returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    run = etf("run", "--data-dir", str(tiny_disk))
    assert run.returncode == 1
    assert "ETF_DATA_DIR" in run.stderr
    assert "Traceback" not in run.stderr
    assert etf("status", "--data-dir", str(tiny_disk)).returncode == 0


def test_demo_needs_no_network_and_no_files(tmp_path):
    environment = os.environ | {"DAGSTER_HOME": str(tmp_path / "home"), "COLUMNS": "100"}
    run = subprocess.run(
        [str(ETF), "demo"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    for words in ("Simulated prices", "simulated prices)", "core-four", "Files: "):
        assert words in run.stdout
