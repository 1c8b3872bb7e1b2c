"""Kills a run at every step of its publications and checks what readers see, and what a new run
makes of it. Run as a program: `python -m etf_pipeline_tests.integration.kill_loop FOLDER`.

Each attempt is a fork that kills itself when the audit hook counts down to zero: at every open
and rename below the store, so before, inside and after each replacement.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pandas as pd

from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.sources.files import FilesSource
from etf_pipeline.model.schemas import RISK_METRICS
from etf_pipeline.risk.tables import risk_table
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.result import Run
from etf_pipeline.store.prices import load_prices
from etf_pipeline.store.reader import read_history
from etf_pipeline.store.store import Store
from etf_pipeline.store.writer import publish, sweep_temp_files
from etf_pipeline_tests.support import asx_days, bars, instrument, walk, yahoo_rows

TICKERS = ("VAS", "VGS", "VTS")
INSTRUMENTS = [instrument(t) for t in TICKERS]
FIRST = dt.datetime(2025, 10, 20, 12, tzinfo=dt.UTC)
SECOND = dt.datetime(2025, 11, 5, 12, tzinfo=dt.UTC)
countdown = -1
store_prefix = ""


def hook(event: str, args: tuple[object, ...]) -> None:
    """Count the store's file operations down; die at zero."""
    global countdown
    if countdown < 0 or event not in ("open", "os.rename", "os.remove", "os.mkdir"):
        return
    if isinstance(args[0], (str, bytes, os.PathLike)) and store_prefix in os.fsdecode(args[0]):
        if countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        countdown -= 1


def work(root: Path, prices: Path, now: dt.datetime, run_id: str) -> None:
    """One whole run: download, histories, and a derived table."""
    store, run = Store.at(root, 30), Run(run_id, now, "XASX")
    download(store, run, FilesSource(prices), INSTRUMENTS, Terms(), clock=lambda: now)
    result = update_histories(store, run, INSTRUMENTS)
    assert not result.bad, result.bad
    layout = store.layout
    sweep_temp_files(layout.folder(RISK_METRICS))
    table = risk_table([load_prices(layout, t) for t in TICKERS])
    publish(layout.of(RISK_METRICS, now.date()), RISK_METRICS, table)


def attempt(root: Path, prices: Path, run_id: str, kill_at: int, delay: float = -1.0) -> bool:
    """Fork a run; True when it was killed (by its hook, or by us after `delay`)."""
    global countdown, store_prefix
    pid = os.fork()
    if pid == 0:
        countdown, store_prefix = kill_at, str(root)
        try:
            work(root, prices, SECOND, run_id)
        except BaseException as error:
            print(f"child: {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if delay >= 0:
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "the run failed"
    return False


def published(root: Path) -> dict[str, bytes]:
    """Every published file of the derived folders.

    A history's footer names its batches, whose ids end with the run's: every try is of one run.
    """
    return {
        str(p.relative_to(root)): p.read_bytes()
        for folder in ("historical", "quarantine", "risk")
        for p in sorted((root / folder).rglob("*.parquet"))
    }


def read_all(root: Path, stop: threading.Event, broken: list[str], read: list[int]) -> None:
    """A reader that never rests; it counts what it reads."""
    while not stop.is_set():
        for path in (root / "historical").glob("*.parquet"):
            try:
                frame = read_history(path)
                read[0] += 1
                assert frame.index.is_monotonic_increasing
                assert frame["adj_close"].notna().all()
            except Exception as error:
                broken.append(f"{path}: {error!r}")


def price_files(folder: Path) -> tuple[Path, Path]:
    """Prices as they were, and as they are now: more rows, a correction, a split, a fault."""
    days = asx_days("2023-09-01", 550)
    days = days[days <= pd.Timestamp("2025-11-05").to_datetime64()]
    old, new = folder / "old", folder / "new"
    for i, ticker in enumerate(TICKERS):
        rows = bars(days, walk(len(days), seed=i))
        rows.iloc[100 + i, 5] = 0.8
        rows.iloc[200, 0] = 0.0
        now = rows.copy()
        now.iloc[-15, 3] *= 1.001
        if ticker == "VTS":
            now[["open", "high", "low", "close"]] /= 4
            now.iloc[-5, 6] = 4.0
        for where, frame in ((old, rows[:-12]), (new, now)):
            where.mkdir(exist_ok=True, parents=True)
            yahoo_rows(frame).to_parquet(where / f"{ticker}.parquet")
    return old, new


def main() -> None:
    """The loop; prints a summary as JSON."""
    folder = Path(sys.argv[1]).resolve()
    old, new = price_files(folder)
    base, reference = folder / "base", folder / "reference"
    work(base, old, FIRST, "first")
    shutil.copytree(base, reference)
    work(reference, new, SECOND, "second")
    goal, start = published(reference), published(base)
    assert goal != start
    sys.addaudithook(hook)
    seed = random.Random(7)
    kills, root = 0, folder / "victim"
    steps_done, kill_at, tries = False, 0, 0
    read = [0]
    while kills < 60 or not steps_done:
        tries += 1
        assert tries < 400, "the loop does not end"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(base, root)
        stop, broken = threading.Event(), []
        reader = threading.Thread(target=read_all, args=(root, stop, broken, read))
        reader.start()
        if steps_done:
            killed = attempt(root, new, "second", 10**9, delay=seed.uniform(0.0, 0.25))
        else:
            killed = attempt(root, new, "second", kill_at)
            kill_at += 1
            steps_done = not killed
        kills += killed
        stop.set()
        reader.join()
        assert not broken, broken[:3]
        for name, content in published(root).items():
            assert content in (start.get(name), goal.get(name)), f"{name} is neither old nor new"
        assert not attempt(root, new, "second", -1)
        assert published(root) == goal, "the next run did not converge"
        assert not list(root.rglob("*.tmp")), "temp files were left"
    print(json.dumps({"kills": kills, "steps": kill_at, "read": read[0]}))


if __name__ == "__main__":
    main()
