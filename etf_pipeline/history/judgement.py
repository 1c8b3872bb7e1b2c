"""What has been found of a ticker's distributions while its rules are asked one by one. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.history.corrections import Key, in_spite_of
from etf_pipeline.history.evidence import Evidence
from etf_pipeline.history.payments import Payments, payments_of
from etf_pipeline.history.quality import FLAGGED, WITHHELD, Finding
from etf_pipeline.model.rows import values_of
from etf_pipeline.model.schemas import VALUE_COLUMNS

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
UNSEEN = "distribution_unseen"
# Rules of what is impossible, whatever anybody declares.
NEVER = frozenset({"negative_distribution", "distribution_above_price"})


@dataclass
class Judged:
    """What may be used of a ticker's distributions, by row.

    Attributes:
        dividends: income per unit, shape (n,).
        capital_gains: per unit, shape (n,).
        findings: why amounts are not what was published.
        accepted: findings that somebody accepts.
        explained: where a difference from the source's adjusted close is accounted for.
    """

    dividends: Floats
    capital_gains: Floats
    findings: list[Finding] = field(default_factory=list)
    accepted: set[Key] = field(default_factory=set)
    explained: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))


def unseen_dates(judged: Judged) -> tuple[dt.date, ...]:
    """Ex-dates whose distribution counts and may be a fault, unless somebody accepts it."""
    days = {f.date for f in judged.findings if f.rule == UNSEEN}
    open_days = [day for day in days if (day, UNSEEN) not in judged.accepted]
    return tuple(sorted(day.astype(object) for day in open_days))


class Court:
    """One ticker's distributions while they are judged."""

    def __init__(
        self,
        rows: pd.DataFrame,
        clean: Mask,
        evidence: Evidence,
        judged: Judged,
        declared: frozenset[np.datetime64],
        accepted: Mapping[Key, str],
    ) -> None:
        self.days = rows.index.to_numpy().astype("datetime64[D]")
        values = values_of(rows)
        self.close = values[:, VALUE_COLUMNS.index("close")].copy()
        self.splits = values[:, VALUE_COLUMNS.index("stock_splits")].copy()
        self.clean, self.evidence, self.judged = clean, evidence, judged
        self._declared, self._accepted = declared, accepted
        self._payments: Payments | None = None
        if declared:
            judged.explained |= np.isin(self.days, np.array(sorted(declared)))

    @property
    def paid(self) -> Payments:
        """The amounts that still count, against prices."""
        if self._payments is None:
            total = self.judged.dividends + self.judged.capital_gains
            self._payments = payments_of(
                self.days, self.close, total, self.clean, self.evidence.factors
            )
        return self._payments

    def withhold(self, row: int, rule: str, text: str) -> bool:
        """Leave an amount out; False when somebody has settled it otherwise."""
        return self._change(row, 0.0, 0.0, Finding(self.days[row], rule, WITHHELD, text))

    def restate(self, row: int, factor: float, rule: str, text: str) -> None:
        """Take an amount times a factor, which the evidence names."""
        income, gain = self.judged.dividends[row], self.judged.capital_gains[row]
        finding = Finding(self.days[row], rule, FLAGGED, text)
        self._change(row, income * factor, gain * factor, finding)

    def replace(self, row: int, income: float, gain: float, rule: str, text: str) -> None:
        """Take other amounts, for which the evidence is in the text."""
        self._change(row, income, gain, Finding(self.days[row], rule, FLAGGED, text))

    def _change(self, row: int, income: float, gain: float, finding: Finding) -> bool:
        why = self._accepted.get((finding.date, finding.rule))
        if finding.rule not in NEVER and (finding.date in self._declared or why is not None):
            if why is not None:
                self.judged.accepted.add((finding.date, finding.rule))
                self.flag(row, finding.rule, in_spite_of(finding.evidence, why))
            return False
        self.judged.dividends[row], self.judged.capital_gains[row] = income, gain
        self.judged.explained[row] = True
        self.judged.findings.append(finding)
        self._payments = None
        return True

    def doubt(self, row: int, text: str) -> None:
        """Say that an amount that counts may be a fault, unless somebody has settled it."""
        day = self.days[row]
        why = self._accepted.get((day, UNSEEN))
        if why is not None:
            self.judged.accepted.add((day, UNSEEN))
            self.flag(row, UNSEEN, in_spite_of(text, why))
        elif day not in self._declared:
            self.flag(row, UNSEEN, text)

    def flag(self, row: int, rule: str, text: str) -> None:
        """Say something of an amount that counts, once a rule."""
        day = self.days[row]
        if not any((f.date, f.rule) == (day, rule) for f in self.judged.findings):
            self.judged.findings.append(Finding(day, rule, FLAGGED, text))
