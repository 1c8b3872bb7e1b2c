"""Reports of ten portfolios against QuantStats' report of the same ten return series."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PORTFOLIOS = 10
TICKERS = ("VAS", "VGS", "VTS", "VAF", "VHY", "VGB")


def _build(folder: Path) -> dict[str, Any]:
    """A store of simulated prices, risk tables, portfolios and backtests."""
    import yaml

    specs = [
        {
            "name": f"bench-{i}",
            "tickers": list(TICKERS),
            "objective": "target_return",
            "target_return": 0.03,
            "max_weight": 0.4 + i / 50,
            "lookback_years": 5,
        }
        for i in range(PORTFOLIOS)
    ]
    (folder / "portfolios.yaml").write_text(yaml.safe_dump({"portfolios": specs}))
    etf = str(Path(sys.executable).with_name("etf"))
    subprocess.run(
        [etf, "run", "--source", "simulated", "--tickers", ",".join(TICKERS)],
        check=True,
        capture_output=True,
        env=os.environ | _settings(folder),
    )
    return {}


def _settings(folder: Path) -> dict[str, str]:
    return {
        "ETF_DATA_DIR": str(folder / "store"),
        "ETF_PORTFOLIOS_FILE": str(folder / "portfolios.yaml"),
        "DAGSTER_HOME": str(folder / "dagster"),
    }


def _inputs(folder: Path) -> Any:
    from etf_pipeline.settings import load_settings
    from etf_pipeline.steps.report_inputs import inputs_of

    os.environ |= _settings(folder)
    return inputs_of(load_settings(), dt.datetime.now(dt.UTC))


def _ours(folder: Path) -> dict[str, Any]:
    from etf_pipeline.steps.reports import pages_of, reports
    from etf_pipeline.store.store import Store

    store = Store.at(folder / "store", 60)
    for page in store.layout.reports.glob("*.html"):
        page.unlink()  # of the run: those that would be the same are not made again

    def work() -> list[Path]:
        result = reports(store, _inputs(folder), [f"bench-{i}" for i in range(PORTFOLIOS)])
        return [*pages_of(store, result).values()]

    return _timed(work)


def _theirs(folder: Path) -> dict[str, Any]:
    import pandas as pd
    import quantstats

    def work() -> list[Path]:
        found = []
        rows = pd.DataFrame(_inputs(folder).rows("backtests"))
        for name, part in rows.groupby("portfolio"):
            values = part.set_index(pd.to_datetime(part["date"]))["wealth"]
            found.append(folder / f"{name}.html")
            quantstats.reports.html(values.pct_change().dropna(), output=str(found[-1]))
        return found

    return _timed(work)


def _timed(work: Callable[[], list[Path]]) -> dict[str, Any]:
    started = time.perf_counter()
    files = work()
    seconds = (time.perf_counter() - started) / PORTFOLIOS
    assert len(files) == PORTFOLIOS
    return {"seconds": seconds, "mb": max(f.stat().st_size for f in files) / 1e6}


def report(folder: Path, child: Callable[..., dict[str, Any]], line: Callable[..., None]) -> None:
    """Print the ratio."""
    folder.mkdir(parents=True, exist_ok=True)
    child("reports", "build", str(folder))
    ours, theirs = (child("reports", k, str(folder)) for k in ("ours", "theirs"))
    ratio = theirs["seconds"] / ours["seconds"]
    line(
        "QuantStats report / ours, ten portfolios",
        ratio,
        "x",
        "> 1",
        f"ours {ours['seconds']:.2f} s each (aim 1), largest file {ours['mb']:.2f} MB (aim 2); "
        f"theirs {theirs['seconds']:.2f} s, {theirs['mb']:.2f} MB",
    )


if __name__ == "__main__":
    work = {"build": _build, "ours": _ours, "theirs": _theirs}[sys.argv[1]]
    print(json.dumps(work(Path(sys.argv[2]))))
