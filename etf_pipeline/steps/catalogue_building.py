"""What is in `etf.duckdb`: the views over the files that are there, the universe, comments."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import duckdb
import pyarrow as pa

from etf_pipeline.errors import CorruptFileError, StoreError, UniverseError, UnreadableFileError
from etf_pipeline.model.file_names import decode_ticker
from etf_pipeline.model.reading.declared import SUFFIX
from etf_pipeline.model.rows import to_arrow
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.model.universe import load_universe
from etf_pipeline.sql.conversion import CURRENCIES_OF_OTHERS
from etf_pipeline.sql.text import quoted
from etf_pipeline.sql.views import MACROS, TYPES, VIEWS, View, empty_columns
from etf_pipeline.steps.catalogue_damage import unread
from etf_pipeline.steps.catalogue_freshness import FILES, TABLE_OF, filled, stamp
from etf_pipeline.store.inventory import available_tickers
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.listing import matching
from etf_pipeline.store.reader import file_info, user_file
from etf_pipeline.store.unfit import Fault, Unfit
from etf_pipeline.store.writer import check_room, temp_beside

# What a disk can lead to; a transaction also fails for other reasons.
_DISK = (duckdb.IOException, duckdb.FatalException, duckdb.TransactionException)


def build_catalogue(layout: Layout, universe_file: Path, signed: str) -> None:
    """Write the catalogue anew, with the signature that tells later whether it still is right.

    Raises:
        StoreError: the folder cannot be written, or the disk is full.
    """
    path = layout.catalogue
    temp = temp_beside(path)
    try:
        with duckdb.connect(str(temp)) as db:
            _fill(db, universe_file, layout)
            db.execute("CREATE TABLE catalogue_info AS SELECT ? AS signature", [signed])
            db.execute("CHECKPOINT")
        temp.replace(path)
    except (*_DISK, OSError) as error:
        check_room(path)  # which DuckDB tells in words alone
        if isinstance(error, duckdb.TransactionException):
            raise
        raise StoreError(f"cannot write {path}: {error}; make the folder writable") from error
    finally:
        for left in path.parent.glob(f"{temp.name}*"):
            left.unlink(missing_ok=True)


def _fill(db: duckdb.DuckDBPyConnection, universe_file: Path, layout: Layout) -> None:
    tickers = ", ".join(map(quoted, available_tickers(layout)))
    _table(db, "user_files", "Users' own files, as they were when read.", _USER_FILES)
    _table(db, "user_currencies", "What users' own files are declared to be in.", _USER_CURRENCIES)
    _table(db, "unfit_files", "Files that no view has the rows of, as they were then.", _UNFIT)
    db.execute(f"CREATE TYPE known_ticker AS ENUM ({tickers})")
    _universe(db, universe_file)
    users = _user_files(layout)
    _user_prices(db, layout, users)
    for view in VIEWS:
        sql = view.sql
        there = filled(layout, view.name) if view.name in FILES else []
        if view.name in FILES and not there:
            sql = f"SELECT {empty_columns(view)} WHERE false"
        elif there:
            sql = sql.format(files=_files(layout, there))
            if users and view.name in ("prices", "currencies", "histories"):
                sql = _with_user_files(layout, users, view)
        try:
            db.execute(f"CREATE VIEW {view.name} AS {sql}")
        except (
            duckdb.Error,
            UnicodeDecodeError,
        ):  # DuckDB takes a damaged file for a mistake in the SQL
            found = _unfit(layout, view, there)
            if not found:
                raise
            _refuse(db, layout, view, found)
        _comment(db, view)
    for macro in MACROS.values():
        db.execute(macro)


def _unfit(layout: Layout, view: View, patterns: list[str]) -> list[Unfit]:
    """Files of a view for which it cannot be made."""
    paths = [p for pattern in patterns for p in matching(layout.root, pattern)]
    return unread(paths, TABLE_OF[view.name])


def _refuse(db: duckdb.DuckDBPyConnection, layout: Layout, view: View, found: list[Unfit]) -> None:
    """Make a view that says of each query why there is none: all others have to answer."""
    more = f" (and {len(found) - 1} more, see unfit_files)" if len(found) > 1 else ""
    words = f"{found[0].what}, so there is no view {view.name}{more}: {found[0].remedy}"
    # In every column and for every row, as DuckDB may ask for neither of them first.
    error = f"error({quoted(f'{words}, and run again')})"
    columns = empty_columns(view, error)
    db.execute(f"CREATE VIEW {view.name} AS SELECT {columns} WHERE CAST({error} AS BOOLEAN)")
    for one in found:
        # Rights leave no trace in size or time: a closed file is looked at anew each time.
        known = None if one.fault is Fault.CLOSED else stamp(one.path)
        _tell_unfit(db, layout, one.path, one.what, one.remedy, known)


def _tell_unfit(
    db: duckdb.DuckDBPyConnection,
    layout: Layout,
    path: Path,
    problem: str,
    remedy: str,
    known: tuple[int, int] | None,
) -> None:
    """Keep what is wrong with a file, for as long as it is `known` by this stamp."""
    row = [layout.relative(path), *(known or (-1, -1)), problem, remedy]
    db.execute("INSERT OR IGNORE INTO unfit_files VALUES (?, ?, ?, ?, ?)", row)


def _files(layout: Layout, patterns: list[str]) -> str:
    root = layout.root.resolve().as_posix()
    return _listed(f"{root}/{p}" for p in patterns)


def _listed(names: Iterable[str]) -> str:
    return "[" + ", ".join(map(quoted, names)) + "]"


def _comment(db: duckdb.DuckDBPyConnection, view: View) -> None:
    db.execute(f"COMMENT ON VIEW {view.name} IS {quoted(view.description)}")
    # To describe a view would open every file of it.
    found = db.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = ? AND NOT internal",
        [view.name],
    )
    for (name,) in found.fetchall():
        if name in view.comments:
            text = quoted(view.comments[name])
            db.execute(f'COMMENT ON COLUMN {view.name}."{name}" IS {text}')


def _universe(db: duckdb.DuckDBPyConnection, universe_file: Path) -> None:
    db.execute(
        "CREATE TABLE universe (ticker VARCHAR PRIMARY KEY, symbol VARCHAR, exchange VARCHAR, "
        "name VARCHAR, asset_class VARCHAR, issuer VARCHAR, currency VARCHAR, "
        "management_fee DOUBLE, market_weight DOUBLE)"
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
        "market_weight": "size of the market it stands for, in one unit for all",
    }
    db.execute("COMMENT ON TABLE universe IS 'The ETFs of universe.csv.'")
    for name, text in comments.items():
        db.execute(f"COMMENT ON COLUMN universe.{name} IS {quoted(text)}")
    try:
        instruments = list(load_universe(universe_file))
    except (UniverseError, OSError):
        return  # the file may be elsewhere; the commands that need it say so
    # At once: a row at a time takes a second for every few hundred.
    kinds = [(n, pa.float64() if n in _NUMBERS else pa.string()) for n in comments]
    columns = {n: pa.array([getattr(i, n) for i in instruments], kind) for n, kind in kinds}
    db.register("instruments", pa.table(columns))
    db.execute("INSERT INTO universe SELECT * FROM instruments")
    db.unregister("instruments")


_NUMBERS = ("management_fee", "market_weight")
_TICKER_COMMENT = "ticker id, as in prices"


_USER_FILES = (
    ("name", "VARCHAR", "name in the folder of histories"),
    ("size", "BIGINT", "bytes, -1 where there is none"),
    ("modified", "BIGINT", "last change, nanoseconds since 1970"),
)

_UNFIT = (
    ("name", "VARCHAR PRIMARY KEY", "path below the store"),
    *_USER_FILES[1:],
    ("problem", "VARCHAR", "what is wrong with it"),
    ("remedy", "VARCHAR", "what helps"),
)

_USER_CURRENCIES = (
    ("ticker", "VARCHAR", _TICKER_COMMENT),
    ("currency", "VARCHAR", "of its prices, as the file beside it says"),
    ("exchange", "VARCHAR", "MIC of its prices, as the file beside it says"),
)


def _table(
    db: duckdb.DuckDBPyConnection,
    name: str,
    description: str,
    columns: Iterable[tuple[str, str, str]],
) -> None:
    """An empty table, every column of it explained."""
    described = list(columns)
    db.execute(f"CREATE TABLE {name} ({', '.join(f'{n} {kind}' for n, kind, _ in described)})")
    db.execute(f"COMMENT ON TABLE {name} IS {quoted(description)}")
    for column, _, text in described:
        db.execute(f"COMMENT ON COLUMN {name}.{column} IS {quoted(text)}")


def _user_files(layout: Layout) -> list[Path]:
    """Histories that this package did not write; unreadable ones stop the views of them."""
    found = []
    for path in layout.files(HISTORY):
        with suppress(CorruptFileError, UnreadableFileError, FileNotFoundError):
            if not file_info(path).ours:
                found.append(path)
    return found


def _with_user_files(layout: Layout, users: list[Path], view: View) -> str:
    """A view of histories, when users' own files lie among ours: their rows are in a table."""
    ours = [p.resolve().as_posix() for p in layout.files(HISTORY) if p not in users]
    parts = [view.sql.format(files=_listed(ours))] if ours else []
    if view.name == "currencies":
        return parts[0] if parts else CURRENCIES_OF_OTHERS
    if view.name == "histories":
        return parts[0] if parts else f"SELECT {empty_columns(view)} WHERE false"
    return " UNION ALL BY NAME ".join([*parts, "SELECT * FROM user_prices"])


def _user_prices(db: duckdb.DuckDBPyConnection, layout: Layout, users: list[Path]) -> None:
    """The rows of users' own files as the library reads them, by the same rules.

    A file that cannot be read beyond doubt has none, and is told of in `unfit_files`.
    """
    columns = [(c.name, TYPES[c.kind], c.description) for c in HISTORY.columns]
    described = [("ticker", "VARCHAR", _TICKER_COMMENT), *columns]
    _table(db, "user_prices", "Rows of users' own files, a part of prices.", described)
    for path in users:
        stamps = [(p.name, *stamp(p)) for p in (path, path.with_name(path.name + SUFFIX))]
        db.executemany("INSERT INTO user_files VALUES (?, ?, ?)", stamps)
        try:
            found = user_file(path)
        except FileNotFoundError:
            continue
        except StoreError as error:
            problem = f"prices lack its rows: {error}"
            _tell_unfit(db, layout, path, problem, "correct it", stamp(path))
            continue
        rows, ticker = found.rows, decode_ticker(path.stem)
        values = {name: rows[name].to_numpy() for name in HISTORY.names if name != "date"}
        db.register("rows", to_arrow(rows.index.to_numpy(), values, HISTORY.arrow))
        db.execute("INSERT INTO user_prices SELECT ?, * FROM rows", [ticker])
        db.unregister("rows")
        said = [found.said.currency, found.said.exchange]
        if said != [None, None]:
            db.execute("INSERT INTO user_currencies VALUES (?, ?, ?)", [ticker, *said])
