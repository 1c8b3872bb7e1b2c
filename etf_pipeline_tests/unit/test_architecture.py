"""Who may import what, and how large a module may be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "etf_pipeline"
MODULES = sorted(PACKAGE.rglob("*.py"))
ONLY = {
    "dagster": ("orchestration/",),
    "confluent_kafka": ("events/kafka",),
    "yfinance": ("ingest/sources/yahoo.py",),
    "clarabel": ("portfolio/conic.py",),
    "exchange_calendars": ("model/calendars.py",),
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("library", sorted(ONLY))
def test_a_library_is_imported_only_where_it_belongs(library):
    users = [p.relative_to(PACKAGE).as_posix() for p in MODULES if library in set(imports(p))]
    assert [u for u in users if not u.startswith(ONLY[library])] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_modules_stay_readable(path):
    """A guide, not a reason to pack: the formatter alone decides how many lines a call takes."""
    assert len(path.read_text().splitlines()) <= 400


def test_importing_the_package_and_a_provider_is_light():
    code = (
        "import sys, etf_pipeline; etf_pipeline.ETFDataProvider('nowhere'); "
        "heavy = {'dagster', 'yfinance', 'scipy', 'clarabel', 'duckdb', 'confluent_kafka', "
        "'exchange_calendars'} & set(sys.modules); print(sorted(heavy))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "[]"
