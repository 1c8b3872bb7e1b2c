"""The interactive prompt of `etf sql`: history, completion, several lines, pager."""

from __future__ import annotations

from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory

from etf_pipeline.errors import EtfError
from etf_pipeline.sql.output import show
from etf_pipeline.sql.safe import SafeConnection
from etf_pipeline.sql.views import MACROS

_WORDS = (
    "SELECT FROM WHERE GROUP BY ORDER LIMIT HAVING JOIN LEFT USING ON AS WITH UNION ALL DISTINCT "
    "CASE WHEN THEN ELSE END AND OR NOT IN BETWEEN LIKE ILIKE IS NULL DESCRIBE SHOW TABLES "
    "SUMMARIZE EXPLAIN ANALYZE WINDOW OVER PARTITION QUALIFY DESC ASC avg sum min max count "
    "arg_max arg_min median quantile_cont stddev_samp corr date_trunc year month lag lead"
)
_HELP = """Type SQL, ended by a semicolon; Tab completes, arrows recall.
  show tables;            what there is
  describe prices;        its columns
  .help  .quit
Only reading is possible here."""


def names(connection: SafeConnection) -> list[str]:
    """Tables, macros and columns, for completion."""
    rows = connection.query(
        "SELECT DISTINCT table_name, column_name FROM duckdb_columns() WHERE NOT internal"
    ).rows
    tables = {r[0] for r in rows} - {"catalogue_info"}
    columns = {r[1] for r in rows}
    return sorted(tables | columns | {f"{m}(" for m in MACROS})


def interact(connection: SafeConnection, history: Path) -> None:
    """Ask, answer, until the end of input or `.quit`."""
    words = WordCompleter([*names(connection), *_WORDS.split()], ignore_case=True)
    history.parent.mkdir(parents=True, exist_ok=True)
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(history)), completer=words, complete_while_typing=False
    )
    print(_HELP)
    lines: list[str] = []
    while True:
        try:
            line = session.prompt("....> " if lines else "etf> ")
        except KeyboardInterrupt:
            lines = []
            continue
        except EOFError:
            return
        if not lines and line.strip() in (".quit", ".exit", "quit", "exit"):
            return
        if not lines and line.strip() == ".help":
            print(_HELP)
            continue
        lines.append(line)
        statement = "\n".join(lines).strip()
        if statement.endswith(";") or not statement:
            lines = []
            if statement:
                _answer(connection, statement)


def _answer(connection: SafeConnection, statement: str) -> None:
    try:
        answer = connection.query(statement)
    except EtfError as error:
        print(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped")
    else:
        show(answer)
        if answer.cut:
            print(f"only the first {len(answer.rows)} rows; add LIMIT, or raise --max-rows")
