import datetime as dt
import re
from pathlib import Path
from typing import get_args

import pytest

from etf_pipeline.errors import SettingsError
from etf_pipeline.events.settings import EventSettings, load_event_settings
from etf_pipeline.settings import Settings, load_settings

README = Path(__file__).parents[2] / "README.md"


def _numbers():
    """Variables that hold a number, and no text besides."""
    for settings, prefix in ((Settings, "ETF_"), (EventSettings, "")):
        for name, field in settings.model_fields.items():
            kinds = set(get_args(field.annotation) or [field.annotation])
            if kinds & {int, float} and str not in kinds:
                yield f"{prefix}{name.upper()}"


def test_environment_is_read(monkeypatch):
    monkeypatch.setenv("ETF_DATA_DIR", "/somewhere")
    monkeypatch.setenv("ETF_YAHOO_CONCURRENCY", "2")
    settings = load_settings()
    assert settings.data_dir == Path("/somewhere")
    assert settings.yahoo_concurrency == 2


def test_an_override_wins_and_none_does_not(monkeypatch):
    monkeypatch.setenv("ETF_SOURCE", "simulated")
    assert load_settings(source="yahoo").source == "yahoo"
    assert load_settings(source=None).source == "simulated"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ETF_YAHOO_CONCURRENCY", "many", "integer"),
        ("ETF_YAHOO_CONCURRENCY", "0", "greater than or equal to 1"),
        ("ETF_SOURCE", "yahho", "yahoo, files:DIR or simulated"),
        ("ETF_SOURCE", "files:", "yahoo, files:DIR or simulated"),
        ("ETF_RISK_FREE_RATE", "4.5", "below 1"),
        ("ETF_RISK_FREE_RATE", "4%", "fraction such as 0.04"),
        ("ETF_RISK_FREE_RATE", "", "a ticker, or a CSV"),
        ("ETF_PERIODS_PER_YEAR", "0", "greater than 0"),
        ("ETF_PERIODS_PER_YEAR", "inf", "less than or equal to 1000"),
        ("ETF_PERIODS_PER_YEAR", "", "valid number"),
        ("ETF_YAHOO_URL", "localhost:80", "http"),
        ("ETF_BASE_CURRENCY", "aud", "did you mean"),
        ("ETF_BASE_CURRENCY", "GBp", "use GBP"),
        ("ETF_EXECUTOR", "celery", "in_process"),
    ],
)
def test_a_wrong_value_gives_one_line_that_names_it(monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert "\n" not in message
    assert f"{name}={value!r}" in message
    assert words in message


@pytest.mark.parametrize("value", ["99999999999", "1e308", "inf", "nan"])
@pytest.mark.parametrize("name", list(_numbers()))
def test_a_number_that_no_date_clock_or_client_can_hold_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}='{value}'"):
        load_event_settings() if name[:3] != "ETF" else load_settings()


def test_days_that_dates_hold_are_no_wrong_setting(monkeypatch):
    for name in ("ETF_KEEP_DAYS", "ETF_KEEP_MANIFEST_DAYS", "ETF_KEEP_DAGSTER_DAYS"):
        monkeypatch.setenv(name, "365000")
    kept = load_settings()
    for days in (kept.keep_days, kept.keep_manifest_days, kept.keep_dagster_days):
        assert (dt.date(2026, 11, 27) - dt.timedelta(days)).year == 1027
    monkeypatch.setenv("ETF_KEEP_DAYS", "365001")
    with pytest.raises(SettingsError, match=r"365000 or less; or -1, which keeps all"):
        load_settings()


@pytest.mark.parametrize(
    ("settings", "own", "prefix"),
    [(Settings, "ETF_", "ETF_"), (EventSettings, "", "(?:EVENT|KAFKA|OPENLINEAGE)_")],
)
def test_every_setting_is_in_the_table_of_the_readme(settings, own, prefix):
    rows = dict(re.findall(rf"^\| `({prefix}[A-Z_]+)` \| ([^|]*) \|", README.read_text(), re.M))
    fields = {f"{own}{n.upper()}": f for n, f in settings.model_fields.items()}
    assert rows.keys() == fields.keys()
    for name, field in fields.items():
        shown = rows[name].strip().strip("`")
        assert shown == ("" if field.default is None else str(field.default)), name
