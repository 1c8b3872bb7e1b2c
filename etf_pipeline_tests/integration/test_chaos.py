"""Seeded cycles in which things around the event log go wrong: nothing is lost, nothing doubled.

20 of them, or as many as `ETF_TEST_CYCLES` says; `make soak` asks for 200. `ETF_TEST_SEED` is the
first seed. A failure prints the seed, what happened, and the command that runs it again alone.
"""

import contextlib
import os

import pytest

from etf_pipeline_tests.soak.cycle import run_cycle
from etf_pipeline_tests.soak.machine import Brokers
from etf_pipeline_tests.soak.nursery import Nursery
from etf_pipeline_tests.soak.script import CYCLES, SEED, draw

FIRST = int(os.environ.get("ETF_TEST_SEED", SEED))
SEEDS = range(FIRST, FIRST + int(os.environ.get("ETF_TEST_CYCLES", CYCLES)))


@pytest.fixture(scope="module")
def nursery():
    with contextlib.closing(Nursery()) as made:
        yield made


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with contextlib.closing(Brokers(tmp_path_factory.mktemp("brokers"))) as made:
        yield made


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_and_nothing_doubled(seed, tmp_path, nursery, running):
    script = draw(seed)
    if (why := running.missing(script.mode)) is not None:
        pytest.skip(why)
    outcome = run_cycle(tmp_path / "cycle", script, nursery, running.get(script.mode), keep=False)
    print(outcome.figures)
    assert not outcome.faults, str(outcome)
    assert outcome.figures["acknowledged"] > 0
    assert outcome.figures["replays"] > outcome.figures["replays that failed"]
