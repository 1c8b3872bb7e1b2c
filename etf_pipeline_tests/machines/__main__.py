"""Run cycles by hand: `python -m etf_pipeline_tests.machines SEED [--cycles N] [--short]`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from etf_pipeline_tests.machines.cycle import run_cycle
from etf_pipeline_tests.machines.script import Script, draw
from etf_pipeline_tests.machines.services import Services
from etf_pipeline_tests.machines.world import World


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m etf_pipeline_tests.machines")
    parser.add_argument("seed", type=int)
    parser.add_argument("--cycles", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="cycles as in every test run")
    parser.add_argument("--show", action="store_true", help="print the scripts alone")
    parser.add_argument("--tell", action="store_true", help="print what happened in any case")
    asked = parser.parse_args()
    seeds = range(asked.seed, asked.seed + asked.cycles)
    scripts = [draw(seed, short=asked.short) for seed in seeds]
    if asked.show:
        print("\n".join(f"{s.seed}: {s}" for s in scripts))
        return
    if (why := Services.missing()) is not None:
        sys.exit(why)
    bad = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        world = stack.enter_context(contextlib.closing(World(folder, hurried=asked.short)))
        # A night without trouble comes first, so that there is something to be put at risk.
        for script in (Script(-1, short=asked.short), *scripts):
            outcome = run_cycle(world, script)
            print(f"seed {script.seed}: {script}; {outcome.seconds:.1f} s", flush=True)
            if outcome.faults or asked.tell:
                print(outcome, file=sys.stderr, flush=True)
            if outcome.faults:
                bad.append(script.seed)
                if script.seed < 0:
                    break
    print(f"{len(scripts) + 1 - len(bad)} of {len(scripts) + 1} cycles without a fault; bad: {bad}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
