import datetime as dt

import pytest

from etf_pipeline.cli.options import distinct_names, parse_instant, split_names
from etf_pipeline.errors import ArgumentError, SettingsError


def test_an_instant_keeps_its_zone():
    found = parse_instant("2025-11-01T09:30:00+11:00")
    assert found == dt.datetime(2025, 10, 31, 22, 30, tzinfo=dt.UTC)
    assert found.utcoffset() == dt.timedelta(hours=11)


@pytest.mark.parametrize("text", [None, "now"])
def test_no_instant_is_now(text):
    before = dt.datetime.now(dt.UTC)
    assert before <= parse_instant(text) <= dt.datetime.now(dt.UTC)


def test_an_instant_without_a_zone_is_utc_and_that_is_said(capsys):
    assert parse_instant("2025-11-01", "--from") == dt.datetime(2025, 11, 1, tzinfo=dt.UTC)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("warning: --from 2025-11-01T00:00:00: has no time zone")
    assert "2025-11-01T00:00:00+00:00" in told.err
    parse_instant("2025-11-01T00:00:00+00:00", "--from")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("yesterday", "--from 'yesterday': not a time; write 2025-11-01T09:30:00[+]11:00"),
        ("", "not a time"),
    ],
)
def test_an_instant_that_is_none_is_refused_with_the_remedy(text, words):
    with pytest.raises(SettingsError, match=words):
        parse_instant(text, "--from")


def test_names_may_be_arguments_or_lists():
    assert split_names(" VAS, ,VGS,") == ["VAS", "VGS"]
    assert split_names("") == []
    assert distinct_names(["VAS,VGS", "VTS"]) == ["VAS", "VGS", "VTS"]


def test_a_name_twice_is_refused_by_name():
    with pytest.raises(ArgumentError, match=r"asked for twice: VAS, VGS$"):
        distinct_names(["VAS,VGS", "VTS", "VGS", "VAS"])
