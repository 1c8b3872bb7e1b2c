"""What must hold once all is quiet again, judged with what other libraries read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from etf_pipeline_tests.soak.ledger import CHANNELS, Noted, Replay
from etf_pipeline_tests.soak.prices import TICKERS
from etf_pipeline_tests.soak.reading import ReadModels, Record, Row

LINEAGE_TYPE = "OpenLineage.RunEvent"
_TOLD_OF_A_RUN = ("ETFDataCollected", "ETFDataUpdated")
_NEVER = float("inf")


@dataclass
class Loss:
    """A local log was lost at a moment.

    `left` is what the archive and Kafka had of its events, and `numbers` are those of the others,
    each with its log and channel.
    """

    when: float
    left: set[str]
    numbers: set[tuple[str, str, int]] = field(default_factory=set)


@dataclass
class Left:
    """What there is of one store's events, and what there should be.

    `excused` are times in which calls might fail; `kafka` says whether there is a broker, and
    `expired` are events that it had and let go by its retention.
    """

    noted: Noted
    log: list[Row] = field(default_factory=list)
    archive: dict[str, Row] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    models: ReadModels = field(default_factory=ReadModels)
    losses: list[Loss] = field(default_factory=list)
    excused: list[tuple[float, float]] = field(default_factory=list)
    parked: set[tuple[str, int, int]] = field(default_factory=set)
    kafka: bool = True
    expired: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.here = {r.id for r in self.log} | set(self.archive)
        # Nobody notes the events of Dagster's runs before they are told.
        self.of_runs = {
            r.id
            for r in (*self.log, *self.archive.values())
            if r.type in _TOLD_OF_A_RUN or (r.type == LINEAGE_TYPE and not r.mine)
        }
        self.lost: dict[str, float] = {}
        for loss in self.losses:
            for name, acknowledged in self.noted.acknowledged.items():
                if acknowledged < loss.when and name not in loss.left:
                    self.lost.setdefault(name, loss.when)

    def wanted(self, began: float = _NEVER, ended: float = _NEVER) -> set[str]:
        """Ids that a read must give that lasted from `began` to `ended`.

        Those are not among them that went with a machine before: nothing had them but its log.
        """
        return {
            i
            for i, acknowledged in self.noted.acknowledged.items()
            if acknowledged < began and (i not in self.lost or self.lost[i] > ended)
        }

    def strange(self, found: Collection[str]) -> set[str]:
        """Ids among these that nobody of this store recorded."""
        return set() if self.losses else set(found) - set(self.noted.intended) - self.of_runs


def judge(left: Left) -> Iterator[str]:
    """Everything that is wrong with one store, in words."""
    wanted, elsewhere = left.wanted(), {r.id for r in left.records}
    if missing := wanted - left.here - (elsewhere if left.losses else set()):
        yield f"missing: {len(missing)} acknowledged events are nowhere: {few(missing)}"
    if strange := left.strange(left.here):
        yield f"invented: {len(strange)} events that nobody recorded: {few(strange)}"
    if doubled := [i for i, n in Counter(r.id for r in left.log).items() if n > 1]:
        yield f"doubled in the local log: {few(doubled)}"
    yield from _runs(left)
    yield from _models(left, wanted)
    faults = [fault for r in left.noted.replays for fault in _replay(left, r)]
    yield from faults[:3]
    if len(faults) > 3:
        yield f"and {len(faults) - 3} more faults of {len(left.noted.replays)} replays"
    yield from _failures(left)
    if left.kafka:
        if gone := wanted - elsewhere - set(left.archive) - left.expired:
            yield f"{len(gone)} acknowledged events are neither in Kafka nor archived: {few(gone)}"
        yield from not_sent(left)


def not_sent(left: Left) -> Iterator[str]:
    """What is missing or out of order in Kafka while the publisher has not finished."""
    there = {r.id for r in left.records} | left.expired
    if missing := [r.id for r in left.log if r.id not in there]:
        yield f"{len(missing)} of the local log are not in Kafka: {few(missing)}"
    yield from _out_of_order(left.log, left.records)


def _out_of_order(log: Iterable[Row], records: Iterable[Record]) -> Iterator[str]:
    """Keys whose last occurrences are in another order than they were recorded in."""
    last = {r.id: (r.partition, r.offset) for r in records}
    by_key: dict[tuple[str, str, int], list[tuple[int, int, str]]] = {}
    for row in log:
        if row.id in last:
            partition, offset = last[row.id]
            key = (row.channel, row.subject, partition)
            by_key.setdefault(key, []).append((row.seq, offset, row.id))
    for key, found in sorted(by_key.items()):
        for (seq, offset, name), (later, next_offset, other) in pairwise(found):
            if next_offset < offset:
                yield (
                    f"{key}: {name} (number {seq}) is at {offset}, and {other} (number {later}), "
                    f"recorded later, at {next_offset}"
                )
                break


def not_parked(left: Left, known: Collection[str]) -> Iterator[str]:
    """Records of the channels that are nobody's, and that no reader put aside."""
    foreign = {
        (r.channel, r.partition, r.offset)
        for r in left.records
        if r.id not in known and r.channel in CHANNELS
    }
    if passed := foreign - left.parked:
        yield f"{len(passed)} of {len(foreign)} foreign records are not parked: {few(passed)}"


def _runs(left: Left) -> Iterator[str]:
    """Each run that ended well is told of once, for each ticker and kind."""
    told = Counter(
        (r.run_id, r.type, r.subject)
        for r in {r.id: r for r in (*left.archive.values(), *left.log)}.values()
        if r.type in _TOLD_OF_A_RUN
    )
    lost_at = max((loss.when for loss in left.losses), default=0.0)
    for run_id, acknowledged in left.noted.runs.items():
        for kind in _TOLD_OF_A_RUN if acknowledged > lost_at else ():
            for ticker in TICKERS:
                if (count := told[run_id, kind, ticker]) != 1:
                    yield f"run {run_id}: {count} events {kind} of {ticker}"


def _models(left: Left, wanted: set[str]) -> Iterator[str]:
    """The read models hold every event of the channels once, and the newest of each kind."""
    found, intended = left.models, left.noted.intended
    if missing := {i for i in wanted if intended[i].channel in CHANNELS} - found.ids:
        yield f"read models: {len(missing)} are missing: {few(missing)}"
    if strange := left.strange(found.ids):
        yield f"read models: {len(strange)} that are not of this store: {few(strange)}"
    if found.rows != len(found.ids) or found.counted != found.queries:
        yield (
            f"read models: {found.rows} rows of {len(found.ids)} events; {found.counted} queries "
            f"counted of {found.queries}"
        )
    newest: dict[tuple[str, str], tuple[int, str]] = {}
    for name in found.ids & set(intended):
        event = intended[name]
        key = (event.type, event.subject)
        newest[key] = max(newest.get(key, (-(2**62), "")), (event.time_us, name))
    if wrong := [k for k, (_, name) in newest.items() if found.newest.get(k) != name]:
        yield f"read models: not the newest of {wrong[:3]}"


def _replay(left: Left, replay: Replay) -> Iterator[str]:
    intended = left.noted.intended
    if replay.error:
        if not left.kafka and not _excused(left, replay.began, replay.ended):
            yield f"a replay failed though no broker plays a part: {replay.error}"
        return
    got = set(replay.ids)
    if len(got) != len(replay.ids):
        yield f"a replay gave {len(replay.ids) - len(got)} events twice"
    need = {
        i
        for i in left.wanted(replay.began, replay.ended)
        if intended[i].channel in CHANNELS
        and (replay.from_us is None or intended[i].time_us >= replay.from_us)
    }
    if missing := need - got:
        yield (
            f"a replay ended well without {len(missing)} of {len(need)} events that had been "
            f"acknowledged before it began: {few(missing)}"
        )
    counted = sum(i in intended and intended[i].type == "PriceDataQueried" for i in got)
    if replay.queries != counted and got <= set(intended):
        yield f"a replay counted {replay.queries} queries of {counted}"
    if strange := left.strange(got):
        yield f"a replay gave {len(strange)} events that are not of this store: {few(strange)}"


def _failures(left: Left) -> Iterator[str]:
    """Calls that failed with no reason to, and processes that came to grief."""
    bad = [text for began, ended, text in left.noted.failed if not _excused(left, began, ended)]
    if bad:
        yield f"{len(bad)} calls failed for no reason that the script gave: {bad[0]}"
    for text in left.noted.crashed:
        yield f"a process broke: {text}"


def _excused(left: Left, began: float, ended: float) -> bool:
    return any(began <= b and a <= ended for a, b in left.excused)


def few(found: Collection[object]) -> str:
    """Some of them, for a message."""
    return ", ".join(sorted(map(str, found))[:3])
