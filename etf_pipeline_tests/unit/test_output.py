"""Rows as people and programs read them; expected values are written out."""

import csv
import datetime as dt
import decimal
import io
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etf_pipeline.cli.render.answers import write, write_parquet
from etf_pipeline.cli.render.output import print_error, print_warning
from etf_pipeline.errors import SettingsError
from etf_pipeline.sql.output import FORMATS, cell, markdown, plain
from etf_pipeline.sql.safe import Answer

SYDNEY = dt.timezone(dt.timedelta(hours=11))
ANSWER = Answer(
    ["name", "n", "when", "many"],
    ["VARCHAR", "BIGINT", "DATE", "INTEGER[]"],
    [("a|b\nc, d", 1234567, dt.date(2025, 11, 3), [1, 2]), (None, None, None, None)],
    cut=False,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (0.1, 0.1),
        (math.nan, None),
        (-math.inf, None),
        ("text", "text"),
        (dt.date(2025, 11, 3), "2025-11-03"),
        (dt.datetime(2025, 11, 3, 9, 30, tzinfo=SYDNEY), "2025-11-03T09:30:00+11:00"),
        (dt.time(9, 30), "09:30:00"),
        (decimal.Decimal("1.50"), 1.5),
        ({1: math.nan, "b": (1, math.inf)}, {"1": None, "b": [1, None]}),
        (dt.timedelta(days=1), "1 day, 0:00:00"),
    ],
)
def test_plain_is_what_json_can_say(value, expected):
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (12, "12"),
        (1234567, "1234567"),
        (0.123456789, "0.123457"),
        (1e-12, "1e-12"),
        (math.nan, "nan"),
        (decimal.Decimal("2.50"), "2.50"),
        (dt.date(2025, 11, 3), "2025-11-03"),
        (dt.datetime(2025, 11, 3, 9, 30, 1, 5, SYDNEY), "2025-11-03 09:30:01+11:00"),
        ([1, None], "[1, null]"),
        ({"a": 1}, '{"a": 1}'),
    ],
)
def test_a_cell_is_for_the_eye(value, expected):
    assert cell(value) == expected


def test_csv_reads_back(tmp_path):
    write(ANSWER, "csv", tmp_path / "out.csv")
    text = (tmp_path / "out.csv").read_text()
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == [
        ["name", "n", "when", "many"],
        ["a|b\nc, d", "1234567", "2025-11-03", "[1, 2]"],
        ["", "", "", ""],
    ]
    assert "\r" not in text


def test_json_reads_back(tmp_path):
    write(Answer(["ρ", "x"], ["DOUBLE"] * 2, [(0.5, math.nan)], False), "json", tmp_path / "o.json")
    text = (tmp_path / "o.json").read_text(encoding="utf-8")
    assert text == '[\n {\n  "ρ": 0.5,\n  "x": null\n }\n]\n'


def test_markdown_escapes_what_would_break_a_row():
    assert markdown(ANSWER) == (
        "| name | n | when | many |\n"
        "| --- | --: | --- | --: |\n"
        "| a\\|b<br>c, d | 1234567 | 2025-11-03 | [1, 2] |\n"
        "|  |  |  |  |\n"
    )


def test_a_table_in_a_file_is_markdown(tmp_path):
    write(ANSWER, "table", tmp_path / "out.md")
    assert (tmp_path / "out.md").read_text() == markdown(ANSWER)


@pytest.mark.parametrize(("rows", "count"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows")])
def test_a_table_in_a_pipe_is_never_wrapped(capsys, rows, count):
    wide = "x" * 500
    answer = Answer(["wide", "n"], ["VARCHAR", "DOUBLE"], [(f"[{wide}]", 0.5)] * rows, False)
    write(answer, "table", None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == count
    assert sum(f"[{wide}]  0.5" in line for line in lines) == rows


@pytest.mark.parametrize("kind", [k for k in FORMATS if k not in ("table", "parquet")])
def test_without_a_file_it_is_standard_output(kind, tmp_path, capsys):
    write(ANSWER, kind, tmp_path / "file")
    write(ANSWER, kind, None)
    assert capsys.readouterr().out == (tmp_path / "file").read_text()


def test_parquet_to_a_file_and_to_a_pipe(tmp_path, capfdbinary):
    table = pa.table({"a": [1, 2], "b": [0.5, None]})
    write_parquet(table, tmp_path / "out.parquet")
    write_parquet(table, None)
    assert pq.read_table(tmp_path / "out.parquet").equals(table)
    assert capfdbinary.readouterr().out == (tmp_path / "out.parquet").read_bytes()


def test_parquet_does_not_go_to_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdout", Terminal())
    with pytest.raises(SettingsError, match="--format parquet needs --output FILE, or a pipe"):
        write_parquet(pa.table({"a": [1]}), None)


def test_messages_say_what_was_given_letter_by_letter(capsys):
    print_error("--head 'a:b:c': is no head")
    print_warning("/prices/:fire:/[bold]x[/]")
    assert capsys.readouterr().err.splitlines() == [
        "error: --head 'a:b:c': is no head",
        "warning: /prices/:fire:/[bold]x[/]",
    ]
