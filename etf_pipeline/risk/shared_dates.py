"""Which of many tickers are compared on the dates that all of them have.

Among thousands there is always one with holes. On the dates that really all have, nothing would be
left; and to leave out whoever lacks a single date would leave nobody.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
FEWEST = 3  # common dates, for two returns
# What holes may cost all of them without a question: a twentieth of the dates that most have.
SMALL_SHARE = 0.05


def usual(there: Flags) -> Flags:
    """The columns in which more than half of the rows have a price, shape (C,).

    Args:
        there: whether there is a price, shape (n, C).
    """
    return there.sum(axis=0) * 2 > len(there)


def stay(missing: Flags) -> Flags:
    """Which rows are compared, shape (n,), so that as many as possible are, on most dates.

    Those that lack no date stay. Of the others, those that lack the same dates enter together, the
    most rows for a lost date first, while all that is lost is at most `SMALL_SHARE` of the dates,
    or while the rows that enter are at least as great a share of the rows as what they cost is of
    the dates: then there is more to compare with them than without. Neither the order of the rows
    nor their names matter, but for which of several that cost the same is first.

    Args:
        missing: whether a row lacks a date that most have, shape (n, U).
    """
    n, many = missing.shape
    lost = missing.any(axis=0)
    if n == 0 or int(lost.sum()) <= SMALL_SHARE * many:
        return np.ones(n, dtype="bool")
    # A sum of random numbers stands for what a row still lacks: equal sums, equal dates.
    marks: npt.NDArray[np.uint64]
    marks = np.asarray(np.random.default_rng(0).integers(1, 2**63, many), dtype="uint64")
    lacks = missing.sum(axis=1)
    sums: npt.NDArray[np.uint64] = np.zeros(n, dtype="uint64")
    for column in np.flatnonzero(lost):
        sums[missing[:, column]] += marks[column]
    given = np.zeros(many, dtype="bool")
    while True:
        inside = lacks == 0
        entering = _next(lacks, sums, int(inside.sum()), many, int(given.sum()))
        if entering is None:
            return np.asarray(~missing[:, ~given].any(axis=1))
        new = missing[entering] & ~given
        given |= new
        lacks = lacks - missing[:, new].sum(axis=1)
        sums = sums - missing[:, new] @ marks[new]


def _next(
    lacks: npt.NDArray[np.int64], sums: npt.NDArray[np.uint64], inside: int, many: int, lost: int
) -> int | None:
    """A row of those that lack the same and enter next; None when none may."""
    outside = np.flatnonzero(lacks)
    _, first, rows = np.unique(sums[outside], return_index=True, return_counts=True)
    first = outside[first]
    costs, left = lacks[first], many - lost
    small = lost + costs <= SMALL_SHARE * many
    worth = (inside + rows) * (left - costs) >= inside * left
    allowed = np.flatnonzero((small | worth) & (left - costs >= FEWEST))
    if not len(allowed):
        return None
    # The most rows for a date, then the fewest dates, then the first row.
    order = np.lexsort((first[allowed], costs[allowed], -rows[allowed] / costs[allowed]))
    return int(first[allowed[order[0]]])
