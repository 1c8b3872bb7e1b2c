"""Drawn samples: every day once is the sample itself, and what happened at once stays together."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.errors import InsufficientDataError
from etf_pipeline.risk.covariance import covariance, variances
from etf_pipeline.risk.estimates import estimate
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline_tests.support import walk

NONE = np.array([], dtype="datetime64[D]")
DAYS = pd.bdate_range("2020-01-01", periods=600)


def series(ticker, days, seed, exchange="XASX"):
    prices = pd.Series(walk(len(DAYS), seed=seed), DAYS)[days]
    return PriceSeries(ticker, prices, NONE, NONE, "files", "AUD", exchange)


def found(estimator="sample", other="XASX"):
    """Two tickers, of which one misses some sessions and begins late."""
    short = DAYS[(np.arange(600) > 100) & (np.arange(600) % 7 != 0)]
    pair = [series("A", DAYS, 1), series("B", short, 2, other)]
    return estimate(pair, None, estimator, 40.0)


DAILY, WEEKLY = found().sample, found(other="XNYS").sample


@pytest.mark.parametrize("estimator", ["sample", "ledoit_wolf", "ewma"])
@pytest.mark.parametrize("other", ["XASX", "XNYS"])
def test_every_day_once_gives_the_estimates_again(estimator, other):
    known = found(estimator, other)
    again = known.sample.drawn(np.arange(len(known.sample.days)))
    assert again.means() == pytest.approx(known.means, rel=1e-12)
    assert again.covariance() == pytest.approx(known.covariance, rel=1e-12)
    assert np.array_equal(again.common.returns, known.returns)


@given(st.lists(st.integers(0, 598), min_size=60, max_size=400), st.sampled_from([False, True]))
def test_a_day_brings_the_returns_that_end_on_it(draws, weekly):
    sample = WEEKLY if weekly else DAILY
    days = sample.days[draws]
    drawn = sample.drawn(np.array(draws))
    parts = [(sample.common, drawn.common)]
    parts += [(a.timed, b.timed) for a, b in zip(sample.own, drawn.own, strict=True)]
    parts += [(sample.weekly, drawn.weekly)] if weekly else []
    for whole, part in parts:
        known = dict(zip(whole.days.tolist(), whole.returns.tolist(), strict=True))
        wanted = [known[d] for d in days.tolist() if d in known]
        assert part.returns.tolist() == wanted


def test_means_of_a_draw_by_arithmetic():
    sample = DAILY
    mine, other = sample.own
    late = int(np.flatnonzero(sample.days == other.timed.days[3])[0])
    drawn = sample.drawn(np.array([late, late, 0]))
    here, first = mine.timed.returns[late, 0], mine.timed.returns[0, 0]
    assert drawn.means()[0] == pytest.approx(mine.annual * (2 * here + first) / 3, rel=1e-12)
    assert drawn.means()[1] == pytest.approx(other.annual * other.timed.returns[3, 0], rel=1e-12)


def test_tickers_on_the_same_days_are_estimated_as_each_alone():
    parts = [series(t, DAYS, k) for k, t in enumerate("ABC")]
    late = series("D", DAYS[50:], 9)
    for estimator in ("sample", "ledoit_wolf", "ewma"):
        whole = estimate([*parts[:2], late, parts[2]], None, estimator)
        for at, part in enumerate([*parts[:2], late, parts[2]]):
            alone = estimate([part], None, estimator)
            # to the last bit
            assert whole.means[at] == alone.means[0]
            assert whole.covariance[at, at] == alone.covariance[0, 0]


def test_a_draw_without_a_return_of_a_ticker_is_refused():
    drawn = DAILY.drawn(np.array([0, 1, 2]))  # before the second is listed
    with pytest.raises(InsufficientDataError, match="no return"):
        drawn.means()


@pytest.mark.parametrize("estimator", ["sample", "ewma"])
def test_variances_are_the_diagonal_of_the_covariance(estimator):
    returns = np.random.default_rng(3).normal(0, [0.01, 2.0, 1e-6], (300, 3))
    diagonal = np.diag(covariance(returns, estimator, 20.0))
    assert variances(returns, estimator, 20.0) == pytest.approx(diagonal, rel=1e-12)
