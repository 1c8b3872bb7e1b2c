"""Declared corrections applied to a ticker's rows, before any rule looks at them. Pure."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from etf_pipeline.history.quality import FLAGGED, Finding
from etf_pipeline.history.restatement import Split
from etf_pipeline.model.corrections import ACCEPT, VOID, Correction
from etf_pipeline.model.rows import framed
from etf_pipeline.model.schemas import VALUE_COLUMNS
from etf_pipeline.model.splits import possible_splits

Floats = npt.NDArray[np.float64]
Key = tuple[np.datetime64, str]  # date and rule
CORRECTED, UNUSED, VOIDED = "corrected", "correction_unused", "voided"
_PAID = frozenset({"dividends", "capital_gains"})
_PER_UNIT = frozenset({"open", "high", "low", "close"}) | _PAID


def corrections_hash(corrections: Sequence[Correction]) -> str | None:
    """What stands for a ticker's corrections; None when there are none."""
    if not corrections:
        return None
    body = [[*one.identity, str(one.declared)] for one in corrections]
    return hashlib.sha256(json.dumps(body).encode()).hexdigest()


@dataclass(frozen=True)
class Corrected:
    """Rows with the corrections in them.

    Attributes:
        rows: as they are to be judged; those that came in stay as they were.
        findings: one for each corrected row, and for each correction without one.
        paid: dates whose distributions were declared.
        accepted: by date and rule, who accepts a finding and why.
        void: what was collected before when is void, who says so and why; None for nothing.
        closes: dates whose close was declared.
    """

    rows: pd.DataFrame
    findings: tuple[Finding, ...]
    paid: frozenset[np.datetime64]
    accepted: dict[Key, str]
    void: str | None = None
    closes: frozenset[np.datetime64] = frozenset()


def corrected(rows: pd.DataFrame, corrections: Sequence[Correction]) -> Corrected:
    """Apply a ticker's corrections.

    A value is on the basis of the day that it was declared: splits since then divide what is per
    unit, and multiply volumes, as they do in the rows.
    """
    if not corrections:
        return Corrected(rows, (), frozenset(), {})
    values = rows.to_numpy(copy=True)
    said: dict[np.datetime64, list[str]] = defaultdict(list)
    missed: dict[np.datetime64, list[str]] = defaultdict(list)
    accepted: dict[Key, str] = {}
    paid: set[np.datetime64] = set()
    void = newest_void(corrections)
    closes: set[np.datetime64] = set()
    days = rows.index.to_numpy().astype("datetime64[D]")
    applied: list[tuple[int, np.datetime64, float, str]] = []
    for one in corrections:
        if one.field == VOID:
            continue
        day = np.datetime64(one.date, "D")
        why = f"{one.reason} ({one.author})"
        position = rows.index.get_indexer(pd.DatetimeIndex([one.date]))[0]
        if position < 0:
            missed[day].append(f"{one.field}: no row of this day; {why}")
        elif one.field == ACCEPT:
            accepted[(day, one.rule)] = why
        else:
            column = VALUE_COLUMNS.index(one.field)
            old, new = values[position, column], _on_todays_basis(rows, one)
            values[position, column] = new
            text = f"{one.field} {old:.10g} → {new:.10g}{_basis_in_words(rows, one)}"
            said[day].append(f"{text}: {why}")
            if one.field in _PAID:
                paid.add(day)
            if one.field == "close":
                closes.add(day)
            if one.field == "stock_splits":
                applied.append((position, day, new, why))
    for position, begin, ratio, why in applied:
        for row in _apply_split(values, position, ratio):
            text = f"taken over the split of {ratio:g} on {begin}, which it lacked: {why}"
            said[days[row]].append(text)
    found = [
        Finding(day, rule, FLAGGED, "; ".join(texts))
        for rule, days in ((CORRECTED, said), (UNUSED, missed))
        for day, texts in days.items()
    ]
    words = None if void is None else void_in_words(void)
    if words is not None and len(rows):
        first = rows.index.to_numpy()[0].astype("datetime64[D]")
        found.append(Finding(first, VOIDED, FLAGGED, words))
    index = pd.DatetimeIndex(rows.index)
    rows = framed(values, index)
    return Corrected(rows, tuple(found), frozenset(paid), accepted, words, frozenset(closes))


def newest_void(corrections: Sequence[Correction]) -> Correction | None:
    """Of a ticker's corrections the one that voids most of what was collected; None without."""
    voids = [c for c in corrections if c.before is not None]
    return max(voids, key=lambda c: str(c.before), default=None)


def void_in_words(void: Correction) -> str:
    """What is void, who says so and why."""
    instant = f"{void.before:%Y-%m-%dT%H:%M:%SZ}"
    return f"what was collected before {instant} is void: {void.reason} ({void.author})"


def _apply_split(values: Floats, position: int, ratio: float) -> range:
    """Bring the rows before a declared split on its basis, if their level shows that they lack it.

    Returns:
        Positions of the rows that were changed in `values`; none where there is no such jump.
    """
    close = values[:, VALUE_COLUMNS.index("close")]
    priced = np.flatnonzero(np.isfinite(close) & (close > 0))
    before, after = priced[priced < position], priced[priced >= position]
    if not possible_splits(np.array([ratio]))[0] or len(before) == 0 or len(after) == 0:
        return range(0)
    jump = np.log(close[before[-1]] / close[after[0]])
    if abs(jump - np.log(ratio)) > abs(np.log(ratio)) / 2:
        return range(0)
    for name in _PER_UNIT:
        values[:position, VALUE_COLUMNS.index(name)] /= ratio
    volume = values[:position, VALUE_COLUMNS.index("volume")]
    volume[:] = np.round(volume * ratio)
    return range(position)


def declared_splits(corrections: Sequence[Correction]) -> tuple[Split, ...]:
    """The splits among a ticker's corrections."""
    return tuple(
        (np.datetime64(one.date, "D"), one.value)
        for one in corrections
        if one.field == "stock_splits" and possible_splits(np.array([one.value]))[0]
    )


def accepted(findings: list[Finding], declared: Corrected) -> tuple[list[Finding], set[Key]]:
    """Findings on rows, with those that somebody accepts as flags; and which these are.

    A row without a price that can be used stays out, whoever accepts it.
    """
    if not declared.accepted:
        return findings, set()
    close = declared.rows["close"]
    out, used = [], set()
    for one in findings:
        why = declared.accepted.get((one.date, one.rule))
        price = np.nan if why is None else close.get(pd.Timestamp(one.date), np.nan)
        if why is not None and np.isfinite(price) and price > 0:
            one = replace(one, severity=FLAGGED, evidence=in_spite_of(one.evidence, why))
            used.add((one.date, one.rule))
        out.append(one)
    return out, used


def in_spite_of(evidence: str, why: str) -> str:
    """The evidence of a finding that somebody accepts."""
    return f"{evidence}; accepted: {why}"


def unused(declared: Corrected, used: set[Key]) -> list[Finding]:
    """A finding for each day on which somebody accepts what is none, or cannot be accepted."""
    left: dict[np.datetime64, list[str]] = defaultdict(list)
    for (day, rule), why in declared.accepted.items():
        if (day, rule) not in used:
            left[day].append(f"accept {rule}: no finding that could be accepted; {why}")
    return [Finding(day, UNUSED, FLAGGED, "; ".join(texts)) for day, texts in left.items()]


def _basis_in_words(rows: pd.DataFrame, one: Correction) -> str:
    """Which day's basis a value is on, where splits since the session leave a choice."""
    splits = rows["stock_splits"].to_numpy()
    since = rows.index.to_numpy() > np.datetime64(one.date, "s")
    choice = possible_splits(splits) & since & (splits != 1)
    if one.declared is None or one.field == "stock_splits" or not choice.any():
        return ""
    return f" (on the basis of {one.declared}, when it was declared)"


def _on_todays_basis(rows: pd.DataFrame, one: Correction) -> float:
    if one.declared is None or one.field == "stock_splits":
        return one.value
    splits = rows["stock_splits"].to_numpy()
    since = rows.index.to_numpy() > np.datetime64(one.declared, "s")
    ratio = float(np.prod(splits[since & possible_splits(splits)]))
    return one.value / ratio if one.field in _PER_UNIT else float(round(one.value * ratio))


def of_ticker(corrections: Sequence[Correction], ticker: str) -> tuple[Correction, ...]:
    """Those of one ticker, in order."""
    return tuple(sorted((c for c in corrections if c.ticker == ticker), key=lambda c: c.identity))


def declared_since(
    corrections: Sequence[Correction], before: Sequence[Correction], today: dt.date
) -> tuple[Correction, ...]:
    """The corrections, each with the day from which it counts: today, unless it did before.

    Other words, or another author, do not make it another correction.
    """
    known = {c.what: c.declared for c in before}
    return tuple(replace(c, declared=known.get(c.what) or today) for c in corrections)
