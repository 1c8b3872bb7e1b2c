"""The orchestrator's log as the tailer sees it. Knows no orchestrator."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

# `unreadable` is a record that its reader could not make sense of; `error` says why.
Kind = Literal["materialisation", "start", "success", "failure", "canceled", "unreadable"]


@dataclass(frozen=True)
class FailedStage:
    """A stage of a run that failed, or that was under way when the run ended.

    `code` is a reason code; `started` is None where that is not known.
    """

    stage: str
    code: str
    reason: str
    ended: dt.datetime
    started: dt.datetime | None = None


@dataclass(frozen=True)
class LogRecord:
    """One record of the orchestrator's log.

    `store` is the folder of the store that the run said it works on and `store_id` the store's id,
    `places` are files that it said it wrote: they tell whose record it is. `stages` are those of a
    run that failed.
    """

    storage_id: int
    kind: Kind
    run_id: str
    job: str
    time: dt.datetime
    asset: str | None = None
    partition: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    ingests: bool = False
    run_started: dt.datetime | None = None
    nominal: str | None = None
    store: str | None = None
    store_id: str | None = None
    places: tuple[str, ...] = ()
    stages: tuple[FailedStage, ...] = ()

    @property
    def mark(self) -> str:
        """What tells this record from another that has the same id in another log."""
        what = (self.kind, self.run_id, self.asset or "", self.partition, self.time.isoformat())
        return hashlib.sha256("\x1f".join(what).encode(errors="replace")).hexdigest()[:12]


@dataclass(frozen=True)
class Open:
    """Transactions that may be about to add records to a log, and the ids that these may have.

    Attributes:
        upto: a greater id was not given out when these were looked for.
        writers: the transactions, by names that later ones do not have.
    """

    upto: int
    writers: frozenset[str]


class OrchestratorLog(Protocol):
    """Reads the orchestrator's log."""

    @property
    def instance(self) -> str:
        """Id of the orchestrator's instance: kept in its own storage, and gone with it."""
        ...

    @property
    def where(self) -> str:
        """Where the instance is, for people."""
        ...

    def head(self) -> int:
        """The greatest id there is, 0 for an empty log."""
        ...

    def position_before(self, moment: dt.datetime) -> int:
        """The id before the first record at or after `moment`."""
        ...

    def records(self, after: int, limit: int) -> list[LogRecord]:
        """Records with greater ids, ascending, at most `limit` of each kind."""
        ...

    def open(self) -> Open | None:
        """Which transactions may still add records; None where ids are visible in their order."""
        ...

    def going_on(self, run_id: str) -> bool:
        """Whether a run of this instance may still write; False for one it does not know."""
        ...
