"""Correlations of the same histories, portfolios and settings are not made again."""

import dataclasses

import pyarrow.parquet as pq
import pytest

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.outcomes import OutcomeKind
from etf_pipeline.model.schemas import CORRELATIONS, HISTORY
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import read_manifest
from etf_pipeline_tests.derived_support import RATE, DerivedWorld, N, published_files
from etf_pipeline_tests.stored_support import damage_rows


@pytest.fixture
def world(tmp_path):
    made = DerivedWorld(tmp_path / "store")
    made.save()
    return made


def the_file(world):
    return Layout(world.root).newest(CORRELATIONS)


def test_a_night_with_nothing_new_makes_nothing_and_tells_of_everything(world):
    world.describe(base_currency="AUD")
    first, node = world.run("correlations"), the_file(world).stat().st_ino
    assert first.details["compared"]["1y AUD"].startswith("4 of 4 tickers on ")
    for ticker in ("AAA", "CCC"):  # nothing reads a row of them
        damage_rows(Layout(world.root).of(HISTORY, ticker))
    second = world.run("correlations")
    assert the_file(world).stat().st_ino == node
    assert [dataclasses.replace(p, changed=False) for p in first.published] == second.published
    assert (second.details, second.version_of) == (first.details, first.version_of)
    told = [read_manifest(r.manifest) for r in (first, second)]
    assert [o.fx for o in told[0]] == [o.fx for o in told[1]]
    assert {o.fx for o in told[0] if o.subject == "CCC"} != {None}
    assert {o.outcome for o in told[1]} == {OutcomeKind.UNCHANGED}


# What happens, and whether correlations are made again.
CHANGES = {
    "a bar more of a ticker": (lambda w: w.add_day("AAA"), True),
    "a corrected bar": (lambda w: w.correct("CCC", 5), True),
    "another rate": (lambda w: w.correct(RATE, N - 30), True),
    "a ticker less": (lambda w: w.remove("DDD"), True),
    "another base currency": (lambda w: w.describe(base_currency="AUD"), True),
    "fewer kept": (lambda w: w.describe(correlations_kept=1), True),
    "another member": (lambda w: w.specify("calm", tickers=["AAA", "DDD"]), True),
    "another lookback": (lambda w: w.describe(lookback_years=2), False),
    "another rate without risk": (lambda w: w.describe(risk_free_rate=0.5), False),
    "another limit": (lambda w: w.specify("calm", max_weight=0.9), False),
    "another order of members": (lambda w: w.specify("calm", tickers=["BBB", "AAA"]), False),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_correlations_follow_from(world, kind):
    happens, anew = CHANGES[kind]
    world.run("correlations")
    made_from = pq.read_metadata(the_file(world)).metadata
    happens(world)
    world.run("correlations")
    assert (pq.read_metadata(the_file(world)).metadata != made_from) is anew


def test_a_file_left_alone_says_what_one_made_anew_would_say(world, tmp_path):
    world.run("correlations")
    world.describe(risk_free_rate=0.5)  # which correlations do not rest on
    found = published_files(world.run("correlations"), world.root)
    assert found == world.from_scratch("correlations", tmp_path / "other")


def test_a_damaged_history_is_left_out_and_comes_back_once_it_is_mended(world):
    """Its footer was whole all the time, and says the same as before."""
    path = Layout(world.root).of(HISTORY, "BBB")
    right = path.read_bytes()
    damage_rows(path)
    (bad,) = world.run("correlations").bad
    assert (bad.subject, bad.reason_code) == ("BBB", ReasonCode.CORRUPT_FILE)
    assert "BBB" not in pq.read_table(the_file(world)).column("ticker").to_pylist()
    path.write_bytes(right)
    assert not world.run("correlations").bad
    assert "BBB" in pq.read_table(the_file(world)).column("ticker").to_pylist()


def test_a_file_that_was_changed_by_hand_is_made_anew(world):
    world.run("correlations")
    path = the_file(world)
    right, table = path.read_bytes(), pq.read_table(path)
    pq.write_table(table.slice(1), path)
    assert world.run("correlations").published[0].changed
    assert path.read_bytes() == right
