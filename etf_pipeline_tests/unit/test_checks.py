"""The asset checks, each on real files that are right and on real files that are wrong."""

import datetime as dt
import json
from dataclasses import replace

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.ingest.planning import Terms
from etf_pipeline.model.calendars import sessions
from etf_pipeline.model.outcomes import Outcome, OutcomeKind
from etf_pipeline.model.schemas import CORRELATIONS, HISTORY, RISK_METRICS, SUMMARY, WEIGHTS
from etf_pipeline.orchestration.checks.runs import (
    DOWNLOAD_CHECKS,
    HISTORY_CHECKS,
    download_results,
    history_results,
)
from etf_pipeline.orchestration.checks.tables import TABLE_CHECKS
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.settings import Settings
from etf_pipeline.steps.download import download
from etf_pipeline.steps.histories import update_histories
from etf_pipeline.steps.history_checks import Examined, examine, untraded
from etf_pipeline.steps.result import Run, StepResult
from etf_pipeline.store.reader import read_table
from etf_pipeline.store.writer import publish
from etf_pipeline_tests.pipeline.support import NOW, make_pipeline

DAY = dt.date(2025, 11, 12)
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
CHECKS = {one.check.name: one for one in TABLE_CHECKS}


@pytest.fixture
def pipeline(tmp_path):
    return Pipeline(Settings(data_dir=tmp_path / "store"))


def published(pipeline, table, rows, day=DAY):
    data = pa.Table.from_pylist(rows, schema=table.arrow)
    publish(pipeline.layout.of(table, day), table, data, {"source": "simulated"})


def result(pipeline, name):
    """What the check says of the newest file."""
    return CHECKS[name].result(pipeline)


def problems(found):
    return found.metadata["problems"].data


def metrics(ticker, **changed):
    values = {
        "ticker": ticker,
        "window": "1y",
        "n_obs": 250,
        "n_excluded": 0,
        "volatility": 0.12,
        "max_drawdown": -0.2,
        "var_95": 0.01,
        "cvar_95": 0.015,
        "risk_free_rate": 0.0,
        "source": "simulated",
    }
    return values | changed


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {}),
        # what cannot be computed is null, and no fault
        (dict.fromkeys(("volatility", "max_drawdown", "var_95", "cvar_95")), {}),
        ({"volatility": 0.0, "max_drawdown": -1.0, "cvar_95": 0.01}, {}),
        ({"volatility": -1e-9}, {"VGS 1y": ["volatility < 0"]}),
        ({"max_drawdown": 0.01}, {"VGS 1y": ["max_drawdown outside [-1, 0]"]}),
        ({"max_drawdown": -1.01}, {"VGS 1y": ["max_drawdown outside [-1, 0]"]}),
        ({"cvar_95": 0.009}, {"VGS 1y": ["cvar_95 < var_95"]}),
    ],
)
def test_metrics_possible(pipeline, changed, expected):
    published(pipeline, RISK_METRICS, [metrics("VAS"), metrics("VGS", **changed)])
    found = result(pipeline, "metrics_possible")
    assert found.passed is not bool(expected)
    assert found.severity is ERROR
    assert problems(found) == expected


def pair(matrix, window="1y"):
    names = ["VAS", "VGS", "VAF"]
    return [
        {
            "ticker": a,
            "other": b,
            "window": window,
            "correlation": matrix[i][j],
            "n_obs": 250,
            "source": "simulated",
        }
        for i, a in enumerate(names)
        for j, b in enumerate(names)
    ]


GOOD = [[1.0, 0.5, 0.2], [0.5, 1.0, 0.3], [0.2, 0.3, 1.0]]
# A with B and A with C near 1, B with C near −1: three such assets cannot be
NOT_PSD = [[1.0, 0.9, 0.9], [0.9, 1.0, -0.9], [0.9, -0.9, 1.0]]
CROOKED = [[1.0, 0.5, 0.2], [0.4, 1.0, 0.3], [0.2, 0.3, 1.0]]


@pytest.mark.parametrize(("matrix", "wrong"), [(GOOD, []), (NOT_PSD, ["3y"]), (CROOKED, ["3y"])])
def test_correlations_psd(pipeline, matrix, wrong):
    published(pipeline, CORRELATIONS, pair(GOOD) + pair(matrix, "3y"))
    found = result(pipeline, "correlations_psd")
    assert list(problems(found)) == wrong
    assert found.passed is not bool(wrong)
    assert found.severity is ERROR
    least = np.linalg.eigvalsh(np.array(NOT_PSD))[0]
    if matrix is NOT_PSD:
        assert found.description == f"3y: least eigenvalue {least:.3g}"


def without(rows, *pairs):
    return [r for r in rows if (r["ticker"], r["other"]) not in pairs]


def with_value(rows, value, *pairs):
    return [r | {"correlation": value} if (r["ticker"], r["other"]) in pairs else r for r in rows]


ALONE = {"ticker": "OWN", "other": "OWN", "window": "1y", "n_obs": 0, "source": "simulated"}
# Of what is kept of many tickers some pairs lack, or have one order alone; portfolios are whole.
PARTIAL = [*pair(GOOD), ALONE | {"reason": "the returns of OWN do not vary"}]
WRONG = {
    "right": (PARTIAL, None),
    "one order alone": (without(PARTIAL, ("VGS", "VAF")), None),
    "out of range": (
        with_value(PARTIAL, 1.0000001, ("VAS", "VGS"), ("VGS", "VAS")),
        "2 outside [-1, 1], first VAS with VGS: 1.0000001; least eigenvalue",
    ),
    "not a number": (
        with_value(without(PARTIAL, ("VGS", "VAF")), float("nan"), ("VAF", "VGS")),
        "1 outside [-1, 1], first VAF with VGS: nan; 1 not the same in both orders",
    ),
    "a diagonal": (
        with_value(without(PARTIAL, ("VAS", "VGS")), 0.99, ("VAF", "VAF")),
        "1 not 1 with itself, first VAF with VAF: 0.99",
    ),
    "two orders": (
        with_value(without(PARTIAL, ("VAS", "VAF")), 0.4, ("VAS", "VGS")),
        "2 not the same in both orders, first VAS with VGS: 0.4",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_correlations_of_which_some_pairs_are_kept(pipeline, what):
    rows, words = WRONG[what]
    published(pipeline, CORRELATIONS, rows)
    found = result(pipeline, "correlations_psd")
    assert found.passed is (words is None)
    assert words is None or found.description.startswith(f"1y: {words}")


def test_a_portfolio_whose_pairs_cannot_all_be_is_found_among_many(tmp_path):
    """Of four tickers not every pair is kept; three of them make a portfolio, which is whole."""
    mix = tmp_path / "portfolios.yaml"
    mix.write_text(
        "portfolios:\n  - {name: one, tickers: [VAS, VGS, VAF], objective: min_volatility}\n"
    )
    chosen = Settings(data_dir=tmp_path / "store", portfolios_file=mix)
    pipeline = Pipeline(chosen)
    more = [
        ALONE | {"ticker": a, "other": b, "n_obs": 250, "correlation": value}
        for a, b, value in (("VTS", "VTS", 1.0), ("VTS", "VAS", 0.2))
    ]
    published(pipeline, CORRELATIONS, [*pair(NOT_PSD), *more])
    least = np.linalg.eigvalsh(np.array(NOT_PSD))[0]
    assert problems(result(pipeline, "correlations_psd")) == {"1y": f"least eigenvalue {least:.3g}"}
    published(pipeline, CORRELATIONS, [*pair(GOOD), *more])
    assert result(pipeline, "correlations_psd").passed


def test_a_file_of_the_release_before_is_judged_too(pipeline):
    """It has every pair, and no ranks."""
    names = [n for n in CORRELATIONS.names if n not in ("nearest", "farthest")]
    path = pipeline.layout.of(CORRELATIONS, DAY)
    path.parent.mkdir(parents=True)
    for matrix, passed in ((GOOD, True), (NOT_PSD, False)):
        data = pa.Table.from_pylist(pair(matrix), schema=CORRELATIONS.arrow).select(names)
        pq.write_table(data, path)
        assert result(pipeline, "correlations_psd").passed is passed
        assert result(pipeline, "every_ticker_correlated").passed


def test_every_ticker_correlated(pipeline):
    published(pipeline, CORRELATIONS, PARTIAL)
    found = result(pipeline, "every_ticker_correlated")
    assert not found.passed
    assert found.severity is WARN
    assert problems(found) == {"OWN": "1y: the returns of OWN do not vary"}


def weights(portfolio, *values):
    return [
        {
            "portfolio": portfolio,
            "ticker": f"T{i}",
            "weight": value,
            "expected_return": 0.05,
            "volatility": 0.1,
            "source": "simulated",
        }
        for i, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.25, 0.75), {}),
        ((1.0 + 5e-10, 0.0), {}),
        ((0.25, 0.7), {"calm": "sum 0.95"}),
        ((1.1, -0.1), {"calm": "short by 0.1"}),
        ((0.25, 0.7, {"cash": 0.05}), {}),
        ((0.25, 0.75, {"cash": 0.05}), {"calm": "sum 1.05"}),
        ((1.1, -0.1, {"gross_exposure": 1.2}), {}),
        ((1.3, -0.3, {"gross_exposure": 1.5}), {"calm": "gross exposure 1.6 of 1.5"}),
    ],
)
def test_weights_add_up(pipeline, values, expected):
    values = list(values)
    asked = values.pop() if isinstance(values[-1], dict) else {}
    row = {"objective": "max_return", "success": True, "message": "optimal", "n_obs": 9}
    names = [{"portfolio": p, "source": "simulated"} for p in ("calm", "pair")]
    published(pipeline, SUMMARY, [names[0] | row | asked, names[1] | row])
    published(pipeline, WEIGHTS, weights("pair", 0.5, 0.5) + weights("calm", *values))
    found = result(pipeline, "weights_add_up")
    assert problems(found) == expected
    assert found.passed is not bool(expected)
    assert found.severity is ERROR


def test_every_portfolio_optimised(pipeline):
    base = {"objective": "max_return", "risk_free_rate": 0.0, "n_obs": 9, "source": "simulated"}
    rows = [
        base | {"portfolio": "pair", "success": True, "message": "optimal"},
        base | {"portfolio": "calm", "success": False, "message": "no history of VAF"},
    ]
    published(pipeline, SUMMARY, rows)
    found = result(pipeline, "every_portfolio_optimised")
    assert (found.passed, found.severity) == (False, WARN)
    assert found.description == "calm: no history of VAF"
    published(pipeline, SUMMARY, rows[:1], DAY + dt.timedelta(days=1))
    assert result(pipeline, "every_portfolio_optimised").passed  # the newest file alone counts


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_without_a_table_there_is_nothing_to_judge(pipeline, name):
    with pytest.raises(dg.Failure, match="has not been published yet"):
        result(pipeline, name)


def outcome(ticker, kind, reason=None):
    return Outcome(ticker, kind, reason)


def test_every_ticker_answered():
    good = outcome("VAS", OutcomeKind.UPDATED)
    bad = [outcome(f"T{i}", OutcomeKind.REJECTED, "in USD, not AUD") for i in range(21)]
    (found,) = download_results(StepResult("raw_prices", [good]))
    assert (found.passed, found.description) == (True, "all good")
    (found,) = download_results(StepResult("raw_prices", [good, *bad]))
    assert (found.passed, found.severity) == (False, WARN)
    assert found.metadata["not_answered"].value == [o.subject for o in bad]
    assert found.description.startswith("T0: in USD, not AUD; T1: ")
    assert "T19" in found.description
    assert "T20" not in found.description


@pytest.fixture
def histories(tmp_path):
    """The store, the tickers and what the step said, of three histories of simulated prices."""
    pipeline = make_pipeline(tmp_path)
    instruments = pipeline.universe.in_partition("XASX", None)
    source = pipeline.open_source(None)
    run = Run("run", NOW, "XASX")
    download(
        pipeline.store, run, source, instruments, Terms.of(pipeline.settings), clock=pipeline.clock
    )
    result = update_histories(pipeline.store, run, instruments, source="simulated")
    return pipeline.store, instruments, result


def judged(histories):
    store, instruments, result = histories
    found = history_results(examine(store, instruments, result, NOW.date()), result.outcomes)
    return {r.check_name: r for r in found}


def test_whole_histories_pass(histories):
    found = judged(histories)
    assert {n: (r.passed, r.severity) for n, r in found.items()} == {
        "histories_valid": (True, ERROR),
        "histories_complete": (True, WARN),
        "nothing_quarantined": (True, WARN),
        "distributions_agree": (True, WARN),
        "calendar_agrees": (True, WARN),
    }


def test_histories_valid_names_the_file_that_is_damaged(histories):
    store, instruments, result = histories
    path = store.layout.of(HISTORY, "VGS")
    path.write_bytes(path.read_bytes()[:-100])
    found = judged((store, instruments, replace(result, published=[])))["histories_valid"]
    assert not found.passed
    assert list(problems(found)) == ["VGS"]
    assert "VGS.parquet is not readable" in found.description


def test_histories_valid_sees_what_no_reader_should(histories):
    """A file that was written past our own writer: dates twice."""
    store, instruments, result = histories
    path = store.layout.of(HISTORY, "VGS")
    table = read_table(path)
    twice = pa.concat_tables([table, table.slice(table.num_rows - 1)])
    pq.write_table(twice.replace_schema_metadata(pq.read_schema(path).metadata), path)
    found = judged((store, instruments, replace(result, published=[])))["histories_valid"]
    assert found.description == "VGS: dates are not strictly ascending"


def test_histories_complete_tells_failed_tickers_and_recent_gaps(histories):
    _, _, result = histories
    gap = Examined("VAS", missing=(dt.date(2025, 11, 3),))
    failed = [outcome("VAF", OutcomeKind.FAILED, "the source did not answer")]
    found = {r.check_name: r for r in history_results([gap], [*result.outcomes, *failed])}
    assert found["histories_complete"].description == (
        "VAF: the source did not answer; VAS: ['2025-11-03']"
    )
    assert found["histories_valid"].passed


def test_nothing_quarantined_counts_sessions(histories):
    found = {r.check_name: r for r in history_results([Examined("VAS", held_back=3)], [])}
    assert problems(found["nothing_quarantined"]) == {"VAS": 3}


def test_distributions_agree_tells_the_withheld_and_the_gap(histories):
    """From the footer, so that it holds until the history is another."""
    store, instruments, result = histories
    path = store.layout.of(HISTORY, "VGS")
    table, meta = read_table(path), dict(pq.read_schema(path).metadata)
    (key,) = (k for k, v in meta.items() if b"content_hash" in v)
    for gap, words in ((2e-4, "differs from the source's by up to 2.00e-04"), (0.99e-4, None)):
        footer = json.loads(meta[key]) | {"withheld": ["2023-07-03"], "adj_close_gap": gap}
        pq.write_table(table.replace_schema_metadata({key: json.dumps(footer)}), path)
        found = judged((store, instruments, result))["distributions_agree"]
        assert (found.passed, found.severity) == (False, WARN)
        said = "VGS: 1 distribution withheld (2023-07-03)"
        assert found.description == (said if words is None else f"{said}; adjusted close {words}")


def traded(ticker, without=(), exchange="XHKG"):
    known = sessions(exchange)
    days = known[(known >= np.datetime64("2023-08-01")) & (known < np.datetime64("2023-10-01"))]
    return Examined(
        ticker, exchange=exchange, traded=days[~np.isin(days, np.array(without, "datetime64[D]"))]
    )


TYPHOON = ["2023-09-01", "2023-09-08"]


def test_calendar_agrees_tells_once_of_closures_that_it_does_not_know():
    files = [traded(t, TYPHOON) for t in "ABCD"]
    (*_, found) = history_results(files, [])
    assert set(problems(found)) == set(TYPHOON)
    assert "any of 4 tickers" in found.description
    # One ticker that traded, or too few tickers: it is not the exchange.
    assert untraded([*files, traded("E")]) == {}
    assert untraded(files[:3]) == {}
    # Nobody has bars around it, or it is no exchange at all.
    assert untraded([traded(t, exchange="XHKG") for t in "ABCD"]) == {}
    assert untraded([traded(t, TYPHOON, exchange="FX") for t in "ABCD"]) == {}


def test_every_check_of_the_definitions_is_tested_here():
    specs = [*DOWNLOAD_CHECKS, *HISTORY_CHECKS]
    tested = {n.removeprefix("test_") for n in globals() if n.startswith("test_")}
    for name in {s.name for s in specs} | set(CHECKS):
        assert any(t.startswith(name) for t in tested), name
