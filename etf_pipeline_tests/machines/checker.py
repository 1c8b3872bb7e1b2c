"""What must hold once all is well again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from etf_pipeline.model.schemas import HISTORY, RAW, RISK_METRICS, WEIGHTS
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.machines import told
from etf_pipeline_tests.machines.source import TICKERS, Source
from etf_pipeline_tests.machines.world import World


def judge(world: World) -> Iterator[str]:
    """Everything that is wrong, in words."""
    hub = world.hub.pipeline.layout.root
    stores = {"the hub": hub} | {b.folder.name: b.store for b in world.boxes}
    for store in stores.values():
        world.pull(store)
    raw = world.files(hub, (RAW,))
    for box in world.boxes:
        yield from _differences(f"raw of {box.folder.name}", world.files(box.store, (RAW,)), raw)
    yield from _downloaded(world.source, told.rows(hub))
    world.alone.make(f"night{world.source.nights}", raw)
    expected = world.files(world.alone.root)
    for name, store in stores.items():
        yield from _differences(f"the copy of {name}", world.files(store), expected)
    yield from world.hub.left()
    yield from _events(hub)


def _downloaded(source: Source, rows: Mapping[str, list[told.Row]]) -> Iterator[str]:
    """The raw batches have what the source ever said, and as the last word what it says now."""
    for ticker in TICKERS:
        found = rows.get(ticker, [])
        if strange := set(found) - source.said[ticker]:
            yield f"raw batches have what was never said of {ticker}: {_few(strange)}"
        last = {row[0]: row for row in found}
        if set(last.values()) != source.says[ticker]:
            lacking = source.says[ticker] - set(last.values())
            yield f"raw batches do not end with what is said of {ticker}: {_few(lacking)}"


def _differences(
    what: str, found: Mapping[str, bytes], expected: Mapping[str, bytes]
) -> Iterator[str]:
    if missing := expected.keys() - found.keys():
        yield f"{what} lacks {_few(missing)}"
    if more := found.keys() - expected.keys():
        yield f"{what} has {_few(more)} besides"
    if other := [n for n in expected.keys() & found.keys() if expected[n] != found[n]]:
        yield f"{what} has other bytes in {_few(other)}"


def _events(hub: Path) -> Iterator[str]:
    """Every batch, history and table is told of once for each ticker or portfolio."""
    found, layout = told.events(hub), Layout(hub)
    if doubled := [i for i, n in Counter(e.id for e in found).items() if n > 1]:
        yield f"events are there twice: {_few(doubled)}"
    if aside := told.put_aside(hub):
        yield f"could not be told: {_few(aside)}"
    batches = Counter(dict.fromkeys(told.batches(hub), 1))
    yield from _counts("ETFDataCollected", told.collected(found), batches)
    hashes = {t: told.content_hash(layout.of(HISTORY, t)) for t in TICKERS}
    # Two runs that made the same of a history at once tell so both; each of them once.
    runs = Counter((e.type, e.subject, e.data["run_id"]) for e in found if "run_id" in e.data)
    if again := [key for key, n in runs.items() if n > 1]:
        yield f"a run tells more than once of {_few(again)}"
    updated = told.published(found, "ETFDataUpdated")
    last = dict(updated.keys())  # in the order in which they were told
    if wrong := [t for t in TICKERS if last.get(t) != hashes[t]]:
        yield f"ETFDataUpdated does not tell of what there is of {_few(wrong)}"
    for kind, table, subjects in (
        ("RiskMetricsCalculated", RISK_METRICS, TICKERS),
        ("PortfolioOptimized", WEIGHTS, ("calm", "even")),
    ):
        days = [told.content_hash(p) for p in layout.files(table)]
        wanted = Counter({(s, content): 1 for s in subjects for content in days})
        yield from _counts(kind, told.published(found, kind), wanted)


def _counts(
    kind: str, found: Counter[tuple[str, str]], wanted: Counter[tuple[str, str]]
) -> Iterator[str]:
    if missing := wanted - found:
        yield f"{kind} is not told of {_few(missing)}"
    if more := found - wanted:
        yield f"{kind} is told too often, or of what is not there: {_few(more)}"


def _few(found: Collection[object]) -> str:
    return f"{len(found)}: {', '.join(sorted(map(str, found))[:3])}"
