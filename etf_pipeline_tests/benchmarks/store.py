"""Reading and writing one ticker against bare pyarrow, and memory of a large update."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from etf_pipeline_tests.benchmarks.memory import peak_mib

TICKERS, ROWS = 2000, 5000


def _median(work: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _table(rows: int) -> Any:
    from etf_pipeline.history.basis import Basis
    from etf_pipeline.history.build import build
    from etf_pipeline.model.calendars import sessions
    from etf_pipeline_tests.support import asx_days, bars, walk

    return build(bars(asx_days("2005-01-04", rows), walk(rows)), Basis(sessions("XASX"))).history


def read(folder: Path) -> dict[str, float]:
    """Two columns of one ticker: ours (checked, indexed) and bare `read_table`."""
    from etf_pipeline.model.schemas import HISTORY
    from etf_pipeline.store.reader import read_history
    from etf_pipeline.store.writer import publish

    path = folder / "VAS.parquet"
    publish(path, HISTORY, _table(ROWS))

    def bare() -> object:
        return pq.read_table(path, columns=["date", "adj_close"])

    def ours() -> object:
        return read_history(path, ["adj_close"])

    bare(), ours()
    pairs = [(_median(ours, 20), _median(bare, 20)) for _ in range(15)]
    best = min(pairs, key=lambda p: p[0] + p[1])
    return {"ours": best[0], "bare": best[1]}


def write(folder: Path) -> dict[str, float]:
    """One ticker: validated, hashed, fsynced and renamed, against a bare `write_table`."""
    from etf_pipeline.history.build import validate_history
    from etf_pipeline.model.schemas import HISTORY
    from etf_pipeline.store.writer import publish

    tables = [_table(ROWS - i) for i in range(2)]
    folder.mkdir(parents=True, exist_ok=True)
    turn = iter(range(10**6))

    def ours() -> object:  # alternating contents, as equal content would not be written
        data = tables[next(turn) % 2]
        return publish(folder / "x.parquet", HISTORY, data, validate=validate_history)

    def bare() -> object:
        return pq.write_table(tables[next(turn) % 2], folder / "y.parquet", compression="zstd")

    return {"ours": _median(ours, 60), "bare": _median(bare, 60)}


def memory(folder: Path) -> dict[str, float]:
    """Peak memory of 2,000 tickers × 5,000 rows through history."""
    import datetime as dt

    from etf_pipeline.steps.histories import update_histories
    from etf_pipeline.steps.result import Run
    from etf_pipeline.store.batches import BatchWriter, new_batch_id
    from etf_pipeline.store.store import Store
    from etf_pipeline_tests.support import asx_days, bars, instrument, walk

    store, days = Store.at(folder, 60), asx_days("2005-01-04", ROWS)
    run = Run("bench", dt.datetime(2025, 11, 12, tzinfo=dt.UTC), "XASX")
    batch_id = new_batch_id(run.recorded_at, run.run_id)
    instruments = [instrument(f"T{i:04d}") for i in range(TICKERS)]
    with BatchWriter(store.layout, run.partition, batch_id, "yahoo") as batch:
        for i, one in enumerate(instruments):
            rows = bars(days, walk(ROWS, seed=i)).assign(adj_close_source=float("nan"))
            batch.add(one.ticker, one.symbol, "XASX", "AUD", True, rows)
    started = time.perf_counter()
    outcomes = update_histories(store, run, instruments).outcomes
    seconds = time.perf_counter() - started
    assert all(o.outcome == "collected" for o in outcomes)
    return {"gib": peak_mib() / 1024, "seconds": seconds}


def report(folder: Path, child: Callable[..., dict[str, Any]], line: Callable[..., None]) -> None:
    """Run the three and print them."""
    found = child("store", "read", str(folder / "read"))
    line(
        "read one ticker, 2 columns / read_table",
        found["ours"] / found["bare"],
        "x",
        "<= 1.5",
        f"{found['ours'] * 1e3:.2f} ms / {found['bare'] * 1e3:.2f} ms",
    )
    found = child("store", "write", str(folder / "write"))
    line(
        "publish one ticker / bare write_table",
        found["ours"] / found["bare"],
        "x",
        "report",
        f"{found['ours'] * 1e3:.2f} ms / {found['bare'] * 1e3:.2f} ms",
    )
    found = child("store", "memory", str(folder / "memory"))
    line(
        "peak memory of an update",
        found["gib"],
        "GiB",
        "< 1.5",
        f"{TICKERS} tickers x {ROWS} rows in {found['seconds']:.0f} s",
    )


if __name__ == "__main__":
    kinds = {"read": read, "write": write, "memory": memory}
    print(json.dumps(kinds[sys.argv[1]](Path(sys.argv[2]))))
