"""How far one orchestrator's log was relayed, and whether it is still the log that it was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from etf_pipeline.events.orchestrator import Open

OVERLAP = 1_000


@dataclass(frozen=True)
class Horizon:
    """How far back a record may still come, on a database where that takes as long as it likes.

    Attributes:
        read: what is there up to it was read, and nothing is added to that any more.
        settled: nothing is added up to it.
        reach: nor up to this, once those in `waiting` are over.
    """

    read: int
    settled: int = 0
    reach: int = 0
    waiting: tuple[str, ...] = ()

    @classmethod
    def of(cls, body: Mapping[str, Any] | None) -> Horizon | None:
        """From plain values."""
        if body is None:
            return None
        read, settled, reach = (int(body[name]) for name in ("read", "settled", "reach"))
        return cls(read, settled, reach, tuple(map(str, body["waiting"])))

    def looked(self, found: Open) -> Horizon:
        """The same once transactions were looked for, and before records are read."""
        if not found.writers.isdisjoint(self.waiting):
            return self
        settled = max(self.settled, found.upto if not found.writers else self.reach)
        return Horizon(self.read, settled, found.upto, tuple(sorted(found.writers)))

    def after(self, upto: int) -> Horizon:
        """The same once everything was read that was there up to an id."""
        return replace(self, read=max(self.read, min(self.settled, upto)))


@dataclass(frozen=True)
class Cursor:
    """Everything after `since` and up to `position` was relayed, `seen` being the ids near it.

    On some databases an id can become visible after a greater one: what lies in the overlap
    below `position`, or beyond the horizon, and was not seen is still relayed.

    Attributes:
        seen: by id, what tells the record from another with the same id; empty where an earlier
            release did not note it.
        instance: of the orchestrator; empty in a cursor of an earlier release.
        store: whose events it is about; empty there too.
        horizon: None where the database does not say what is open, or was not asked yet.
    """

    position: int
    since: int
    seen: Mapping[int, str] = field(default_factory=dict)
    instance: str = ""
    store: str = ""
    horizon: Horizon | None = None

    def dump(self) -> str:
        """As text."""
        return json.dumps(
            {
                "position": self.position,
                "since": self.since,
                "seen": sorted(self.seen),
                "marks": [self.seen[i] for i in sorted(self.seen)],
                "instance": self.instance,
                "store": self.store,
                "horizon": None if self.horizon is None else asdict(self.horizon),
            }
        )

    @classmethod
    def load(cls, text: str | None) -> Cursor | None:
        """From text; None for none, or for one that no tailer wrote."""
        try:
            body = json.loads(text or "")
            ids = list(map(int, body["seen"]))
            marks = list(map(str, body.get("marks", [""] * len(ids))))
            seen = dict(zip(ids, marks, strict=True))
            whose = (str(body.get("instance", "")), str(body.get("store", "")))
            horizon = Horizon.of(body.get("horizon"))
            return cls(int(body["position"]), int(body["since"]), seen, *whose, horizon)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def begin(self, overlap: int = OVERLAP) -> int:
        """The id after which records are to be read."""
        near = self.position - overlap
        return max(0, near if self.horizon is None else min(near, self.horizon.read))

    def looked(self, found: Open | None) -> Cursor:
        """The cursor once open transactions were looked for; None where that cannot be done."""
        if found is None:
            return replace(self, horizon=None)
        return replace(self, horizon=(self.horizon or Horizon(self.begin())).looked(found))

    def after(
        self,
        ids: Iterable[int] | Mapping[int, str],
        overlap: int = OVERLAP,
        left: int | None = None,
    ) -> Cursor:
        """The cursor once these records were relayed too; a mapping has their marks.

        `left` is the least id of those that were read and are to be relayed yet.
        """
        fresh = dict(ids) if isinstance(ids, Mapping) else dict.fromkeys(ids, "")
        position = max(self.position, *fresh) if fresh else self.position
        horizon = self.horizon and self.horizon.after(position if left is None else left - 1)
        moved = replace(self, position=position, horizon=horizon)
        begin = moved.begin(overlap)
        seen = {i: m for i, m in {**self.seen, **fresh}.items() if i > begin}
        return replace(moved, seen=seen)

    def wants(self, storage_id: int) -> bool:
        """Whether a record is still to be relayed."""
        return storage_id > self.since and storage_id not in self.seen

    def is_of(self, head: int, there: Mapping[int, str]) -> bool:
        """Whether the log is still the one that this cursor was moved over.

        It is not when it is shorter than it was, has another record under an id that was seen, or
        has none of the records any more that were: it was restored, or begun anew. That some of
        them are gone says nothing: runs may be deleted.

        Args:
            head: its greatest id now.
            there: ids and marks of its records from `begin` on, up to `position` or further.
        """
        if head < self.position:
            return False
        shared = [i for i in self.seen if i in there]
        if any(self.seen[i] and self.seen[i] != there[i] for i in shared):
            return False
        return bool(shared) or not self.seen
