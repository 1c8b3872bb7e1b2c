"""Portfolios: `stated` says what is wanted, `optimise` answers and proves it."""

from etf_pipeline.portfolio.answer import Answer
from etf_pipeline.portfolio.building import stated
from etf_pipeline.portfolio.limits import GroupLimit
from etf_pipeline.portfolio.optimise import efficient_frontier, nearest_feasible, optimise
from etf_pipeline.portfolio.problem import Benchmark, Problem

__all__ = [
    "Answer",
    "Benchmark",
    "GroupLimit",
    "Problem",
    "efficient_frontier",
    "nearest_feasible",
    "optimise",
    "stated",
]
