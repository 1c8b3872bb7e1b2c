"""One check: its name and words, whether it blocks, and how what it found is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from etf_pipeline.errors import ReasonCode
from etf_pipeline.model.schemas import Table
from etf_pipeline.orchestration.failures import step_failure
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


def of_newest(
    check: Check,
    table: Table,
    judge: Callable[..., Problems],
    *others: Table,
    also: Callable[[Pipeline], Sequence[Any]] = lambda _: (),
) -> dg.AssetChecksDefinition:
    """A check that reads the newest file of a table, and may be run on its own.

    Args:
        check: what it is called.
        table: published by the check's asset.
        judge: from the rows to what is wrong with them; given those of the others too.
        others: tables of the same asset.
        also: what the judge is given after the tables.
    """

    @dg.asset_check(
        name=check.name,
        asset=check.asset,
        blocking=check.blocking,
        description=check.description,
    )
    def judged(pipeline: dg.ResourceParam[Pipeline]) -> dg.AssetCheckResult:
        found = []
        for each in (table, *others):
            path = pipeline.layout.newest(each)
            if path is None:
                text = f"{each.name} has not been published yet"
                raise step_failure(text, ReasonCode.STORE_UNUSABLE)
            found.append(read_table(path))
        return check.result(judge(*found, *also(pipeline)))

    return judged
