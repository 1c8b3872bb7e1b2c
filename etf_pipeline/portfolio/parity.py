"""Portfolios from risk alone. See `risk_budgets` and `hrp`."""

from __future__ import annotations

import numpy as np

from etf_pipeline.portfolio.functions import Floats
from etf_pipeline.portfolio.hrp import hierarchical_risk_parity
from etf_pipeline.portfolio.risk_budgets import risk_budgeting

__all__ = ["equal_risk_contribution", "hierarchical_risk_parity"]


def equal_risk_contribution(covariance: Floats) -> Floats:
    """Long-only weights whose risk contributions are equal, shape (N,).

    Raises:
        ValueError: an asset has no variance, or assets cancel out each other's risk wholly.
    """
    return risk_budgeting(covariance, np.ones(len(covariance)))[0]
