"""What is made from the same is not made again, and what is not the same is."""

import dataclasses
import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.outcomes import OutcomeKind
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import read_manifest
from etf_pipeline_tests.derived_support import (
    CURRENCIES,
    DAYS,
    RATE,
    TABLES,
    DerivedWorld,
    N,
    newest_files,
)
from etf_pipeline_tests.stored_support import damage_rows

EVERYONE = frozenset(CURRENCIES)
ALL = frozenset({"calm", "mixed", "near-calm", "lacking"})
NONE = frozenset()


@pytest.fixture
def world(tmp_path):
    made = DerivedWorld(tmp_path / "store")
    made.save()
    return made


def nodes(world, asset):
    """Which files there are, on the disk itself: one that is written anew is another."""
    root = world.root
    return {p: p.stat().st_ino for t in TABLES[asset] for p in Layout(root).files(t)}


@pytest.mark.parametrize("asset", TABLES)
def test_a_night_with_nothing_new_makes_nothing_and_tells_of_everything(world, asset):
    first, files = world.run(asset), nodes(world, asset)
    for ticker in ("AAA", "CCC", "DDD"):  # nothing reads a row of them
        damage_rows(Layout(world.root).of(HISTORY, ticker))
    second = world.run(asset)
    assert nodes(world, asset) == files
    assert [dataclasses.replace(p, changed=False) for p in first.published] == second.published
    assert second.manifest != first.manifest
    assert (second.details, second.version_of) == (first.details, first.version_of)
    assert (second.as_of, second.source) == (first.as_of, "files") == (DAYS[N - 1].item(), "files")
    told = {o.subject: o for o in read_manifest(second.manifest)}
    for before in read_manifest(first.manifest):
        good = before.outcome is OutcomeKind.UPDATED
        kind = OutcomeKind.UNCHANGED if good else OutcomeKind.FAILED
        assert told.pop(before.subject) == dataclasses.replace(before, outcome=kind)
    assert not told


def relist(world, **changes):
    world.universe = Universe(
        tuple(
            dataclasses.replace(i, **changes) if i.ticker == "AAA" else i
            for i in world.universe.instruments
        )
    )


WITH_AAA = {"calm", "mixed", "near-calm"}  # whose benchmark it is in, too
WITH_BBB = {"calm", "near-calm", "lacking"}
# What happens, and whose rows are made again: of tickers, of optimised portfolios, of backtests.
CHANGES = {
    "nothing": (lambda w: None, NONE, NONE, NONE),
    "a bar more of a ticker": (lambda w: w.add_day("AAA"), {"AAA"}, WITH_AAA, ALL),
    "a corrected bar": (lambda w: w.correct("CCC", 5), {"CCC"}, {"mixed"}, {"mixed"}),
    "a corrected bar of the benchmark": (lambda w: w.correct("BBB", 5), EVERYONE, WITH_BBB, ALL),
    "another rate": (lambda w: w.correct(RATE, N - 30), {"CCC"}, {"mixed"}, {"mixed"}),
    "a rate without risk": (lambda w: w.describe(risk_free_rate=0.03), EVERYONE, ALL, ALL),
    "a fund without risk": (lambda w: w.describe(risk_free_rate="DDD"), EVERYONE, ALL, ALL),
    "another lookback": (lambda w: w.describe(lookback_years=2), NONE, ALL, ALL),
    "another base currency": (lambda w: w.describe(base_currency="AUD"), NONE, ALL, ALL),
    "no benchmark": (lambda w: w.describe(benchmark=None), EVERYONE, NONE, ALL),
    "a convention": (lambda w: w.describe(periods_per_year=252.0), EVERYONE, ALL, ALL),
    "another limit": (
        lambda w: w.specify("calm", max_weight=0.9),
        NONE,
        {"calm", "near-calm"},
        {"calm", "near-calm"},
    ),
    "another calendar of trades": (
        lambda w: w.specify("mixed", rebalance="monthly"),
        NONE,
        NONE,
        {"mixed"},
    ),
    "more resamples": (
        lambda w: w.specify("calm", resamples=21),
        NONE,
        {"calm", "near-calm"},
        NONE,
    ),
    "a description": (lambda w: w.specify("calm", description="x"), NONE, NONE, NONE),
    "another issuer": (lambda w: relist(w, issuer="X"), NONE, WITH_AAA, WITH_AAA),
    "another name": (lambda w: relist(w, name="X"), NONE, NONE, NONE),
    "a fee": (lambda w: relist(w, management_fee=0.1), NONE, WITH_AAA, WITH_AAA),
}


@pytest.mark.parametrize("asset", TABLES)
@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_makes_anew_what_depends_on_it_and_nothing_else(world, asset, kind):
    happens, *expected = CHANGES[kind]
    world.run(asset)
    before, files = world.parts(asset), newest_files(asset, world.root)
    happens(world)
    world.run(asset)
    after = world.parts(asset)
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == expected[list(TABLES).index(asset)]
    if not changed:
        assert newest_files(asset, world.root) == files


def test_a_file_of_rates_counts_by_its_content(world, tmp_path):
    path = tmp_path / "rates.csv"

    def published(rate):
        path.write_text("date,rate (%)\n" + "".join(f"{d},{rate}\n" for d in DAYS[:N:20]))

    published(3.5)
    world.describe(risk_free_rate=str(path))
    world.run("risk_metrics")
    parts = world.parts("risk_metrics")
    published(3.5)
    world.run("risk_metrics")
    assert world.parts("risk_metrics") == parts
    published(3.75)
    world.run("risk_metrics")
    assert not set(world.parts("risk_metrics").items()) & set(parts.items())


@pytest.mark.parametrize("asset", TABLES)
def test_what_is_taken_over_is_not_made_again(world, asset):
    """The rows of CCC cannot be read any more: what is made of them is as it was."""
    world.run(asset)
    damage_rows(Layout(world.root).of(HISTORY, "CCC"))
    world.correct("DDD", N - 30)
    if asset == "backtests":
        world.specify("calm", rebalance="yearly")
    result = world.run(asset)
    name = "CCC" if asset == "risk_metrics" else "mixed"
    outcomes = {o.subject: o for o in result.outcomes}
    assert outcomes[name].good
    assert result.published[0].changed


@pytest.mark.parametrize("asset", ["optimised_portfolios", "backtests"])
def test_a_portfolio_of_a_file_that_was_damaged_is_made_again_once_it_is_mended(world, asset):
    """Its footer was whole all the time, and says the same as before."""
    path = Layout(world.root).of(HISTORY, "CCC")
    right = path.read_bytes()
    damage_rows(path)
    found = {o.subject: o for o in world.run(asset).outcomes}
    assert found["mixed"].reason_code is ReasonCode.NO_HISTORY
    assert found["calm"].good
    path.write_bytes(right)
    assert {o.subject: o.good for o in world.run(asset).outcomes}["mixed"]


def test_so_is_a_ticker(world):
    path = Layout(world.root).of(HISTORY, "CCC")
    right = path.read_bytes()
    damage_rows(path)
    result = world.run("risk_metrics")
    (bad,) = result.bad
    assert (bad.subject, bad.reason_code) == ("CCC", ReasonCode.CORRUPT_FILE)
    assert world.parts("risk_metrics").keys() == EVERYONE - {"CCC"}
    path.write_bytes(right)
    assert not world.run("risk_metrics").bad
    assert world.parts("risk_metrics").keys() == EVERYONE


def by_hand(path):
    """Another value in a row, the footer as it was."""
    table = pq.read_table(path)
    at = table.schema.names.index("source")
    values = ["X", *table.column(at).to_pylist()[1:]]
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(values)), path)


def of_an_earlier_release(path):
    table = pq.read_table(path)
    meta = {k: v for k, v in table.schema.metadata.items() if not k.endswith(b"made_from")}
    pq.write_table(table.replace_schema_metadata(meta), path)


SPOILT = {
    "damaged": damage_rows,
    "by hand": by_hand,
    "missing": lambda path: path.unlink(),
    "of an earlier release": of_an_earlier_release,
}


@pytest.mark.parametrize("asset", TABLES)
@pytest.mark.parametrize("kind", SPOILT)
def test_a_file_that_is_not_what_was_published_is_made_anew(world, asset, kind):
    world.run(asset)
    right = newest_files(asset, world.root)
    for path in [world.root / name for name in right]:
        if not pq.read_metadata(path).num_rows:
            continue
        SPOILT[kind](path)
        result = world.run(asset)
        assert newest_files(asset, world.root) == right
        (file,) = [p for p in result.published if p.path == path]
        # without saying what it was made from, it held the same
        assert file.changed is (kind != "of an earlier release")


@pytest.mark.parametrize("asset", TABLES)
def test_a_newer_session_elsewhere_makes_a_file_of_that_day(world, asset):
    """DDD alone goes on: the others are as they were, in a table of another day."""
    first = world.run(asset)
    world.add_day("DDD")
    second = world.run(asset)
    assert second.as_of - first.as_of == dt.timedelta(days=int((DAYS[N] - DAYS[N - 1]).astype(int)))
    assert [p.path.parent.name for p in second.published] == [f"as_of={second.as_of}"] * len(
        TABLES[asset]
    )
    assert {o.outcome for o in second.outcomes if o.good} == {OutcomeKind.UPDATED}


def test_a_ticker_that_is_gone_or_new_leaves_the_others_as_they_were(world):
    world.run("risk_metrics")
    before = world.parts("risk_metrics")
    world.remove("CCC")
    world.run("risk_metrics")
    assert world.parts("risk_metrics") == {t: p for t, p in before.items() if t != "CCC"}
    world.lengths["CCC"] = N
    world.save("CCC")
    world.run("risk_metrics")
    assert world.parts("risk_metrics") == before


def test_another_source_of_any_ticker_is_said_in_the_files(world):
    """A footer says where prices came from, all of them."""
    world.run("optimised_portfolios")
    parts = world.parts("optimised_portfolios")
    path = Layout(world.root).of(HISTORY, "ZZ")
    world.universe = Universe(
        (
            *world.universe.instruments,
            dataclasses.replace(world.universe.instruments[0], ticker="ZZ", symbol="ZZ.AX"),
        )
    )
    pq.read_table(Layout(world.root).of(HISTORY, "AAA")).to_pandas().rename(
        columns={"adj_close": "Adj Close"}
    ).drop(columns=["flag"]).to_parquet(path)
    result = world.run("optimised_portfolios")
    assert result.source == "files,user"
    assert world.parts("optimised_portfolios") == parts
    assert all(p.changed for p in result.published)
