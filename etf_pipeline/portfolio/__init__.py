"""Mean-variance portfolios: `Problem` states what is wanted, `optimise` answers and proves it."""

from etf_pipeline.portfolio.answer import Answer
from etf_pipeline.portfolio.optimise import efficient_frontier, optimise
from etf_pipeline.portfolio.problem import GroupLimit, Problem

__all__ = ["Answer", "GroupLimit", "Problem", "efficient_frontier", "optimise"]
