"""What the commands print, from values alone."""

import datetime as dt
import io
import json

import pytest
from rich.console import Console

from etf_pipeline.cli.render.events import relay_line, status_body, status_line
from etf_pipeline.cli.render.output import print_json, print_table, verdict_line
from etf_pipeline.cli.render.run import (
    outcome_body,
    show_not_backtested,
    show_outcomes,
    show_portfolios,
    show_risk,
)
from etf_pipeline.cli.render.store import show_status
from etf_pipeline.cli.render.tables import number, percent
from etf_pipeline.errors import ReasonCode
from etf_pipeline.events.status import EventsStatus
from etf_pipeline.library.doctor import Finding
from etf_pipeline.model.outcomes import FailureKind, Outcome, OutcomeKind, cells

DAY = dt.date(2025, 11, 12)
DONE = Outcome("VGS", OutcomeKind.UPDATED, rows_added=3, rows_revised=2, first_date=DAY)
BAD = Outcome(
    "A[200]", OutcomeKind.FAILED, "429 [again]", FailureKind.TRANSIENT, ReasonCode.RATE_LIMITED
)


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=100)


def lines(console):
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def test_outcomes_are_a_row_each_and_reasons_a_line_each(console):
    show_outcomes(console, [DONE, BAD])
    found = lines(console)
    assert found[0] == "Tickers"
    for word in cells(DONE):
        assert word in found[1]
    assert "failed (transient)" in found[3]
    assert found[4].split() == ["VGS", "updated", "3", "2", "0", "2025-11-12"]
    assert found[5] == "  A[200]: 429 [again]"
    assert len(found) == 6


def test_an_outcome_in_json_has_the_keys_that_scripts_know():
    assert list(outcome_body(BAD)) == [
        "subject",
        "outcome",
        "reason",
        "failure_kind",
        "rows_added",
        "rows_revised",
        "rows_quarantined",
        "first_date",
        "last_date",
        "content_hash",
        "batch_id",
        "batch_hash",
        "rules_version",
        "source",
    ]
    assert outcome_body(BAD)["failure_kind"] == "transient"


def test_json_has_dates_as_text(capsys):
    print_json(outcome_body(DONE) | {"at": dt.datetime(2025, 11, 12, tzinfo=dt.UTC)})
    found = json.loads(capsys.readouterr().out)
    assert found["first_date"] == "2025-11-12"
    assert found["at"] == "2025-11-12 00:00:00+00:00"
    assert found["outcome"] == "updated"


def test_a_table_in_a_pipe_is_as_wide_as_it_must_be(capsys):
    print_table(["ticker", "x" * 300], [["VAS", 0.123456789], ["VGS", None]])
    found = capsys.readouterr().out.splitlines()
    assert any("ticker" in line and "x" * 300 in line for line in found)
    assert any(line.split() == ["VAS", "0.123457"] for line in found)
    assert any(line.split() == ["VGS"] for line in found)


def test_risk_of_one_window(console):
    rate = dict.fromkeys(("mean_return", "cagr", "volatility", "max_drawdown", "var_95"), 0.12345)
    row = {"ticker": "VAS", "source": "files", "end": DAY, "n_obs": 250, "sharpe_ratio": 1.0}
    rows = [
        row | rate | {"window": "1y", "reason": None},
        row | dict.fromkeys(rate) | {"window": "3y", "reason": "too short", "sharpe_ratio": None},
    ]
    show_risk(console, rows, "3y")
    found = lines(console)
    assert found[0] == "Risk, window 3y, per cent a year (files prices)"
    assert found[-2].split() == ["VAS", "2025-11-12", "250", *"––––––"]
    assert found[-1] == "  VAS: too short"
    show_risk(console, rows, "1y")
    assert lines(console)[-1].split()[3:] == ["12.35", "12.35", "12.35", "1.00", "12.35", "12.35"]


def test_what_is_in_several_currencies_says_which(console):
    rate = dict.fromkeys(("mean_return", "cagr", "volatility", "max_drawdown", "var_95"), 0.5)
    row = {"source": "files", "end": DAY, "n_obs": 250, "sharpe_ratio": 1.0, "reason": None} | rate
    named = {"VAS": "AUD", "ISF": "GBp", "MINE": None}
    rows = [row | {"ticker": t, "window": "3y", "currency": c} for t, c in named.items()]
    show_risk(console, rows, "3y")
    found = lines(console)
    assert found[0].endswith("(files prices), each in its own currency")
    assert [line.split()[:2] for line in found[-3:]] == [
        ["VAS", "AUD"],
        ["ISF", "GBp"],
        ["MINE", "?"],
    ]
    show_risk(console, rows[:1], "3y")
    assert lines(console)[-1].split()[:2] == ["VAS", str(DAY)]
    numbers = {"expected_return": 0.1, "volatility": 0.2, "sharpe_ratio": 0.5, "n_obs": 9}
    one = {"objective": "max_return", "success": True, "message": "ok"} | numbers
    two = [one | {"portfolio": p, "base_currency": c} for p, c in (("a", "AUD"), ("u", "USD"))]
    show_portfolios(console, two, [])
    told = [line.split()[:3] for line in lines(console)]
    assert ["a", "max_return", "AUD"] in told
    assert ["u", "max_return", "USD"] in told


def test_a_portfolio_without_a_backtest_is_told_of(console):
    show_not_backtested(console, [DONE])
    assert lines(console) == []
    show_not_backtested(console, [DONE, BAD])
    assert lines(console) == ["  no backtest of A[200]: 429 [again]"]


@pytest.mark.parametrize("name", ["core [/v2]", "[red]core[/red]", "core[bold]"])
@pytest.mark.parametrize("success", [True, False])
def test_a_portfolio_is_called_what_it_is(console, name, success):
    numbers = {"expected_return": 0.1, "volatility": 0.2, "sharpe_ratio": 0.5, "n_obs": 9}
    one = {"portfolio": name, "objective": "hrp", "success": success, "message": "none"}
    show_portfolios(console, [one | numbers], [])
    (row,) = [line for line in lines(console) if " hrp " in line]
    assert row.strip().startswith(name)


@pytest.mark.parametrize("name", ["a long name " * 6, "y" * 80])
def test_a_long_name_cuts_no_number(name):
    """A number that is cut is another number: 0.… may be 0.12 or 0.98."""
    console = Console(file=io.StringIO(), width=80)
    numbers = {"expected_return": 0.1234, "volatility": 0.0567, "sharpe_ratio": 1.23, "n_obs": 1262}
    one = {"portfolio": name, "objective": "min_tracking_error", "success": True, "message": ""}
    show_portfolios(console, [one | numbers], [])
    told = console.file.getvalue()
    assert "…" not in told
    assert {"12.34", "5.67", "1.23", "1262", "return", "volatility", "Sharpe"} <= set(told.split())


def test_tickers_are_called_what_they_are(console, capsys):
    show_outcomes(console, [Outcome("A[/b]", OutcomeKind.UPDATED)])
    row = dict.fromkeys(("source", "outcome", "first", "last", "distributions"), "x")
    for problem in (None, "held back"):
        show_status(
            console, [row | {"ticker": "[i]C", "problem": problem, "rows": 1, "quarantined": 0}]
        )
    assert "A[/b]" in console.file.getvalue()
    assert console.file.getvalue().count(" [i]C ") == 2
    print_table(["[i]point", "[/b]"], [["[red]", 0.5]])
    assert {"[i]point", "[/b]", "[red]"} <= set(capsys.readouterr().out.split())


def test_portfolios_tell_weights_or_why_not(console):
    numbers = {"expected_return": 0.1, "volatility": 0.2, "sharpe_ratio": 0.5, "n_obs": 9}
    summary = [
        {"portfolio": "a", "objective": "max_return", "success": True, "message": "ok"} | numbers,
        {"portfolio": "b", "objective": "min_cvar", "success": False, "message": "no history"}
        | dict.fromkeys(numbers),
    ]
    weights = [
        {"portfolio": "a", "ticker": t, "weight": w}
        for t, w in (("VGS", 0.25), ("VAS", 0.75), ("VTS", 0.0))
    ]
    show_portfolios(console, summary, weights)
    assert lines(console)[-2:] == ["  a: VAS 75.00 %, VGS 25.00 %", "  b: no history"]


def test_short_positions_and_cash_are_told(console):
    numbers = {"expected_return": 0.1, "volatility": 0.2, "sharpe_ratio": None, "n_obs": 9}
    row = {"portfolio": "a", "objective": "max_return", "success": True, "message": "ok"}
    weights = [
        {"portfolio": "a", "ticker": t, "weight": w}
        for t, w in (("VGS", -0.25), ("VAS", 0.75), ("VTS", 0.0))
    ]
    show_portfolios(console, [row | numbers | {"cash": 0.5}], weights)
    assert lines(console)[-1] == "  a: VAS 75.00 %, VGS -25.00 %, cash 50.00 %"


def test_status_names_problems_below_the_table(console):
    row = {"source": "yahoo", "outcome": "updated", "rows": 5, "first": DAY, "last": DAY}
    row |= {"problem": None, "distributions": None}
    rows = [
        row | {"ticker": "VAS", "quarantined": 1},
        row | {"ticker": "VGS", "quarantined": 0, "problem": "damaged", "outcome": None},
        row | {"ticker": "VTS", "quarantined": 0, "distributions": "1 distribution withheld"},
    ]
    show_status(console, rows)
    found = lines(console)
    assert found.pop() == "  VTS: 1 distribution withheld"
    del found[-2]
    assert found[-3].split() == ["VAS", "yahoo", "updated", "5", "2025-11-12", "2025-11-12", "1"]
    assert found[-2].split() == ["VGS", "yahoo", "5", "2025-11-12", "2025-11-12", "0"]
    assert found[-1] == "  VGS: damaged"


def test_checks_say_first_how_they_went():
    assert verdict_line(Finding("disk", True, "8 GiB")) == "ok   disk: 8 GiB"
    assert verdict_line(Finding("disk", True, "8 GiB"), good="pass") == "pass disk: 8 GiB"
    assert verdict_line(Finding("disk", False, "full"), good="pass") == "FAIL disk: full"


@pytest.mark.parametrize(
    ("show", "value", "text"),
    [
        (percent, 0.12345, "12.35"),
        (percent, -1.0, "-100.00"),
        (percent, None, "–"),
        (percent, -1e-9, "0.00"),  # nothing is not less than nothing
        (number, -1e-9, "0.00"),
        (number, 1.005001, "1.01"),
        (number, 0.0, "0.00"),
        (number, None, "–"),
    ],
)
def test_numbers_have_two_decimals(show, value, text):
    assert show(value) == text


NOON = dt.datetime(2025, 11, 12, 12, tzinfo=dt.UTC)
RELAY = {"at": "2025-11-12T11:59:30+00:00", "behind": 4, "pending": 0, "problem": "no broker"}


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (EventsStatus(False, "none", None, "auto"), None),
        (EventsStatus(True, "embedded", None, "embedded"), "Events: embedded; 0 in the local log"),
        (
            EventsStatus(False, "none", None, "none", {"A": 2, "B": 1}),
            "Events: none; 3 in the local log",
        ),
        (
            EventsStatus(True, "none", "Kafka is down", "auto", {"A": 2}, 2, RELAY),
            "Events: none; 2 in the local log; Kafka is down; 2 wait for Kafka; "
            "relay 4 behind, last ran 30 s ago; no broker",
        ),
    ],
)
def test_events_in_one_line(status, line):
    assert status_line(status, NOON) == line


def test_each_instance_is_told_by_its_home_and_how_far_behind_it_was():
    one = RELAY | {"instance": "7c0f", "where": "/srv/dagster", "more": False}
    told = "  Dagster /srv/dagster (7c0f): 4 behind at 2025-11-12 11:59:30 UTC; no broker"
    assert relay_line(one) == told
    assert "4 or more behind" in relay_line(one | {"more": True})


def test_the_status_of_events_in_json_has_the_keys_that_scripts_know():
    status = EventsStatus(True, "kafka", None, "auto", {"A": 2, "B": 1}, 1, RELAY)
    assert list(status_body(status).items()) == [
        ("mode", "kafka"),
        ("why", None),
        ("store", "auto"),
        ("store_id", None),
        ("events", 3),
        ("types", {"A": 2, "B": 1}),
        ("waiting", 1),
        ("relay", RELAY),
        ("relays", []),
        ("parked", {}),
        ("parked_missing", 0),
        ("signing", None),
        ("waiting_since", None),
        ("problem", None),
        ("undeliverable", {}),
    ]
