"""Nights of a large universe: the first, the next, and one with nothing new; how each grows.

`python -m etf_pipeline_tests.benchmarks.nights SIZE … ` for other numbers of tickers. Prices are
made by a source that answers at once, so that all the time is the pipeline's own.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etf_pipeline_tests.benchmarks.memory import forget_peak, peak_mib

if TYPE_CHECKING:
    from etf_pipeline.ingest.source import Download, Request

ROWS, SIZES = 5_000, (300, 1_000, 3_000)
NIGHTS = {"first": 0, "nothing new": 0, "next": 1}
_SHARD = 1_000  # tickers of a shard
_MEMBERS, _PORTFOLIOS = 8, 4
_CLASSES = ("australian_equity", "international_equity", "fixed_income", "property", "commodity")
_FIRST_NIGHT = dt.datetime(2025, 11, 12, 12, tzinfo=dt.UTC)


class Walks:
    """A source of random walks up to the clock's last session: the days before never change."""

    name = "files"

    def __init__(self, clock: Callable[[], dt.datetime]) -> None:
        self._clock = clock

    def fetch(self, requests: Sequence[Request]) -> Iterator[Download]:
        """See `PriceSource.fetch`."""
        import numpy as np
        import pandas as pd

        from etf_pipeline.ingest.source import Download
        from etf_pipeline.model.calendars import last_final_session, sessions
        from etf_pipeline.model.rows import DOWNLOAD_COLUMNS
        from etf_pipeline_tests.support import walk

        last = last_final_session("XASX", self._clock(), dt.timedelta())
        days = sessions("XASX")
        begin = int(np.searchsorted(days, np.datetime64(_FIRST_NIGHT.date()))) - ROWS
        days = days[begin : int(np.searchsorted(days, np.datetime64(last), "right"))]
        columns = pd.Index(DOWNLOAD_COLUMNS)
        for request in requests:
            seed = int(request.instrument.ticker[1:])
            start = np.datetime64(request.start or "1900-01-01")
            first = int(np.searchsorted(days, start))
            at = np.arange(first, len(days))
            closes = walk(ROWS + 260, seed)[at]
            paid = np.where((at + seed) % 63 == 0, 0.3, 0.0)
            bar = (closes, closes * 1.01, closes * 0.99, closes, np.full(len(at), 1000.0))
            rest = (paid, np.zeros(len(at)), np.zeros(len(at)), np.full(len(at), np.nan))
            index = pd.DatetimeIndex(days[at].astype("datetime64[s]"), name="date")
            rows = pd.DataFrame(np.column_stack([*bar, *rest]), index, columns)
            yield Download(request, rows, request.instrument.symbol, "AUD")


def write_files(folder: Path, size: int) -> None:
    """A universe in shards, and some portfolios."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"T{i:05d}" for i in range(size)]
    shards = math.ceil(size / _SHARD)
    rows = [
        f"{n},{n}.AX,XASX,Fund {n},{_CLASSES[i % 5]},x,AUD,{shards}\n" for i, n in enumerate(names)
    ]
    header = "ticker,symbol,exchange,name,asset_class,issuer,currency,shards\n"
    (folder / "universe.csv").write_text(header + "".join(rows))
    blocks = []
    for k in range(_PORTFOLIOS):
        members = ", ".join(names[(k * 37 + j * 11) % size] for j in range(_MEMBERS))
        blocks.append(f"  - name: p{k}\n    tickers: [{members}]\n    objective: min_volatility\n")
    (folder / "portfolios.yaml").write_text("portfolios:\n" + "".join(blocks))


def night(folder: Path, later: int) -> dict[str, Any]:
    """The whole graph once, `later` days after the first night: seconds, busy ones, MiB, steps."""
    os.environ["DAGSTER_HOME"] = str(folder / "home")
    from etf_pipeline.cli.exit_codes import of_run
    from etf_pipeline.orchestration.instance import open_instance
    from etf_pipeline.orchestration.resources import Pipeline
    from etf_pipeline.orchestration.runner import run_graph
    from etf_pipeline.settings import Settings

    settings = Settings(
        data_dir=folder / "store",
        source=f"files:{folder}",
        universe_file=folder / "universe.csv",
        portfolios_file=folder / "portfolios.yaml",
        corrections_file=folder / "none.csv",
    )
    clock = lambda: _FIRST_NIGHT + dt.timedelta(days=later)  # noqa: E731
    pipeline = Pipeline(settings, clock=clock, source=lambda *_: Walks(clock))
    with open_instance() as instance:
        known = {run.run_id for run in instance.get_runs()}
        forget_peak()
        began, busy = time.perf_counter(), time.process_time()
        report = run_graph(pipeline, instance)
        found: dict[str, Any] = {
            "seconds": time.perf_counter() - began,
            "busy": time.process_time() - busy,
            "mib": peak_mib(),
        }
        assert of_run(report, chosen=False) == 0, report.errors
        steps: dict[str, float] = {}
        for run in instance.get_runs():
            for step in () if run.run_id in known else instance.get_run_step_stats(run.run_id):
                took = (step.end_time or 0.0) - (step.start_time or 0.0)
                steps[step.step_key] = steps.get(step.step_key, 0.0) + took
    kept = sum(f.stat().st_size for f in (folder / "store").rglob("*") if f.is_file())
    return found | {"steps": steps, "store_mib": kept / 2**20}


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Growth between the least and the greatest: 1 for what doubles when the tickers do."""
    return math.log(values[-1] / values[0]) / math.log(sizes[-1] / sizes[0])


def report(
    folder: Path,
    child: Callable[..., dict[str, Any]],
    line: Callable[..., None],
    sizes: Sequence[int] = SIZES,
) -> None:
    """Three nights at each size, each in a process of its own; then how the steps grow."""
    found: dict[str, list[dict[str, Any]]] = {n: [] for n in NIGHTS}
    for size in sizes:
        where = folder / str(size)
        write_files(where, size)
        for name, later in NIGHTS.items():
            one = child("nights", "night", str(where), str(later))
            found[name].append(one)
            longest = sorted(one["steps"].items(), key=lambda s: -s[1])[:6]
            line(
                f"{size} x {ROWS}, {name}",
                one["seconds"],
                "s",
                "report",
                f"busy {one['busy']:.1f} s, {one['mib']:.0f} MiB, store {one['store_mib']:.0f}: "
                + ", ".join(f"{s} {t:.1f}" for s, t in longest),
            )
        first, again, later = (found[n][-1]["seconds"] for n in NIGHTS)
        line(f"{size}: next night / first", later / first, "x", "<= 0.25", "")
        line(f"{size}: nothing new / first", again / first, "x", "report", "")
    if len(sizes) > 1:
        for step in found["first"][-1]["steps"]:
            took = [one["steps"].get(step, 0.0) for one in found["first"]]
            if all(t > 0 for t in took):
                detail = ", ".join(f"{t:.2f} s" for t in took)
                line(f"growth of {step}", exponent(sizes, took), "", "<= 1.1", detail)
        line("growth of memory", exponent(sizes, [o["mib"] for o in found["first"]]), "", "", "")


if __name__ == "__main__":
    if sys.argv[1] == "night":
        print(json.dumps(night(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        from etf_pipeline_tests.benchmarks.__main__ import child as run_child
        from etf_pipeline_tests.benchmarks.__main__ import line as print_line

        with tempfile.TemporaryDirectory(prefix="etf-nights-") as where:
            report(Path(where), run_child, print_line, [int(a) for a in sys.argv[1:]])
