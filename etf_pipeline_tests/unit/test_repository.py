"""What may not be in the repository, and what must be."""

import re
import subprocess

import pytest

from etf_pipeline_tests.conftest import ROOT


def tracked():
    out = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if out.returncode != 0:
        pytest.skip("this is no checkout of a Git repository")
    return out.stdout.splitlines()


def test_no_price_data_are_committed():
    files = tracked()
    assert "README.md" in files
    assert [f for f in files if f.endswith((".parquet", ".sqlite", ".duckdb"))] == []


def test_the_lock_names_no_registry_and_pins_everything():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line or "index" in line]
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert all(re.match(r"[A-Za-z0-9_.\[\]-]+==[^ ]+( ;.*)?$", line) for line in pins)
