"""Histories read one after the other into one array, by window and currency: what is compared."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import CurrencyError, InsufficientDataError
from etf_pipeline.model.currencies import unit_of
from etf_pipeline.risk.conversion import Conversion
from etf_pipeline.risk.grid import WHAT, Common, Grid, Positions, Sheet, weekly
from etf_pipeline.risk.prices import EARLY, PriceSeries, anchor, too_few_common
from etf_pipeline.risk.shared_dates import FEWEST, SMALL_SHARE, stay, usual
from etf_pipeline.risk.together import Period

Days = npt.NDArray[np.datetime64]
_MOST_NAMED = 3


class Member(NamedTuple):
    """A ticker that covers a window, and where its prices for it are.

    `since` is the first day of them that is looked at, before the window, see `common_prices`.
    """

    ticker: str
    row: int
    currency: str | None
    exchange: str | None
    source: str
    since: np.datetime64
    alone: str | None = None  # why it could not be brought to the currency that is wanted
    units: float = 1.0  # how many units that prices are quoted in make one of the currency


@dataclass(frozen=True)
class Group:
    """Tickers of one currency that cover a window from `start` on."""

    start: dt.date
    currency: str | None
    members: Sequence[Member]

    @property
    def rows(self) -> Positions:
        """Where their prices are."""
        return np.array([m.row for m in self.members], dtype=np.intp)


@dataclass(frozen=True)
class Together:
    """Which of a group are compared, and on which dates.

    Attributes:
        period: of the returns.
        stays: whether each member is compared, shape (n,).
        common: the columns of those that are; fewer than `FEWEST` when they have too few.
        usual: how many dates or weeks most members have.
        has: how many of these each member has, shape (n,).
        too_few: why there is no correlation at all.
    """

    period: Period
    stays: npt.NDArray[np.bool_]
    common: Common
    usual: int
    has: npt.NDArray[np.int64]
    too_few: str | None = None
    instead: int | None = None  # how many daily returns would have left out, of weekly ones

    def in_words(self, names: Sequence[str]) -> str:
        """What is compared on which dates, and which of the members cost the most of them."""
        if self.too_few is not None:
            return self.too_few
        what, kept = WHAT[self.period], int(self.stays.sum())
        first, last = self.common.days[[0, -1]]
        said = [
            f"{kept} of {len(names)} tickers on {len(self.common.days)} {what}, {first} to {last}"
        ]
        if self.instead is not None:
            said.append(f"weekly, as daily returns would leave out {self.instead}")
        lacks = self.usual - self.has
        cost = np.flatnonzero(self.stays & (lacks > 0)).tolist()
        worst = sorted(cost, key=lambda i: (-lacks[i], names[i]))
        if self.usual - len(self.common.days) > SMALL_SHARE * self.usual and worst:
            most = ", ".join(f"{names[i]} {lacks[i]}" for i in worst[:_MOST_NAMED])
            said.append(f"most have {self.usual}, of which lack most: {most}")
        return "; ".join(said)

    def why_left_out(self, at: int, ticker: str) -> str:
        """Why a member that does not stay is not compared."""
        return (
            f"{ticker} has prices on {self.has[at]} of the {self.usual} {WHAT[self.period]} that "
            "most have, and would cost the others too many: `etf compare` has it on fewer dates"
        )


class Histories:
    """The prices of every ticker over the longest window, read once.

    Groups are found from what each history said of itself on the way.
    """

    def __init__(
        self,
        series: Iterable[PriceSeries],
        many: int,
        as_of: dt.date,
        starts: Iterable[dt.date],
        conversion: Conversion,
    ) -> None:
        """Read every history, at most `many`, for windows from `starts` on up to `as_of`."""
        self._starts, self._conversion = sorted(starts), conversion
        sheet = Sheet(many, self._starts[0], as_of)
        self._members: dict[dt.date, list[Member]] = {start: [] for start in self._starts}
        tickers = []
        for row, one in enumerate(series):
            tickers.append(one.ticker)
            if one.trades_on(as_of):
                self._read(sheet, row, conversion.named(one))
        self.tickers = sorted(tickers)
        self.daily = sheet.daily()
        self._weekly: Grid | None = None

    def _read(self, sheet: Sheet, row: int, one: PriceSeries) -> None:
        covered = [start for start in self._starts if one.covers(start)]
        if not covered:
            return
        done = self._conversion.by_window(one, covered)
        written: PriceSeries | None = None
        for start, found in zip(covered, done, strict=True):
            used = one if isinstance(found, CurrencyError) else found
            if written is None:
                sheet.write(row, used)
                written, at = used, row
            elif used is not written:
                written, at = used, sheet.add(used)
            early = anchor(used.days, start - EARLY)
            self._members[start].append(
                Member(
                    used.ticker,
                    at,
                    used.currency,
                    used.exchange,
                    used.source,
                    used.days[min(early, len(used.days) - 1)],
                    str(found) if isinstance(found, CurrencyError) else None,
                )
            )

    def grid(self, period: Period) -> Grid:
        """All prices, by day or by week."""
        if period == "daily":
            return self.daily
        if self._weekly is None:
            self._weekly = weekly(self.daily)
        return self._weekly

    def groups(self, start: dt.date) -> list[Group]:
        """The tickers that cover a window, by currency; as `Conversion.groups` has them."""
        members = sorted(self._members[start], key=lambda m: m.ticker)
        target = self._conversion.shared(m.currency for m in members)
        found: dict[str | None, list[Member]] = {}
        for one in members:
            placed = one
            if self._conversion.default is None and one.currency not in (None, target):
                placed = self._in_units(one, target)
            found.setdefault(placed.currency, []).append(placed)
        return [Group(start, currency, members) for currency, members in found.items()]

    def _in_units(self, one: Member, target: str | None) -> Member:
        """Pence and the like in their currency."""
        unit = unit_of(str(one.currency))
        if unit.major != target:
            return one
        return one._replace(currency=target, units=unit.per_major)

    def together(self, group: Group) -> Together:
        """Who of a group is compared: weekly where exchanges differ, or where holes ask for it.

        Where daily dates would leave out more than a twentieth of the tickers, and weeks fewer,
        weekly returns compare them: a hole of a day is none in a week.
        """
        if len({m.exchange for m in group.members if m.exchange}) > 1:
            return self._on(group, "weekly")
        found = self._on(group, "daily")
        left = int((~found.stays).sum())
        if left > SMALL_SHARE * len(group.members):
            other = self._on(group, "weekly")
            if int((~other.stays).sum()) < left and other.too_few is None:
                return replace(other, instead=left)
        return found

    def _on(self, group: Group, period: Period) -> Together:
        grid, rows = self.grid(period), group.rows
        since = np.array([m.since for m in group.members])
        looked_at = np.flatnonzero(grid.begins >= np.datetime64(group.start - EARLY))
        there = grid.has(rows, looked_at)
        columns = looked_at[usual(there)]
        columns = columns[anchor(grid.days(rows, columns), group.start) :]
        missing = ~grid.has(rows, columns)
        stays = stay(missing) if len(columns) >= FEWEST else np.ones(len(rows), dtype="bool")
        common = Common.of(grid, rows[stays], group.start, since[stays])
        has, too_few = (~missing).sum(axis=1), None
        if len(common.days) < FEWEST:
            too_few = str(self._too_few(group, stays, common, period))
        return Together(period, stays, common, len(columns), has, too_few)

    def _too_few(
        self, group: Group, stays: npt.NDArray[np.bool_], common: Common, period: Period
    ) -> InsufficientDataError:
        parts = [
            _Dated(m.ticker, self.daily.own_days(m.row, group.start))
            for m, kept in zip(group.members, stays, strict=True)
            if kept
        ]
        return too_few_common(len(common.days), parts, WHAT[period])


class _Dated(NamedTuple):
    ticker: str
    days: Days


def why_not(one: Member, other: Member) -> str:
    """Why two tickers of different currencies are not compared."""
    told = " and ".join(f"{m.ticker} is in {m.currency or '?'}" for m in (one, other))
    known = [m.alone for m in (one, other) if m.alone is not None]
    return "; ".join(known) or f"{told}: set ETF_BASE_CURRENCY"
