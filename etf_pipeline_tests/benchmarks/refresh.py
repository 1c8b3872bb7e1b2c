"""A refresh of 70 tickers × 4,000 rows against a plain script, both fed by the stand-in."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TICKERS, ROWS = 70, 4000


def write_prices(folder: Path) -> None:
    """Yahoo-shaped Parquet files for the stand-in."""
    from etf_pipeline_tests.support import asx_days, bars, walk, yahoo_rows

    folder.mkdir(parents=True)
    days = asx_days("2009-11-02", ROWS)
    for i in range(TICKERS):
        rows = bars(days, walk(ROWS, seed=i))
        rows.iloc[60 + i % 50 :: 63, 5] = 0.3
        yahoo_rows(rows).reset_index().to_parquet(folder / f"T{i:02d}.parquet")


def plain(url: str, out: Path) -> dict[str, float]:
    """What a plain script does: one `Ticker.history` after the other, then `to_parquet`."""
    from etf_pipeline.ingest.sources.yahoo import _session

    out.mkdir(parents=True)
    import yfinance

    yfinance.set_tz_cache_location(str(out / "cache"))
    session = _session(url)
    started = time.perf_counter()
    for i in range(TICKERS):
        ticker = yfinance.Ticker(f"T{i:02d}.AX", session=session)
        frame = ticker.history(period="max", auto_adjust=False)
        assert len(frame) == ROWS
        frame.to_parquet(out / f"T{i:02d}.parquet")
    return {"seconds": time.perf_counter() - started}


def ours(url: str, out: Path) -> dict[str, float]:
    """The library's two steps: download with raw batches, then histories."""
    from etf_pipeline.ingest.planning import Terms
    from etf_pipeline.ingest.source import utc_now
    from etf_pipeline.ingest.sources.yahoo import YahooSource
    from etf_pipeline.settings import Settings
    from etf_pipeline.steps.download import download
    from etf_pipeline.steps.histories import update_histories
    from etf_pipeline.steps.result import Run
    from etf_pipeline.store.store import Store
    from etf_pipeline_tests.support import instrument

    settings = Settings(data_dir=out, yahoo_url=url)
    instruments = [instrument(f"T{i:02d}") for i in range(TICKERS)]
    # Imports are start-up, here as for the plain script.
    import exchange_calendars  # noqa: F401
    import yfinance  # noqa: F401

    seconds = []
    for run in ("first", "second"):
        started = time.perf_counter()
        store, step = Store.at(out, 60), Run(run, utc_now(), "XASX")
        found = download(store, step, YahooSource(settings), instruments, Terms.of(settings))
        updated = update_histories(store, step, instruments)
        seconds.append(time.perf_counter() - started)
        assert not (found.bad or updated.bad)
    return {"seconds": seconds[0], "again": seconds[1]}


def dagster(url: str, out: Path) -> dict[str, float]:
    """The whole graph through Dagster, tables and portfolios included."""
    started = time.perf_counter()
    import dagster as dg

    from etf_pipeline.cli.exit_codes import of_run
    from etf_pipeline.orchestration.resources import Pipeline
    from etf_pipeline.orchestration.runner import run_graph
    from etf_pipeline.settings import Settings

    out.mkdir(parents=True)
    universe = "ticker,symbol,exchange,name,asset_class,issuer,currency\n" + "".join(
        f"T{i:02d},T{i:02d}.AX,XASX,x,australian_equity,x,AUD\n" for i in range(TICKERS)
    )
    (out / "universe.csv").write_text(universe)
    (out / "portfolios.yaml").write_text(
        "portfolios:\n  - name: p\n    tickers: [T00, T01, T02]\n    objective: min_volatility\n"
    )
    settings = Settings(
        data_dir=out / "store",
        yahoo_url=url,
        universe_file=out / "universe.csv",
        portfolios_file=out / "portfolios.yaml",
    )
    import exchange_calendars  # noqa: F401
    import yfinance  # noqa: F401

    start_up = time.perf_counter() - started
    seconds = []
    with dg.instance_for_test() as instance:
        for _ in range(2):
            started = time.perf_counter()
            report = run_graph(Pipeline(settings), instance)
            seconds.append(time.perf_counter() - started)
            assert of_run(report, chosen=False) == 0, report
    return {"seconds": seconds[0], "again": seconds[1], "start_up": start_up}


def report(folder: Path, child: Callable[..., dict[str, Any]], line: Callable[..., None]) -> None:
    """Feed the three from one stand-in and print their ratios (the best of three runs each)."""
    write_prices(folder / "prices")
    server = subprocess.Popen(
        [sys.executable, "-m", "etf_pipeline_tests.yahoo_standin", str(folder / "prices")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    try:
        runs: dict[str, list[dict[str, float]]] = {"plain": [], "ours": [], "dagster": []}
        child("refresh", "plain", url, str(folder / "warm"))  # the stand-in builds its answers
        for i in range(3):
            for name, results in runs.items():
                results.append(child("refresh", name, url, str(folder / f"{name}{i}")))
        best = {n: min(r, key=lambda x: x["seconds"]) for n, r in runs.items()}
        base = best["plain"]["seconds"]
        what = f"{TICKERS} x {ROWS} rows"
        for name, label in (("ours", "library"), ("dagster", "whole graph, Dagster")):
            seconds, again = best[name]["seconds"], min(r["again"] for r in runs[name])
            line(
                f"refresh, {label} / plain script",
                seconds / base,
                "x",
                "<= 1.3",
                f"{what}: {seconds:.2f} s / {base:.2f} s",
            )
            line(
                f"second run, {label} / its first",
                again / seconds,
                "x",
                "<= 0.3",
                f"{again:.2f} s / {seconds:.2f} s",
            )
        line(
            "start-up of the Dagster run (imports)", best["dagster"]["start_up"], "s", "report", ""
        )
    finally:
        server.communicate("")


if __name__ == "__main__":
    kinds = {"plain": plain, "ours": ours, "dagster": dagster}
    print(json.dumps(kinds[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))))
