"""From all known rows of one ticker to its history table and its quarantine table. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from etf_pipeline.errors import ReasonCode, RejectedDataError
from etf_pipeline.history.adjust import adjusted_close, distributions
from etf_pipeline.history.basis import Basis
from etf_pipeline.history.quality import FLAGGED, Finding, assess, quarantined_dates
from etf_pipeline.model.rows import to_arrow
from etf_pipeline.model.schemas import HISTORY, QUARANTINE

# Raise when a rule changes, so that every history is assessed again at its next update.
RULES_VERSION = 2


@dataclass(frozen=True)
class Built:
    """What the rows of a ticker came to.

    Attributes:
        history: rows that may be used, with the schema of `HISTORY`.
        quarantine: every finding, with the row as it was published; the schema of `QUARANTINE`.
        quarantined: how many rows were held back.
        adj_close_gap: largest relative difference of our adjusted close from the source's own;
            None when there is nothing to compare with.
    """

    history: pa.Table
    quarantine: pa.Table
    quarantined: int
    adj_close_gap: float | None


def build(rows: pd.DataFrame, basis: Basis, source_adj: pd.Series | None = None) -> Built:
    """Assess, adjust and split `rows` into what may be used and what may not.

    Args:
        rows: every known row of the ticker, as `model.rows` has them.
        basis: what they are judged by.
        source_adj: the source's own adjusted close by date, to compare with ours.

    Raises:
        RejectedDataError: nothing usable is left, or a distribution exceeds its price.
    """
    findings = assess(rows, basis)
    dates, values = rows.index.to_numpy(), rows.to_numpy()
    held_back = np.isin(dates.astype("datetime64[D]"), quarantined_dates(findings))
    clean = rows[~held_back] if held_back.any() else rows
    if clean.empty:
        rules = sorted({f.rule for f in findings})
        raise RejectedDataError(
            f"no usable row is left of {len(rows)} ({', '.join(rules)})",
            code=ReasonCode.NO_USABLE_ROW,
        )
    column = {name: i for i, name in enumerate(rows.columns)}
    paid = distributions(values[:, column["dividends"]], values[:, column["capital_gains"]])
    try:
        adjusted = adjusted_close(clean["close"], pd.Series(paid, rows.index))
    except ValueError as error:
        raise RejectedDataError(str(error), code=ReasonCode.BAD_DISTRIBUTION) from None
    kept = values[~held_back]
    columns: dict[str, Any] = {name: kept[:, i] for name, i in column.items()}
    columns |= {"adj_close": adjusted, "flag": _flags(clean.index, findings)}
    return Built(
        to_arrow(dates[~held_back], columns, HISTORY.arrow),
        _quarantine_table(rows, findings),
        int(held_back.sum()),
        _gap(clean.index, adjusted, source_adj),
    )


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


def _flags(index: pd.Index, findings: list[Finding]) -> npt.NDArray[np.object_]:
    flags = np.full(len(index), None, dtype=object)
    days = index.to_numpy().astype("datetime64[D]")
    for finding in findings:
        if finding.severity == FLAGGED:
            position = int(np.searchsorted(days, finding.date))
            if position < len(days) and days[position] == finding.date:
                old = flags[position]
                flags[position] = finding.rule if old is None else f"{old},{finding.rule}"
    return flags


def _quarantine_table(rows: pd.DataFrame, findings: list[Finding]) -> pa.Table:
    if not findings:
        return QUARANTINE.arrow.empty_table()
    days = np.array([f.date for f in findings], dtype="datetime64[s]")
    positions = rows.index.get_indexer(pd.DatetimeIndex(days))
    there = positions >= 0
    values = np.full((len(days), len(rows.columns)), np.nan)
    values[there] = rows.to_numpy()[positions[there]]
    columns: dict[str, Any] = {name: values[:, i] for i, name in enumerate(rows.columns)}
    columns["rule"] = [f.rule for f in findings]
    columns["severity"] = [f.severity for f in findings]
    columns["evidence"] = [f.evidence for f in findings]
    return to_arrow(days, columns, QUARANTINE.arrow)


def _gap(
    index: pd.Index, adjusted: npt.NDArray[np.float64], source_adj: pd.Series | None
) -> float | None:
    if source_adj is None:
        return None
    theirs = source_adj.reindex(index).to_numpy(dtype="float64")
    usable = np.isfinite(theirs) & (theirs > 0)
    if not usable.any():
        return None
    return float(np.max(np.abs(adjusted[usable] / theirs[usable] - 1.0)))
