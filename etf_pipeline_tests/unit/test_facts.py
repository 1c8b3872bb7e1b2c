"""Events of manifests: from the file that a manifest names, and none for what changed nothing."""

import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.events.facts import events_of_manifest
from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind
from etf_pipeline.model.schemas import MANIFEST, RISK_METRICS, SUMMARY, WEIGHTS
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.manifests import write_manifest
from etf_pipeline.store.reader import file_info, read_table
from etf_pipeline.store.writer import publish
from etf_pipeline_tests.events_support import T0

DAY = dt.date(2025, 11, 11)


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path)


def table(of, *rows):
    """Rows with nothing in the columns that are not told, or what its type has for nothing."""
    nothing = {pa.string(): "", pa.bool_(): False, pa.int64(): 0, pa.int32(): 0}
    whole = [
        {f.name: row.get(f.name, None if f.nullable else nothing.get(f.type, 0)) for f in of.arrow}
        for row in rows
    ]
    return pa.Table.from_pylist(whole, of.arrow)


def put(layout, of, day, *rows):
    """Publish a day of a table; its path and content hash."""
    path = layout.of(of, day)
    publish(path, of, table(of, *rows))
    return path, file_info(path).content_hash


def risk_row(ticker, volatility):
    return {"ticker": ticker, "window": "1y", "volatility": volatility, "source": "files"}


def weight(portfolio, ticker, value):
    return {"portfolio": portfolio, "ticker": ticker, "weight": value}


def told(layout, asset, *outcomes):
    path = write_manifest(layout, asset, "run", "", outcomes, T0, "files")
    return {e.subject: e.payload() for e in events_of_manifest(layout, path, "instance")}


def outcome(subject, kind, path, digest, layout, **more):
    return Outcome(
        subject, kind, content_hash=digest, path=layout.relative(path), last_date=DAY, **more
    )


def test_the_named_file_is_read_though_a_newer_one_holds_the_same(layout):
    path, digest = put(layout, RISK_METRICS, DAY, risk_row("VAS", 0.1))
    for n in range(1, 8):
        put(layout, RISK_METRICS, DAY + dt.timedelta(days=n), risk_row("VAS", 0.1 + n))
    events = told(layout, "risk_metrics", outcome("VAS", OutcomeKind.UPDATED, path, digest, layout))
    assert events["VAS"].metrics["1y"]["volatility"] == 0.1
    assert (events["VAS"].content_hash, events["VAS"].as_of) == (digest, DAY)


def test_a_file_that_holds_something_else_by_now_is_not_told(layout):
    path, digest = put(layout, RISK_METRICS, DAY, risk_row("VAS", 0.1))
    put(layout, RISK_METRICS, DAY, risk_row("VAS", 0.2))
    events = told(layout, "risk_metrics", outcome("VAS", OutcomeKind.UPDATED, path, digest, layout))
    assert events["VAS"].metrics is None
    path.unlink()
    events = told(layout, "risk_metrics", outcome("VAS", OutcomeKind.UPDATED, path, digest, layout))
    assert events["VAS"].metrics is None


def test_a_ticker_that_failed_takes_nothing_from_the_others(layout):
    path, digest = put(layout, RISK_METRICS, DAY, risk_row("VAS", 0.1))
    broken = Outcome("AAA", OutcomeKind.FAILED, "damaged", FailureKind.TRANSIENT)
    events = told(
        layout, "risk_metrics", broken, outcome("VAS", OutcomeKind.UPDATED, path, digest, layout)
    )
    assert set(events) == {"VAS"}
    assert events["VAS"].metrics["1y"]["volatility"] == 0.1


@pytest.mark.parametrize("kind", [OutcomeKind.UPDATED, OutcomeKind.UNCHANGED])
def test_risk_rows_that_changed_nothing_are_no_events(layout, kind):
    path, digest = put(layout, RISK_METRICS, DAY, risk_row("VAS", 0.1))
    events = told(layout, "risk_metrics", outcome("VAS", kind, path, digest, layout))
    assert set(events) == ({"VAS"} if kind is OutcomeKind.UPDATED else set())


def test_portfolios_that_changed_nothing_are_no_events(layout):
    rows = [weight(p, "VAS", w) for p, w in (("calm", 0.25), ("same", 0.75))]
    path, digest = put(layout, WEIGHTS, DAY, *rows)
    put(
        layout,
        SUMMARY,
        DAY,
        {"portfolio": "calm", "objective": "max_return", "expected_return": 0.08},
    )
    put(layout, SUMMARY, DAY + dt.timedelta(days=1), {"portfolio": "calm", "expected_return": 9.0})
    events = told(
        layout,
        "optimised_portfolios",
        outcome("calm", OutcomeKind.UPDATED, path, digest, layout, reason="optimal"),
        outcome("same", OutcomeKind.UNCHANGED, path, digest, layout, reason="optimal"),
        Outcome("none", OutcomeKind.FAILED, "no history", FailureKind.PERMANENT),
    )
    assert set(events) == {"calm", "none"}
    assert events["calm"].weights == {"VAS": 0.25}
    assert events["calm"].expected_return == 0.08
    assert events["calm"].parameters["objective"] == "max_return"
    assert (events["none"].success, events["none"].weights) == (False, None)


def test_a_manifest_of_an_earlier_release_names_no_path_and_loses_nothing(layout):
    """Its file is found among the newest by its content."""
    for n in range(3):
        _, digest = put(layout, WEIGHTS, DAY + dt.timedelta(days=n), weight("calm", "VAS", n / 4))
        put(
            layout,
            SUMMARY,
            DAY + dt.timedelta(days=n),
            {"portfolio": "calm", "expected_return": n / 100},
        )
        if n == 1:
            wanted = digest
    kind = OutcomeKind.UPDATED
    manifest = write_manifest(
        layout,
        "optimised_portfolios",
        "run",
        "",
        [Outcome("calm", kind, content_hash=wanted, last_date=DAY)],
        T0,
        "files",
    )
    old = read_table(manifest).drop_columns(["path", "reason_code"])
    assert set(old.column_names) < set(MANIFEST.names)
    pq.write_table(old, manifest)
    (event,) = events_of_manifest(layout, manifest, "instance")
    assert event.payload().weights == {"VAS": 0.25}
    assert event.payload().expected_return == 0.01


def test_events_say_the_currency_and_the_rates(layout):
    """Of tickers their prices', of portfolios what returns were brought to, and with what."""
    prices = Outcome(
        "VOD",
        OutcomeKind.UPDATED,
        content_hash="ab",
        batch_id="b",
        currency="GBp",
    )
    events = told(layout, "price_history", prices)
    assert events["VOD"].currency == "GBp"
    events = told(layout, "raw_prices", prices)
    assert events["VOD"].currency == "GBp"
    path, digest = put(layout, RISK_METRICS, DAY, risk_row("VOD", 0.1))
    kept = outcome("VOD", OutcomeKind.UPDATED, path, digest, layout, currency="GBp")
    assert told(layout, "risk_metrics", kept)["VOD"].currency == "GBp"
    path, digest = put(layout, WEIGHTS, DAY, weight("calm", "VOD", 1.0))
    rates = {"currency": "AUD", "fx": "AUDUSD=X:0123456789ab,GBPUSD=X:ba9876543210"}
    calm = outcome("calm", OutcomeKind.UPDATED, path, digest, layout, **rates)
    payload = told(layout, "optimised_portfolios", calm)["calm"]
    assert payload.currency == "AUD"
    assert payload.fx == {"AUDUSD=X": "0123456789ab", "GBPUSD=X": "ba9876543210"}


def test_a_manifest_of_an_earlier_release_says_no_currency(layout):
    prices = Outcome("VAS", OutcomeKind.UPDATED, content_hash="ab", batch_id="b")
    manifest = write_manifest(layout, "price_history", "run", "", [prices], T0, "files")
    pq.write_table(read_table(manifest).drop_columns(["currency", "fx"]), manifest)
    (event,) = events_of_manifest(layout, manifest, "instance")
    assert event.payload().currency is None
