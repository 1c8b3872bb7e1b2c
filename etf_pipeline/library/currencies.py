"""One currency for what a call asks for: which, and the rates that it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from etf_pipeline.errors import SettingsError
from etf_pipeline.library.universe import known_universe
from etf_pipeline.model.currencies import check_currency, unit_of
from etf_pipeline.settings import environment

if TYPE_CHECKING:
    from etf_pipeline.risk.conversion import Conversion, Together
    from etf_pipeline.risk.prices import PriceSeries
    from etf_pipeline.store.cache import FileCache
    from etf_pipeline.store.layout import Layout


def conversion_for(
    layout: Layout, cache: FileCache, series: Sequence[PriceSeries], base: str | None
) -> Conversion:
    """What brings some series to one currency; rates are read where they are needed only.

    Raises:
        ValueError: `base` is no currency.
        SettingsError: ETF_BASE_CURRENCY is none.
    """
    from etf_pipeline.risk.conversion import Conversion, Rates
    from etf_pipeline.store.rates import read_rates

    default = _default()
    currencies: set[str | None] = {s.currency for s in series}
    target = check_currency(base) if base is not None else default
    if target is not None:
        currencies.add(target)
    known = universe_currencies()
    if None in currencies and (len(series) > 1 or target is not None):
        currencies |= {known.get(s.ticker) for s in series}
    majors = {unit_of(c).major for c in currencies if c is not None}
    rates = read_rates(layout, cache) if len(majors) > 1 else Rates()
    return Conversion(rates, known, default)


def money(together: Together) -> dict[str, Any]:
    """How an answer says what its prices are in."""
    return {"base_currency": together.currency, "fx": together.fx}


def told(together: Together, remarks: Iterable[str] = ()) -> dict[str, Any]:
    """The same, and what a reader of its numbers must know besides, each said once."""
    return money(together) | {"remarks": list(dict.fromkeys([*remarks, *together.remarks]))}


def _default() -> str | None:
    code = environment.base_currency()
    try:
        return None if code is None else check_currency(code)
    except ValueError as error:
        raise SettingsError(f"bad setting: ETF_BASE_CURRENCY={code!r}: {error}") from None


def universe_currencies() -> Mapping[str, str]:
    """By ticker; none without a usable universe."""
    universe = known_universe()
    return {} if universe is None else universe.columns()["currency"]
