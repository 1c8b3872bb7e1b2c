"""Run cycles by hand: `python -m etf_pipeline_tests.soak SEED [--cycles N] [--mode MODE]`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from etf_pipeline_tests.brokers import Broker
from etf_pipeline_tests.soak.cycle import run_cycle, tell
from etf_pipeline_tests.soak.machine import Brokers
from etf_pipeline_tests.soak.nursery import Nursery
from etf_pipeline_tests.soak.script import MODES, draw


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m etf_pipeline_tests.soak")
    parser.add_argument("seed", type=int)
    parser.add_argument("--cycles", type=int, default=1)
    parser.add_argument("--mode", choices=MODES)
    parser.add_argument("--short", action="store_true", help="cycles as in every test run")
    parser.add_argument("--show", action="store_true", help="print the scripts alone")
    parser.add_argument("--tell", action="store_true", help="print what happened in any case")
    parser.add_argument("--folder", type=Path, help="where stores and brokers are kept")
    parser.add_argument("--without", default="", help="steps to pass over, by commas")
    asked = parser.parse_args()
    scripts = [
        draw(s, asked.mode, short=asked.short) for s in range(asked.seed, asked.seed + asked.cycles)
    ]
    without = set(asked.without.split(","))
    scripts = [
        replace(s, steps=tuple(t for t in s.steps if t.what not in without)) for s in scripts
    ]
    if asked.show:
        print("\n".join(map(str, scripts)))
        return
    bad = []
    with contextlib.ExitStack() as stack:
        folder = asked.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        nursery = stack.enter_context(contextlib.closing(Nursery()))
        running = stack.enter_context(contextlib.closing(Brokers(folder / "brokers")))
        for script in scripts:
            began = time.monotonic()
            broker: Broker | None = running.get(script.mode)
            where = folder / f"{script.seed}-{script.mode}"
            outcome = run_cycle(where, script, nursery, broker, keep=asked.folder is not None)
            tell(outcome, time.monotonic() - began)
            if asked.tell and not outcome.faults:
                print(outcome, flush=True)
            if outcome.faults:
                bad.append(script.seed)
    print(f"{len(scripts) - len(bad)} of {len(scripts)} cycles without a fault; with: {bad}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
