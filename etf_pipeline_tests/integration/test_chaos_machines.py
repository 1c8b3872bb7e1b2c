"""Seeded cycles in which things go wrong around several machines on one share.

All copies end, to the last byte, with what one machine makes, and every event is told once. The
short ones of `SEEDS` one after the other, or as many long ones as `ETF_TEST_MACHINE_CYCLES` says,
from the seed `ETF_TEST_SEED` on; `make soak` asks for 100. A failure prints the seed, what
happened, and the command that runs it again.
"""

import contextlib
import os

import pytest

from etf_pipeline_tests.machines.cycle import run_cycle
from etf_pipeline_tests.machines.script import KINDS, SEEDS, Script, draw
from etf_pipeline_tests.machines.services import Services
from etf_pipeline_tests.machines.world import World

FIRST = int(os.environ.get("ETF_TEST_SEED", "0"))
CYCLES = int(os.environ.get("ETF_TEST_MACHINE_CYCLES", "0"))
CHOSEN = range(FIRST, FIRST + CYCLES) if CYCLES else SEEDS
SHORT = not CYCLES


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    if (why := Services.missing()) is not None:
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("machines")
    with contextlib.closing(World(folder, hurried=SHORT)) as made:
        outcome = run_cycle(made, Script(-1, short=SHORT))
        assert not outcome.faults, str(outcome)
        yield made


def test_every_kind_of_trouble_is_in_a_short_cycle():
    assert {t.what for s in SEEDS for t in draw(s, short=True).troubles} == set(KINDS)


@pytest.mark.parametrize("seed", CHOSEN)
def test_machines_end_with_what_one_makes(seed, world):
    outcome = run_cycle(world, draw(seed, short=SHORT))
    print(outcome.happened)
    assert not outcome.faults, str(outcome)
