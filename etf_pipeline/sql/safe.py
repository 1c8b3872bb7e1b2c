"""Queries that can do no harm: one SELECT-like statement, no reach outside the store, bounded.

Two fences: what a statement may be is decided by its parsed type, and the connection is read-only,
may open files of the store alone, and has its settings locked.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb
from duckdb import StatementType

from etf_pipeline.errors import QueryError, ReasonCode
from etf_pipeline.sql.limits import Limits
from etf_pipeline.sql.text import quoted

if TYPE_CHECKING:
    import pyarrow as pa

_EXPLAIN = re.compile(
    r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*explain\b(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
    r"(?:analyze\b)?(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*(?:\([^()]*\))?",
    re.IGNORECASE | re.DOTALL,
)
_REPLACED = re.compile(
    "bytes outside file|No magic bytes|Snappy|ZSTD|Invalid thrift|TProtocol|out of buffer"
    "|Cannot read .* bytes|Could not read|changed on disk|corrupt|No such file or directory",
    re.IGNORECASE,
)
# A file as DuckDB names it: damaged since the catalogue was made, or in a folder that is no day.
_DAMAGED = re.compile(r"(?:File|at end of file|at the end of file) '(.+?)'(?: too small|$)")
_NO_DAY = re.compile(r"Unable to cast '(.*)' \(from hive partition column")
# What DuckDB says of a file that is damaged further in; of its own words it makes a plain error.
_OF_FILES = (
    duckdb.IOException,
    duckdb.InvalidInputException,
    duckdb.InternalException,
    duckdb.FatalException,
    duckdb.SerializationException,
    UnicodeDecodeError,
)
# A view that could not be made says so itself, see `steps/catalogue_building.py`.
_TOLD = {
    "is not readable Parquet": ReasonCode.CORRUPT_FILE,
    "is closed to this user": ReasonCode.UNREADABLE_FILE,
    "is not of this package": ReasonCode.FOREIGN_FILE,
}
_ATTEMPTS = 25
T = TypeVar("T")
_NOT_HERE = re.compile(
    r"cannot access (?:file|directory)|file system operations are disabled|does not exist!",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Answer:
    """Rows of a query: column names and DuckDB types; `cut` when there were more than the limit."""

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]
    cut: bool


def checked(sql: str, db: duckdb.DuckDBPyConnection | None = None) -> str:
    """The one statement of `sql`, if it may be run; parsed by `db`, or a connection of its own.

    Raises:
        QueryError: it is empty, not SQL, more than one statement, or changes anything.
    """
    parser = db or duckdb.default_connection()
    try:
        statements = parser.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(_explained(error)) from None
    if not statements:
        raise QueryError("there is no statement; for example: SELECT * FROM latest_prices")
    if len(statements) > 1:
        raise QueryError(f"{len(statements)} statements; only one is run at a time")
    statement = statements[0]
    kind = statement.type
    if kind == StatementType.SELECT:
        return str(statement.query)
    what = kind.name
    if kind == StatementType.EXPLAIN:
        match = _EXPLAIN.match(statement.query)
        inner = _types(statement.query[match.end() :] if match else "", parser)
        if inner == [StatementType.SELECT]:
            return str(statement.query)
        what = "EXPLAIN of " + (", ".join(t.name for t in inner) or "something else")
    pivot = kind == StatementType.MULTI
    hint = "; write it as SELECT * FROM (PIVOT … ON … IN (…) USING …)" if pivot else ""
    raise QueryError(
        f"{what} statements are not run here, as they could change something: "
        f"SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE and EXPLAIN are{hint}"
    )


def _types(sql: str, parser: duckdb.DuckDBPyConnection) -> list[StatementType]:
    """Types of the statements in `sql`; none when it is not SQL."""
    try:
        return [s.type for s in parser.extract_statements(sql)]
    except duckdb.Error:
        return []


class SafeConnection:
    """A read-only connection to a catalogue that reaches its store and nothing else.

    Takes the connection over and locks its settings.

    Args:
        db: the connection.
        store: folder of the store.
        limits: of a query.
        culprit: names the file that a statement failed at, if it is a matter of a file.
    """

    def __init__(
        self,
        db: duckdb.DuckDBPyConnection,
        store: Path,
        limits: Limits | None = None,
        culprit: Callable[[str], QueryError | None] | None = None,
    ) -> None:
        self._culprit = culprit
        self.limits = limits or Limits()
        self._db = db
        for setting in (
            "TimeZone = 'UTC'",
            f"memory_limit = '{self.limits.memory}'",
            "max_temp_directory_size = '0KB'",
            "enable_external_file_cache = false",  # files are replaced while we read
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            f"allowed_directories = [{quoted(str(store.resolve()))}]",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            try:
                self._db.execute(f"SET {setting}")
            except duckdb.Error as error:
                raise QueryError(
                    f"{setting.partition(' ')[0]} cannot be set: {_explained(error)}"
                ) from None

    def __enter__(self) -> SafeConnection:
        return self

    def __exit__(self, *exc: object) -> None:
        self._db.close()

    def query(self, sql: str) -> Answer:
        """Run one statement.

        Raises:
            QueryError: it may not be run, is wrong, or takes more than the limits allow.
        """
        most = self.limits.rows

        def run(statement: str) -> tuple[list[Any], list[tuple[Any, ...]]]:
            result = self._db.execute(statement)
            return result.description or [], result.fetchmany(most + 1)

        described, rows = self._run(checked(sql, self._db), run)
        return Answer(
            [str(d[0]) for d in described],
            [str(d[1]) for d in described],
            rows[:most],
            len(rows) > most,
        )

    def arrow(self, sql: str) -> pa.Table:
        """Run one statement; its rows as Arrow, at most as many as the limit."""

        def run(statement: str) -> pa.Table:
            return self._db.sql(statement).limit(self.limits.rows).to_arrow_table()

        return self._run(checked(sql, self._db), run)

    def _run(self, statement: str, work: Callable[[str], T]) -> T:
        """Do the work within the limits, with DuckDB's errors in our words."""
        late, done = threading.Event(), threading.Event()
        found: list[T] = []
        failed: list[Exception] = []

        def run() -> None:
            try:
                found.append(self._whole(statement, work, late))
            except Exception as error:
                failed.append(error)
            finally:
                done.set()

        # DuckDB does not look for signals while it computes; a thread that waits does. It waits for
        # an event, as a `join` that is interrupted takes the thread for ended.
        threading.Thread(target=run, name="etf-sql", daemon=True).start()
        try:
            done.wait(self.limits.seconds)
        finally:
            while not done.is_set():  # too late, or interrupted
                late.set()
                self._db.interrupt()
                done.wait(0.05)
        if late.is_set():
            raise QueryError(
                f"stopped after {self.limits.seconds:g} s; ask for less, or raise --timeout"
            )
        if failed:
            raise self._in_our_words(failed[0], statement) from None
        return found[0]

    def _in_our_words(self, error: Exception, statement: str) -> Exception:
        if isinstance(error, duckdb.OutOfMemoryException | MemoryError):
            return QueryError(
                f"needs more than {self.limits.memory} of memory; ask for less, or raise --memory"
            )
        # Of bytes that are no text it cannot even say so.
        if not isinstance(error, duckdb.Error | RuntimeError | UnicodeDecodeError):
            return error
        words = _explained(error)
        code = next((code for told, code in _TOLD.items() if told in words), None)
        of_a_file = type(error) is duckdb.Error or isinstance(error, _OF_FILES)
        if code is None and of_a_file and self._culprit is not None:
            found = self._culprit(statement)
            if found is not None:
                return found
        return QueryError(words, code=code)

    @staticmethod
    def _whole(statement: str, work: Callable[[str], T], late: threading.Event) -> T:
        """Again, when a file was replaced between DuckDB's look at its footer and at its rows."""
        for left in range(_ATTEMPTS - 1, -1, -1):
            try:
                return work(statement)
            except duckdb.Error as error:
                if not left or late.is_set() or not _REPLACED.search(str(error)):
                    raise
                time.sleep(0.01)
        raise AssertionError("unreachable")


def _explained(error: Exception) -> str:
    text = str(error).strip()
    lines = [line for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    hint = next((line for line in lines[1:] if line.startswith(("Did you mean", "Candidate"))), "")
    where = "; ".join(line.strip() for line in lines[1:] if line.startswith("LINE"))
    if _NOT_HERE.search(first) and "file system" in first:
        first = "files outside the store cannot be read here"
    if damaged := _DAMAGED.search(first):
        first = (
            f"{damaged[1]} is not readable Parquet: put a good copy in its place, or move it away"
        )
    if no_day := _NO_DAY.search(first):
        first = f"a folder as_of={no_day[1]} among the tables is no day: move it away"
    return "; ".join(part for part in (first, hint, where) if part)


def limit_process_memory(limits: Limits) -> None:
    """Bound the whole process, as text functions allocate past DuckDB's own limit. Linux only."""
    try:
        import resource
    except ImportError:  # Windows
        return
    used = 0
    status = Path("/proc/self/status")
    if not status.exists():
        return
    for line in status.read_text().splitlines():
        if line.startswith("VmData:"):
            used = int(line.split()[1]) * 1024
    factor = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]B)", limits.memory)
    if match is None:
        raise QueryError(f"--memory {limits.memory!r}: write a size such as 500MB or 2GB")
    most = used + int(float(match[1]) * factor[match[2]] * 1.25) + 512 * 2**20
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
