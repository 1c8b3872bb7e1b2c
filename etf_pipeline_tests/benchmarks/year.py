"""A year of nightly runs with upkeep once a week: whether nights stay as quick, and what grows.

`python -m etf_pipeline_tests.benchmarks.year NIGHTS` for other numbers of nights. Everything is
kept for a part of the year only, so that most of it is lived with upkeep.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

NIGHTS, TICKERS = 250, 4
FIRST = "2024-01-02"
_TENTH = 10


def kept(nights: int) -> dict[str, int]:
    """Settings that keep dailies and manifests for a quarter of the time, runs for a twelfth."""
    days = nights * 365 // 250
    return {
        "keep_days": max(35, days // 4),
        "keep_manifest_days": max(35, days // 4),
        "keep_dagster_days": max(7, days // 12),
    }


def write_files(folder: Path) -> None:
    """A small universe and a portfolio."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"T{i}" for i in range(TICKERS)]
    header = "ticker,symbol,exchange,name,asset_class,issuer,currency\n"
    rows = [f"{n},{n}.AX,XASX,{n},australian_equity,x,AUD\n" for n in names]
    (folder / "universe.csv").write_text(header + "".join(rows))
    (folder / "portfolios.yaml").write_text(
        f"portfolios:\n  - name: p\n    tickers: [{', '.join(names)}]\n"
        "    objective: min_volatility\n    lookback_years: 1\n"
    )


def size_of(folder: Path) -> tuple[int, int]:
    """Bytes and number of the files below a folder."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files), len(files)


def live(folder: Path, nights: int) -> list[dict[str, Any]]:
    """Run the nights; what each took and left."""
    from etf_pipeline.events.settings import EventSettings
    from etf_pipeline.model.calendars import sessions
    from etf_pipeline.orchestration.instance import open_instance
    from etf_pipeline.orchestration.maintenance import maintain
    from etf_pipeline.orchestration.resources import Pipeline
    from etf_pipeline.orchestration.runner import run_graph, tailed
    from etf_pipeline.settings import Settings

    write_files(folder)
    os.environ["DAGSTER_HOME"] = str(folder / "home")
    settings = Settings(
        data_dir=folder / "store",
        source="simulated",
        universe_file=folder / "universe.csv",
        portfolios_file=folder / "portfolios.yaml",
        corrections_file=folder / "corrections.csv",
        **kept(nights),
    )
    events = EventSettings(event_store_type="embedded")
    days = [d for d in sessions("XASX").astype(dt.date) if d >= dt.date.fromisoformat(FIRST)]
    found, week = [], None
    with open_instance() as instance:
        for day in days[:nights]:
            now = dt.datetime.combine(day, dt.time(12), dt.UTC)
            pipeline = Pipeline(settings, events, clock=lambda now=now: now)
            upkeep, begun = 0.0, time.process_time()
            if week is not None and day.isocalendar().week != week:
                maintain(pipeline, instance, f"upkeep-{day}")
                upkeep = time.process_time() - begun
            week, begun = day.isocalendar().week, time.process_time()
            with tailed(pipeline, instance):
                report = run_graph(pipeline, instance)
            if report.errors:
                raise SystemExit(f"{day}: {report.errors}")
            took = time.process_time() - begun
            parts = {n: size_of(folder / "store" / n) for n in ("raw", "events", "manifests")}
            parts |= {n: size_of(folder / n) for n in ("store", "home")}
            found.append({"night": took, "upkeep": upkeep, **parts})
            print(json.dumps({"day": str(day), **found[-1]}), file=sys.stderr, flush=True)
    return found


def measure(nights: int) -> dict[str, Any]:
    """Figures of tenths of the year: seconds of a night, sizes in bytes at the end of each."""
    with tempfile.TemporaryDirectory(prefix="etf-year-") as folder:
        lived = live(Path(folder), nights)
    tenth = max(1, nights // _TENTH)
    parts = [lived[i : i + tenth] for i in range(0, nights, tenth)][:_TENTH]
    told: dict[str, Any] = {
        "night": [statistics.median(n["night"] for n in part) for part in parts],
        "upkeep": [max(n["upkeep"] for n in part) for part in parts],
        "nights": tenth,
    }
    for name in ("store", "home", "raw", "events", "manifests"):
        told[name] = [part[-1][name] for part in parts]
    return told


def report(folder: Path, child: Any, line: Any) -> None:
    """Print the ratios of the last nights to the middle ones and to the first."""
    told = child("year", str(NIGHTS))
    night = told["night"]
    middle, last = len(night) // 2, len(night) - 1
    seconds = f"{night[1]:.2f} s, {night[middle]:.2f} s, {night[last]:.2f} s"
    line("year: a night, last : first", night[last] / night[1], "x", "<= 1.3", seconds)
    line("year: a night, last : middle", night[last] / night[middle], "x", "<= 1.15", seconds)
    sizes = {n: [size for size, _ in told[n]] for n in ("store", "home", "raw", "events")}
    for_ever = [a + b for a, b in zip(sizes["raw"], sizes["events"], strict=True)]
    kept_for_a_time = [a - b for a, b in zip(sizes["store"], for_ever, strict=True)]
    for name, aim, values in (
        ("tables and manifests", "<= 0.3", kept_for_a_time),
        ("Dagster's home", "<= 0.3", sizes["home"]),
        ("raw batches and events", "<= 1.1", for_ever),
    ):
        grown = [(b - a) / told["nights"] / 1024 for a, b in pairwise(values)]
        end = statistics.mean(grown[middle:])
        detail = f"{grown[0]:.0f} KiB a night at first, {end:.0f} in the second half"
        line(f"year: growth, {name}", end / grown[0], "x", aim, detail)
    line("year: the longest upkeep", max(told["upkeep"]), "s", "", "of processor time")


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else NIGHTS)))
