"""What a stranger installs: the library alone is small, and the wheel holds everything."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from etf_pipeline_tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(out), str(ROOT)],
        check=True,
        capture_output=True,
    )
    return next(out.glob("*.whl"))


def test_the_wheel_holds_types_and_defaults(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "py.typed",
        "_defaults/dagster.yaml",
        "_defaults/universe.csv",
        "_defaults/portfolios.yaml",
        "definitions.py",
    ):
        assert f"etf_pipeline/{name}" in names
    # `backtests` is a word of the package's own
    folders = {part for n in names for part in n.split("/")[:-1]}
    assert not {"etf_pipeline_tests", "tests"} & folders
    assert not [n for n in names if n.endswith(".parquet")]


LIBRARY_ONLY = """
import sys, pandas as pd
from pathlib import Path
for name in ("dagster", "confluent_kafka", "yfinance", "duckdb"):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(f"{name} is installed")
from etf_pipeline import ETFDataProvider
folder = Path("store/historical"); folder.mkdir(parents=True)
days = pd.bdate_range("2024-01-01", periods=300, name="Date", tz="Australia/Sydney")
pd.DataFrame({"Close": range(1, 301)}, index=days).to_parquet(folder / "VAS.parquet")
provider = ETFDataProvider("store")
assert provider.available_etfs == ["VAS"]
assert len(provider.load_etf_data("VAS")) == 300
from etf_pipeline.store.prices import load_prices
from etf_pipeline.risk.tables import risk_table
from etf_pipeline.store.layout import Layout
assert risk_table([load_prices(Layout(Path("store")), "VAS")]).num_rows == 5
from etf_pipeline.portfolio import optimise, stated
answer = optimise(stated([0.1, 0.2], [[0.01, 0], [0, 0.09]], ("a", "b")))
assert answer.success and abs(answer.weights[0] - 0.9) < 1e-9
print("ok")
"""


@pytest.mark.skipif(
    os.environ.get("ETF_TEST_OFFLINE") == "1", reason="ETF_TEST_OFFLINE=1: no package registry"
)
def test_the_library_alone_installs_without_dagster_and_kafka(wheel, tmp_path):
    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    lock = [
        line
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("\n".join(lock))
    subprocess.run(
        [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-c",
            constraints,
            wheel,
        ],
        check=True,
        capture_output=True,
    )
    out = subprocess.run(
        [python, "-c", LIBRARY_ONLY], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert out.stdout.strip() == "ok", out.stderr
    etf = python.with_name("etf")
    run = subprocess.run([etf, "run"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "etf_pipeline[pipeline]" in run.stderr
    assert subprocess.run([etf, "--version"], capture_output=True, check=False).returncode == 0


def test_the_wheel_loads_its_dagster_definitions(wheel, tmp_path):
    """From the wheel alone: the checkout is not on the path."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import etf_pipeline; "
        "assert etf_pipeline.__file__.startswith(sys.argv[1]), etf_pipeline.__file__; "
        "from etf_pipeline.settings.defaults import default_text; "
        "from pathlib import Path; Path('data').mkdir(); "
        "names = ('universe.csv', 'portfolios.yaml'); "
        "[Path('data', n).write_text(default_text(n)) for n in names]; "
        "from etf_pipeline.definitions import defs; "
        "print(len(defs.get_repository_def().asset_graph.get_all_asset_keys()))"
    )
    out = subprocess.run(
        [sys.executable, "-P", "-c", code, str(site)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )
    assert out.stdout.strip() == "8", out.stderr


def validate(folder: Path, n: int) -> float:
    """Seconds of `dagster definitions validate` with `n` tickers in the universe."""
    import time

    folder.mkdir()
    header = "ticker,symbol,exchange,name,asset_class,issuer,currency\n"
    lines = [f"T{i},T{i}.AX,XASX,Name {i},australian_equity,x,AUD\n" for i in range(n)]
    (folder / "universe.csv").write_text(header + "".join(lines))
    (folder / "workspace.yaml").write_text((ROOT / "workspace.yaml").read_text())
    (folder / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    started = time.monotonic()
    out = subprocess.run(
        [
            Path(sys.executable).with_name("dagster"),
            "definitions",
            "validate",
            "-w",
            "workspace.yaml",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"DAGSTER_HOME": str(folder), "ETF_UNIVERSE_FILE": str(folder / "universe.csv")},
    )
    assert out.returncode == 0, out.stderr
    return time.monotonic() - started


def test_ten_thousand_tickers_validate_about_as_fast_as_ten(tmp_path):
    ten = validate(tmp_path / "ten", 10)
    many = validate(tmp_path / "many", 10_000)
    assert many - ten < 10
