"""The risk table of 1,000 tickers × 5,000 days, and the provider's start."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from etf_pipeline_tests.benchmarks.memory import forget_peak, peak_mib

TICKERS, ROWS = 1000, 5000


def write_store(folder: Path) -> None:
    """Histories as the pipeline publishes them."""
    from etf_pipeline.history.basis import Basis
    from etf_pipeline.history.build import RULES_VERSION, build
    from etf_pipeline.model.calendars import sessions
    from etf_pipeline.model.schemas import HISTORY
    from etf_pipeline.store.layout import Layout
    from etf_pipeline.store.writer import publish
    from etf_pipeline_tests.support import asx_days, bars, walk

    days, layout = asx_days("2005-01-04", ROWS), Layout(folder)
    meta = {"source": "yahoo", "currency": "AUD", "findings": 0, "rules": RULES_VERSION}
    for i in range(TICKERS):
        table = build(bars(days, walk(ROWS, seed=i)), Basis(sessions("XASX"))).history
        publish(layout.of(HISTORY, f"T{i:04d}"), HISTORY, table, meta)


def paths(folder: Path) -> list[Path]:
    return sorted((folder / "historical").glob("*.parquet"))


def read(path: Path) -> Any:
    return pq.read_table(path, columns=["date", "adj_close"]).column("adj_close").to_numpy()


def ours(folder: Path) -> None:
    """Load and compute every metric of one window."""
    from etf_pipeline.risk.tables import metrics_row
    from etf_pipeline.store.layout import Layout
    from etf_pipeline.store.prices import load_prices

    layout = Layout(folder)
    for path in paths(folder):
        metrics_row(load_prices(layout, path.stem), None)


def plain(folder: Path) -> None:
    """Bare reads and the same eight metrics in plain numpy, unchecked."""
    for path in paths(folder):
        p = read(path)
        r = p[1:] / p[:-1] - 1
        deviation = r.std(ddof=1)
        fall = (p / np.maximum.accumulate(p) - 1).min()
        growth = (p[-1] / p[0]) ** (252 / len(r)) - 1
        worst = np.sort(-r)[::-1]
        k = 0.05 * len(r)
        (
            252 * r.mean(),
            growth,
            np.sqrt(252) * deviation,
            np.sqrt(252) * r.mean() / deviation,
            np.sqrt(252) * r.mean() / np.sqrt((np.minimum(r, 0) ** 2).mean()),
            fall,
            worst[int(np.ceil(k)) - 1],
            worst[: int(k)].mean(),
        )


def metrics_of(name: str, folder: Path) -> Callable[[], None]:
    """The metrics of every ticker by one library, with the prices in memory already."""
    if name == "ours":
        from etf_pipeline.risk.tables import metrics_row
        from etf_pipeline.store.layout import Layout
        from etf_pipeline.store.prices import load_prices

        loaded = [load_prices(Layout(folder), p.stem) for p in paths(folder)]
        return lambda: [metrics_row(one, None) for one in loaded] and None
    import pandas as pd

    arrays = [read(p) for p in paths(folder)]
    # dated series, as both libraries' documentation has them
    days = pd.bdate_range("2005-01-04", periods=ROWS - 1)
    returns = [pd.Series(p[1:] / p[:-1] - 1, days) for p in arrays]
    if name == "empyrical":
        import empyrical as e

        metrics: tuple[Any, ...] = (
            e.annual_return,
            e.annual_volatility,
            e.sharpe_ratio,
            e.sortino_ratio,
            e.max_drawdown,
            e.calmar_ratio,
            e.value_at_risk,
            e.conditional_value_at_risk,
        )
    else:
        import quantstats.stats as q

        metrics = (
            q.cagr,
            q.volatility,
            q.sharpe,
            q.sortino,
            q.max_drawdown,
            q.calmar,
            q.value_at_risk,
            q.cvar,
        )
    return lambda: [metric(r) for r in returns for metric in metrics] and None


def measure(name: str, folder: Path) -> dict[str, float]:
    """Seconds of a whole table (`ours`, `plain`), or of `loop-…`, the metrics alone."""
    warnings.simplefilter("ignore")
    small = folder.parent / "few"
    if name.startswith("loop-"):
        library = name.removeprefix("loop-")
        metrics_of(library, small)()
        work = metrics_of(library, folder)
        times = 1 if library == "quantstats" else 3
    else:
        whole = {"ours": ours, "plain": plain}[name]
        whole(small)
        work = lambda: whole(folder)  # noqa: E731
        times = 3
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return {"seconds": min(taken)}


def memory(folder: Path) -> dict[str, float]:
    """Growth of memory over the step that publishes the table, MiB."""
    import datetime as dt

    from etf_pipeline.model.universe import load_universe
    from etf_pipeline.steps.derived import Assumptions, read_histories
    from etf_pipeline.steps.result import Run
    from etf_pipeline.steps.risk_tables import risk_metrics
    from etf_pipeline.store.store import Store

    names = [p.stem for p in paths(folder)]
    file = folder / "universe.csv"
    rows = [f"{n},{n}.AX,XASX,x,australian_equity,x,AUD\n" for n in names]
    file.write_text("ticker,symbol,exchange,name,asset_class,issuer,currency\n" + "".join(rows))
    store, universe = Store.at(folder, 60), load_universe(file)
    run = Run("bench", dt.datetime(2025, 11, 12, tzinfo=dt.UTC))
    before = forget_peak()
    histories = read_histories(store, names)
    result = risk_metrics(store, run, histories, universe, Assumptions(5, 0.0, None))
    assert not result.bad
    return {"grown_mib": peak_mib() - before}


def start_up(code: str) -> float:
    """Best of seven interpreter runs."""
    taken = []
    for _ in range(7):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        taken.append(time.perf_counter() - started)
    return min(taken)


def provider(folder: Path) -> dict[str, float]:
    """First and cached `load_etf_data` against pyarrow to pandas."""
    from etf_pipeline import ETFDataProvider

    names = [p.stem for p in paths(folder)][:200]
    one = ETFDataProvider(folder)
    one.load_etf_data(names[-1])
    pq.read_table(paths(folder)[-1]).to_pandas()
    started = time.perf_counter()
    for name in names:
        one.load_etf_data(name)
    first = time.perf_counter() - started
    started = time.perf_counter()
    for name in names:
        one.load_etf_data(name)
    cached = time.perf_counter() - started
    started = time.perf_counter()
    for path in paths(folder)[:200]:
        pq.read_table(path).to_pandas()
    bare = time.perf_counter() - started
    return {"first": first / 200, "cached": cached / 200, "bare": bare / 200}


def report(folder: Path, child: Callable[..., dict[str, Any]], line: Callable[..., None]) -> None:
    """Write the store, then measure each in a process of its own."""
    store = folder / "store"
    write_store(store)
    few = folder / "few" / "historical"
    few.mkdir(parents=True)
    for path in paths(store)[:5]:
        (few / path.name).write_bytes(path.read_bytes())
    names = ("ours", "plain", "loop-ours", "loop-empyrical", "loop-quantstats")
    t = {n: child("risk", n, str(store)) for n in names}
    mine = t["ours"]["seconds"]
    what = f"{TICKERS} x {ROWS}"
    line(
        "risk table, ours / read + plain numpy",
        mine / t["plain"]["seconds"],
        "x",
        "<= 1.5",
        f"{what}: {mine:.2f} s / {t['plain']['seconds']:.2f} s",
    )
    mine = t["loop-ours"]["seconds"]
    for name, aim in (("empyrical", ">= 2.5"), ("quantstats", ">= 20")):
        theirs = t[f"loop-{name}"]["seconds"]
        line(
            f"metrics after the read, {name} loop / ours",
            theirs / mine,
            "x",
            aim,
            f"{theirs:.2f} s / {mine:.2f} s",
        )
    grown = child("risk", "memory", str(store))["grown_mib"]
    matrix = TICKERS * ROWS * 8 / 2**20
    line(
        "memory of the risk table / the matrix",
        grown / matrix,
        "x",
        "<= 3",
        f"{grown:.0f} MiB / {matrix:.0f} MiB",
    )
    base = start_up("import pandas, pyarrow.parquet")
    whole = start_up("import etf_pipeline; etf_pipeline.ETFDataProvider('nowhere')")
    line(
        "import and provider / pandas + pyarrow",
        whole / base,
        "x",
        "<= 1.2",
        f"{whole * 1e3:.0f} ms / {base * 1e3:.0f} ms",
    )
    p = child("risk", "provider", str(store))
    line(
        "first load_etf_data / pyarrow to pandas",
        p["first"] / p["bare"],
        "x",
        "<= 1.5",
        f"{p['first'] * 1e3:.2f} ms / {p['bare'] * 1e3:.2f} ms",
    )
    line("cached load_etf_data", p["cached"] * 1e6, "us", "< 50", "")


if __name__ == "__main__":
    kinds = {"provider": provider, "memory": memory}
    if sys.argv[1] in kinds:
        print(json.dumps(kinds[sys.argv[1]](Path(sys.argv[2]))))
    else:
        print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
