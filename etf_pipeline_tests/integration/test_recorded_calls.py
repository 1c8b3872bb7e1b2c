"""Every call of the library is recorded as docs/events.md says, once and under one id."""

import datetime as dt
import re

import pytest

from etf_pipeline import ETFDataProvider
from etf_pipeline.events.factory import open_events
from etf_pipeline.store.hashing import content_hash
from etf_pipeline.store.histories import history_as_of
from etf_pipeline_tests.conftest import ROOT
from etf_pipeline_tests.events_support import embedded_settings
from etf_pipeline_tests.support import asx_days, bars, instrument, walk, yahoo_rows
from etf_pipeline_tests.yahoo_standin import Series

TWO = ["VAS", "VGS"]
INSTRUMENTS = [instrument(t) for t in TWO]
NOT_RECORDED = "not recorded"


def documented():
    """What each call is recorded as, by its name, from the page that people read."""
    text = (ROOT / "docs" / "events.md").read_text()
    (section,) = re.findall(r"## Calls of the library\n(.*?)\n## ", text, re.DOTALL)
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return {
        call: said.split("`")[1] if said.startswith("`") else NOT_RECORDED for call, said in rows
    }


def test_the_page_names_every_public_call_and_no_other():
    public = {name for name in dir(ETFDataProvider) if not name.startswith("_")}
    assert set(documented()) == public


@pytest.fixture
def provider(world, yahoo):
    days = asx_days("2018-01-02", 1_500)
    for seed, one in enumerate(INSTRUMENTS):
        rows = yahoo_rows(bars(days, walk(1_500, seed=seed)))
        yahoo.series[one.symbol] = Series(rows)
    world.download(*INSTRUMENTS)
    world.update(*INSTRUMENTS)
    events = open_events(world.root, embedded_settings(), publish=False)
    yield ETFDataProvider(world.root, risk_free_rate=0.02, events=events), events
    events.close(0)


def calls(provider, world):
    """An example of each call, by its name; those of portfolios of a file are the same inside."""
    over = world.now + dt.timedelta(days=1)
    return {
        "load_etf_data": lambda: provider.load_etf_data("VAS"),
        "history_as_of": lambda: provider.history_as_of(INSTRUMENTS[0], over),
        "get_latest_prices": lambda: provider.get_latest_prices(TWO),
        "get_distributions": lambda: provider.get_distributions(TWO),
        "get_returns": lambda: provider.get_returns(TWO),
        "calculate_expected_returns": lambda: provider.calculate_expected_returns(TWO),
        "calculate_covariance_matrix": lambda: provider.calculate_covariance_matrix(TWO),
        "calculate_correlation_matrix": lambda: provider.calculate_correlation_matrix(TWO),
        "calculate_risk_metrics": lambda: provider.calculate_risk_metrics("VAS"),
        "portfolio_metrics": lambda: provider.portfolio_metrics({"VAS": 0.5, "VGS": 0.5}),
        "get_efficient_frontier_data": lambda: provider.get_efficient_frontier_data(TWO),
        "optimize_portfolio": lambda: provider.optimize_portfolio(TWO, "min_volatility"),
        "optimize_portfolio_mean_variance": lambda: provider.optimize_portfolio_mean_variance(TWO),
        "backtest": lambda: provider.backtest(TWO, "min_volatility", lookback_years=1),
        "weight_uncertainty": lambda: provider.weight_uncertainty(
            TWO, objective="min_volatility", resamples=20
        ),
        "validate": lambda: provider.validate(TWO, objectives="min_volatility", lookbacks=1),
        "check_data_availability": lambda: provider.check_data_availability(TWO),
        "available_etfs": lambda: provider.available_etfs,
        "use_event_sourcing": lambda: provider.use_event_sourcing,
    }


def test_each_call_is_recorded_as_the_page_says_under_one_id(world, provider):
    made, events = provider
    said = documented()
    seen = 0
    for name, call in calls(made, world).items():
        call()
        log = [e for batch in events.log.read() for e in batch]
        fresh, seen = log[seen:], len(log)
        assert {e.type for e in fresh} == {said[name]} - {NOT_RECORDED}, name
        payloads = [e.payload() for e in fresh]
        assert len({p.run_id for p in payloads}) == (said[name] != NOT_RECORDED), name
        if said[name] == "PriceDataQueried":
            assert {p.operation for p in payloads} == {name}
            expected = ["VAS"] if name in ("load_etf_data", "history_as_of") else TWO
            assert [p.ticker for p in payloads] == expected, name
    untried = {"optimize_model_portfolio", "backtest_model_portfolio", "model_portfolios"}
    assert set(said) - set(calls(made, world)) == untried


def test_a_call_about_a_portfolio_of_the_file_says_so(provider, tmp_path, monkeypatch):
    made, events = provider
    file = tmp_path / "portfolios.yaml"
    file.write_text("portfolios: [{name: two, tickers: [VAS, VGS], objective: min_volatility}]")
    monkeypatch.setenv("ETF_PORTFOLIOS_FILE", str(file))
    made.optimize_model_portfolio("two")
    made.optimize_portfolio(TWO, "min_volatility")
    made.backtest_model_portfolio("two", lookback_years=1)
    model, own, *walked = [e.payload() for batch in events.log.read() for e in batch]
    assert model.parameters["model_portfolio"] == "two"
    assert "model_portfolio" not in own.parameters
    assert [p.operation for p in walked] == ["backtest_model_portfolio"] * 2


def test_a_history_as_it_was_is_recorded_with_what_it_was(world, provider):
    made, events = provider
    over = world.now + dt.timedelta(days=1)
    frame = made.history_as_of(INSTRUMENTS[0], over)
    ((event,),) = events.log.read()
    payload = event.payload()
    assert payload.rows == len(frame)
    assert payload.first_date == frame.index[0].date()
    assert payload.last_date == frame.index[-1].date()
    built = history_as_of(world.layout, INSTRUMENTS[0], over)
    assert payload.content_hash == content_hash(built.history)
    assert made.history_as_of(INSTRUMENTS[0], dt.datetime(2001, 1, 1, tzinfo=dt.UTC)) is None
    assert sum(map(len, events.log.read())) == 1
