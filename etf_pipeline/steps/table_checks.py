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


def wrong_weights(table: pa.Table) -> dict[str, str]:
    """By portfolio: weights that do not sum to 1, or one below 0, by more than a proof allows."""
    problems: dict[str, str] = {}
    for name, part in table.to_pandas().groupby("portfolio"):
        total = part["weight"].sum()
        if abs(total - 1) > FEASIBLE or (part["weight"] < -FEASIBLE).any():
            problems[str(name)] = f"sum {total:.12g}"
    return problems


def not_optimised(table: pa.Table) -> dict[str, str]:
    """By portfolio that has no proven answer: why."""
    rows: list[dict[str, Any]] = table.to_pylist()
    return {row["portfolio"]: row["message"] for row in rows if not row["success"]}
