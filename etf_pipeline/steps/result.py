"""What every step takes and gives: which run it belongs to, and what came of it."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etf_pipeline.model.outcomes import Outcome
from etf_pipeline.model.schemas import Table


@dataclass(frozen=True)
class Run:
    """The run that a step is part of.

    `recorded_at` (aware) is when its outcomes count as recorded.
    """

    run_id: str
    recorded_at: dt.datetime
    partition: str = ""


@dataclass(frozen=True)
class Published:
    """One file that a step published, or found to hold the same already (`changed` False)."""

    table: Table
    path: Path
    rows: int
    content_hash: str
    changed: bool


@dataclass(frozen=True)
class Chart:
    """A detail that is best drawn: fractions by name, as bars in per cent."""

    title: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class StepResult:
    """What came of a step.

    Attributes:
        asset: the asset that the step makes.
        outcomes: one per ticker or portfolio.
        published: the files, the most important first.
        manifest: where the outcomes were recorded; None for a step that has none to record.
        source: `yahoo`, `files`, `simulated`, or several joined by commas.
        as_of: the newest session of a derived table.
        details: more to tell, by name: plain data, a `Path` to open, or a `Chart`.
        location: the file or folder where it all is; the first published file unless given.
        version_of: hashes that stand for the content; equal ones mean equal data.
    """

    asset: str
    outcomes: Sequence[Outcome] = ()
    published: Sequence[Published] = ()
    manifest: Path | None = None
    source: str = ""
    as_of: dt.date | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    location: Path | None = None
    version_of: Sequence[str] = ()

    @property
    def where(self) -> Path | None:
        """The file or folder to look at."""
        return self.location or (self.published[0].path if self.published else None)

    @property
    def bad(self) -> list[Outcome]:
        """Outcomes that are not what was asked for."""
        return [o for o in self.outcomes if not o.good]

    @property
    def counts(self) -> dict[str, int]:
        """How many outcomes of each kind."""
        return dict(Counter(str(o.outcome) for o in self.outcomes))
