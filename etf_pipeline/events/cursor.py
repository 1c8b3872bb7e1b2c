"""How far one orchestrator's log was relayed, and whether it is still the log that it was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

OVERLAP = 1_000


@dataclass(frozen=True)
class Cursor:
    """Everything after `since` and up to `position` was relayed, `seen` being the ids near it.

    On some databases an id can become visible after a greater one: what lies in the overlap
    below `position` and was not seen is still relayed.

    Attributes:
        seen: by id, what tells the record from another with the same id; empty where an earlier
            release did not note it.
        instance: of the orchestrator; empty in a cursor of an earlier release.
        store: whose events it is about; empty there too.
    """

    position: int
    since: int
    seen: Mapping[int, str] = field(default_factory=dict)
    instance: str = ""
    store: str = ""

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
            return cls(int(body["position"]), int(body["since"]), seen, *whose)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def begin(self, overlap: int = OVERLAP) -> int:
        """The id after which records are to be read."""
        return max(0, self.position - overlap)

    def after(self, ids: Iterable[int] | Mapping[int, str], overlap: int = OVERLAP) -> Cursor:
        """The cursor once these records were relayed too; a mapping has their marks."""
        fresh = dict(ids) if isinstance(ids, Mapping) else dict.fromkeys(ids, "")
        position = max(self.position, *fresh) if fresh else self.position
        seen = {i: m for i, m in {**self.seen, **fresh}.items() if i > position - overlap}
        return replace(self, position=position, seen=seen)

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
