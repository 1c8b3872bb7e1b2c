"""What may not be in the repository, and what must be."""

import re
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement

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


def test_the_lock_is_what_the_package_asks_for():
    """Of SQLAlchemy, say, the next one would no longer reach PostgreSQL."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [
        *project["project"]["dependencies"],
        *(r for extra in project["project"]["optional-dependencies"].values() for r in extra),
        *project["dependency-groups"]["dev"],
    ]
    pins: dict[str, set[str]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        name, _, version = line.partition(";")[0].strip().partition("==")
        pins.setdefault(canonical(name), set()).add(version)
    for one in map(Requirement, asked):
        if canonical(one.name) != "etf-pipeline":
            assert any(v in one.specifier for v in pins[canonical(one.name)]), str(one)


def canonical(name):
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()
