"""What a history lacks is told from new batches alone, and is what all batches would tell."""

import datetime as dt
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind
from etf_pipeline.steps.lacking import Lookups
from etf_pipeline.steps.one_history import Updated
from etf_pipeline.store.batches import BatchReader, BatchWriter, new_batch_id
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.support import asx_days, bars, instrument

ROWS = bars(asx_days("2025-10-01", 2), [1.0, 2.0]).assign(adj_close_source=1.0)
TICKERS = ("VAS", "VGS", "VTS")
T = dt.datetime(2025, 11, 12, 12, tzinfo=dt.UTC)

NIGHT = st.fixed_dictionaries(
    {
        "in_batch": st.sets(st.sampled_from([*TICKERS, "OLD"])),
        "elsewhere": st.sets(st.sampled_from([*TICKERS, "OLD"])),
        "asked": st.sets(st.sampled_from(TICKERS)),
        "refused": st.sets(st.sampled_from(TICKERS)),
        "lost": st.booleans(),  # whether the watermark is
        "alias": st.booleans(),  # whether VAS was called OLD, says the universe tonight
        "away": st.booleans(),  # whether the batch before this one is away tonight
    }
)


def write(layout, names, k, last, partition="XASX"):
    batch_id = new_batch_id(T + dt.timedelta(days=k), f"night{k}", last)
    with BatchWriter(layout, partition, batch_id, "yahoo") as batch:
        for name in sorted(names):
            batch.add(name, f"{name}.AX", "XASX", "AUD", False, ROWS)
    return batch_id


def came_of(one, refused):
    """As the step has it: all is applied, or nothing."""
    ticker = one.instrument.ticker
    if ticker in refused:
        return Updated(Outcome(ticker, OutcomeKind.FAILED, "", FailureKind.TRANSIENT))
    if not one.batches:
        return Updated(Outcome(ticker, OutcomeKind.UNCHANGED))
    return Updated(Outcome(ticker, OutcomeKind.UPDATED), newest=one.batches[-1])


@given(st.lists(NIGHT, min_size=1, max_size=7))
@settings(max_examples=60)
def test_what_is_lacking_is_what_all_batches_tell(nights):
    with tempfile.TemporaryDirectory() as name:
        layout = Layout(Path(name))
        there, others, holds, last, away = {}, {}, dict.fromkeys(TICKERS, ""), None, None
        for k, night in enumerate(nights):
            if night["in_batch"]:
                last = write(layout, night["in_batch"], k, last)
                there[last] = night["in_batch"]
            if night["elsewhere"]:
                others[write(layout, night["elsewhere"], k, None, "XSYD")] = night["elsewhere"]
            paths = layout.batch_files("XASX")
            if night["away"] and len(paths) > 1 and away is None:
                away = paths[-2], paths[-2].read_bytes(), there.pop(paths[-2].stem)
                paths[-2].unlink()
            elif away is not None:
                away[0].write_bytes(away[1])
                there[away[0].stem] = away[2]
                away = None
            if night["lost"]:
                holds = dict.fromkeys(TICKERS, "")
            asked = [
                instrument(t, aliases=("OLD",) if t == "VAS" and night["alias"] else ())
                for t in sorted(night["asked"])
            ]
            with BatchReader(layout) as reader:
                # One that holds nothing may have batches of any partition.
                held = {t: b for t, b in holds.items() if b}
                lookup = Lookups(layout, reader, "XASX", held)
                found = lookup.of(asked)
                assert [list(one.elsewhere) for one in found] == [
                    [("XSYD", b) for b in sorted(others) if others[b] & {*i.names}]
                    if not holds[i.ticker]
                    else []
                    for i in asked
                ]
                assert [list(one.batches) for one in found] == [
                    [b for b in sorted(there) if b > holds[i.ticker] and there[b] & {*i.names}]
                    for i in asked
                ]
                done = [came_of(one, night["refused"]) for one in found]
                for one, what in zip(found, done, strict=True):
                    holds[one.instrument.ticker] = what.newest or one.held or ""
                lookup.save(found, done)


def test_batches_that_were_looked_at_are_not_opened_again(tmp_path):
    layout, last = Layout(tmp_path), None
    for k in range(3):
        last = write(layout, {"VGS"}, k, last)
    one = instrument("VAS")

    def looked_up():
        with BatchReader(layout) as reader:
            lookup = Lookups(layout, reader, "XASX", {"VAS": reader.ids("XASX")[0]})
            found = lookup.of([one])
            lookup.save(found, [Updated(Outcome("VAS", OutcomeKind.UNCHANGED))])
            return found[0].batches

    assert looked_up() == ()
    for path in layout.batch_files("XASX"):
        path.write_bytes(b"who reads this, fails")
    assert looked_up() == ()
    layout.looked("XASX").write_text("{")  # lost: every batch might have it
    assert looked_up() == tuple(p.stem for p in layout.batch_files("XASX"))[1:]
