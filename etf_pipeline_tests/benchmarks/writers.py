"""Many writers of one log: how long the slowest calls wait, and what taking turns costs.

Sixteen writers, as 8 processes and 8 threads of two more, record single events without a pause. In
turn with that, the same by plain SQLite, each writer with a connection of its own, and by one
writer alone: what the disk takes for a commit changes from second to second.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

THREADS = (1,) * 8 + (4,) * 2
KINDS = ("ours", "plain", "alone")
ROUNDS, SECONDS, PAUSE_SECONDS, START_SECONDS = 5, 4.0, 1.0, 20.0


def _ours(path: Path) -> Callable[[int], Callable[[], object]]:
    from etf_pipeline.events.log.sqlite import SqliteLog
    from etf_pipeline_tests.events_support import query

    log = SqliteLog(path)
    return lambda thread: lambda: log.append([query()])


def _plain(path: Path) -> Callable[[int], Callable[[], object]]:
    def writer(thread: int) -> Callable[[], object]:
        db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE IF NOT EXISTS plain (i INTEGER PRIMARY KEY, data TEXT)")

        def write() -> None:
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO plain (data) VALUES (?)", ("x" * 500,))
            db.execute("COMMIT")

        return write

    return writer


def _write(folder: Path, threads: int, begin: float, first: bool) -> dict[str, list[list[float]]]:
    """Milliseconds of every call, by kind and thread."""
    ours = _ours(folder / "events.sqlite")
    makes = {"ours": ours, "plain": _plain(folder / "plain.sqlite"), "alone": ours}
    took: dict[str, list[list[float]]] = {kind: [[] for _ in range(threads)] for kind in KINDS}

    def work(i: int) -> None:
        writes = {kind: make(i) for kind, make in makes.items()}
        at = begin
        for kind in KINDS * ROUNDS:
            time.sleep(max(0.0, at - time.time()))
            while time.time() < at + SECONDS and (kind != "alone" or (first and i == 0)):
                started = time.perf_counter()
                writes[kind]()
                took[kind][i].append((time.perf_counter() - started) * 1e3)
            at += SECONDS + PAUSE_SECONDS

    running = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    return took


def _together(folder: Path) -> dict[str, float]:
    from etf_pipeline.events.log.sqlite import SqliteLog

    SqliteLog(folder / "events.sqlite").verify_writable()
    begin = time.time() + START_SECONDS
    command = [sys.executable, "-m", "etf_pipeline_tests.benchmarks.writers", "writer", str(folder)]
    children = [
        subprocess.Popen([*command, str(n), str(begin), str(i)], stdout=subprocess.PIPE, text=True)
        for i, n in enumerate(THREADS)
    ]
    answers = [json.loads(child.communicate()[0]) for child in children]
    found: dict[str, float] = {}
    for kind in KINDS:
        calls = [np.array(thread) for answer in answers for thread in answer[kind] if thread]
        each = np.concatenate(calls)
        found |= {
            f"{kind} writers": len(calls),
            f"{kind} p50": float(np.percentile(each, 50)),
            f"{kind} p99.9": float(np.percentile(each, 99.9)),
            f"{kind} slowest": float(each.max()),
            f"{kind} fewest": min(map(len, calls)) / max(map(len, calls)),
            f"{kind} rate": len(each) / (ROUNDS * SECONDS),
        }
    return found


def report(folder: Path, child: Callable[..., dict[str, float]], line: Callable[..., None]) -> None:
    """Print how long calls wait."""
    folder.mkdir(parents=True, exist_ok=True)
    r = child("writers", "together", str(folder))
    line(
        f"{r['ours writers']:.0f} writers, one log: p99.9",
        r["ours p99.9"],
        "ms",
        "<= 250",
        f"p50 {r['ours p50']:.0f}, slowest {r['ours slowest']:.0f}; "
        f"plain SQLite {r['plain p99.9']:.0f} and {r['plain slowest']:.0f}; "
        f"a commit alone {r['alone p99.9']:.1f} and {r['alone slowest']:.0f}",
    )
    line(
        "fewest calls of a writer / most",
        r["ours fewest"],
        "x",
        ">= 0.8",
        f"plain SQLite {r['plain fewest']:.2f}",
    )
    line(
        "calls of all writers / of one alone",
        r["ours rate"] / r["alone rate"],
        "x",
        ">= 0.5",
        f"{r['ours rate']:.0f}/s against {r['alone rate']:.0f}/s; "
        f"plain SQLite {r['plain rate']:.0f}/s",
    )


if __name__ == "__main__":
    what, where, *more = sys.argv[1:]
    if what == "writer":
        print(json.dumps(_write(Path(where), int(more[0]), float(more[1]), more[2] == "0")))
    else:
        print(json.dumps(_together(Path(where))))
