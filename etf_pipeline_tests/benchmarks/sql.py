"""Ten questions in SQL against the same in pandas from Parquet; starting `etf sql`."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from etf_pipeline_tests.benchmarks.memory import peak_mib

TICKERS, ROWS = 1000, 5000
SQL = [
    "SELECT ticker, max(date), arg_max(close, date) FROM prices GROUP BY ticker",
    "SELECT ticker, count(*) FROM prices GROUP BY ticker",
    "SELECT ticker, avg(volume) FROM prices WHERE date >= DATE '2024-01-01' GROUP BY ticker",
    "SELECT ticker, max(high) FROM prices GROUP BY ticker",
    "SELECT year(date), avg(close) FROM prices GROUP BY 1 ORDER BY 1",
    "SELECT ticker, sum(dividends) FROM prices GROUP BY ticker HAVING sum(dividends) > 0",
    "SELECT date, avg(adj_close) FROM prices WHERE date >= DATE '2025-01-01' GROUP BY date",
    "SELECT ticker, arg_max(adj_close, date) / arg_min(adj_close, date) FROM prices GROUP BY 1",
    'SELECT ticker, stddev_samp("return") FROM returns GROUP BY ticker',
    "SELECT ticker, min(drawdown) FROM drawdowns GROUP BY ticker",
]

# What any command of this CLI library costs that has DuckDB at hand and does nothing with it: typer
# imports part of itself only when it reads its arguments.
LEAST = """
from pathlib import Path
import duckdb, rich.console, typer
app = typer.Typer()
@app.command()
def sql(statement: str, data_dir: Path = Path("data")) -> None: ...
app()
"""


def _pandas(folder: Path) -> list[Callable[[], Any]]:
    import pandas as pd

    def load(*columns: str) -> Any:
        parts = []
        for path in sorted((folder / "historical").glob("*.parquet")):
            part = pd.read_parquet(path, columns=list(columns))
            part["ticker"] = path.stem
            parts.append(part)
        return pd.concat(parts)

    def since(frame: Any, day: str) -> Any:
        return frame[pd.to_datetime(frame["date"]) >= day]

    return [
        lambda: load("date", "close").sort_values("date").groupby("ticker").last(),
        lambda: load("date").groupby("ticker").size(),
        lambda: since(load("date", "volume"), "2024-01-01").groupby("ticker")["volume"].mean(),
        lambda: load("high").groupby("ticker")["high"].max(),
        lambda: (
            (f := load("date", "close")).groupby(pd.to_datetime(f["date"]).dt.year)["close"].mean()
        ),
        lambda: load("dividends").groupby("ticker")["dividends"].sum().loc[lambda s: s > 0],
        lambda: since(load("date", "adj_close"), "2025-01-01").groupby("date")["adj_close"].mean(),
        lambda: (
            load("adj_close").groupby("ticker")["adj_close"].agg(lambda s: s.iloc[-1] / s.iloc[0])
        ),
        lambda: (
            (f := load("adj_close"))
            .groupby("ticker")["adj_close"]
            .pct_change()
            .groupby(f["ticker"].to_numpy())
            .std()
        ),
        lambda: (
            (f := load("adj_close"))["adj_close"]
            .div(f.groupby("ticker")["adj_close"].cummax())
            .sub(1)
            .groupby(f["ticker"].to_numpy())
            .min()
        ),
    ]


def _measure(kind: str, folder: Path) -> dict[str, Any]:
    if kind == "pandas":
        return _timed(_pandas(folder))
    if kind == "footers":
        return {"took": [_best(partial(_footers, folder))]}
    from etf_pipeline.steps.catalogue import open_catalogue
    from etf_pipeline.store.store import Store

    with open_catalogue(Store.at(folder, 60), folder / "none.csv") as connection:
        if kind == "latest":
            return {"took": [_best(partial(connection.query, "SELECT * FROM latest_prices"))]}
        return _timed([partial(connection.query, q) for q in SQL])


def _footers(folder: Path) -> None:
    import pyarrow.parquet as pq

    for path in sorted((folder / "historical").glob("*.parquet")):
        pq.read_metadata(path)


def _best(work: Callable[[], Any], times: int = 5) -> float:
    return float(min(_timed([work])["took"][0] for _ in range(times)))


def _timed(work: list[Callable[[], Any]]) -> dict[str, Any]:
    took = []
    for ask in work:
        started = time.perf_counter()
        ask()
        took.append(time.perf_counter() - started)
    return {"took": took, "memory": peak_mib() / 1024}


def _build(folder: Path) -> dict[str, Any]:
    from etf_pipeline.model.schemas import HISTORY
    from etf_pipeline.steps.catalogue import ensure_catalogue
    from etf_pipeline.store.store import Store
    from etf_pipeline.store.writer import publish
    from etf_pipeline_tests.benchmarks.store import _table

    table = _table(ROWS)
    for i in range(TICKERS):
        path = folder / "historical" / f"T{i:04d}.parquet"
        publish(path, HISTORY, table, {"source": "simulated", "currency": "AUD"}, digest=f"{i}")
    ensure_catalogue(Store.at(folder, 60), folder / "none.csv")
    return {}


def report(folder: Path, child: Callable[..., dict[str, Any]], line: Callable[..., None]) -> None:
    """Print the ratios."""
    folder.mkdir(parents=True, exist_ok=True)
    child("sql", "build", str(folder))
    ours, theirs = child("sql", "sql", str(folder)), child("sql", "pandas", str(folder))
    ratios = [p / o for p, o in zip(theirs["took"], ours["took"], strict=True)]
    line(
        "pandas / SQL, ten questions, 1,000 x 5,000",
        statistics.geometric_mean(ratios),
        "x",
        ">= 5",
        f"least {min(ratios):.1f}, most {max(ratios):.1f}",
    )
    line(
        "memory, SQL / pandas",
        ours["memory"] / theirs["memory"],
        "x",
        "<= 0.33",
        f"{ours['memory']:.2f} GiB against {theirs['memory']:.2f} GiB",
    )
    latest, footers = (child("sql", k, str(folder))["took"][0] for k in ("latest", "footers"))
    line(
        "latest_prices / footers read with pyarrow",
        latest / footers,
        "x",
        "<= 3",
        f"{latest:.3f} s against {footers:.3f} s",
    )
    least = [sys.executable, "-c", LEAST, "select 1", "--data-dir", str(folder)]
    etf = [str(Path(sys.executable).with_name("etf")), "sql", "select 1", "--data-dir", str(folder)]
    imports = [sys.executable, "-c", "import duckdb, typer, rich.console"]
    start, bare, imported = (
        _best(partial(subprocess.run, command, check=True, capture_output=True), 7)
        for command in (etf, least, imports)
    )
    line(
        'etf sql "select 1" / least typer program',
        start / bare,
        "x",
        "<= 1.5",
        f"{start:.2f} s against {bare:.2f} s; imports alone {imported:.2f} s",
    )


if __name__ == "__main__":
    where = Path(sys.argv[2])
    print(json.dumps(_build(where) if sys.argv[1] == "build" else _measure(sys.argv[1], where)))
