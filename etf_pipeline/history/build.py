"""From all known rows of one ticker to its history table and its quarantine table. Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from etf_pipeline.errors import ReasonCode, RejectedDataError
from etf_pipeline.history.adjust import adjusted
from etf_pipeline.history.basis import Basis
from etf_pipeline.history.corrections import (
    CORRECTED,
    accepted,
    corrected,
    corrections_hash,
    unused,
)
from etf_pipeline.history.distributions import judge
from etf_pipeline.history.evidence import NOTHING_SAID, Evidence
from etf_pipeline.history.judgement import unseen_dates
from etf_pipeline.history.quality import (
    FLAGGED,
    WITHHELD,
    Finding,
    assess,
    large_moves,
    quarantined_dates,
)
from etf_pipeline.model.rows import positions_of, to_arrow, values_of
from etf_pipeline.model.schemas import HISTORY, QUARANTINE, VALUE_COLUMNS

# Raise when a rule changes, so that every history is assessed again at its next update.
RULES_VERSION = 2

Days = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Built:
    """What the rows of a ticker came to.

    Attributes:
        history: rows that may be used, with the schema of `HISTORY`.
        quarantine: every finding, with the row as it was published; the schema of `QUARANTINE`.
        quarantined: how many rows were held back.
        adj_close_gap: largest relative difference of our adjusted close from the source's own,
            but for what findings explain; None when there is nothing to compare with.
        withheld: ex-dates whose distribution is left out, ascending.
        large_moves: dates of lasting moves that may be no market's, ascending.
        unseen: ex-dates of distributions that count and may be a fault, ascending.
        evidence: what the source said, to be kept beside the rows.
        corrections_hash: of the corrections that were applied; None without any.
        corrected: how many rows they changed.
        voided: what they leave out, in words; None for nothing.
    """

    history: pa.Table
    quarantine: pa.Table
    quarantined: int
    adj_close_gap: float | None
    withheld: tuple[dt.date, ...] = ()
    large_moves: tuple[dt.date, ...] = ()
    unseen: tuple[dt.date, ...] = ()
    evidence: Evidence = NOTHING_SAID
    corrections_hash: str | None = None
    corrected: int = 0
    voided: str | None = None


def build(rows: pd.DataFrame, basis: Basis, evidence: Evidence = NOTHING_SAID) -> Built:
    """Assess, adjust and split `rows` into what may be used and what may not.

    Args:
        rows: every known row of the ticker, as `model.rows` has them.
        basis: what they are judged by.
        evidence: what the source said of its distributions besides.

    Raises:
        RejectedDataError: nothing usable is left.
    """
    as_known, declared = rows, corrected(rows, basis.corrections)
    rows = declared.rows
    findings = assess(rows, basis)
    if evidence.twice:
        findings = sorted([*findings, *_several_rows(as_known, evidence)], key=_by_date)
    findings, used = accepted(findings, declared)
    dates, values = rows.index.to_numpy(), values_of(rows)
    days = dates.astype("datetime64[D]")
    held_back = _among(days, quarantined_dates(findings))
    if held_back.all():
        rules = sorted({f.rule for f in findings})
        raise RejectedDataError(
            f"no usable row is left of {len(rows)} ({', '.join(rules)})",
            code=ReasonCode.NO_USABLE_ROW,
        )
    clean = ~held_back
    judged = judge(rows, clean, evidence, declared.paid, declared.accepted)
    for day in declared.closes:  # which the source's adjusted close knows nothing of
        at = int(np.searchsorted(days, day))
        judged.explained[at : at + 2] = True
    if judged.findings or basis.corrections:
        all_found = [*findings, *judged.findings, *declared.findings]
        all_found += unused(declared, used | judged.accepted)
        findings = sorted(set(all_found), key=_by_date)
    columns: dict[str, Any] = dict(zip(VALUE_COLUMNS, _those(clean, values).T.copy(), strict=True))
    closes, kept = columns["close"], _those(clean, dates)
    paid = judged.dividends + judged.capital_gains
    adj_close = adjusted(closes, kept, paid, dates)
    columns |= {
        "dividends": _those(clean, judged.dividends),
        "capital_gains": _those(clean, judged.capital_gains),
        "adj_close": adj_close,
        "flag": _flags(_those(clean, days), findings),
    }
    return Built(
        to_arrow(kept, columns, HISTORY.arrow),
        _quarantine_table(as_known, findings),
        int(held_back.sum()),
        _gap(days, clean, adj_close / closes, judged.explained, evidence),
        tuple(f.date.astype(object) for f in findings if f.severity == WITHHELD),
        large_moves([f for f in findings if (f.date, f.rule) not in used]),
        unseen_dates(judged),
        evidence,
        corrections_hash(basis.corrections),
        sum(f.rule == CORRECTED for f in findings),
        declared.void,
    )


def _among(days: Days, some: Days) -> Mask:
    """Which ascending days are among some others, of which there are few."""
    found = np.zeros(len(days), np.bool_)
    if len(some):
        at = np.searchsorted(days, some)
        there = at < len(days)
        there[there] = days[at[there]] == some[there]
        found[at[there]] = True
    return found


def _those(mask: Mask, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The rows that a mask leaves, which mostly are all."""
    return values if mask.all() else values[mask]


def _by_date(finding: Finding) -> tuple[np.datetime64, str]:
    return finding.date, finding.rule


def _several_rows(rows: pd.DataFrame, evidence: Evidence) -> list[Finding]:
    """A finding for each day that some answer had several rows for."""
    return [
        Finding(np.datetime64(day, "D"), "several_rows", FLAGGED, words)
        for day, words in evidence.twice.items()
        if pd.Timestamp(day) in rows.index
    ]


def validate_history(table: pa.Table) -> None:
    """Refuse a history table that no reader should ever see.

    Raises:
        RejectedDataError: dates not strictly ascending, or a price that is not positive.
    """
    days = table.column("date").to_numpy().astype("int64")
    if len(days) == 0 or np.any(np.diff(days) <= 0):
        raise RejectedDataError("dates are not strictly ascending")
    for name in ("close", "adj_close"):
        values = table.column(name).to_numpy()
        if not np.all(np.isfinite(values) & (values > 0)):
            raise RejectedDataError(f"{name} has a value that is not a positive number")


def _flags(days: Days, findings: list[Finding]) -> pa.Array:
    """What is flagged of each day, of which there are few."""
    flags: dict[int, str] = {}
    for finding in findings:
        if finding.severity in (FLAGGED, WITHHELD):
            position = int(np.searchsorted(days, finding.date))
            if position < len(days) and days[position] == finding.date:
                old = flags.get(position)
                flags[position] = finding.rule if old is None else f"{old},{finding.rule}"
    which = np.zeros(len(days), np.int32)
    which[list(flags)] = np.arange(1, len(flags) + 1)
    return pa.array([None, *flags.values()], pa.string()).take(pa.array(which))


def _quarantine_table(rows: pd.DataFrame, findings: list[Finding]) -> pa.Table:
    if not findings:
        return QUARANTINE.arrow.empty_table()
    days = np.array([f.date for f in findings], dtype="datetime64[s]")
    positions = positions_of(rows, days)
    there = positions >= 0
    values = np.full((len(days), len(rows.columns)), np.nan)
    values[there] = values_of(rows)[positions[there]]
    columns: dict[str, Any] = {name: values[:, i] for i, name in enumerate(rows.columns)}
    columns["rule"] = [f.rule for f in findings]
    columns["severity"] = [f.severity for f in findings]
    columns["evidence"] = [f.evidence for f in findings]
    return to_arrow(days, columns, QUARANTINE.arrow)


def _gap(days: Days, clean: Mask, ours: Floats, explained: Mask, said: Evidence) -> float | None:
    """Largest relative difference of our adjusted close from the source's, from day to day.

    Where an amount is not taken as it was published, the source's own factor is: that difference
    has a finding of its own. The same holds where the close before an ex-date is held back.
    """
    if said.level is None:
        return None
    steps = np.ones(len(ours))  # of ours over theirs, at each row
    steps[1:] = ours[:-1] / ours[1:]
    known = np.zeros(len(ours), np.bool_)
    before_held = np.r_[False, ~clean[:-1]]
    # Of each row among the clean ones, or of the next of them.
    place: npt.NDArray[np.intp] = np.cumsum(clean) - clean
    odd: npt.NDArray[np.intp] = place[explained | before_held]
    known[odd[odd < len(known)]] = True
    steps[known] = 1.0
    told = np.array(list(said.factors), dtype="datetime64[D]")
    at: npt.NDArray[np.intp] = place[np.minimum(np.searchsorted(days, told), len(days) - 1)]
    use = (told <= days[-1]) & (at > 0) & (at < len(ours))
    use[use] &= ~known[at[use]]
    np.divide.at(steps, at[use], np.array(list(said.factors.values()))[use])
    # From the newest row back: where the levels differ there, as in a file that ends before the
    # source's newest ex-date, the returns are the same.
    relative = np.append(np.cumprod(steps[::-1])[::-1][1:], 1.0)
    return float(np.max(np.abs(relative - 1.0)))
