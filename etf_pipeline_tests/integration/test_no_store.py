"""Commands about events where there is no store: they say so, fail, and make none."""

import pytest
from typer.testing import CliRunner

from etf_pipeline.cli.app import app
from etf_pipeline.errors import StoreError

COMMANDS = (
    ["verify"],
    ["replay"],
    ["state"],
    ["list"],
    ["archive"],
    ["project", "--once"],
    ["parked"],
    ["missing"],
    ["rebuild", "--into", "rebuilt"],
)


@pytest.mark.parametrize("mode", ["embedded", "none"])
@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_holds_no_store(monkeypatch, tmp_path, there, mode):
    root = tmp_path / "elsewhere"
    if there:
        root.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENT_STORE_TYPE", mode)
    words = f"{root} has no store yet" if there else f"{root} is not there"
    for command in COMMANDS:
        done = CliRunner().invoke(app, ["events", *command, "--data-dir", str(root)])
        assert done.exit_code != 0
        assert isinstance(done.exception, StoreError), command
        assert words in str(done.exception)
    done = CliRunner().invoke(app, ["events", "status", "--data-dir", str(root)])
    assert (done.exit_code, f"FAIL {words}" in done.output) == (1, True)
    assert [p.name for p in tmp_path.rglob("*")] == ["elsewhere"] * there


def test_a_machine_that_shall_continue_a_store_has_none_yet(monkeypatch, tmp_path):
    monkeypatch.setenv("EVENT_STORE_TYPE", "embedded")
    monkeypatch.setenv("EVENT_STORE_ID", "7c9e6679-7425-40de-944b-e07fc1f90ae7")
    command = ["events", "replay", "--json", "--data-dir", str(tmp_path / "fresh")]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
