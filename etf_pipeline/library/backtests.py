"""A backtest as the library answers it: its course, its trades, and the metrics of the course."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from etf_pipeline.library.analysis import risk_metrics
from etf_pipeline.library.currencies import money
from etf_pipeline.portfolio.fixed_weights import as_series
from etf_pipeline.risk.conversion import OWN_CURRENCY, Conversion
from etf_pipeline.risk.returns import drawdowns, from_paid_in

if TYPE_CHECKING:
    from etf_pipeline.portfolio.backtest_tables import Walked
    from etf_pipeline.risk.prices import PriceSeries
    from etf_pipeline.risk.risk_free import RiskFree


def backtest_answer(
    walked: Walked,
    risk_free_rate: RiskFree | float,
    benchmark: PriceSeries | None = None,
    conversion: Conversion = OWN_CURRENCY,
    periods_per_year: float | None = None,
) -> dict[str, Any]:
    """What `ETFDataProvider.backtest` returns.

    Args:
        walked: the backtest, beside the benchmark if there is one.
        risk_free_rate: annual effective rate, for the metrics.
        benchmark: its prices.
        conversion: brings it to the backtest's currency.
        periods_per_year: A, fixed by convention; by default what there was.
    """
    done, held = walked.backtest, walked.together.series
    whole = from_paid_in(done.wealth, done.wealth)
    course = pd.DataFrame(
        {
            "wealth": done.wealth,
            "drawdown": drawdowns(whole),
            "cash": done.cash,
            "turnover": done.turnover.reindex(done.wealth.index),
            "cost": done.cost.reindex(done.wealth.index),
        }
    ).rename_axis("date")
    metrics = risk_metrics(
        as_series(whole, held), None, risk_free_rate, benchmark, conversion, periods_per_year
    )
    besides = {"benchmark_wealth": walked.benchmark, "comparison_wealth": done.comparison}
    for name, other in besides.items():
        if other is not None:
            course[name] = other.reindex(course.index)
    return {
        "metrics": metrics,
        "comparison_metrics": _compared(walked, risk_free_rate, periods_per_year),
        "course": course,
        "weights": done.weights.rename_axis("date"),
        "events": [
            {
                "date": event.date,
                "event": event.kind.value,
                "subject": event.subject,
                "traded": event.traded,
                "reason": event.reason,
            }
            for event in done.events
        ],
        "start": course.index[0].date(),
        "end": course.index[-1].date(),
        **money(walked.together),
        "remarks": list(done.remarks),
    }


def _compared(
    walked: Walked, risk_free_rate: RiskFree | float, periods_per_year: float | None
) -> dict[str, Any] | None:
    """Metrics of what the course is compared with; None where that is nothing."""
    done = walked.backtest
    found = None if done.comparison is None else done.comparison.dropna()
    if found is None or len(found) < 2:
        return None
    series = as_series(from_paid_in(found, done.wealth), walked.together.series)
    return risk_metrics(series, None, risk_free_rate, periods_per_year=periods_per_year)
