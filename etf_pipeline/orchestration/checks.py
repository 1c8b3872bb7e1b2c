"""Asset checks. They call the functions that the writers call; blocking ones hold back the rest."""

from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa

from etf_pipeline.model.outcomes import Outcome
from etf_pipeline.model.schemas import (
    CORRELATIONS,
    RISK_METRICS,
    SUMMARY,
    WEIGHTS,
    Table,
)
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.steps.history_checks import Examined
from etf_pipeline.store.reader import read_table

_ASSET = "price_history"
HISTORY_CHECKS = [
    dg.AssetCheckSpec(
        "histories_valid",
        asset=_ASSET,
        blocking=True,
        description="Every history on disk is readable, ascending and positive.",
    ),
    dg.AssetCheckSpec(
        "histories_complete",
        asset=_ASSET,
        description="No ticker failed, and none has sessions missing in the last 30.",
    ),
    dg.AssetCheckSpec(
        "nothing_quarantined",
        asset=_ASSET,
        description="No row is held back by a quality rule.",
    ),
]


def history_check_results(
    examined: Iterable[Examined], outcomes: Sequence[Outcome]
) -> list[dg.AssetCheckResult]:
    """The three results, from the files as they are on disk now."""
    files = list(examined)
    invalid = {f.ticker: f.error for f in files if f.error is not None}
    gaps = {f.ticker: [str(day) for day in f.missing] for f in files if f.missing}
    held = {f.ticker: f.held_back for f in files if f.held_back}
    failed = {o.subject: o.reason or "" for o in outcomes if not o.good}
    return [
        _result("histories_valid", invalid, dg.AssetCheckSeverity.ERROR),
        _result("histories_complete", failed | gaps, dg.AssetCheckSeverity.WARN),
        _result("nothing_quarantined", held, dg.AssetCheckSeverity.WARN),
    ]


def _result(
    name: str, problems: dict[str, Any], severity: dg.AssetCheckSeverity, asset: str = _ASSET
) -> dg.AssetCheckResult:
    text = "; ".join(f"{k}: {v}" for k, v in list(problems.items())[:20])
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=dg.AssetKey(asset),
        passed=not problems,
        severity=severity,
        description=text or "all good",
        metadata={"problems": dg.MetadataValue.json(problems)},
    )


def _newest(pipeline: Pipeline, table: Table) -> pa.Table:
    path = pipeline.layout.newest(table)
    if path is None:
        raise dg.Failure(f"{table.name} has not been published yet")
    return read_table(path)


@dg.asset_check(
    asset="risk_metrics", blocking=True, description="Every metric is within its possible range."
)
def metrics_possible(pipeline: dg.ResourceParam[Pipeline]) -> dg.AssetCheckResult:
    """Volatility not negative, drawdown within −1 and 0, CVaR not below VaR."""
    problems: dict[str, Any] = {}
    for row in _newest(pipeline, RISK_METRICS).to_pylist():
        wrong = [
            rule
            for rule, ok in {
                "volatility < 0": row["volatility"] is None or row["volatility"] >= 0,
                "max_drawdown outside [-1, 0]": row["max_drawdown"] is None
                or -1 <= row["max_drawdown"] <= 0,
                "cvar_95 < var_95": row["var_95"] is None
                or row["cvar_95"] >= row["var_95"] - 1e-12,
            }.items()
            if not ok
        ]
        if wrong:
            problems[f"{row['ticker']} {row['window']}"] = wrong
    return _result("metrics_possible", problems, dg.AssetCheckSeverity.ERROR, "risk_metrics")


@dg.asset_check(
    asset="correlations",
    blocking=True,
    description="Each window's matrix is symmetric, has a unit diagonal and is PSD.",
)
def correlations_psd(pipeline: dg.ResourceParam[Pipeline]) -> dg.AssetCheckResult:
    """Least eigenvalue not below −1e-8, in every window."""
    frame = _newest(pipeline, CORRELATIONS).to_pandas()
    problems: dict[str, Any] = {}
    for window, part in frame.groupby("window"):
        matrix = part.pivot_table(index="ticker", columns="other", values="correlation").to_numpy()
        if len(matrix) and not np.isnan(matrix).any():
            least = float(np.linalg.eigvalsh(matrix)[0])
            if least < -1e-8 or np.abs(matrix - matrix.T).max() > 1e-12:
                problems[str(window)] = f"least eigenvalue {least:.3g}"
    return _result("correlations_psd", problems, dg.AssetCheckSeverity.ERROR, "correlations")


@dg.asset_check(
    asset="optimised_portfolios",
    blocking=True,
    description="Published weights sum to 1 and are not negative.",
)
def weights_add_up(pipeline: dg.ResourceParam[Pipeline]) -> dg.AssetCheckResult:
    """Within 1e-9, for every portfolio that has weights."""
    frame = _newest(pipeline, WEIGHTS).to_pandas()
    problems: dict[str, Any] = {}
    for name, part in frame.groupby("portfolio"):
        if abs(part["weight"].sum() - 1) > 1e-9 or (part["weight"] < -1e-9).any():
            problems[str(name)] = f"sum {part['weight'].sum():.12g}"
    asset = "optimised_portfolios"
    return _result("weights_add_up", problems, dg.AssetCheckSeverity.ERROR, asset)


@dg.asset_check(
    asset="optimised_portfolios", description="Every model portfolio was optimised, with proof."
)
def every_portfolio_optimised(pipeline: dg.ResourceParam[Pipeline]) -> dg.AssetCheckResult:
    """Names those that were not, with the reason."""
    rows = _newest(pipeline, SUMMARY).to_pylist()
    problems = {r["portfolio"]: r["message"] for r in rows if not r["success"]}
    asset = "optimised_portfolios"
    return _result("every_portfolio_optimised", problems, dg.AssetCheckSeverity.WARN, asset)


TABLE_CHECKS = [metrics_possible, correlations_psd, weights_add_up, every_portfolio_optimised]
