"""What a source says of its distributions besides the amounts, kept beside the rows. Pure.

Its adjusted close tells what it took off at each ex-date, and its notes whose currency an amount is
in. A trailing window knows both only for its own days, so they are gathered day by day: whatever a
later window lacks stays as it was.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.model.rows import DOWNLOAD_COLUMNS, values_of

Floats = npt.NDArray[np.float64]
# A step of the adjusted close over the close that is smaller than this is rounding.
_ROUNDING = 2e-5
_NOISE = 6.0
_STEPPED = tuple(
    DOWNLOAD_COLUMNS.index(name)
    for name in ("close", "adj_close_source", "dividends", "capital_gains")
)
# Two factors of one day that are nearer than this are the same.
_SAME = 1e-4


@dataclass(frozen=True)
class Evidence:
    """What the source said, by date.

    Attributes:
        notes: of single dividends, see `schemas.RAW`.
        factors: what the source multiplied earlier prices by at a date: 1 − D/C for a distribution
            D that it counted, 1 for one that it did not.
        level: the source's adjusted close over its close on the newest day of its newest whole
            history, which should be 1; None when it never told.
        currency: of the prices.
        twice: days that it had several rows for, with what was left out.
    """

    notes: Mapping[dt.date, str] = field(default_factory=dict)
    factors: Mapping[dt.date, float] = field(default_factory=dict)
    level: float | None = None
    currency: str | None = None
    twice: Mapping[dt.date, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As a footer keeps it."""
        return {
            "notes": {str(day): self.notes[day] for day in sorted(self.notes)},
            "factors": {str(day): self.factors[day] for day in sorted(self.factors)},
            "level": self.level,
            "currency": self.currency,
            "twice": {str(day): self.twice[day] for day in sorted(self.twice)},
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Evidence:
        """What `as_json` made of it."""
        day = dt.date.fromisoformat
        return cls(
            {day(d): note for d, note in body.get("notes", {}).items()},
            {day(d): factor for d, factor in body.get("factors", {}).items()},
            body.get("level"),
            body.get("currency"),
            {day(d): words for d, words in body.get("twice", {}).items()},
        )

    def and_then(
        self,
        rows: pd.DataFrame,
        notes: Mapping[dt.date, str],
        currency: str,
        full: bool,
        twice: Mapping[dt.date, str] = MappingProxyType({}),
    ) -> Evidence:
        """With what one more answer says.

        Args:
            rows: the answer, with the columns of `rows.DOWNLOAD_COLUMNS`, ascending.
            notes: its notes, by date.
            currency: of its prices.
            full: whether it is the whole history.
            twice: days that it has several rows for, see `duplicates`.
        """
        steps, told, level = _steps(rows)
        silent = {d: n for d, n in self.notes.items() if pd.Timestamp(d) not in rows.index}
        return Evidence(
            silent | dict(notes),
            {d: f for d, f in self.factors.items() if not told(d)} | steps,
            level if full and level is not None else self.level,
            currency,
            {**self.twice, **twice},
        )

    def differs(self, other: Evidence) -> bool:
        """Whether the other says something else of any date, beyond rounding."""
        dates = self.factors.keys() | other.factors.keys()
        if self.notes != other.notes or self.twice != other.twice:
            return True
        return any(
            abs(self.factors.get(d, 1.0) / other.factors.get(d, 1.0) - 1.0) > _SAME for d in dates
        )


NOTHING_SAID = Evidence()


def _steps(rows: pd.DataFrame) -> tuple[dict[dt.date, float], Any, float | None]:
    """Factors by date; which dates they speak of; and adjusted close over close on the last day.

    Between two events the ratio of both closes is constant but for rounding, so that its median is
    compared, not single days.
    """
    values = values_of(rows, DOWNLOAD_COLUMNS)
    close, adjusted, income, gains = (values[:, at] for at in _STEPPED)
    with np.errstate(all="ignore"):
        ratio = adjusted / close
    usable = np.isfinite(adjusted + close) & (close > 0) & (ratio > 1e-9) & (ratio < 1e9)
    if np.count_nonzero(usable) == 0:
        return {}, lambda day: False, None
    days = rows.index.to_numpy()[usable].astype("datetime64[D]")
    ratio = np.log(adjusted[usable] / close[usable])
    moves = np.abs(np.diff(ratio))
    floor = max(_ROUNDING, _NOISE * float(np.median(moves))) if len(moves) else _ROUNDING
    paid = np.nan_to_num(income) + np.nan_to_num(gains) != 0
    # An event on a day without a price shows at the next price.
    at = np.unique(np.searchsorted(days, rows.index.to_numpy()[paid].astype("datetime64[D]")))
    at = np.union1d(at[(at > 0) & (at < len(days))], np.flatnonzero(moves > floor) + 1)
    levels = np.array([np.median(part) for part in np.split(ratio, at)])
    # Rounded, so that the same steps told by a window and by the whole are the same number.
    found = np.round(np.exp(levels[:-1] - levels[1:]), 10)
    first, last = days[0].astype(object), days[-1].astype(object)
    steps = dict(zip(days[at].astype(object).tolist(), found.tolist(), strict=True))
    return steps, lambda day: first < day <= last, float(np.exp(levels[-1]))
