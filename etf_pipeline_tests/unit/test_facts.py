"""Events of manifests: from the file that a manifest names, and none for what changed nothing."""

import datetime as dt
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.events.facts import events_of_manifest, told_of_manifest, told_of_record
from etf_pipeline.events.model.state import fold
from etf_pipeline.events.orchestrator import FailedStage, LogRecord
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
    assert events["VAS"].content_hash == digest
    assert "as_of=2025-11-11/part.parquet was replaced" in events["VAS"].gone
    path.unlink()
    events = told(layout, "risk_metrics", outcome("VAS", OutcomeKind.UPDATED, path, digest, layout))
    assert events["VAS"].metrics is None
    assert "was removed" in events["VAS"].gone


def test_weights_that_were_replaced_are_said_to_be_gone(layout):
    """And those of a portfolio that failed are not: it never had any."""
    path, digest = put(layout, WEIGHTS, DAY, weight("calm", "VAS", 0.25))
    put(layout, WEIGHTS, DAY, weight("calm", "VAS", 0.75))
    events = told(
        layout,
        "optimised_portfolios",
        outcome("calm", OutcomeKind.UPDATED, path, digest, layout),
        Outcome("none", OutcomeKind.FAILED, "no history", FailureKind.PERMANENT),
    )
    assert (events["calm"].weights, events["calm"].content_hash) == (None, digest)
    assert "was replaced" in events["calm"].gone
    assert events["none"].gone is None


def test_a_table_that_cannot_be_read_is_no_table_that_is_gone(layout):
    """Its events wait: it may be read again."""
    path, digest = put(layout, RISK_METRICS, DAY, risk_row("VAS", 0.1))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    kept = outcome("VAS", OutcomeKind.UPDATED, path, digest, layout)
    manifest = write_manifest(layout, "risk_metrics", "run", "", [kept], T0, "files")
    events, (unreadable,) = told_of_manifest(layout, manifest, "instance")
    assert (events, unreadable.manifest, unreadable.code) == ([], manifest, "corrupt_file")
    path.write_bytes(whole)
    ((event,), unreadable) = told_of_manifest(layout, manifest, "instance")
    assert event.payload().metrics["1y"]["volatility"] == 0.1
    assert unreadable == []


@pytest.mark.parametrize("fault", ["gone", "empty", "half", "text", "other columns"])
def test_a_manifest_that_cannot_be_read_says_why(layout, fault):
    outcomes = [Outcome("VAS", OutcomeKind.COLLECTED, batch_id="b", batch_hash="ab")]
    path = write_manifest(layout, "raw_prices", "run", "", outcomes, T0, "files")
    whole = path.read_bytes()
    if fault == "gone":
        path.unlink()
    elif fault == "other columns":
        pq.write_table(pa.table({"asset": ["raw_prices"], "subject": [7]}), path)
    else:
        path.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "text": b"hello"}[fault])
    events, (unreadable,) = told_of_manifest(layout, path, "instance")
    assert events == []
    assert str(path) in unreadable.why
    code = {"gone": "record_gone", "other columns": "unreadable_record"}.get(fault, "corrupt_file")
    assert unreadable.code == code


def test_events_say_code_currency_and_the_corrections_that_counted(layout):
    refused = Outcome(
        "VGS", OutcomeKind.REJECTED, "in USD", reason_code="other_currency", currency="AUD"
    )
    lost = Outcome(
        "VAF",
        OutcomeKind.FAILED,
        "no such symbol",
        FailureKind.MISSING,
        reason_code="symbol_missing",
        currency="AUD",
    )
    kept = Outcome("VAS", OutcomeKind.COLLECTED, batch_id="b", batch_hash="ab", currency="AUD")
    for asset in ("raw_prices", "price_history"):
        more = {"content_hash": "cd"} if asset == "price_history" else {}
        path = write_manifest(
            layout, asset, "run", "", [refused, lost, replace(kept, **more)], T0, "files", "v1"
        )
        events = {e.subject: e.payload() for e in events_of_manifest(layout, path, "instance")}
        assert {t: (e.currency, e.corrections) for t, e in events.items()} == dict.fromkeys(
            ("VGS", "VAF", "VAS"), ("AUD", "v1")
        )
        assert (events["VGS"].reason_code, events["VAF"].reason_code) == (
            "other_currency",
            "symbol_missing",
        )


def test_a_reason_of_any_length_and_kind_can_be_told(layout):
    """Megabytes, half a surrogate pair, NUL."""
    reason = "a\x00b\udc80c" + "x" * 3_000_000 + "the end"
    lost = Outcome("VAS", OutcomeKind.FAILED, reason, FailureKind.TRANSIENT)
    payload = told(layout, "raw_prices", lost)["VAS"]
    assert payload.reason.startswith("a\ufffdb\ufffdcx")
    assert payload.reason.endswith("the end")
    assert len(payload.model_dump_json().encode()) < 10_000


RUN = LogRecord(9, "failure", "run", "ingest", T0, partition="XASX")


def test_a_stage_that_failed_after_a_good_download_is_told_with_its_subjects(layout):
    """The download's own events are told too."""
    good = [
        Outcome(t, OutcomeKind.COLLECTED, batch_id="b", batch_hash="ab") for t in ("VAS", "VGS")
    ]
    write_manifest(layout, "raw_prices", "run", "XASX", good, T0, "files")
    stage = FailedStage("price_history", "store_unusable", "[Errno 5] Input/output error", T0)
    events, unreadable = told_of_record(
        layout, replace(RUN, ingests=True, stages=(stage,)), "instance"
    )
    assert unreadable == []
    assert sorted(e.type for e in events) == [
        "ETFDataCollected",
        "ETFDataCollected",
        "PipelineStageFailed",
    ]
    (failed,) = [e for e in events if e.type == "PipelineStageFailed"]
    assert failed.subject == "price_history/XASX"
    payload = failed.payload()
    assert payload.subjects == ["VAS", "VGS"]
    assert (payload.stage, payload.reason_code, payload.canceled) == (
        "price_history",
        "store_unusable",
        False,
    )
    assert "Input/output" in payload.reason


@pytest.mark.parametrize("stage", ["risk_metrics", "backtests", "reports", "sql_catalog"])
def test_a_derived_stage_that_failed_is_told(layout, stage):
    lost = replace(
        RUN, job="derive", partition="", stages=(FailedStage(stage, "disk_full", "full", T0),)
    )
    (event,), _ = told_of_record(layout, lost, "instance")
    assert (event.type, event.subject) == ("PipelineStageFailed", stage)
    assert (event.payload().reason_code, event.payload().subjects) == ("disk_full", [])
    state = fold([[event]])
    assert state.failed_stages[stage].reason == "full"


def test_a_run_that_failed_or_was_stopped_before_any_stage_is_told(layout):
    (event,), _ = told_of_record(layout, replace(RUN, kind="canceled"), "instance")
    payload = event.payload()
    assert (payload.stage, payload.canceled, payload.reason_code) == ("run", True, "interrupted")
    (event,), _ = told_of_record(layout, replace(RUN, error="no image"), "instance")
    assert (event.payload().reason_code, event.payload().reason) == ("unexpected", "no image")


def test_of_two_manifests_of_a_failed_run_one_is_told_though_the_other_cannot_be(layout):
    one = [Outcome("VAS", OutcomeKind.COLLECTED, batch_id="b", batch_hash="ab")]
    write_manifest(layout, "raw_prices", "run", "XASX", one, T0, "files")
    broken = write_manifest(layout, "price_history", "run", "XASX", one, T0, "files")
    broken.write_bytes(b"")
    events, (unreadable,) = told_of_record(layout, replace(RUN, ingests=True), "instance")
    assert [e.type for e in events] == ["ETFDataCollected", "PipelineStageFailed"]
    assert unreadable.manifest == broken


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
