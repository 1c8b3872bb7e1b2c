"""The rules of the package's structure, each a function from its modules to what breaks it.

Read from the source text alone, so that imports inside functions count too and a rule can be fed
a few lines of text to show that it can fail.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGE = "etf_pipeline"
FOLDER = Path(__file__).parents[1] / PACKAGE
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Import:
    """One import: the dotted name asked for, where, and whether only type checkers follow it."""

    target: str
    line: int
    typing_only: bool = False

    @property
    def library(self) -> str:
        """The top-level package."""
        return self.target.partition(".")[0]


@dataclass(frozen=True)
class Module:
    """One module: its path below the package, with `/`, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text)

    @cached_property
    def name(self) -> str:
        """Its dotted name."""
        dotted = self.path.removesuffix(".py").removesuffix("__init__").strip("/").replace("/", ".")
        return f"{PACKAGE}.{dotted}" if dotted else PACKAGE

    @cached_property
    def room(self) -> str:
        """The folder below the package, or the module itself at its top."""
        return self.path.partition("/")[0].removesuffix(".py")

    @cached_property
    def imports(self) -> list[Import]:
        """Every import, those inside functions included."""
        return list(_imports(self.tree.body, False))

    def at(self, node: ast.AST | int, what: str) -> str:
        """A finding as a reader wants it."""
        line = node if isinstance(node, int) else getattr(node, "lineno", 0)
        return f"{self.path}:{line}: {what}"

    @property
    def functions(self) -> Iterator[Function]:
        """Every function and method, nested ones too."""
        return (n for n in ast.walk(self.tree) if isinstance(n, Function))


def modules(texts: Mapping[str, str]) -> list[Module]:
    """Modules of texts by path."""
    return [Module(path, text) for path, text in sorted(texts.items())]


def package() -> list[Module]:
    """The modules of the package as they are on disk."""
    files = FOLDER.rglob("*.py")
    return modules({p.relative_to(FOLDER).as_posix(): p.read_text("utf-8") for p in files})


def _imports(body: Iterable[ast.AST], typing_only: bool) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (Import(a.name, node.lineno, typing_only) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"line {node.lineno}: a relative import; write it out")
            for alias in node.names:
                yield Import(f"{node.module}.{alias.name}", node.lineno, typing_only)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _imports(node.body, True)
            yield from _imports(node.orelse, typing_only)
        else:
            if isinstance(node, ast.Call) and _called(node) == "import_module":
                yield from (Import(t, node.lineno, typing_only) for t in _texts(node.args[:1]))
            yield from _imports(ast.iter_child_nodes(node), typing_only)


def _called(node: ast.Call) -> str:
    """The last part of the name of what is called."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _texts(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The literal text of string constants and of the constant parts of f-strings."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield from _texts(node.values)


# ---------------------------------------------------------------------------------- rooms


def edges(found: Sequence[Module], typing_only: bool = False) -> dict[str, dict[str, int]]:
    """By module, the modules of ours that it imports, with the line.

    With `typing_only`, imports that only type checkers follow are in it too.
    """
    known = {m.name for m in found}
    graph: dict[str, dict[str, int]] = {}
    for module in found:
        graph[module.name] = {}
        for one in module.imports:
            if one.library != PACKAGE or (one.typing_only and not typing_only):
                continue
            # `from package.room import name` is the module of that name, if it is one
            target = one.target if one.target in known else one.target.rpartition(".")[0]
            if target != module.name:
                graph[module.name].setdefault(target, one.line)
    return graph


def room_of(name: str) -> str:
    """The room of a dotted module name; `__init__` for the package itself."""
    return name.split(".")[1] if "." in name else "__init__"


def strangers(found: Sequence[Module], may: Mapping[str, frozenset[str]]) -> list[str]:
    """Imports from a room that the table does not allow, and rooms that it does not know."""
    out = []
    graph = edges(found, typing_only=True)
    for module in found:
        if module.room not in may:
            out.append(module.at(1, f"the room {module.room} is not in the table"))
            continue
        for target, line in graph[module.name].items():
            room = room_of(target)
            if room != module.room and room not in may[module.room]:
                out.append(module.at(line, f"{module.room} may not import {room} ({target})"))
    return out


def room_graph(graph: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """The same between rooms."""
    rooms: dict[str, dict[str, int]] = {}
    for name, targets in graph.items():
        own = rooms.setdefault(room_of(name), {})
        for target in targets:
            if room_of(target) != room_of(name):
                own.setdefault(room_of(target), 0)
    return rooms


def circles(graph: Mapping[str, Mapping[str, int]]) -> list[list[str]]:
    """Groups of nodes that reach each other, each in order of name (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    out: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, {}):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                out.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(out)


def floors(rooms: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """The floor of each room: one above the highest that it imports, counting from 1."""
    if found := circles(rooms):
        raise ValueError(f"no floors: the rooms {' and '.join(found[0])} import each other")
    height: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in height:
            height[room] = 1 + max((floor(r) for r in rooms.get(room, {})), default=0)
        return height[room]

    for room in rooms:
        floor(room)
    return height


# ---------------------------------------------------------------------------------- what where


def misplaced(found: Sequence[Module], only: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Imports of a library outside the files and folders (ending in `/`) that it belongs to."""
    out = []
    for module in found:
        for one in module.imports:
            places = only.get(one.library)
            if places and not any(
                module.path == p or (p.endswith("/") and module.path.startswith(p)) for p in places
            ):
                out.append(module.at(one.line, f"{one.library} belongs in {', '.join(places)}"))
    return out


def private_imports(found: Sequence[Module]) -> list[str]:
    """Imports of modules or names that a library marks as its own with an underscore."""
    return [
        module.at(one.line, f"{one.target} is private to {one.library}")
        for module in found
        for one in module.imports
        if one.library not in (PACKAGE, "__future__")
        and any(p.startswith("_") for p in one.target.split("."))
    ]


def undeclared(
    found: Sequence[Module], declared: set[str], installed_as: Mapping[str, str]
) -> list[str]:
    """Libraries that are imported but that pyproject.toml does not ask for."""
    return [
        module.at(one.line, f"{one.library} is used but not declared in pyproject.toml")
        for module in found
        for one in module.imports
        if one.library not in sys.stdlib_module_names
        and installed_as.get(one.library, one.library).replace("_", "-") not in declared
    ]


PURE = ("history", "risk", "portfolio")
_STATE = (
    *("fcntl", "filelock", "glob", "io", "logging", "multiprocessing", "os", "pathlib", "platform"),
    *("random", "shutil", "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading"),
    *("time", "urllib", "pydantic_settings"),
    *("pyarrow.parquet", "pyarrow.dataset", "pyarrow.fs"),
    *("etf_pipeline.settings", "etf_pipeline.store"),
)
_ACTS = {
    "open": "opens a file",
    "input": "reads the terminal",
    "print": "writes to the terminal",
    "now": "reads the clock",
    "today": "reads the clock",
    "utcnow": "reads the clock",
    "getenv": "reads the environment",
    "read_parquet": "reads a file",
    "to_parquet": "writes a file",
    "read_csv": "reads a file",
    "to_csv": "writes a file",
    "read_table": "reads a file",
    "write_table": "writes a file",
    "read_text": "reads a file",
    "write_text": "writes a file",
    "read_bytes": "reads a file",
    "write_bytes": "writes a file",
    "load_settings": "reads the settings",
}


def impure(found: Sequence[Module]) -> list[str]:
    """What a pure room must not do: paths, locks, clocks, the environment, files, settings."""
    out = []
    for module in found:
        if module.room not in PURE:
            continue
        for one in module.imports:
            if any(one.target == s or one.target.startswith(f"{s}.") for s in _STATE):
                out.append(module.at(one.line, f"a pure room imports {one.target}"))
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and _called(node) in _ACTS:
                out.append(module.at(node, f"{_called(node)}() {_ACTS[_called(node)]}"))
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("default_rng"):
                if not node.args and not node.keywords:
                    out.append(module.at(node, "default_rng() draws its seed from the system"))
            elif isinstance(node, ast.Name) and node.id in ("Settings", "EventSettings"):
                out.append(module.at(node, "a settings object: take the values instead"))
    return out


_ENVIRONMENT = {"environ", "environb", "getenv", "putenv", "unsetenv", "getenvb"}


def environment(found: Sequence[Module], allowed: Sequence[str]) -> list[str]:
    """Reads (and writes) of environment variables outside the settings modules."""
    out = []
    for module in found:
        if module.path in allowed:
            continue
        for one in module.imports:
            if one.target in {f"os.{n}" for n in _ENVIRONMENT}:
                out.append(module.at(one.line, f"imports {one.target}"))
        for node in ast.walk(module.tree):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in _ENVIRONMENT
                and isinstance(node.value, ast.Name)
                and node.value.id == "os"
            ):
                out.append(module.at(node, f"os.{node.attr}: settings are read in one place"))
    return out


# ---------------------------------------------------------------------------------- paths

_NAMES = re.compile(
    r"(^|/)(raw|historical|quarantine|manifests|risk|portfolios|reports|archive|\.locks)(/|$)"
    r"|as_of=|topic=|day=|\.sqlite|\.duckdb|\.parquet|\.applied|\.looked|\.seen|log\.copied"
)
_JOINING = {"joinpath", "glob", "rglob", "iglob", "with_name", "with_suffix", "match", "Path"}


def paths(found: Sequence[Module], allowed: Sequence[str]) -> list[str]:
    """Names of the store's folders and files joined into a path, or searched for."""
    out = []
    for module in found:
        if module.path in allowed:
            continue
        for node in ast.walk(module.tree):
            parts: list[ast.expr] = []
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                parts = [node.left, node.right]
            elif isinstance(node, ast.JoinedStr) and any("/" in t for t in _texts([node])):
                parts = [node]
            elif isinstance(node, ast.Call) and _called(node) in _JOINING:
                parts = [*node.args, *(k.value for k in node.keywords)]
            for text in _texts(parts):
                if _NAMES.search(text):
                    out.append(module.at(node, f"makes a path with {text!r}"))
    return out


# ---------------------------------------------------------------------------------- decisions

MODES = frozenset({"kafka", "embedded", "none", "auto"})


def mode_strings(found: Sequence[Module], allowed: Sequence[str]) -> list[str]:
    """Comparisons with the words for how events are recorded."""
    out = []
    for module in found:
        if module.path in allowed:
            continue
        for node in ast.walk(module.tree):
            compared: list[ast.expr] = []
            if isinstance(node, ast.Compare):
                compared = [node.left, *node.comparators]
            elif isinstance(node, ast.MatchValue):
                compared = [node.value]
            for one in compared:
                inner = one.elts if isinstance(one, ast.Tuple | ast.List | ast.Set) else [one]
                for word in sorted(set(_texts(inner)) & MODES):
                    out.append(module.at(node, f"asks for the mode {word!r}"))
    return out


_SENTENCES = {"reason", "message", "detail", "msg", "evidence", "note", "why"}
_TESTS = {"startswith", "endswith", "find", "index", "count", "split", "partition"}


def _sentence(node: ast.expr) -> str | None:
    """What a sentence is called, when the expression is one: `o.reason`, `reason or ""`."""
    if isinstance(node, ast.BoolOp):
        return next((s for v in node.values if (s := _sentence(v))), None)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("lower", "upper", "strip", "casefold")
    ):
        return _sentence(node.func.value)
    name = getattr(node, "attr", None) or getattr(node, "id", None)
    return ast.unparse(node) if name in _SENTENCES else None


def _shown(node: ast.expr) -> str | None:
    """An object turned into text: `str(error)`, `repr(status)`."""
    if isinstance(node, ast.Call) and _called(node) in ("lower", "upper", "casefold"):
        return _shown(node.func.value) if isinstance(node.func, ast.Attribute) else None
    called = isinstance(node, ast.Call) and _called(node) in ("str", "repr")
    return ast.unparse(node) if called else None


def sentences(found: Sequence[Module]) -> list[str]:
    """Decisions by the words of a reason, a message or an error, which have codes."""
    out = []
    for module in found:
        for node in ast.walk(module.tree):
            asked: list[str | None] = []
            if isinstance(node, ast.Compare):
                for op, right in zip(node.ops, node.comparators, strict=True):
                    if isinstance(op, ast.In | ast.NotIn):
                        asked += [_sentence(right), _shown(right)]
                    elif isinstance(op, ast.Eq | ast.NotEq) and any(_texts([node.left, right])):
                        asked += [_sentence(node.left), _sentence(right)]
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in _TESTS
                and node.args  # a Kafka message's own `partition()` takes none
            ):
                asked = [_sentence(node.func.value), _shown(node.func.value)]
            out += [module.at(node, f"decides by the words of {a}") for a in asked if a]
    return out


def probes(found: Sequence[Module]) -> list[str]:
    """`os.kill` and `os.killpg`: a probe with 0 ends a console group on Windows; ask psutil."""
    calls = ("os.kill", "os.killpg")
    out = []
    for module in found:
        out += [
            module.at(o.line, f"{o.target}: ask psutil")
            for o in module.imports
            if o.target in calls
        ]
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in calls:
                out.append(module.at(node, f"{ast.unparse(node)}: ask psutil whether it lives"))
    return out


# ---------------------------------------------------------------------------------- form


def unformatted(found: Sequence[Module]) -> list[str]:
    """Lines that opt out of the formatter."""
    return [
        module.at(number, "opts out of the formatter")
        for module in found
        for number, line in enumerate(module.text.splitlines(), 1)
        if re.search(r"#\s*(fmt|yapf):\s*(skip|off|disable)", line)
    ]


def long_functions(found: Sequence[Module], limit: int, known: Iterable[str] = ()) -> list[str]:
    """Functions of more lines than the limit, but for the known ones (`path:name`)."""
    out = []
    for module in found:
        for node in module.functions:
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > limit and f"{module.path}:{node.name}" not in set(known):
                out.append(module.at(node, f"{node.name} has {lines} lines"))
    return out


def long_assets(found: Sequence[Module], limit: int) -> list[str]:
    """Asset functions whose body, without the docstring, has more lines than the limit."""
    out = []
    for module in found:
        for node in module.functions:
            names = [
                ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list
            ]
            if not any(re.fullmatch(r"(\w+\.)?(multi_|graph_)?asset", n) for n in names):
                continue
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            if lines > limit:
                out.append(module.at(node, f"the asset {node.name} has {lines} lines"))
    return out
