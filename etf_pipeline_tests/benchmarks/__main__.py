"""Runs every benchmark in a process of its own and prints the ratios.

`python -m etf_pipeline_tests.benchmarks [NAME …]`
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from etf_pipeline_tests.benchmarks import (
    events,
    idle,
    load,
    nights,
    portfolios,
    refresh,
    reports,
    risk,
    sql,
    store,
    writers,
    year,
)


def child(module: str, *args: str) -> dict[str, Any]:
    """Run one measurement in a fresh interpreter; its last line is JSON."""
    out = subprocess.run(
        [sys.executable, "-m", f"etf_pipeline_tests.benchmarks.{module}", *args],
        capture_output=True,
        text=True,
        check=False,
    )
    if out.returncode:
        raise SystemExit(f"{module} {' '.join(args)} failed:\n{out.stderr[-3000:]}")
    return json.loads(out.stdout.splitlines()[-1])


def line(name: str, value: float, unit: str, aim: str, detail: str) -> None:
    """One row of the report."""
    print(f"{name:<46} {value:8.2f} {unit:<4} {aim:<9} {detail}", flush=True)


def main() -> None:
    """Every benchmark, or those named."""
    wanted = set(sys.argv[1:])
    print(f"{'benchmark':<46} {'value':>8}      {'aim':<9} detail")
    with tempfile.TemporaryDirectory(prefix="etf-bench-") as folder:
        for module in (
            refresh,
            store,
            portfolios,
            risk,
            events,
            idle,
            load,
            nights,
            writers,
            sql,
            reports,
            year,
        ):
            name = module.__name__.rpartition(".")[2]
            if not wanted or name in wanted:
                module.report(Path(folder) / name, child, line)


if __name__ == "__main__":
    main()
