"""Night after night, each history is what a rebuild from all raw batches gives, to the byte.

The nights are whole ones: a source that answers for several tickers, the real download, the real
update, on real files. What a source may do to one ticker is drawn; the others are its peers.
"""

import datetime as dt
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.history.evidence import Evidence
from etf_pipeline.ingest.planning import Terms
from etf_pipeline.ingest.source import Download
from etf_pipeline.model.corrections import Correction
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.result import Run
from etf_pipeline.store.corrections import keep_corrections
from etf_pipeline.store.histories import read_known
from etf_pipeline.store.inventory import date_range
from etf_pipeline.store.seen import SeenFile
from etf_pipeline.store.store import Store
from etf_pipeline_tests.support import asx_days, bars, instrument, walk

FUNDS = [instrument(t) for t in ("VAS", "VGS", "VTS", "VEU", "VAF")]
DAYS = asx_days("2024-01-02", 260)
FIRST = 150  # sessions on the first night
CLOSE, VOLUME, DIVIDENDS, SPLITS = 3, 4, 5, 6
SHAPES = (
    "nothing",
    "late",  # no new bar of this ticker tonight
    "corrected",
    "volume",
    "distribution",
    "absurd",
    "cents",
    "gain",
    "split",
    "spike",
    "zero_open",
    "holiday",
    "null",
    "dropped",
    "twice",
    "far",
    "jump",
    "noted",
    "stale",
)
DECLARED = ("close", "dividends", "accept", "void", "withdrawn")


@dataclass
class Market:
    """What the source would say tonight, by symbol, and who is being asked."""

    rows: dict[str, pd.DataFrame]
    notes: dict[str, dict[dt.date, str]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    name: str = "yahoo"

    def fetch(self, requests):
        for one in requests:
            symbol, rows = one.instrument.symbol, self.rows[one.instrument.symbol]
            end = len(rows) - 2 if symbol in self.silent else len(rows)
            rows = rows.iloc[:end]
            if one.start is not None:
                rows = rows[rows.index >= pd.Timestamp(one.start)]
            within = {
                d: n for d, n in self.notes.get(symbol, {}).items() if pd.Timestamp(d) in rows.index
            }
            yield Download(one, rows, symbol, "AUD", dividend_notes=within)


def paid(rows, at, share, fall=1.0):
    """A distribution of a share of the price, which falls by it or a part of it."""
    amount = round(float(rows.iloc[at - 1, CLOSE]) * share, 4)
    factor = 1.0 - fall * amount / float(rows.iloc[at - 1, CLOSE])
    rows.iloc[at:, :4] = np.round(rows.iloc[at:, :4] * factor, 4)
    rows.iloc[at, DIVIDENDS] = amount
    rows.iloc[:at, 8] *= 1.0 - amount / float(rows.iloc[at - 1, CLOSE])


def shaped(market, symbol, shape, back, n):
    """Have the source say something else of one ticker from tonight on."""
    rows = market.rows[symbol] = market.rows[symbol].copy()
    at, last = n - 1 - back, n - 1
    match shape:
        case "late":
            market.silent.add(symbol)
        case "corrected":
            rows.iloc[at, :4] *= 1.01
        case "volume":
            rows.iloc[at, VOLUME] += 7.0
        case "distribution":
            paid(rows, last, 0.012)
        case "absurd":
            paid(rows, last, 0.4, fall=0.0)
        case "cents":
            paid(rows, last, 0.0001, fall=100.0)
        case "gain":
            paid(rows, at, 0.02)
            rows.iloc[at, 7] = rows.iloc[at, DIVIDENDS] / 2
        case "split":
            rows.iloc[last:, SPLITS] = [2.0] + [0.0] * (len(rows) - last - 1)
            rows.iloc[:, :4] /= 2.0
            rows.iloc[:, 8] /= 2.0
        case "spike":
            rows.iloc[at, :4] *= 1.35
            rows.iloc[at, VOLUME] = 0.0
        case "zero_open":
            rows.iloc[at, 0] = 0.0
        case "holiday":
            day = rows.index[at] + pd.Timedelta(days=1)
            if day not in rows.index:
                rows.loc[day] = rows.iloc[at]
                market.rows[symbol] = rows.sort_index()
        case "null":
            rows.iloc[at, :5] = np.nan
        case "dropped":
            market.rows[symbol] = rows.drop(rows.index[at])
        case "twice":
            more = rows.iloc[[at]].copy()
            more.iloc[0, VOLUME] += 11.0
            market.rows[symbol] = pd.concat([rows, more]).sort_index(kind="stable")
        case "far":
            rows.iloc[at:, :4] *= 100.0
        case "jump":
            rows.iloc[at:, :4] *= 1.5
        case "noted":
            paid(rows, last, 0.01)
            market.notes[symbol] = {rows.index[last].date(): ("USD", "implied")[back % 2]}
        case "stale":
            rows.iloc[at : at + 6, :4] = float(rows.iloc[at, CLOSE])


def corrections(kind, rows, n, back, now):
    day = rows.index[min(n - 1 - back, len(rows) - 1)].date()
    value = float(rows.iloc[n - 1 - back, CLOSE])
    made = {
        "close": ("close", "", value * 1.001),
        "dividends": ("dividends", "", 0.25),
        "accept": ("accept", "spike", np.nan),
        "void": ("void", "", np.nan),
    }.get(kind)
    if made is None:
        return ()
    name, rule, worth = made
    before = now - dt.timedelta(days=2) if kind == "void" else None
    return (Correction("VAS", day, name, rule, worth, "a test", "ann", before=before),)


def histories(root):
    return {
        f"{folder}/{p.name}": p.read_bytes()
        for folder in ("historical", "quarantine")
        for p in sorted((root / folder).glob("*.parquet"))
    }


def rebuilt(root, run, declared):
    """What all raw batches come to in a store that holds nothing else."""
    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name)
        for folder in ("raw", "corrections"):
            if (root / folder).exists():
                shutil.copytree(root / folder, fresh / folder)
        update_histories(Store.at(fresh, 10), run, FUNDS, corrections=declared)
        return histories(fresh)


def without_what_was_seen(root, run, asked):
    """The outcomes and batches of a download that opens every history."""
    with tempfile.TemporaryDirectory() as name:
        bare = shutil.copytree(root, Path(name) / "store")
        for file in bare.glob("manifests/price_history/*.seen"):
            file.unlink()
        return asked(Store.at(bare, 10), run).outcomes, batches(bare)


def batches(root):
    return {p.name: p.read_bytes() for p in root.rglob("raw/*/*.parquet")}


def check_seen(layout):
    """What is known of each history without opening it is what opening it gives."""
    file = SeenFile(layout, "XASX")
    for fund in FUNDS:
        seen, known = file.of(fund.ticker), read_known(layout, fund.ticker)
        if known.info is None:
            continue
        assert seen.info == known.info
        assert (seen.first, seen.last) == date_range(known.info.path)
        assert Evidence.from_json(seen.said) == known.said
        whole = known.rows[known.rows.index.to_numpy() >= seen.newest.since]
        pd.testing.assert_frame_equal(seen.newest.rows.tail(len(whole)), whole)
        oldest = known.rows[known.rows["close"].notna()].index[0]
        assert seen.newest.rows.index[0] == min(oldest, whole.index[0])


NIGHT = st.fixed_dictionaries(
    {
        "shapes": st.lists(
            st.tuples(
                st.sampled_from([f.symbol for f in FUNDS]),
                st.sampled_from(SHAPES),
                st.integers(0, 14),
            ),
            max_size=4,
        ),
        "sessions": st.integers(0, 3),
        "updated": st.booleans(),
        "full": st.sampled_from([False] * 6 + [True]),
        "declared": st.none() | st.tuples(st.sampled_from(DECLARED), st.integers(0, 14)),
    }
)


@given(st.integers(0, 99), st.sampled_from([0, 3]), st.lists(NIGHT, min_size=1, max_size=5))
@settings(max_examples=25)
def test_each_night_leaves_what_a_rebuild_gives(seed, payments, nights):
    full = {}
    for i, fund in enumerate(FUNDS):
        rows = bars(DAYS, walk(len(DAYS), seed=seed + i))
        rows["adj_close_source"] = rows["close"]
        for k in range(payments):
            paid(rows, 40 + 30 * k, 0.01)
        full[fund.symbol] = rows
    declared = ()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        store, n = Store.at(root, 10), FIRST
        market = Market(full)
        for night in [{"shapes": [], "sessions": 0, "updated": True, "full": False}, *nights]:
            n += night["sessions"]
            now = dt.datetime.combine(DAYS[n - 1].astype(object), dt.time(12), dt.UTC)
            now += dt.timedelta(minutes=len(list(root.rglob("raw/*/*.parquet"))))
            market.silent.clear()
            for symbol, shape, back in night["shapes"]:
                shaped(market, symbol, shape, back, n)
            if night.get("declared"):
                kind, back = night["declared"]
                declared = corrections(kind, market.rows["VAS.AX"], n, back, now)
            kept = keep_corrections(store, declared, now)
            run = Run(f"r{n}{now:%M}", now, "XASX")
            tonight = Market(
                {s: r[r.index <= pd.Timestamp(DAYS[n - 1])] for s, r in market.rows.items()},
                market.notes,
                market.silent,
            )
            terms = Terms(full=night["full"])
            asked = partial(
                download,
                source=tonight,
                instruments=FUNDS,
                terms=terms,
                clock=lambda t=now: t,
                corrections=kept,
            )
            unseen = without_what_was_seen(root, run, asked)
            assert (asked(store, run).outcomes, batches(root)) == unseen
            if night["updated"]:
                update_histories(store, run, FUNDS, corrections=kept)
                assert histories(root) == rebuilt(root, run, kept)
                check_seen(store.layout)
