"""Fixtures that several folders share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from etf_pipeline_tests.support import World
from etf_pipeline_tests.yahoo_standin import StandIn

settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60
)
settings.load_profile("default")

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _no_ambient_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A developer's own ETF_… and DAGSTER_… variables must not reach the tests."""
    for name in list(os.environ):
        if name.startswith(("ETF_", "DAGSTER_")) and name != "ETF_TEST_REAL_DATA":
            monkeypatch.delenv(name)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster-home"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real ETF prices; set ETF_TEST_REAL_DATA, or keep it beside the checkout."""
    folder = Path(os.environ.get("ETF_TEST_REAL_DATA", ROOT.parent / "shared" / "data" / "asx"))
    if not (folder / "raw").is_dir():
        pytest.skip(f"the real prices are not in {folder} (set ETF_TEST_REAL_DATA)")
    return folder


@pytest.fixture
def yahoo() -> Iterator[StandIn]:
    """A running stand-in for Yahoo without any series."""
    with StandIn() as server:
        yield server


@pytest.fixture
def world(tmp_path: Path, yahoo: StandIn) -> World:
    """A store, a stand-in and a clock."""
    return World(tmp_path / "store", yahoo)
