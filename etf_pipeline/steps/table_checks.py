"""What is wrong with a derived table: rules that any correct one obeys, whatever the prices.

Each gives the problems by ticker, window or portfolio; none when all is good.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from etf_pipeline.portfolio.check import FEASIBLE


def impossible_metrics(table: pa.Table) -> dict[str, list[str]]:
    """Volatility below 0, drawdown outside −1 and 0, CVaR below VaR; by ticker and window."""
    problems: dict[str, list[str]] = {}
    for row in table.to_pylist():
        rules = {
            "volatility < 0": row["volatility"] is None or row["volatility"] >= 0,
            "max_drawdown outside [-1, 0]": row["max_drawdown"] is None
            or -1 <= row["max_drawdown"] <= 0,
            "cvar_95 < var_95": row["var_95"] is None or row["cvar_95"] >= row["var_95"] - 1e-12,
        }
        wrong = [rule for rule, obeyed in rules.items() if not obeyed]
        if wrong:
            problems[f"{row['ticker']} {row['window']}"] = wrong
    return problems


def impossible_correlations(table: pa.Table) -> dict[str, str]:
    """By window: a matrix with an eigenvalue below −1e-8, or that is not symmetric.

    There is a matrix for each currency; pairs that are not compared belong to none.
    """
    problems: dict[str, str] = {}
    frame = table.to_pandas()
    compared = frame[frame["reason"].isna()].fillna({"currency": ""})
    for (window, _), part in compared.groupby(["window", "currency"]):
        matrix = part.pivot_table(index="ticker", columns="other", values="correlation").to_numpy()
        if len(matrix) and not np.isnan(matrix).any():
            least = float(np.linalg.eigvalsh(matrix)[0])
            if least < -1e-8 or np.abs(matrix - matrix.T).max() > 1e-12:
                problems[str(window)] = f"least eigenvalue {least:.3g}"
    return problems


def wrong_weights(weights: pa.Table, summary: pa.Table) -> dict[str, str]:
    """By portfolio: what is wrong with its weights, by more than a proof allows.

    With its cash they sum to 1, and none is below 0 unless its gross exposure was limited, which
    they keep to. Summaries of before there was cash have none.
    """
    asked = {row["portfolio"]: row for row in summary.to_pylist()}
    problems: dict[str, str] = {}
    for name, part in weights.to_pandas().groupby("portfolio"):
        held, row = part["weight"].to_numpy(), asked.get(str(name), {})
        total, gross = float(held.sum()) + (row.get("cash") or 0.0), row.get("gross_exposure")
        wrong = [f"sum {total:.12g}"] if abs(total - 1) > FEASIBLE else []
        if gross is None and (held < -FEASIBLE).any():
            wrong.append(f"short by {-held.min():.12g}")
        if gross is not None and float(np.abs(held).sum()) > gross + FEASIBLE * max(1.0, gross):
            wrong.append(f"gross exposure {float(np.abs(held).sum()):.12g} of {gross:g}")
        if wrong:
            problems[str(name)] = ", ".join(wrong)
    return problems


def not_optimised(table: pa.Table) -> dict[str, str]:
    """By portfolio that has no proven answer: why."""
    rows: list[dict[str, Any]] = table.to_pylist()
    return {row["portfolio"]: row["message"] for row in rows if not row["success"]}
