"""The whole graph over two currencies: rates are fetched, used, named, and are no ETFs."""

import datetime as dt
import json

import dagster as dg
import numpy as np
import pytest

from etf_pipeline.cli.exit_codes import of_run
from etf_pipeline.errors import ReasonCode
from etf_pipeline.events.factory import open_events
from etf_pipeline.events.facts import events_of_manifest
from etf_pipeline.events.lineage import lineage_events
from etf_pipeline.events.model.types import PORTFOLIO, QUERY
from etf_pipeline.events.orchestrator import LogRecord
from etf_pipeline.library.provider import ETFDataProvider
from etf_pipeline.library.status import store_status
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.currencies import Pair
from etf_pipeline.model.schemas import (
    BACKTESTS,
    CORRELATIONS,
    HISTORY,
    RISK_METRICS,
    SUMMARY,
)
from etf_pipeline.orchestration.runner import run_graph
from etf_pipeline.report.portfolio import portfolio_report
from etf_pipeline.report.universe import universe_report
from etf_pipeline.steps.catalogue import open_catalogue
from etf_pipeline.steps.derived import Assumptions, conversion_of
from etf_pipeline.steps.report_inputs import report_inputs
from etf_pipeline.store.reader import file_info, read_history, read_table
from etf_pipeline_tests.events_support import embedded_settings
from etf_pipeline_tests.pipeline.support import make_pipeline
from etf_pipeline_tests.support import asx_days, bars, walk, yahoo_rows

TICKERS = {"VAS": "XASX", "VGS": "XASX", "VTS": "XNYS"}
PORTFOLIOS = """portfolios:
  - name: in-aud
    tickers: [VAS, VTS]
    objective: risk_parity
    lookback_years: 3
    base_currency: AUD
  - name: in-usd
    tickers: [VAS, VTS]
    objective: risk_parity
    lookback_years: 3
    base_currency: USD
  - name: at-home
    tickers: [VAS, VGS]
    objective: risk_parity
    lookback_years: 3
  - name: undecided
    tickers: [VAS, VTS]
    objective: risk_parity
"""


ALONE = "portfolios:\n  - name: a\n    tickers: [VAS]\n    objective: risk_parity\n"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("currencies")
    pipeline = make_pipeline(folder, TICKERS, portfolios=PORTFOLIOS)
    with dg.instance_for_test() as instance:
        return pipeline, run_graph(pipeline, instance)


def newest(pipeline, table):
    return read_table(pipeline.layout.newest(table)).to_pylist()


def test_the_rate_is_fetched_as_an_instrument_of_its_own(ran):
    pipeline, report = ran
    assert report.errors == []
    told = report.tickers["AUDUSD=X"]
    assert (told.outcome, told.currency) == ("collected", "USD")
    info = file_info(pipeline.layout.of(HISTORY, "AUDUSD=X"))
    assert {k: info.meta[k] for k in ("currency", "exchange", "source")} == {
        "currency": "USD",
        "exchange": "FX",
        "source": "simulated",
    }
    history = read_history(info.path)
    assert (history["adj_close"] == history["close"]).all()
    # no weekday lacks, and none is held back
    assert len(history) == np.busday_count("2014-01-02", dt.date(2025, 11, 12))
    status = {r["ticker"]: r for r in store_status(pipeline.layout.root)}
    assert status["AUDUSD=X"]["problem"] is None
    assert status["AUDUSD=X"]["quarantined"] == 0


def test_a_rate_is_no_etf(ran):
    pipeline, _ = ran
    for table in (RISK_METRICS, CORRELATIONS):
        assert {r["ticker"] for r in newest(pipeline, table)} == set(TICKERS)


def test_portfolios_say_what_they_are_in_and_why_they_are_not(ran):
    pipeline, report = ran
    digest = file_info(pipeline.layout.of(HISTORY, "AUDUSD=X")).content_hash[:12]
    rows = {r["portfolio"]: r for r in newest(pipeline, SUMMARY)}
    assert {n: (r["success"], r["base_currency"], r["fx"]) for n, r in rows.items()} == {
        "in-aud": (True, "AUD", f"AUDUSD=X:{digest}"),
        "in-usd": (True, "USD", f"AUDUSD=X:{digest}"),
        "at-home": (True, "AUD", None),
        "undecided": (False, None, None),
    }
    assert report.portfolios["undecided"].reason_code is ReasonCode.MIXED_CURRENCIES
    assert of_run(report, chosen=False) == 3
    for asset in ("optimised_portfolios", "backtests"):
        (path,) = pipeline.layout.manifest_files(asset)
        told = {r["subject"]: r for r in read_table(path).to_pylist()}
        assert told.keys() == rows.keys()
        for name, row in rows.items():
            expected = (row["base_currency"], row["fx"])
            assert (told[name]["currency"], told[name]["fx"]) == expected


def test_the_estimates_are_those_of_converted_prices(ran):
    """VTS in AUD by pandas alone, which shares no code with the package."""
    pipeline, _ = ran
    vts, rate = (
        read_history(pipeline.layout.of(HISTORY, t))["adj_close"] for t in ("VTS", "AUDUSD=X")
    )
    mine = (vts / rate.reindex(vts.index, method="ffill")).pct_change().dropna()
    together = Assumptions(3, 0.0, None, "AUD")
    conversion = conversion_of(pipeline.histories(), pipeline.universe, together)
    found = conversion.together([pipeline.histories().series["VTS"]]).series[0]
    returns = found.prices.pct_change().dropna()
    assert len(returns) == len(mine)
    np.testing.assert_allclose(returns, mine, rtol=1e-9, atol=1e-14)


def test_a_backtest_in_another_currency_takes_another_course(ran):
    pipeline, _ = ran
    ends = {r["portfolio"]: r["wealth"] for r in newest(pipeline, BACKTESTS)}
    assert ends.keys() == {"in-aud", "in-usd", "at-home"}
    rate = read_history(pipeline.layout.of(HISTORY, "AUDUSD=X"))["close"]
    rows = [r for r in newest(pipeline, BACKTESTS) if r["portfolio"] == "in-aud"]
    first, last = (rate.asof(str(rows[i]["date"])) for i in (0, -1))
    # the same holdings, but for what rebalancing makes of it: wealth in USD is AUD's × the rate's
    assert ends["in-usd"] / ends["in-aud"] == pytest.approx(last / first, rel=0.02)


def test_reports_name_the_currency_and_the_rates(ran):
    pipeline, _ = ran
    inputs = report_inputs(
        pipeline.store,
        pipeline.histories(),
        pipeline.portfolios(),
        pipeline.universe,
        Assumptions.of(pipeline.settings),
        pipeline.clock(),
    )
    digest = file_info(pipeline.layout.of(HISTORY, "AUDUSD=X")).content_hash
    text = portfolio_report(inputs, "in-aud")
    assert "<dd>AUD</dd>" in text
    assert f"<code>{digest}</code>" in text
    assert "not converted" not in text
    assert "Each in its own currency: VAS AUD, VTS USD." in text  # of the metrics
    home = portfolio_report(inputs, "at-home")
    assert digest not in home
    assert "own currency" not in home
    assert "MIXED" not in portfolio_report(inputs, "undecided")
    assert "VAS in AUD, VTS in USD" in portfolio_report(inputs, "undecided")
    # without a currency for all, each is in its own, and that is said at the top
    assert "not converted" in universe_report(inputs)


def payloads(pipeline, asset):
    """Events of the asset's manifests, by subject."""
    return {
        e.subject: e.payload()
        for path in pipeline.layout.manifest_files(asset)
        for e in events_of_manifest(pipeline.layout, path, "instance")
    }


def test_events_say_the_currency_and_the_rates(ran):
    pipeline, _ = ran
    digest = file_info(pipeline.layout.of(HISTORY, "AUDUSD=X")).content_hash[:12]
    of_prices = {"VAS": "AUD", "VGS": "AUD", "VTS": "USD", "AUDUSD=X": "USD"}
    for asset in ("raw_prices", "price_history"):
        assert {t: e.currency for t, e in payloads(pipeline, asset).items()} == of_prices
    rates = {"AUDUSD=X": digest}
    told = {n: (e.currency, e.fx) for n, e in payloads(pipeline, "optimised_portfolios").items()}
    assert told == {
        "in-aud": ("AUD", rates),
        "in-usd": ("USD", rates),
        "at-home": ("AUD", None),
        "undecided": (None, None),
    }


def test_events_of_risk_metrics_say_the_currency_of_each_ticker(ran):
    pipeline, _ = ran
    told = {t: e.currency for t, e in payloads(pipeline, "risk_metrics").items()}
    assert told == {"VAS": "AUD", "VGS": "AUD", "VTS": "USD"}


def test_calls_are_recorded_with_the_currency_and_the_rates(ran):
    pipeline, _ = ran
    events = open_events(pipeline.layout.root, embedded_settings())
    provider = ETFDataProvider(pipeline.layout.root, events=events)
    provider.optimize_portfolio_mean_variance(["VAS", "VTS"], base_currency="AUD")
    provider.calculate_risk_metrics("VTS", 1)
    provider.calculate_risk_metrics("VTS", 1, benchmark="VAS")
    provider.load_etf_data("VTS")
    told = [e.payload() for batch in events.read([PORTFOLIO, QUERY]) for e in batch]
    events.close(0)
    digest = file_info(pipeline.layout.of(HISTORY, "AUDUSD=X")).content_hash[:12]
    rates = {"AUDUSD=X": digest}
    assert [(type(p).__name__, p.currency, getattr(p, "fx", None)) for p in told] == [
        ("PortfolioOptimized", "AUD", rates),
        ("RiskMetricsCalculated", "USD", None),
        ("RiskMetricsCalculated", "USD", rates),
        ("PriceDataQueried", "USD", None),
    ]


@pytest.mark.parametrize("asset", ["optimised_portfolios", "backtests"])
def test_lineage_has_the_rates_among_what_was_read(ran, asset):
    pipeline, _ = ran
    history = pipeline.layout.of(HISTORY, "AUDUSD=X")
    (path,) = pipeline.layout.manifest_files(asset)
    run_id = read_table(path).column("run_id")[0].as_py()
    record = LogRecord(1, "materialisation", run_id, "job", pipeline.clock(), asset)
    bodies = [json.loads(e.data) for e in lineage_events(pipeline.layout, record, "etf", "store")]
    (told,) = [b for b in bodies if b["eventType"] == "COMPLETE"]
    versions = {i["name"]: i["facets"].get("version") for i in told["inputs"]}
    found = versions[history.resolve().as_posix()]["datasetVersion"]
    assert file_info(history).content_hash.startswith(found)


def test_sql_converts_as_the_portfolios_do(ran):
    """VTS in AUD by pandas alone, over every session that has a rate."""
    pipeline, _ = ran
    vts, rate = (
        read_history(pipeline.layout.of(HISTORY, t))["adj_close"] for t in ("VTS", "AUDUSD=X")
    )
    right = (vts / rate.reindex(vts.index, method="ffill")).dropna()
    with open_catalogue(pipeline.store, pipeline.settings.universe_file) as connection:
        told = connection.query(
            "SELECT date, adj_close FROM prices_in('AUD') "
            "WHERE ticker = 'VTS' AND rate IS NOT NULL ORDER BY date"
        ).rows
    assert [r[0] for r in told] == list(right.index.date)
    np.testing.assert_allclose([r[1] for r in told], right, rtol=1e-13)


def test_the_request_of_a_foreign_ticker_takes_its_rate_along(tmp_path):
    pipeline = make_pipeline(tmp_path, TICKERS, portfolios=PORTFOLIOS)
    assert pipeline.rates_for(["VTS"]) == ["AUDUSD=X"]
    assert pipeline.universe.partitions() == ["FX", "XASX", "XNYS"]


def test_rates_that_cannot_be_had_cost_only_what_needs_them(tmp_path):
    """A folder of files without the rate: what is in one currency is whole, and the rest told."""
    folder = tmp_path / "files"
    folder.mkdir()
    for i, (ticker, mic) in enumerate(TICKERS.items()):
        days = sessions(mic)
        days = days[(days >= np.datetime64("2021-01-04")) & (days <= np.datetime64("2025-11-11"))]
        rows = yahoo_rows(bars(days, walk(len(days), seed=i)))
        rows.reset_index().to_parquet(folder / f"{ticker}.parquet")
    pipeline = make_pipeline(tmp_path, TICKERS, portfolios=PORTFOLIOS, source=f"files:{folder}")
    with dg.instance_for_test() as instance:
        report = run_graph(pipeline, instance)
    assert report.errors == []
    assert report.tickers["AUDUSD=X"].reason_code is ReasonCode.SYMBOL_MISSING
    assert {t: report.tickers[t].outcome for t in TICKERS} == dict.fromkeys(TICKERS, "collected")
    codes = {n: o.reason_code for n, o in report.portfolios.items()}
    assert codes == {
        "at-home": None,
        "in-aud": ReasonCode.MISSING_FX,
        "in-usd": ReasonCode.MISSING_FX,
        "undecided": ReasonCode.MIXED_CURRENCIES,
    }
    assert "etf run --tickers AUDUSD=X" in str(report.portfolios["in-aud"].reason)
    assert of_run(report, chosen=False) == 3


@pytest.mark.parametrize(("held", "code"), [(["VAS"], 3), ([], 1)])
def test_the_only_ticker_of_an_exchange_fails_as_any_other_does(tmp_path, held, code):
    """Whether a partition holds one ticker or fifty: some came out, or none did."""
    folder = tmp_path / "files"
    folder.mkdir()
    rows = yahoo_rows(bars(asx_days("2024-01-02", 300), walk(300)))
    for ticker in held:
        rows.reset_index().to_parquet(folder / f"{ticker}.parquet")
    pipeline = make_pipeline(
        tmp_path, {"VAS": "XASX", "VTS": "XNYS"}, portfolios=ALONE, source=f"files:{folder}"
    )
    with dg.instance_for_test() as instance:
        report = run_graph(pipeline, instance)
    assert [t for t, o in report.tickers.items() if o.good] == held
    assert not report.tickers["VTS"].good
    assert any("raw_prices: none of 1 tickers" in e for e in report.errors) == (code == 1)
    assert of_run(report, chosen=False) == code


def test_a_rate_that_the_universe_does_not_need_is_had_by_name(tmp_path):
    franc = Pair("USD", "CHF")
    pipeline = make_pipeline(tmp_path, {"VAS": "XASX"}, portfolios=ALONE)
    pipeline.pairs = (franc,)
    with dg.instance_for_test() as instance:
        report = run_graph(pipeline, instance, tickers=["USDCHF=X"])
    assert report.errors == []
    assert {t: o.outcome for t, o in report.tickers.items()} == {"USDCHF=X": "collected"}
    assert of_run(report, chosen=True) == 0
