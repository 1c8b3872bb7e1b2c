"""Expected returns of real ASX ETFs: of one market and of several, over several windows."""

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.model.expected_returns import ExpectedReturns
from etf_pipeline.portfolio.building import problem_from
from etf_pipeline.portfolio.optimise import optimise
from etf_pipeline.risk.estimates import estimate
from etf_pipeline.risk.prices import PriceSeries

pytestmark = pytest.mark.real_data
NO_DAYS = np.array([], dtype="datetime64[D]")
SETS = (
    ("VAS", "VGS", "VTS", "VAF"),
    ("VAF", "VGB", "BILL", "VAS", "VGS"),  # a cash fund beside shares
    ("VAS", "IVV", "VEU", "NDQ", "HACK"),  # shares alone
    ("A200", "IOZ", "STW", "VAS"),  # four of one index
)


def past(real_data, tickers, years):
    found = []
    for ticker in tickers:
        frame = pd.read_parquet(real_data / "raw" / f"{ticker}.parquet").dropna(subset="Adj Close")
        prices = pd.Series(frame["Adj Close"].to_numpy(), pd.DatetimeIndex(frame["Date"]))
        found.append(PriceSeries(ticker, prices, NO_DAYS, NO_DAYS, "files", "AUD", "XASX"))
    return estimate(found, years)


@pytest.mark.parametrize("tickers", SETS, ids="-".join)
@pytest.mark.parametrize("years", [1, 3, 5])
def test_shrunk_means_do_not_stand_still(real_data, tickers, years):
    """Differences between means shrink by the same part, and never turn around."""
    plain = past(real_data, tickers, years)
    for method in ("james_stein", "bayes_stein"):
        shrunk = plain.expecting(ExpectedReturns(method=method), 0.04)
        part = np.ptp(shrunk.means) / np.ptp(plain.means)
        assert 0 <= part < 1
        gaps = np.subtract.outer(plain.means, plain.means)
        assert np.subtract.outer(shrunk.means, shrunk.means) == pytest.approx(
            part * gaps, abs=1e-12
        )


@pytest.mark.parametrize("tickers", SETS, ids="-".join)
def test_the_best_sharpe_ratio_of_equilibrium_is_the_market(real_data, tickers):
    weights = dict(zip(tickers, range(1, len(tickers) + 1), strict=True))
    block = {"method": "equilibrium", "market_weights": weights}
    found = past(real_data, tickers, 3).expecting(ExpectedReturns.model_validate(block), 0.04)
    answer = optimise(problem_from(found, tickers, "max_sharpe", 0.04))
    assert answer.success
    market = np.array(list(weights.values())) / sum(weights.values())
    assert answer.weights == pytest.approx(market, abs=1e-5)


@pytest.mark.parametrize("tickers", SETS, ids="-".join)
def test_a_certain_view_holds_and_moves_what_goes_with_it(real_data, tickers):
    plain = past(real_data, tickers, 3)
    market = {"method": "equilibrium", "market_weights": dict.fromkeys(tickers, 1)}
    before = plain.expecting(ExpectedReturns.model_validate(market), 0.04)
    view = {"ticker": tickers[0], "return": float(before.means[0]) + 0.02, "confidence": 1}
    block = market | {"method": "black_litterman", "views": [view]}
    after = plain.expecting(ExpectedReturns.model_validate(block), 0.04)
    # by Σ_i0/Σ_00 of what it moves the ticker itself
    beta = plain.covariance[:, 0] / plain.covariance[0, 0]
    assert after.means - before.means == pytest.approx(0.02 * beta, rel=1e-9, abs=1e-15)
