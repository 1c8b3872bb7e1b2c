"""The steps of the derived tables, called as the assets call them: values in, a result out."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.errors import CorruptFileError, InsufficientDataError, ReasonCode
from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.outcomes import FailureKind, OutcomeKind
from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.model.schemas import (
    BACKTEST_EVENTS,
    BACKTEST_WEIGHTS,
    BACKTESTS,
    CORRELATIONS,
    FRONTIER,
    HISTORY,
    RISK_METRICS,
    SUMMARY,
    UNCERTAINTY,
    WEIGHTS,
)
from etf_pipeline.risk.prices import PriceSeries
from etf_pipeline.steps.backtests import backtests
from etf_pipeline.steps.derived import Assumptions, Histories, read_histories
from etf_pipeline.steps.portfolios import optimised_portfolios
from etf_pipeline.steps.result import Chart, Run
from etf_pipeline.steps.risk_tables import correlations, risk_metrics
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.manifests import read_manifest
from etf_pipeline.store.reader import file_info, read_table
from etf_pipeline.store.store import Store
from etf_pipeline_tests.fx_support import FX, MIXED, NAMED
from etf_pipeline_tests.support import asx_days, instrument, leftover, walk

TICKERS = ("VAS", "VGS", "VAF")
UNIVERSE = Universe(tuple(instrument(t) for t in TICKERS))
RUN = Run("run-1", dt.datetime(2025, 1, 2, 3, 4, tzinfo=dt.UTC))
EMPTY = np.array([], dtype="datetime64[D]")
DAYS = pd.DatetimeIndex(asx_days("2021-01-04", 700).astype("datetime64[s]"), name="date")
SERIES = {
    t: PriceSeries(t, pd.Series(walk(700, seed=i), DAYS), EMPTY, EMPTY, "files", "AUD")
    for i, t in enumerate(TICKERS)
}
DAMAGED = CorruptFileError("BAD.parquet is not readable Parquet")
HISTORIES = Histories(SERIES, {"BAD": DAMAGED})
ASSUMED = Assumptions(lookback_years=1, risk_free_rate=0.0, benchmark=None)
SPECS = [
    PortfolioSpec(name="calm", tickers=["VAS", "VAF"], objective="min_volatility", resamples=20),
    PortfolioSpec(name="lacking", tickers=["VAS", "VTS"], objective="min_volatility"),
    PortfolioSpec(name="too-calm", tickers=["VAS"], objective="max_return", risk_budget=0.0001),
]
STEPS = {
    "risk_metrics": lambda store, given=HISTORIES: risk_metrics(
        store, RUN, given, UNIVERSE, ASSUMED
    ),
    "correlations": lambda store, given=HISTORIES: correlations(
        store, RUN, given, SPECS, UNIVERSE, ASSUMED
    ),
    "optimised_portfolios": lambda store, given=HISTORIES: optimised_portfolios(
        store, RUN, given, SPECS, UNIVERSE, ASSUMED
    ),
    "backtests": lambda store, given=HISTORIES: backtests(
        store, RUN, given, SPECS, UNIVERSE, ASSUMED
    ),
}
FILES = {
    "risk_metrics": [RISK_METRICS],
    "correlations": [CORRELATIONS],
    "optimised_portfolios": [WEIGHTS, SUMMARY, FRONTIER, UNCERTAINTY],
    "backtests": [BACKTESTS, BACKTEST_WEIGHTS, BACKTEST_EVENTS],
}


@pytest.fixture
def store(tmp_path):
    return Store.at(tmp_path, 10)


@pytest.mark.parametrize("asset", sorted(STEPS))
def test_a_result_says_what_is_on_the_disk(store, asset):
    result = STEPS[asset](store)
    assert result.asset == asset
    assert result.as_of == DAYS[-1].date()
    assert result.source == "files"
    assert [p.table for p in result.published] == FILES[asset]
    for file in result.published:
        assert file.path == store.layout.of(file.table, result.as_of)
        assert file.changed
        table = read_table(file.path)
        assert file.rows == table.num_rows > 0
        assert file.content_hash == content_hash(table) == file_info(file.path).content_hash


@pytest.mark.parametrize("asset", sorted(STEPS))
def test_the_manifest_holds_the_outcomes_and_where_their_file_is(store, asset):
    result = STEPS[asset](store)
    told = {o.subject: o for o in read_manifest(result.manifest)}
    assert told.keys() == {o.subject for o in result.outcomes}
    main = result.published[0]
    for outcome in result.outcomes:
        kept = told[outcome.subject]
        assert (kept.outcome, kept.reason_code, kept.path) == (
            outcome.outcome,
            outcome.reason_code,
            outcome.path,
        )
        if outcome.good:
            assert store.layout.root / kept.path == main.path
            assert kept.content_hash == main.content_hash


@pytest.mark.parametrize("asset", sorted(STEPS))
def test_the_same_again_changes_nothing(store, asset):
    first, second = STEPS[asset](store), STEPS[asset](store)
    assert {o.outcome for o in first.outcomes if o.good} == {OutcomeKind.UPDATED}
    assert {o.outcome for o in second.outcomes if o.good} == {OutcomeKind.UNCHANGED}
    assert not any(p.changed for p in second.published)
    assert first.version_of == second.version_of


@pytest.mark.parametrize("asset", ["risk_metrics", "correlations"])
def test_a_damaged_history_is_a_failure_of_its_ticker_alone(store, asset):
    result = STEPS[asset](store)
    (bad,) = result.bad
    assert (bad.subject, bad.outcome) == ("BAD", OutcomeKind.FAILED)
    assert bad.failure_kind is FailureKind.TRANSIENT
    assert bad.reason_code is ReasonCode.CORRUPT_FILE
    assert result.details["damaged"] == {"BAD": str(DAMAGED)}


@pytest.mark.parametrize("asset", ["optimised_portfolios", "backtests"])
def test_a_portfolio_that_cannot_be_says_why_in_a_code(store, asset):
    result = STEPS[asset](store)
    codes = {o.subject: o.reason_code for o in result.outcomes}
    assert codes["calm"] is None
    assert codes["lacking"] is ReasonCode.NO_HISTORY
    bad = {o.subject for o in result.bad}
    assert {o.failure_kind for o in result.bad} == {FailureKind.PERMANENT}
    if asset == "optimised_portfolios":
        assert codes["too-calm"] is ReasonCode.INFEASIBLE
        assert bad == result.details["portfolios_not_ok"].keys() == {"lacking", "too-calm"}
        assert result.details["portfolios_ok"] == 1
        held = result.details["weights_calm"]
        assert isinstance(held, Chart)
        assert sum(held.values.values()) == pytest.approx(1.0)
    else:
        assert bad >= {"lacking"}
        assert result.details["not_backtested"].keys() == bad


@pytest.mark.parametrize("asset", sorted(STEPS))
def test_without_any_history_nothing_is_published(store, asset):
    with pytest.raises(InsufficientDataError, match="etf run"):
        STEPS[asset](store, Histories({}))
    assert [p for p in store.layout.root.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("asset", STEPS)
def test_a_step_sweeps_what_it_writes_to_and_nothing_else(store, asset):
    published = STEPS[asset](store).published
    left = [leftover(p.path.parent) for p in published]
    left.append(leftover(store.layout.manifests(asset)))
    other = leftover(store.layout.folder(HISTORY))
    STEPS[asset](store)
    assert not any(p.exists() for p in left)
    assert other.exists()


def test_histories_are_those_that_can_be_read(store):
    days = pd.DataFrame({"Close": [1.0, 2.0, 4.0]}, pd.bdate_range("2024-01-01", periods=3))
    folder = store.layout.folder(HISTORY)
    folder.mkdir(parents=True)
    days.rename_axis("Date").to_parquet(folder / "MINE.parquet")
    (folder / "BAD.parquet").write_bytes(b"no Parquet")
    found = read_histories(store, ["MINE", "BAD", "NONE"])
    assert found.series["MINE"].prices.tolist() == [1.0, 2.0, 4.0]
    assert found.series.keys() == {"MINE"}
    assert found.damaged.keys() == {"BAD"}
    assert found.as_of == dt.date(2024, 1, 3)
    # the steps of one run ask for the same files
    assert read_histories(store, ["MINE"]).series["MINE"] is found.series["MINE"]


def test_every_outcome_says_its_currency_and_the_rates_behind_it(store):
    """Over the tickers of two currencies, with a benchmark, in AUD."""
    given = Histories({t: MIXED[t] for t in TICKERS} | {"VGB": MIXED["VGB"]}, rates=FX)
    assumed = Assumptions(1, 0.0, "VGB", "AUD")
    specs = [PortfolioSpec(name="p", tickers=["VAS", "VGB"], objective="min_volatility")]
    universe = Universe((*UNIVERSE, instrument("VGB", currency="USD")))
    publish_history_of(store, "VGB")
    steps = {
        "risk_metrics": lambda: risk_metrics(store, RUN, given, universe, assumed),
        "correlations": lambda: correlations(store, RUN, given, specs, universe, assumed),
        "optimised_portfolios": lambda: optimised_portfolios(
            store, RUN, given, specs, universe, assumed
        ),
        "backtests": lambda: backtests(store, RUN, given, specs, universe, assumed),
    }
    told = {
        asset: {o.subject: (o.currency, o.fx) for o in read_manifest(step().manifest)}
        for asset, step in steps.items()
    }
    in_own = {"VAS": ("AUD", NAMED), "VGS": ("AUD", NAMED), "VAF": ("AUD", NAMED)}
    assert told["risk_metrics"] == in_own | {"VGB": ("USD", None)}
    assert told["correlations"] == dict.fromkeys(TICKERS, ("AUD", None)) | {"VGB": ("USD", NAMED)}
    assert told["optimised_portfolios"] == told["backtests"] == {"p": ("AUD", NAMED)}


def publish_history_of(store, ticker):
    """A file of a user's, for the step that reads its benchmark itself."""
    folder = store.layout.folder(HISTORY)
    folder.mkdir(parents=True)
    one = MIXED[ticker].prices
    one.rename("Close").to_frame().rename_axis("Date").to_parquet(folder / f"{ticker}.parquet")
