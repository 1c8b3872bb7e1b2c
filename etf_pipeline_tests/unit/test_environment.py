"""The light reader of the environment tells what pydantic tells, and is light."""

import subprocess
import sys
from pathlib import Path

import pytest

from etf_pipeline import ETFDataProvider, get_etf_system
from etf_pipeline.errors import SettingsError
from etf_pipeline.events.settings import load_event_settings
from etf_pipeline.settings import environment, load_settings

VALUES = (None, "", " ", "store", " store ", "/some/where", "a/../b/", "~/store", "Ünïcode", "0")
SERVERS = "localhost:9092"


def put(monkeypatch, **variables):
    for name, value in variables.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)


@pytest.mark.parametrize("value", VALUES)
def test_places_are_those_of_the_settings(monkeypatch, value):
    put(monkeypatch, ETF_DATA_DIR=value, ETF_UNIVERSE_FILE=value)
    settings = load_settings()
    assert environment.data_dir() == settings.data_dir
    assert environment.universe_file() == settings.universe_file


@pytest.mark.parametrize("value", [None, "", "AUD"])
def test_the_currency_is_that_of_the_settings(monkeypatch, value):
    put(monkeypatch, ETF_BASE_CURRENCY=value)
    assert environment.base_currency() == load_settings().base_currency


@pytest.mark.skipif(sys.platform == "win32", reason="names of variables have no case there")
@pytest.mark.parametrize("names", [("etf_data_dir",), ("ETF_DATA_DIR", "Etf_Data_Dir")])
def test_the_case_of_a_name_does_not_matter_where_it_does_not_to_the_settings(monkeypatch, names):
    put(monkeypatch, **{name: f"store{i}" for i, name in enumerate(names)})
    assert environment.data_dir() == load_settings().data_dir == Path(f"store{len(names) - 1}")


@pytest.mark.parametrize("value", VALUES)
def test_the_provider_and_the_system_open_the_same_store(monkeypatch, tmp_path, value):
    monkeypatch.chdir(tmp_path)
    put(monkeypatch, ETF_DATA_DIR=value, EVENT_STORE_TYPE="none")
    system = get_etf_system()
    assert ETFDataProvider()._layout.root == system.layout.root
    system.close()


@pytest.mark.parametrize("name", [None, "ETF_PERIODS_PER_YEAR", "etf_periods_per_year"])
def test_a_fixed_year_is_seen_where_the_settings_see_it(monkeypatch, name):
    put(monkeypatch, ETF_PERIODS_PER_YEAR=None)
    if name is not None:
        put(monkeypatch, **{name: "250.5"})
    assert environment.periods_fixed() is (name is not None)
    assert load_settings().periods_per_year == (None if name is None else 250.5)
    assert ETFDataProvider("nowhere")._annual(None) == load_settings().periods_per_year
    assert ETFDataProvider("nowhere")._annual(12) == 12


@pytest.mark.parametrize("kind", [None, "auto", "kafka", "embedded", "none", "", " ", "neither"])
@pytest.mark.parametrize("servers", [None, "", SERVERS, f" {SERVERS} "])
def test_events_are_asked_for_where_the_event_settings_ask(monkeypatch, kind, servers):
    put(monkeypatch, EVENT_STORE_TYPE=kind, KAFKA_BOOTSTRAP_SERVERS=servers)
    try:
        found = load_event_settings()
    except SettingsError:
        assert environment.events_asked_for()  # who goes on from here is told what is wrong
        return
    expected = found.event_store_type in ("kafka", "embedded") or (
        found.event_store_type == "auto" and found.kafka_bootstrap_servers is not None
    )
    assert environment.events_asked_for() == expected


def test_blank_servers_are_left_to_the_event_settings(monkeypatch):
    """A look lets through what it does not understand, and recording stays off."""
    put(monkeypatch, KAFKA_BOOTSTRAP_SERVERS=" ")
    assert environment.events_asked_for()
    assert not ETFDataProvider("nowhere").use_event_sourcing


@pytest.mark.parametrize("value", [None, ""])
def test_empty_is_unset_for_what_is_no_setting(monkeypatch, value):
    put(monkeypatch, DAGSTER_HOME=value, DAGSTER_POSTGRES_URL=value, ETF_TRACEBACK=value)
    assert environment.dagster_home() == Path.cwd() / ".dagster"
    assert environment.postgres_url() == ""
    assert not environment.traceback_wanted()


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("0", False), ("yes", True), (" ", True), ("false", True)]
)
def test_a_traceback_is_wanted_unless_it_is_0(monkeypatch, value, expected):
    put(monkeypatch, ETF_TRACEBACK=value)
    assert environment.traceback_wanted() is expected


def test_the_home_that_is_named_is_the_home_that_is_found(monkeypatch, tmp_path):
    put(monkeypatch, DAGSTER_HOME="elsewhere")
    assert environment.dagster_home() == Path.cwd() / "elsewhere"
    environment.name_dagster_home(tmp_path)
    assert environment.dagster_home() == tmp_path


def test_reading_the_environment_imports_no_pydantic():
    code = (
        "import sys; from etf_pipeline.settings import environment; environment.data_dir(); "
        "print(sorted({'pydantic', 'pydantic_settings', 'pandas', 'pyarrow'} & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "[]"
