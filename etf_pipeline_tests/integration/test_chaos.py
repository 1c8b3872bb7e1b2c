"""Seeded cycles in which things around the event log go wrong: nothing is lost, nothing doubled.

The short ones of `SEEDS`, or as many long ones as `ETF_TEST_CYCLES` says from the seed
`ETF_TEST_SEED` on; `make soak` asks for 200. Each is ended after a time in any case. A failure
prints the seed, what happened, and the command that runs it again alone.
"""

import contextlib
import os

import pytest

from etf_pipeline_tests.soak.cycle import run_cycle
from etf_pipeline_tests.soak.machine import Brokers
from etf_pipeline_tests.soak.nursery import Nursery
from etf_pipeline_tests.soak.script import EMBEDDED, SEEDS, Script, Step, draw

FIRST = int(os.environ.get("ETF_TEST_SEED", "0"))
CYCLES = int(os.environ.get("ETF_TEST_CYCLES", "0"))


@pytest.fixture(scope="module")
def nursery():
    with contextlib.closing(Nursery()) as made:
        yield made


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with contextlib.closing(Brokers(tmp_path_factory.mktemp("brokers"))) as made:
        yield made


@pytest.mark.parametrize("seed", range(FIRST, FIRST + CYCLES) if CYCLES else SEEDS)
def test_nothing_is_lost_and_nothing_doubled(seed, tmp_path, nursery, running):
    script = draw(seed, short=not CYCLES)
    if (why := running.missing(script.mode)) is not None:
        pytest.skip(why)
    outcome = run_cycle(tmp_path / "cycle", script, nursery, running.get(script.mode), keep=False)
    print(outcome.figures)
    assert not outcome.faults, str(outcome)
    assert outcome.figures["acknowledged"] > 0
    assert outcome.figures["replays"] > outcome.figures["replays that failed"]


def test_a_cycle_that_does_not_end_is_a_fault_that_says_where(tmp_path, nursery):
    class Short(Script):
        seconds = 3.0

    waits = tuple(Step("verify", 10**9, 1) for _ in range(20))
    script = Short(1, EMBEDDED, 1, 1, 0.0, 1, 1, False, 1, waits, short=True)
    outcome = run_cycle(tmp_path / "late", script, nursery, None)
    assert len(outcome.faults) == 1
    assert "did not end within 3 s" in outcome.faults[0]
    assert "in _cycle" in outcome.faults[0]
    outcome = run_cycle(tmp_path / "next", draw(SEEDS[0], EMBEDDED, short=True), nursery, None)
    assert outcome.faults == []
