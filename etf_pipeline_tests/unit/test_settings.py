import re
from pathlib import Path

import pytest

from etf_pipeline.errors import SettingsError
from etf_pipeline.events.settings import EventSettings
from etf_pipeline.settings import Settings, load_settings

README = Path(__file__).parents[2] / "README.md"


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
