"""The expected returns that a call asks for, and what the universe has to say to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from etf_pipeline.model.expected_returns import ExpectedReturns, Facts
from etf_pipeline.model.universe import load_universe
from etf_pipeline.settings import environment

Asked = str | Mapping[str, Any] | ExpectedReturns | None


def asked_for(block: Asked) -> ExpectedReturns:
    """The block `expected_returns` of `docs/portfolios.md`, or a method's name; None: past means.

    Raises:
        ValueError: it cannot be used; names the field.
    """
    if block is None:
        return ExpectedReturns()
    if isinstance(block, ExpectedReturns):
        return block
    try:
        return ExpectedReturns.model_validate(block)
    except ValidationError as error:
        problems = [
            ".".join(map(str, ("expected_returns", *e["loc"])))
            + ": "
            + e["msg"].removeprefix("Value error, ")
            for e in error.errors()
        ]
        raise ValueError("; ".join(problems)) from None


def facts_for(asked: ExpectedReturns) -> Facts:
    """Columns of the universe, where they have a say; nothing else reads the file.

    Raises:
        UniverseError: it is needed and cannot be used.
    """
    return load_universe(environment.universe_file()).facts() if asked.asks_the_universe else {}
