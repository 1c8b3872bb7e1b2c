"""Tickers that are renamed, and renamed back: what is left is what the last universe makes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from etf_pipeline.errors import UniverseError
from etf_pipeline.ingest.sources.simulated import SimulatedSource
from etf_pipeline.model.outcomes import OutcomeKind
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.share.opening import open_place
from etf_pipeline.share.work import refresh
from etf_pipeline.store.inventory import available_tickers
from etf_pipeline_tests.share.machines import SHARDS, Machine, from_scratch, later

PORTFOLIOS = "portfolios:\n  - name: one\n    tickers: [T5]\n    objective: min_volatility\n"
OTHER = "T5"
OLD, NEW, PLAIN, BACK = "T1", "T1:VBX:T1", "T1:VBX", "T1:T1:VBX"
# Who ran with which name of the symbol T1, a night each.
ORDERS = {
    "undone by the same": [("a", OLD), ("a", NEW), ("a", OLD)],
    "the other ran between, and undoes it": [("a", OLD), ("a", NEW), ("b", NEW), ("b", BACK)],
    "undone, and done again by the other": [("a", OLD), ("b", NEW), ("a", OLD), ("b", NEW)],
}
MORE = {
    "undone with the former name as an alias": [("a", OLD), ("a", NEW), ("a", BACK)],
    "undone by the other, which never had it": [("b", OLD), ("a", NEW), ("b", OLD)],
    "the other goes on as before": [("a", OLD), ("a", NEW), ("b", OLD), ("a", OLD), ("a", NEW)],
    "without an alias": [("a", OLD), ("b", PLAIN)],
    "without an alias, and back": [("a", OLD), ("b", PLAIN), ("a", OLD)],
    "the alias is told late": [("a", OLD), ("a", PLAIN), ("b", NEW)],
    "an alias is taken back": [("a", OLD), ("a", NEW), ("a", PLAIN)],
    "twice": [("a", OLD), ("b", NEW), ("a", "T1:CCC:T1;VBX")],
    "twice, and back at once": [("a", OLD), ("b", NEW), ("a", "T1:CCC:T1;VBX"), ("b", OLD)],
    "to what another ticker was": [("a", OLD), ("a", "T1:T5:T1"), ("b", "T1:T5:T1")],
}


def machine(folder, url=None):
    return Machine(folder, url, changes={"portfolios": PORTFOLIOS})


def night(one, n, name):
    """A night of both shards; what each ticker is told."""
    one.now = later(n)
    one.lists(name, *([] if OTHER in name else [OTHER]))
    told = {}
    for shard in SHARDS:
        for result in (one.download(f"{n}", shard), one.update(f"{n}", shard)):
            told |= {(result.asset, o.subject): o for o in result.outcomes}
    return told


def ends_as_made_anew(order, url, folder, *, tables=False):
    """Run the nights; then every copy is what one machine makes of the raw batches alone.

    Besides the two, `c` is a copy that missed all but the first night.
    """
    machines = {name: machine(folder / name, url) for name in "abc"}
    for n, (who, name) in enumerate(order):
        night(machines[who], n, name)
        if n == 0:
            refresh(machines["c"].pipeline.working_copy)
    last = machines[order[-1][0]]
    if tables:
        last.derive("last")
    made = last.files()
    assert made == from_scratch(folder / "alone", last, tables=tables)
    for one in machines.values():
        assert refresh(one.pipeline.working_copy).away is None
        assert one.files() == made


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_what_is_left_is_what_the_last_universe_makes(url, tmp_path, order):
    ends_as_made_anew(order, url, tmp_path, tables=True)


@pytest.mark.parametrize("order", MORE.values(), ids=MORE)
def test_so_in_every_other_order(folder, tmp_path, order):
    ends_as_made_anew(order, folder, tmp_path)


def test_a_ticker_that_was_taken_out_stays(tmp_path):
    """Its symbol is nobody's now: it can still be read."""
    one = machine(tmp_path)
    night(one, 0, OLD)
    one.lists(OTHER)
    for shard in SHARDS:
        one.night("1", shard)
    assert available_tickers(one.pipeline.layout) == ["T1", "T5"]


def test_a_symbol_that_means_another_security_takes_no_history_away(tmp_path):
    """The old one's prices are not the new one's: both can be read."""
    one = machine(tmp_path)
    night(one, 0, OLD)
    one.lists(PLAIN, OTHER)
    one.pipeline = replace(one.pipeline, source=lambda *_: SimulatedSource(lambda: one.now))
    for shard in SHARDS:  # by ticker, and so another series
        one.night("1", shard)
    assert available_tickers(one.pipeline.layout) == ["T1", "T5", "VBX"]


def test_one_that_comes_back_as_it_was_is_not_dropped_by_an_old_mark(url, tmp_path):
    """Dropped and made again within a day, it has the very bytes that the mark is about."""
    first, other = machine(tmp_path / "first", url), machine(tmp_path / "other", url)
    night(first, 0, OLD)
    layout, held = first.pipeline.layout, first.files()
    path = layout.of(HISTORY, "T1")
    name = layout.relative(path)
    for n in ("1", "2"):
        first.lists(*((NEW,) if n == "1" else (OLD,)), OTHER)
        for shard in SHARDS:
            first.update(n, shard)
        there = open_place(url, 20.0, plain_http=True).list("historical")
        assert any(f"{name}." in one for one in there) == (n == "1")
    assert first.files() == held
    refresh(other.pipeline.working_copy)
    open_place(url, 20.0, plain_http=True).remove(name)  # lost, not dropped
    refresh(other.pipeline.working_copy)
    assert other.files() == held


def test_a_mark_that_a_killed_machine_left_goes_with_the_next_run(folder, tmp_path):
    one = machine(tmp_path / "one", folder)
    night(one, 0, OLD)
    place = open_place(folder, 20.0)
    mark = f"historical/T1.parquet.{'0' * 64}.dropped"
    place.create(mark, b"")
    night(one, 1, OLD)
    assert mark not in place.list("historical")


def test_a_renamed_ticker_is_not_said_to_wait_for_its_history(tmp_path):
    one = machine(tmp_path)
    night(one, 0, OLD)
    one.lists(NEW, OTHER)
    told = {o.subject: o for shard in SHARDS for o in one.download("1", shard).outcomes}
    assert (told["VBX"].outcome, told["VBX"].reason_code) == (OutcomeKind.UNCHANGED, None)
    assert told["VBX"].reason == "known under the former ticker (T1)"


@pytest.mark.parametrize("name", [NEW, PLAIN], ids=["alias", "plain"])
def test_a_machine_with_an_older_universe_undoes_no_rename(url, tmp_path, name):
    """It made tables with the universe that it still has: nobody has asked it for the old name."""
    first, second = (machine(tmp_path / one, url) for one in "ab")
    for n, one in enumerate((first, second)):
        night(one, n, OLD)
        one.derive(f"{n}")
    night(first, 2, name)
    layout = first.pipeline.layout
    made = layout.of(HISTORY, "VBX").read_bytes()
    for n in (3, 4):
        with pytest.raises(UniverseError, match="VBX in place of T1") as told:
            night(second, n, OLD)
        assert str(second.pipeline.settings.universe_file) in str(told.value)
    refresh(first.pipeline.working_copy)
    assert available_tickers(layout) == [OTHER, "VBX"]
    assert layout.of(HISTORY, "VBX").read_bytes() == made
    night(second, 5, name)  # brought up to date
    assert available_tickers(second.pipeline.layout) == [OTHER, "VBX"]
