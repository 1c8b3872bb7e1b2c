"""Tables that were made night by night are those that are made from scratch, byte for byte."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline_tests.derived_support import (
    CURRENCIES,
    RATE,
    DerivedWorld,
    N,
    published_files,
)

TICKERS = st.sampled_from(sorted(CURRENCIES))
# The benchmark and what is free of risk have to be there.
OTHERS = st.sampled_from(["AAA", "CCC"])
CHANGES = st.one_of(
    st.tuples(st.just("add_day"), st.sampled_from([*sorted(CURRENCIES), RATE])),
    st.tuples(st.just("add_days"), st.just("")),
    st.tuples(st.just("correct"), st.sampled_from([*sorted(CURRENCIES), RATE])),
    st.tuples(st.just("gone or new"), OTHERS),
    st.tuples(st.just("risk_free_rate"), st.sampled_from([0.01, 0.02, "DDD"])),
    st.tuples(st.just("benchmark"), st.sampled_from(["BBB", "DDD", None])),
    st.tuples(st.just("base_currency"), st.sampled_from(["AUD", "USD", None])),
    st.tuples(st.just("max_weight"), st.sampled_from(["calm", "mixed", "near-calm"])),
    st.tuples(st.just("nothing"), st.just("")),
)


def happen(world, what, which, number):
    """One change; `number` chooses among those of its kind."""
    if what == "add_day" and which in world.lengths:
        world.add_day(which)
    elif what == "add_days":
        world.add_day(*world.lengths)
    elif what == "correct" and which in world.lengths:
        world.correct(which, N - 1 - number, 1.0 + number / 1_000)
    elif what == "gone or new" and which in world.lengths:
        world.remove(which)
    elif what == "gone or new":
        world.lengths[which] = N
        world.save(which)
    elif what == "max_weight":
        world.specify(which, max_weight=0.6 + number / 100)
    elif what in ("risk_free_rate", "benchmark", "base_currency"):
        world.describe(**{what: which})


@pytest.mark.parametrize(
    ("asset", "examples"),
    [("risk_metrics", 15), ("correlations", 15), ("optimised_portfolios", 6), ("backtests", 4)],
)
def test_night_by_night_is_as_from_scratch(asset, examples):
    @settings(max_examples=examples)
    @given(st.lists(st.tuples(CHANGES, st.integers(0, 12)), min_size=1, max_size=4))
    def nights(changes):
        with tempfile.TemporaryDirectory() as folder:
            world = DerivedWorld(Path(folder) / "store")
            world.save()
            world.run(asset)
            for (what, which), number in changes:
                happen(world, what, which, number)
                found = published_files(world.run(asset), world.root)
                assert found == world.from_scratch(asset, Path(folder) / "other")

    nights()
