"""What is in `etf.duckdb`: the views over the files that are there, the universe, comments."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from etf_pipeline.errors import CorruptFileError, StoreError, UniverseError
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.model.universe import load_universe
from etf_pipeline.model.yahoo_shape import our_name
from etf_pipeline.sql.conversion import CURRENCIES_OF_UNIVERSE
from etf_pipeline.sql.text import quoted
from etf_pipeline.sql.views import MACROS, TYPES, VIEWS, View, empty_columns
from etf_pipeline.steps.catalogue_freshness import FILES, filled
from etf_pipeline.store.inventory import available_tickers
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.reader import file_info
from etf_pipeline.store.writer import temp_beside

# What pandas calls an index without a name when it writes it; it is the date then.
_NAMELESS_INDEX = "__index_level_0__"


def build_catalogue(layout: Layout, universe_file: Path, signed: str) -> None:
    """Write the catalogue anew, with the signature that tells later whether it still is right.

    Raises:
        StoreError: the folder cannot be written.
    """
    path = layout.catalogue
    temp = temp_beside(path)
    try:
        with duckdb.connect(str(temp)) as db:
            _fill(db, universe_file, layout)
            db.execute("CREATE TABLE catalogue_info AS SELECT ? AS signature", [signed])
            db.execute("CHECKPOINT")
        temp.replace(path)
    except (duckdb.IOException, OSError) as error:
        raise StoreError(f"cannot write {path}: {error}; make the folder writable") from error
    finally:
        for left in path.parent.glob(f"{temp.name}*"):
            left.unlink(missing_ok=True)


def _fill(db: duckdb.DuckDBPyConnection, universe_file: Path, layout: Layout) -> None:
    tickers = ", ".join(map(quoted, available_tickers(layout)))
    db.execute(f"CREATE TYPE known_ticker AS ENUM ({tickers})")
    _universe(db, universe_file)
    users = _user_files(layout)
    for view in VIEWS:
        sql = view.sql
        there = filled(layout, view.name) if view.name in FILES else []
        if view.name in FILES and not there:
            sql = f"SELECT {empty_columns(view)} WHERE false"
        elif there:
            sql = sql.format(files=_files(layout, there))
            if users and view.name in ("prices", "currencies"):
                sql = _with_user_files(layout, users, view)
        db.execute(f"CREATE VIEW {view.name} AS {sql}")
        _comment(db, view)
    for macro in MACROS.values():
        db.execute(macro)


def _files(layout: Layout, patterns: list[str]) -> str:
    root = layout.root.resolve().as_posix()
    return _listed(f"{root}/{p}" for p in patterns)


def _listed(names: Iterable[str]) -> str:
    return "[" + ", ".join(map(quoted, names)) + "]"


def _comment(db: duckdb.DuckDBPyConnection, view: View) -> None:
    db.execute(f"COMMENT ON VIEW {view.name} IS {quoted(view.description)}")
    names = [r[0] for r in db.execute(f"DESCRIBE {view.name}").fetchall()]
    for name in names:
        if name in view.comments:
            text = quoted(view.comments[name])
            db.execute(f'COMMENT ON COLUMN {view.name}."{name}" IS {text}')


def _universe(db: duckdb.DuckDBPyConnection, universe_file: Path) -> None:
    db.execute(
        "CREATE TABLE universe (ticker VARCHAR PRIMARY KEY, symbol VARCHAR, exchange VARCHAR, "
        "name VARCHAR, asset_class VARCHAR, issuer VARCHAR, currency VARCHAR, "
        "management_fee DOUBLE)"
    )
    comments = {
        "ticker": _TICKER_COMMENT,
        "symbol": "the source's symbol",
        "exchange": "ISO 10383 MIC",
        "name": "full name",
        "asset_class": "what it invests in",
        "issuer": "who issues it",
        "currency": "ISO 4217",
        "management_fee": "per cent a year, null where unknown",
    }
    db.execute("COMMENT ON TABLE universe IS 'The ETFs of universe.csv.'")
    for name, text in comments.items():
        db.execute(f"COMMENT ON COLUMN universe.{name} IS {quoted(text)}")
    try:
        instruments = list(load_universe(universe_file))
    except (UniverseError, OSError):
        return  # the file may be elsewhere; the commands that need it say so
    rows = [[getattr(i, c) for c in comments] for i in instruments]
    db.executemany(f"INSERT INTO universe VALUES ({','.join('?' * len(comments))})", rows)


_TICKER_COMMENT = "ticker id, as in prices"


def _user_files(layout: Layout) -> list[Path]:
    """Histories that this package did not write."""
    found = []
    for path in layout.files(HISTORY):
        try:
            if not file_info(path).ours:
                found.append(path)
        except (CorruptFileError, FileNotFoundError):
            found.append(path)
    return found


def _with_user_files(layout: Layout, users: list[Path], view: View) -> str:
    """A view of histories, when users' own files lie among ours: each is read by its own names."""
    ours = [p.resolve().as_posix() for p in layout.files(HISTORY) if p not in users]
    parts = [view.sql.format(files=_listed(ours))] if ours else []
    if view.name == "currencies":
        return parts[0] if parts else CURRENCIES_OF_UNIVERSE
    parts += [select for p in users if (select := _user_select(p)) is not None]
    return (
        " UNION ALL BY NAME ".join(parts) if parts else f"SELECT {empty_columns(VIEWS[0])} LIMIT 0"
    )


def _user_select(path: Path) -> str | None:
    """A Yahoo-shaped file under our column names; dates are the exchange's."""
    try:
        schema: Any = pq.read_schema(path)
    except Exception:
        return None  # damaged: `etf status` says so
    names = {ours: n for n in schema.names if (ours := our_name(n)) is not None}
    if _NAMELESS_INDEX in schema.names:
        names.setdefault("date", _NAMELESS_INDEX)
    if "date" not in names or "close" not in names:
        return None
    date, close = names["date"], names["close"]
    zone = getattr(schema.field(date).type, "tz", None)
    day = f'timezone({quoted(zone)}, "{date}")' if zone else f'"{date}"'
    columns = [f"{quoted(decode_ticker(path.stem))} AS ticker", f"CAST({day} AS DATE) AS date"]
    for column in HISTORY.columns:
        if column.name == "date":
            continue
        source = names.get(column.name) or (close if column.name == "adj_close" else None)
        value = "NULL" if source is None else f'"{source}"'
        columns.append(f"CAST({value} AS {TYPES[column.kind]}) AS {column.name}")
    return (
        f"SELECT {', '.join(columns)} FROM read_parquet({quoted(path.resolve().as_posix())}) "
        f'WHERE "{close}" IS NOT NULL'
    )
