"""A portfolio's values as somebody wrote them, read strictly, and what is wrong with them in words.

The same for `portfolios.yaml`, for the library and for the command line: text is no number, a truth
value is none either, and no number is NaN or infinite.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from etf_pipeline.errors import nearest
from etf_pipeline.model.expected_returns import ExpectedReturns, View
from etf_pipeline.model.number_texts import number_meant
from etf_pipeline.model.portfolios import WALKED, PortfolioSpec

Loc = tuple[int | str, ...]  # where a value is: names of fields, and places in lists
_PAIR = "give the least and the greatest, such as [0.2, 1] for at least 0.2"
# Fields that are one name alone, or weights of several tickers.
_MIXES = {
    "benchmark": "a ticker, a portfolio or weights",
    "compare_with": "a ticker, or weights",
}
_PERCENT = 10.0  # limits up to this are of fractions, for which per cent may have been given


def read_spec(values: Mapping[str, Any], *, walked: bool = False) -> PortfolioSpec:
    """A specification of plain values: texts, numbers, lists, mappings by text.

    Args:
        values: by field.
        walked: whether it is for walking forward alone, which needs no holdings.

    Raises:
        ValidationError: `problems` has it in words.
    """
    # Only as JSON does pydantic take a list for a tuple, and yet no text for a number.
    text = json.dumps(values, default=str)
    return PortfolioSpec.model_validate_json(text, strict=True, context={WALKED: walked})


def problems(
    error: ValidationError, written: Callable[[Loc], str | None] = lambda loc: None
) -> Iterator[tuple[Loc, str]]:
    """Where each problem is, and what it is, with the remedy where there is one.

    `written` has a value as a file has it, which is not always what was read: `5E3` is a number.
    """
    for each in error.errors():
        loc = tuple(part for part in each["loc"] if part != "[key]")
        if len(loc) > 1 and loc[0] in _MIXES:  # the second part is the kind that it was tried as
            if loc[1] == "str":  # as weights it has a problem too, which says more
                continue
            loc = (loc[0], *loc[2:])
        yield loc, _in_words(each, loc, written(loc))


def placed(loc: Loc, message: str) -> str:
    """A problem with the name of the place before it."""
    where = ".".join(str(part) for part in loc)
    return f"{where}: {message}" if where else message


def _in_words(error: Mapping[str, Any], loc: Loc, written: str | None) -> str:
    kind, value, limits = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        near = nearest(str(loc[-1]), _fields_at(loc[:-1]))
        return f"there is no such field{near}"
    if kind in ("tuple_type", "too_long") or (kind == "missing" and isinstance(loc[-1], int)):
        return f"{value!r}: {_PAIR}"
    if kind in ("dict_type", "model_type") and not isinstance(value, Mapping):
        or_one = _MIXES.get(str(loc[0]), "it") if len(loc) == 1 else "it"
        return f"{value!r}: give {or_one} by name, such as {{NAME: …}}"
    if kind == "list_type":
        parts = [p.strip() for p in value.split(",")] if isinstance(value, str) else [value]
        return f"{value!r}: give a list, such as {parts!r}"
    if kind in ("int_from_float", "int_type", "float_type") and not isinstance(value, str):
        return f"{value!r}: must be a {'' if kind == 'float_type' else 'whole '}number"
    if kind == "string_type":
        said = value if written is None else written
        return f"{said}: must be a text, such as '{said}' in quotes"
    if kind == "bool_type":
        return f"{value!r}: must be true or false"
    if kind in ("float_type", "int_type") and isinstance(value, str):
        return f"{value!r} is text; {number_meant(value)}"
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", str(limits.get("expected", "")))
        return f"{value!r}: must be one of {', '.join(known)}{nearest(str(value), known)}"
    message = error["msg"].removeprefix("Value error, ")
    if kind.startswith(("less_than", "greater_than")):
        return _out_of_range(value, limits, message)
    return message


def _fields_at(loc: Loc) -> Iterable[str]:
    """Names of the fields that a place of a specification has."""
    if not loc:
        return PortfolioSpec.model_fields
    if loc[0] != "expected_returns":
        return ()
    model = ExpectedReturns if len(loc) == 1 else View
    return [field.alias or name for name, field in model.model_fields.items()]


def _out_of_range(value: Any, limits: Mapping[str, Any], message: str) -> str:
    """A number beyond its limit; where it may be per cent, what it is as a fraction."""
    said = f"{value!r}: {message[0].lower()}{message[1:]}".replace("input should", "must")
    most = next((limits[k] for k in ("lt", "le") if k in limits), None)
    if most is None or not most <= _PERCENT or value < 1:
        return said
    if value / 100.0 > most or (value / 100.0 == most and "lt" in limits):
        return said
    return f"{said}; fractions are meant: {value:g} % is {value / 100.0:g}"
