"""One check: its name and words, whether it blocks, and how what it found is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.schemas import Table
from etf_pipeline.orchestration.failures import StepFailure, step_failure
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.store.reader import read_table

# What is wrong, by ticker, portfolio or window; empty when all is good.
Problems = Mapping[str, Any]
_TOLD = 20


@dataclass(frozen=True)
class Check:
    """A check of an asset.

    One that blocks is an error when it fails and holds back what depends on the asset; the others
    warn.
    """

    name: str
    asset: str
    description: str
    blocking: bool = False

    @property
    def spec(self) -> dg.AssetCheckSpec:
        """What the asset announces, for a check whose result comes with the materialisation."""
        return dg.AssetCheckSpec(
            self.name, asset=self.asset, blocking=self.blocking, description=self.description
        )

    def result(
        self, problems: Problems, more: Mapping[str, Any] | None = None
    ) -> dg.AssetCheckResult:
        """What was found, with any further metadata; the first problems in words."""
        text = "; ".join(f"{k}: {v}" for k, v in list(problems.items())[:_TOLD])
        return dg.AssetCheckResult(
            check_name=self.name,
            asset_key=dg.AssetKey(self.asset),
            passed=not problems,
            severity=dg.AssetCheckSeverity.ERROR if self.blocking else dg.AssetCheckSeverity.WARN,
            description=text or "all good",
            metadata={"problems": dg.MetadataValue.json(dict(problems)), **(more or {})},
        )


def unjudged(check: Check) -> dg.AssetCheckResult:
    """The result of a check where there is nothing yet that could be wrong."""
    return dg.AssetCheckResult(
        check_name=check.name,
        asset_key=dg.AssetKey(check.asset),
        passed=True,
        description="nothing is published yet",
    )


def blocked(results: Sequence[dg.AssetCheckResult]) -> StepFailure | None:
    """What the checks that block found wrong, as the failure of their stage; None for nothing."""
    wrong = [
        f"{one.check_name}: {one.description}"
        for one in results
        if not one.passed and one.severity is dg.AssetCheckSeverity.ERROR
    ]
    return StepFailure(ReasonCode.CHECK_FAILED, "; ".join(wrong)) if wrong else None


@dataclass(frozen=True)
class TableCheck:
    """A check that reads the newest file of a table that its asset publishes.

    Attributes:
        check: what it is called.
        table: whose newest file is judged.
        judge: from its rows to what is wrong with them; given those of the others too.
        others: tables of the same asset.
        also: what the judge is given after the tables.
    """

    check: Check
    table: Table
    judge: Callable[..., Problems]
    others: tuple[Table, ...] = ()
    also: Callable[[Pipeline], Sequence[Any]] = lambda _: ()

    def result(self, pipeline: Pipeline) -> dg.AssetCheckResult:
        """What it says of the files as they are now.

        Raises:
            dagster.Failure: a table has not been published yet.
        """
        found = []
        for each in (self.table, *self.others):
            path = pipeline.layout.newest(each)
            if path is None:
                text = f"{each.name} has not been published yet"
                raise step_failure(text, ReasonCode.STORE_UNUSABLE)
            found.append(read_table(path))
        return self.check.result(self.judge(*found, *self.also(pipeline)))
