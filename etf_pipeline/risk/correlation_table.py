"""The table of correlations: for every ticker its nearest and farthest, for portfolios every pair.

Of N tickers there are N² pairs. What people use of them is kept; every other matrix is computed
when somebody asks for it, see `library.analysis.correlation_matrix`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.risk.conversion import OWN_CURRENCY, Conversion
from etf_pipeline.risk.correlation import enough_rows, listwise
from etf_pipeline.risk.correlation_rows import Constants, Rows, joined
from etf_pipeline.risk.extremes import ROWS, Block, Extremes, Product, blocks, unit_rows
from etf_pipeline.risk.prices import PriceSeries, sources, window_start
from etf_pipeline.risk.returns import FLAT
from etf_pipeline.risk.side_by_side import Group, Histories, Member, Together, why_not
from etf_pipeline.risk.tables import WINDOWS

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.intp]
KEPT = 50  # of the nearest, and as many of the farthest
_MOST_NAMED = 3


@dataclass
class Correlations:
    """The table, and what is to be said of it.

    Attributes:
        table: as `schemas.CORRELATIONS` has it.
        left_out: by window: tickers whose holes keep them out of it, each with the reason.
        dates: by window and currency: what was compared, and what it cost.
    """

    table: pa.Table
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)
    dates: dict[str, str] = field(default_factory=dict)


def correlation_table(
    series: Iterable[PriceSeries],
    as_of: dt.date,
    conversion: Conversion = OWN_CURRENCY,
    portfolios: Iterable[Collection[str]] = (),
    kept: int = KEPT,
    many: int | None = None,
) -> Correlations:
    """Correlations of simple returns, listwise per window: every pair on the same dates.

    A window compares the tickers whose history covers it up to `as_of`, so each window's matrix
    is positive semidefinite. Tickers that no longer trade, and the window `max`, are left out.
    A matrix is of one currency, and of the tickers that `shared_dates.stay` finds.
    Where the tickers are of several exchanges, all the returns are weekly, see `period_for`.

    Args:
        series: prices of every ticker; each is looked at once.
        as_of: the newest session.
        conversion: what brings prices to one currency.
        portfolios: tickers of each model portfolio, of which every pair is kept.
        kept: how many of the nearest are kept of each ticker, and how many of the farthest. Where
            these are all there are, every pair is, also those that cannot be compared.
        many: at most how many series there are, where they are not to be held all at once.
    """
    if many is None:
        series = list(series)
        many = len(series)
    starts = {w: s for w, y in WINDOWS.items() if (s := window_start(as_of, y)) is not None}
    histories = Histories(series, many, as_of, starts.values(), conversion)
    done = Correlations(pa.table({}))
    rows = _rows(histories, starts, portfolios, kept, done)
    del histories  # by far the most of what is in memory
    done.table = rows.table()
    return done


def _rows(
    histories: Histories,
    starts: Mapping[str, dt.date],
    portfolios: Iterable[Collection[str]],
    kept: int,
    done: Correlations,
) -> Rows:
    """The rows as numbers."""
    place = {t: i for i, t in enumerate(histories.tickers)}
    members = [np.array([place[t] for t in one if t in place], dtype=np.intp) for one in portfolios]
    rows = Rows(histories.tickers)
    for window, start in starts.items():
        groups = histories.groups(start)
        if sum(len(g.members) for g in groups) >= 2:
            one = _Window(window, groups, histories, rows, kept, done)
            one.fill(_pairs(one, members))
    return rows


def _pairs(window: _Window, portfolios: list[Positions]) -> tuple[Positions, Positions]:
    """Pairs that are kept whatever they are, the first of each before the second in order."""
    there = np.flatnonzero(window.group_of >= 0)
    if window.complete:
        portfolios = [there]
    codes = [np.array([], dtype=np.intp)]
    n = len(window.group_of)
    for one in portfolios:
        held = np.unique(one[window.group_of[one] >= 0])
        a, b = np.triu_indices(len(held), 1)
        codes.append(held[a] * n + held[b])
    a, b = np.divmod(np.unique(np.concatenate(codes)), n)
    return a, b


class _Window:
    """One window: its groups are correlated one after the other, and rows are made of it."""

    def __init__(
        self,
        window: str,
        groups: list[Group],
        histories: Histories,
        rows: Rows,
        kept: int,
        done: Correlations,
    ) -> None:
        """Of these groups, each of one currency."""
        self._window, self._groups, self._histories = window, groups, histories
        self._rows, self._kept, self._done = rows, kept, done
        place = {t: i for i, t in enumerate(histories.tickers)}
        n = len(place)
        self._at = [np.array([place[m.ticker] for m in g.members], dtype=np.intp) for g in groups]
        self._member: dict[int, Member] = {place[m.ticker]: m for g in groups for m in g.members}
        self.group_of = np.full(n, -1)
        for number, at in enumerate(self._at):
            self.group_of[at] = number
        self._compared = np.zeros(n, dtype="bool")
        self._why: dict[int, str] = {}  # by ticker's position: why it goes with none
        self._flat = np.zeros(n, dtype="bool")  # on the common dates, but without variance
        self._constants: list[tuple[Constants, Constants]] = []
        self.complete = len(self._member) <= 2 * kept + 1

    def fill(self, pairs: tuple[Positions, Positions]) -> None:
        """Add the rows of this window: `pairs`, nearest, farthest, and every ticker with itself."""
        for number, group in enumerate(self._groups):
            self._correlate(number, group, pairs)
        self._without(*pairs)

    def _correlate(self, number: int, group: Group, pairs: tuple[Positions, Positions]) -> None:
        """A matrix: its extremes, those of the pairs that are in it, and its diagonal."""
        together = self._histories.together(group)
        base = Constants(self._window, together.period, group.currency)
        self._constants.append((base, base))
        at, left_out = self._at[number], self._left_out(group, together)
        if together.too_few is not None:
            self._why |= {int(i): together.too_few for i in at}
            return
        self._why |= {int(at[i]): why for i, why in left_out.items()}
        try:
            matrix = _Matrix.of(self._histories, group, together)
        except InsufficientDataError as error:
            self._why |= {int(i): str(error) for i in at}
            return
        days = together.common.days
        whole = base._replace(n_obs=matrix.n_obs, start=days[0].item(), end=days[-1].item())
        self._constants[number] = (whole, base)
        inside = at[together.stays]
        self._flat[inside[~matrix.varies]] = True
        for i in inside[~matrix.varies].tolist():
            self._why[i] = f"the returns of {self._member[i].ticker} do not vary"
        compared = inside[matrix.varies]
        self._compared[compared] = True
        a, b = pairs
        mine = self._compared[a] & self._compared[b] & (self.group_of[a] == number)
        mine &= self.group_of[b] == number
        wanted = np.searchsorted(compared, a[mine]), np.searchsorted(compared, b[mine])
        i, j, values, near, far = matrix.kept(self._kept, wanted)
        self._rows.add(whole, compared[i], compared[j], values, near, far, self._source)
        alone = "" if len(at) > 1 or self.complete else self._alone(group)
        self._rows.add_diagonal(whole, compared, self._source, alone or None)

    def _alone(self, group: Group) -> str:
        return f"no other ticker is in {group.currency or '?'}: set ETF_BASE_CURRENCY"

    def _without(self, a: Positions, b: Positions) -> None:
        """Pairs of which there is no correlation, in both orders, and tickers that go with none."""
        null = ~(self._compared[a] & self._compared[b] & (self.group_of[a] == self.group_of[b]))
        for i, j in zip(a[null].tolist(), b[null].tolist(), strict=True):
            for one, other in ((i, j), (j, i)):
                self._rows.add_null(*self._reason(one, other))
        for i in sorted(self._why):
            self._rows.add_null(*self._reason(i, i))

    def _reason(self, one: int, other: int) -> tuple[Constants, int, int, str, str]:
        number = int(self.group_of[one])
        first, second = self._member[one], self._member[other]
        if number != self.group_of[other]:
            nothing = Constants(self._window, None, None)
            return nothing, one, other, why_not(first, second), sources([first, second])
        compared, not_compared = self._constants[number]
        on_dates = all(self._compared[i] or self._flat[i] for i in (one, other))
        why = self._why.get(one) or self._why[other]
        source = joined(first.source, second.source)
        return compared if on_dates else not_compared, one, other, why, source

    def _source(self, one: int) -> str:
        return self._member[one].source

    def _left_out(self, group: Group, together: Together) -> dict[int, str]:
        """By position in the group: why a member is not compared. It is told, as are the dates."""
        names = [m.ticker for m in group.members]
        out = np.flatnonzero(~together.stays).tolist()
        found = {i: together.why_left_out(i, names[i]) for i in out}
        if found:
            told = self._done.left_out.setdefault(self._window, {})
            told |= {names[i]: why for i, why in found.items()}
        key = f"{self._window} {group.currency or '?'}"
        self._done.dates[key] = together.in_words(names)
        return found


class _Matrix(NamedTuple):
    """Blocks of a correlation matrix, and which of the members vary and so are in it."""

    unit: Floats
    whole: Floats | None
    varies: npt.NDArray[np.bool_]
    n_obs: int

    @classmethod
    def of(cls, histories: Histories, group: Group, together: Together) -> _Matrix:
        """Of those of a group that are compared.

        Raises:
            InsufficientDataError: fewer than two returns.
        """
        members = [m for m, stays in zip(group.members, together.stays, strict=True) if stays]
        rows = np.array([m.row for m in members], dtype=np.intp)
        units = np.array([m.units for m in members])
        returns = histories.grid(together.period).returns(rows, together.common, units)
        enough_rows(returns.shape[1], returns.shape[1])
        whole = None
        if len(rows) <= ROWS:
            whole = listwise(returns.T).matrix
        varies = np.ptp(returns, axis=1) > FLAT
        n_obs = returns.shape[1]
        if not varies.all():
            returns = returns[varies]
            whole = None if whole is None else whole[np.ix_(varies, varies)]
        return cls(unit_rows(returns), whole, varies, n_obs)

    def kept(
        self, k: int, wanted: tuple[Positions, Positions]
    ) -> tuple[Positions, Positions, Floats, Positions, Positions]:
        """Rows, columns, correlations and both ranks (0 for none) of what is kept.

        Args:
            k: of the nearest, and as many of the farthest.
            wanted: pairs of positions that are kept anyway, ascending, in one order.

        Raises:
            EtfError: the blocks are not what they ought to be.
        """
        n = len(self.unit)
        near, far, product = Extremes(n, k), Extremes(n, k, -1.0), Product(self.unit)
        first, second = wanted
        values = np.empty(len(first))
        every = blocks(self.unit) if self.whole is None else [Block(0, self.whole)]
        for block in every if n else ():
            product.add(block)
            near.add(block)
            far.add(block)
            low, high = np.searchsorted(first, [block.first, block.rows.stop])
            i, j = first[low:high] - block.first, second[low:high] - block.first
            values[low:high] = block.values[i, j]
        product.check()
        return _merged(n, near, far, wanted, values)


def _merged(
    n: int, near: Extremes, far: Extremes, wanted: tuple[Positions, Positions], values: Floats
) -> tuple[Positions, Positions, Floats, Positions, Positions]:
    """What is kept for several reasons, once."""
    first, second = wanted
    parts = [near.ranked(), far.ranked()]
    codes = [i * n + j for i, j, *_ in parts]
    every = np.unique(np.concatenate([*codes, first * n + second, second * n + first]))
    found, ranks = np.empty(len(every)), np.zeros((2, len(every)), dtype=np.intp)
    for code in (first * n + second, second * n + first):
        found[np.searchsorted(every, code)] = values
    for which, (code, part) in enumerate(zip(codes, parts, strict=True)):
        at = np.searchsorted(every, code)
        found[at], ranks[which, at] = part[2], part[3]
    return every // n, every % n, found, ranks[0], ranks[1]
