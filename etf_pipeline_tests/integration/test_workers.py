"""Work in worker processes: the same as without, and an end of it all at once, however it comes."""

import datetime as dt
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest

from etf_pipeline.errors import ReasonCode, WorkerDiedError
from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.sources.files import FilesSource
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.result import Run
from etf_pipeline.steps.workers import spread, usable_cores, workers_of
from etf_pipeline.store.store import Store
from etf_pipeline_tests.support import asx_days, bars, instrument, walk, yahoo_rows
from etf_pipeline_tests.workers_support import Squares

WHOLE = b"0123456789abcdef" * 4096


def squares(numbers):
    return [n * n for n in numbers]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_and_what_is_told_of_them_are_in_order(workers, caplog):
    told = []
    found = spread(Squares(), range(100), workers, least=2, each=told.append)
    assert [square for square, _ in found] == squares(range(100))
    assert told == found
    processes = {pid for _, pid in found}
    assert (processes == {os.getpid()}) == (workers == 1)
    assert len(processes) <= workers
    # Also what was logged: once, in order, by the logger that it was logged by.
    assert caplog.record_tuples == [
        ("etf_pipeline.tests", logging.WARNING, f"{n} is round") for n in range(0, 100, 10)
    ]


def test_few_items_are_not_worth_a_process():
    assert {pid for _, pid in spread(Squares(), range(20), 4, least=21)} == {os.getpid()}
    assert {pid for _, pid in spread(Squares(), range(2), 4, least=2)} == {os.getpid()}
    assert spread(Squares(), [], 4, least=0) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_in_order_is_raised_and_what_came_before_is_told(workers):
    told = []
    with pytest.raises(ValueError, match=r"^37 is refused"):
        spread(Squares(refused=(37, 61)), range(100), workers, least=2, each=told.append)
    assert [square for square, _ in told] == squares(range(37))


def test_what_cannot_be_sent_back_is_an_error_and_no_silence():
    with pytest.raises(RuntimeError, match="cannot be sent back from a worker process"):
        spread(Squares(unfit=5), range(100), 2, least=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_cannot_be_begun_is_an_error(workers):
    with pytest.raises(OSError, match="it cannot be opened"):
        spread(Squares(shut=True), range(100), workers, least=2)


def children():
    """Processes of this one: brokers, where other tests of it have any."""
    return set(psutil.Process().children())


def test_a_worker_that_is_killed_is_a_named_failure_and_leaves_none_behind():
    told, before = [], children()
    with pytest.raises(WorkerDiedError, match=r"was ended by SIGKILL .* ETF_WORKERS") as raised:
        spread(Squares(deadly=64), range(100), 2, least=2, each=told.append)
    assert raised.value.code is ReasonCode.WORKER_DIED
    assert [square for square, _ in told] == squares(range(64))
    assert children() == before


def test_whoever_is_told_may_stop_it():
    def stop(_):
        raise KeyboardInterrupt

    before = children()
    with pytest.raises(KeyboardInterrupt):
        spread(Squares(), range(100), 2, least=2, each=stop)
    assert children() == before


def at_work(folder):
    """The program, and its two workers once both are at work."""
    path = Path(__file__).with_name("workers_program.py")
    program = subprocess.Popen([sys.executable, str(path), str(folder)])
    while len(list(folder.glob("*.pid"))) < 2 or len(list(folder.glob("*.data"))) < 2:
        assert program.poll() is None
    return program, [psutil.Process(int(p.stem)) for p in folder.glob("*.pid")]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_signal_ends_program_and_workers_and_leaves_whole_files(tmp_path, name):
    program, workers = at_work(tmp_path)
    program.send_signal(getattr(signal, name))
    assert program.wait(timeout=20) == (-signal.SIGKILL if name == "SIGKILL" else 130)
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    assert [p.read_bytes() == WHOLE for p in tmp_path.glob("*.data")] == [True, True]
    # The program itself was not run again by its workers, though it has no guard.
    assert [Path(p).stem for p in tmp_path.glob("*.program")] == [str(program.pid)]


def test_ctrl_c_reaches_the_workers_too_and_is_left_to_the_program(tmp_path):
    program, workers = at_work(tmp_path)
    for worker in workers:
        worker.send_signal(signal.SIGINT)
        worker.send_signal(signal.SIGTERM)
    assert len(psutil.wait_procs(workers, timeout=0.3)[1]) == 2
    program.send_signal(signal.SIGINT)
    assert program.wait(timeout=20) == 130
    assert not psutil.wait_procs(workers, timeout=20)[1]


def test_unless_told_there_is_a_worker_for_each_core_that_may_be_used():
    assert workers_of(3) == 3
    assert workers_of(None) == min(8, usable_cores())
    assert 1 <= usable_cores() <= os.cpu_count()


FUNDS = [instrument(f"F{i:02d}") for i in range(30)]
FIRST = dt.datetime(2025, 10, 20, 12, tzinfo=dt.UTC)
NEXT = dt.datetime(2025, 11, 5, 12, tzinfo=dt.UTC)


def serve_files(folder, upto, fewer):
    """Prices of every fund but some; one has a distribution, one a spike, one a lasting jump."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    days = asx_days("2024-01-02", 600)
    days = days[days <= upto]
    for i, fund in enumerate(FUNDS[:-fewer]):
        rows = bars(days, walk(len(days), seed=i))
        if i == 3:
            rows.iloc[100, 5] = 0.8
        if i == 4:
            rows.iloc[200, :4] *= 1.3
        if i == 5:
            rows.iloc[300:, :4] *= 1.5
        yahoo_rows(rows).to_parquet(folder / f"{fund.ticker}.parquet")


def next_night(tmp_path):
    """A store on which a night's update has all kinds of tickers to bring up to date."""
    prices, store = tmp_path / "prices", Store.at(tmp_path / "store", 30)
    serve_files(prices, pd.Timestamp("2025-10-20"), 3)
    asked = [store, Run("first", FIRST, "XASX"), FilesSource(prices), FUNDS, Terms()]
    download(*asked, clock=lambda: FIRST)
    update_histories(store, Run("first", FIRST, "XASX"), FUNDS)
    serve_files(prices, pd.Timestamp("2025-11-05"), 1)
    for fund in FUNDS[10:14]:  # nothing new
        (prices / f"{fund.ticker}.parquet").unlink()
    asked[1] = Run("next", NEXT, "XASX")
    download(*asked, clock=lambda: NEXT)
    store.layout.of(HISTORY, "F07").write_bytes(b"damaged")
    store.layout.of(HISTORY, "F11").unlink()
    return store.layout.root


def tree(root):
    """Every file but locks, and what is known by inodes and times."""
    files = (p for p in sorted(root.rglob("*")) if p.is_file() and ".locks" not in p.parts)
    return {str(p.relative_to(root)): p.read_bytes() for p in files if p.suffix != ".seen"}


def test_histories_outcomes_and_manifests_are_the_same_with_workers(tmp_path, monkeypatch):
    monkeypatch.setattr("etf_pipeline.steps.workers.LEAST", 2)
    base = next_night(tmp_path)
    made = {}
    for workers in (1, 2, 3):
        root = tmp_path / f"with-{workers}"
        shutil.copytree(base, root)
        told = []
        run = Run("next", NEXT, "XASX")
        result = update_histories(
            Store.at(root, 30), run, FUNDS, progress=told.append, workers=workers
        )
        assert [o.subject for o in told] == [f.ticker for f in FUNDS]
        relative = [str(p.path.relative_to(root)) for p in result.published]
        made[workers] = tree(root), result.outcomes, told, relative
    assert made[2] == made[1]
    assert made[3] == made[1]
    kinds = {o.subject: str(o.outcome) for o in made[1][1]}
    assert {t: kinds[t] for t in ("F00", "F07", "F11", "F12", "F28", "F29")} == {
        "F00": "updated",
        "F07": "updated",  # made anew, as it was damaged
        "F11": "collected",
        "F12": "unchanged",
        "F28": "collected",
        "F29": "failed",
    }
