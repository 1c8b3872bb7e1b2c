"""From the arguments of a call to a `PortfolioSpec`: the vocabulary and rules of `portfolios.yaml`.

Every field of a specification is an argument of the same name, so that what a file can ask for, a
call can.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from pydantic import BaseModel, ValidationError

from etf_pipeline.errors import ArgumentError, UniverseError, nearest
from etf_pipeline.library.arguments import number
from etf_pipeline.library.universe import known_universe
from etf_pipeline.model.instruments import repeated
from etf_pipeline.model.objectives import strangers
from etf_pipeline.model.portfolio_values import placed, problems, read_spec
from etf_pipeline.model.portfolios import BACKTEST_FIELDS, FILE_FIELDS, GroupColumn, PortfolioSpec
from etf_pipeline.portfolio import GroupLimit
from etf_pipeline.portfolio.building import Columns
from etf_pipeline.settings import environment

# What the methods take besides the fields of a specification.
OTHERS = ("lookback_years", "risk_free_rate", "periods_per_year")
NO_HOLDINGS = (
    "optimize_portfolio() and weight_uncertainty(); what is walked forward begins with none, and "
    "its limits and costs are against what it bought: leave it out"
)
_LONGEST_NAME = 80
_KEPT = frozenset(get_args(GroupColumn))  # columns of the universe


@dataclass(frozen=True)
class Request:
    """What a call asks for.

    Attributes:
        spec: the specification, with groups that were given by their members among its groups.
        columns: the universe's columns by ticker, and one for each of those groups.
        own: those groups.
        remarks: what a reader of the answer must know of what is asked.
    """

    spec: PortfolioSpec
    columns: Columns
    own: tuple[GroupLimit, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """What is asked for, but the tickers, as an event has it."""
        found = self.spec.model_dump(
            mode="json", exclude_unset=True, exclude={*FILE_FIELDS, "tickers"}, warnings=False
        )
        if self.own:
            named = {
                column: values for column, values in found["groups"].items() if column in _KEPT
            }
            members = {
                g.name: {"members": list(g.members), "range": [g.lower, g.upper]} for g in self.own
            }
            found["groups"] = named | members
        return found


def request(
    tickers: Sequence[str],
    values: Mapping[str, Any],
    also: Iterable[str] = OTHERS,
    *,
    walked: bool = False,
) -> Request:
    """What a call asks for.

    Args:
        tickers: distinct.
        values: fields of a specification by name; None is the same as not given. `groups` may also
            be several `GroupLimit`, of any tickers.
        also: names of other arguments, for the hint at a name that is not known.
        walked: whether it is for walking forward alone, which takes no holdings.

    Raises:
        ArgumentError: a name that is not known, or a value that means nothing; with the remedy.
        UniverseError: groups by a column of a universe that cannot be used.
    """
    # A user's own files may be called anything; the name only stands in messages.
    seen = "".join(c for c in ", ".join(tickers) if c.isprintable())
    name = seen[:_LONGEST_NAME].strip() or "portfolio"
    return _request({"name": name, "tickers": list(tickers)}, values, also, walked)


def changed(spec: PortfolioSpec, values: Mapping[str, Any], *, walked: bool = False) -> Request:
    """A specification with other values of some fields; None is the same as not given.

    Raises:
        ArgumentError: as `request`.
    """
    return _request(spec.model_dump(mode="json", exclude_unset=True), values, OTHERS, walked)


def specs_of_file() -> dict[str, PortfolioSpec]:
    """The portfolios of ETF_PORTFOLIOS_FILE by name, with the universe of ETF_UNIVERSE_FILE.

    Raises:
        PortfolioFileError: the file cannot be used.
        UniverseError: the universe cannot be used.
    """
    from etf_pipeline.model.portfolio_file import load_portfolios
    from etf_pipeline.model.universe import load_universe
    from etf_pipeline.settings import load_settings

    settings = load_settings()
    specs = load_portfolios(settings.portfolios_file, load_universe(settings.universe_file))
    return {spec.name: spec for spec in specs}


def _request(
    base: dict[str, Any], values: Mapping[str, Any], also: Iterable[str], walked: bool
) -> Request:
    if walked:
        not_of(values, ("holdings",), NO_HOLDINGS)
    given = {name: value for name, value in values.items() if value is not None}
    fields = PortfolioSpec.model_fields.keys() - FILE_FIELDS - {"tickers"}
    not_of(given, ("resamples",), "weight_uncertainty(), and with portfolios of the file")
    for name in given:
        if name not in fields:
            raise ArgumentError(
                f"{name}: there is no such argument{nearest(name, {*fields, *also})}"
            )
    own = _own_groups(given, base["tickers"])
    plain = base | {name: plain_value(name, value) for name, value in given.items()}
    try:
        spec = read_spec(plain, walked=walked)
    except ValidationError as error:
        raise ArgumentError("; ".join(placed(*problem) for problem in problems(error))) from None
    columns = dict(columns_for(spec))
    limits: dict[str, Any] = {str(column): values for column, values in spec.groups.items()}
    for group in own:  # each a column of its own, as they may share members
        column = f"group {group.name}" if group.name in columns else group.name
        columns[column] = dict.fromkeys(group.members, "total")
        limits[column] = {"total": (group.lower, group.upper)}
    if not own:
        return Request(spec, columns)
    return Request(spec.model_copy(update={"groups": limits}), columns, tuple(own))


def not_of(given: Mapping[str, Any], fields: Iterable[str], where: str) -> None:
    """Nothing, unless one of some fields is given, which only something else obeys.

    Raises:
        ArgumentError: it is; says where it belongs.
    """
    for name in sorted(fields):
        if given.get(name) is not None:
            raise ArgumentError(f"{name} goes with {where}")


def not_for_backtests(given: Mapping[str, Any]) -> None:
    """Nothing, unless something is given that a backtest alone obeys."""
    not_of(given, BACKTEST_FIELDS, "backtest()")


def columns_for(spec: PortfolioSpec) -> Columns:
    """The universe's columns; those of groups and expected returns are known for every ticker.

    Raises:
        UniverseError: they are asked for, and there is no usable universe.
        ArgumentError: they are asked for, and the universe lacks a ticker or its value.
    """
    universe, means = known_universe(), spec.expected_returns
    if universe is None and (spec.groups or means.asks_the_universe):
        from etf_pipeline.model.universe import load_universe

        load_universe(environment.universe_file())  # says what is wrong with it
        raise UniverseError(
            f"{environment.universe_file()} cannot be used; groups and expected returns are of it"
        )
    columns: Columns = {} if universe is None else universe.facts()
    if lacking := means.lacking(spec.tickers, columns):
        raise ArgumentError("; ".join(f"expected_returns: {said}" for _, said in lacking))
    if universe is None:
        return columns
    for column in spec.groups:
        unknown = [t for t in spec.tickers if t not in columns[column]]
        if unknown:
            raise ArgumentError(
                f"groups.{column}: {', '.join(unknown)} is not in {universe.origin}, so nothing "
                f"says its {column}; add it there"
            )
        there = sorted({columns[column][t] for t in spec.tickers})
        for value in spec.groups[column]:
            if value not in there:
                raise ArgumentError(
                    f"groups.{column}: no ticker has {value!r}; there are {', '.join(there)}"
                )
    return columns


def _own_groups(given: dict[str, Any], tickers: Sequence[str]) -> list[GroupLimit]:
    """Groups that are given by their members, taken out of `given`."""
    groups = given.get("groups")
    if groups is None or isinstance(groups, str | Mapping) or not isinstance(groups, Iterable):
        return []
    found = list(groups)
    if not all(isinstance(one, GroupLimit) for one in found):
        raise ArgumentError(
            "groups: give them by universe column and value, such as "
            "{'asset_class': {'fixed_income': (0.2, 0.6)}}, or as several GroupLimit"
        )
    if twice := repeated(one.name for one in found):
        raise ArgumentError(f"groups: two are called {', '.join(twice)}; give each its own name")
    for one in found:
        if unknown := strangers(one.members, tickers):
            raise ArgumentError(f"group {one.name}: {', '.join(unknown)} was not asked for")
        low, high = (number(f"group {one.name}", v) for v in (one.lower, one.upper))
        if not one.members or not 0 <= low <= high:
            raise ArgumentError(f"group {one.name}: needs members and 0 ≤ lower ≤ upper")
    del given["groups"]
    return found


def plain_value(name: str, value: Any) -> Any:
    """A value as a file would have it: NumPy's numbers as numbers, series as mappings.

    Raises:
        ArgumentError: it is of a kind that no field is.
    """
    if value is None or isinstance(value, bool | int | str):
        return value if not isinstance(value, str) else str.__str__(value)
    if isinstance(value, np.generic | np.ndarray):
        return plain_value(name, value.tolist())
    if isinstance(value, BaseModel):
        return plain_value(name, value.model_dump(mode="json", exclude_unset=True))
    if isinstance(value, dt.date):
        return value.isoformat()
    if hasattr(value, "items"):  # a mapping, or a series by ticker
        return {_key(name, key): plain_value(f"{name}.{key}", one) for key, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [plain_value(name, one) for one in value]
    return number(name, value)


def _key(name: str, key: object) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    raise ArgumentError(f"{name}: {key!r} is no name; give a text such as a ticker")
