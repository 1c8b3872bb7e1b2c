"""Walk-forward splits against those of skfolio."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from skfolio.model_selection import WalkForward

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.portfolio.splits import Split, walk_forward_splits
from etf_pipeline_tests.support import asx_days

DAYS = pd.DatetimeIndex(asx_days("2016-01-04", 1500).astype("datetime64[s]"))
STARTS = {"monthly": "MS", "quarterly": "QS", "yearly": "YS"}
BEGIN = dt.date(2018, 1, 10)


@pytest.mark.parametrize("calendar", sorted(STARTS))
@pytest.mark.parametrize("purge", [1, 2, 7])
def test_they_are_those_of_skfolio(calendar, purge):
    """Its test sets are of returns: return i ends on price i + 1."""
    mine = walk_forward_splits(DAYS, calendar, purge, BEGIN)
    returns = pd.DataFrame({"a": np.zeros(len(DAYS) - 1)}, index=DAYS[1:])
    theirs = WalkForward(
        test_size=1,
        train_size=pd.DateOffset(years=1),
        freq=STARTS[calendar],
        purged_size=purge,
        reduce_test=True,
    )
    wanted = {
        int(test[0]): (int(train[-1]), int(test[-1])) for train, test in theirs.split(returns)
    }
    assert len(mine) >= 3
    for split in mine:
        # the first return judged ends on the price after the trade, which is return `trade`
        assert wanted[split.trade] == (split.known - 1, split.end - 1)
    later = [start for start in wanted if start >= mine[0].trade]
    assert later == [split.trade for split in mine]


@pytest.mark.parametrize("purge", [1, 3])
def test_judged_returns_are_all_of_them_once_and_none_is_learnt_from(purge):
    found = walk_forward_splits(DAYS, "monthly", purge, BEGIN)
    judged = [i for s in found for i in range(s.trade + 1, s.end + 1)]
    assert judged == list(range(found[0].trade + 1, len(DAYS)))
    for split in found:
        assert split.trade - split.known == purge
        assert DAYS[split.known].date() >= BEGIN
        after = DAYS[split.trade + 1]
        assert (after.year, after.month) != (DAYS[split.trade].year, DAYS[split.trade].month)


def test_the_first_is_the_first_that_knows_enough():
    whole = walk_forward_splits(DAYS, "quarterly", 1, DAYS[0].date())
    known = DAYS[whole[3].known].date()
    assert walk_forward_splits(DAYS, "quarterly", 1, known) == whole[3:]
    assert walk_forward_splits(DAYS, "quarterly", 1, known + dt.timedelta(days=1)) == whole[4:]


def test_what_cannot_be_split():
    with pytest.raises(ValueError, match="purge 0: must be 1 or more"):
        walk_forward_splits(DAYS, "monthly", 0, BEGIN)
    with pytest.raises(InsufficientDataError, match="no yearly decision from 2021"):
        walk_forward_splits(DAYS, "yearly", 1, dt.date(2021, 12, 30))
    days = pd.DatetimeIndex(["2020-01-30", "2020-01-31", "2020-02-03"])
    assert walk_forward_splits(days, "monthly", 1, days[0].date()) == [Split(0, 1, 2)]
