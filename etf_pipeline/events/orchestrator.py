"""The orchestrator's log as the tailer sees it. Knows no orchestrator."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Kind = Literal["materialisation", "start", "success", "failure", "canceled"]


@dataclass(frozen=True)
class LogRecord:
    """One record of the orchestrator's log."""

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


class OrchestratorLog(Protocol):
    """Reads the orchestrator's log."""

    def head(self) -> int:
        """The greatest id there is, 0 for an empty log."""
        ...

    def position_before(self, moment: dt.datetime) -> int:
        """The id before the first record at or after `moment`."""
        ...

    def records(self, after: int, limit: int) -> list[LogRecord]:
        """Records with greater ids, ascending, at most `limit` of each kind."""
        ...
