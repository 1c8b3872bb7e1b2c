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
from etf_pipeline_tests.soak.script import SEEDS, draw

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
