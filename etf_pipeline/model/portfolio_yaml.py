"""The text of `portfolios.yaml` as nodes with their lines, and as plain values.

Scalars are those of YAML 1.2 (https://yaml.org/spec/1.2.2/, 10.3.2, the core schema). By YAML 1.1,
which PyYAML reads, `no` and `ON` are truth values and not names, `010` is eight and `1:30` ninety,
and `9e-2` is text. A number with zeros before it is text here, as some exchanges have such tickers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from etf_pipeline.errors import PortfolioFileError, nearest

_LIST = "portfolios"
_SCALARS = (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    (
        "float",
        r"^[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+"
        r"|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$",
        list("-+.0123456789"),
    ),
    ("merge", r"^<<$", ["<"]),
)


class _Loader(yaml.SafeLoader):
    """Builds plain values only."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own attribute)


for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def read_nodes(path: Path) -> tuple[list[yaml.Node], list[str]]:
    """The portfolios of a file as nodes, and what is wrong with the file as a whole, by line.

    Raises:
        PortfolioFileError: it cannot be read, is not YAML, or has no list of portfolios.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=_Loader)
        anchored = {_place(e) for e in yaml.parse(text, Loader=_Loader) if _has_anchor(e)}
    except FileNotFoundError:
        raise PortfolioFileError(
            f"portfolio file {path} does not exist; set ETF_PORTFOLIOS_FILE or create it"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PortfolioFileError(f"portfolio file {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise PortfolioFileError(f"{path} is not YAML: {_told(error)}") from None
    found: list[yaml.Node] = []
    problems = _repeated_keys(root, set())
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == _LIST:
            found = found or (list(value.value) if isinstance(value, yaml.SequenceNode) else [])
        elif not any(_place(node) in anchored for node in _below(value, set())):
            problems.append(
                f"line {line_of(key)}: {key.value}: nothing reads it; the file has a list "
                f"`{_LIST}:`, and blocks with an &anchor for it{nearest(str(key.value), [_LIST])}"
            )
    if not found:
        raise PortfolioFileError(
            f"{path} is not usable: line 1: it needs a list `{_LIST}:` of at least one portfolio"
        )
    return found, problems


def plain(node: yaml.Node) -> Any:
    """What a node says, in plain values.

    Raises:
        ValueError: it says nothing plain, with the line.
    """
    try:
        value = _Loader("").construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(_told(error)) from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"line {line_of(node)}: {error}") from None
    return value


def find(node: yaml.Node, loc: tuple[Any, ...]) -> yaml.Node:
    """The deepest node that `loc` leads to."""
    for part in loc:
        inner: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            inner = next((v for k, v in node.value if k.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            inner = node.value[part] if part < len(node.value) else None
        if inner is None:
            break
        node = inner
    return node


def written(node: yaml.Node, loc: tuple[Any, ...]) -> str | None:
    """A scalar as the file has it; None where `loc` leads to none."""
    found = find(node, loc)
    return str(found.value) if isinstance(found, yaml.ScalarNode) else None


def line_of(node: yaml.Node) -> int:
    """Where it begins, from 1."""
    return int(node.start_mark.line) + 1


def _told(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    return where + (getattr(error, "problem", None) or str(error).splitlines()[0])


def _has_anchor(event: yaml.Event) -> bool:
    return (
        isinstance(event, yaml.NodeEvent)
        and not isinstance(event, yaml.AliasEvent)
        and (event.anchor is not None)
    )


def _place(there: yaml.Event | yaml.Node) -> int:
    """The character it begins with, an anchor of its own included."""
    return -1 if there.start_mark is None else int(there.start_mark.index)


def _below(node: yaml.Node, done: set[int]) -> Iterator[yaml.Node]:
    """A node and all in it, each once: one that is an alias stands in several places."""
    if id(node) in done:
        return
    done.add(id(node))
    yield node
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _below(each, done)
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            for each in pair:
                yield from _below(each, done)


def _repeated_keys(root: yaml.Node | None, done: set[int]) -> list[str]:
    """Keys that a mapping has twice, of which YAML would take the last without a word."""
    problems: list[str] = []
    for node in () if root is None else _below(root, done):
        if not isinstance(node, yaml.MappingNode):
            continue
        seen: dict[str, int] = {}
        for key, _ in node.value:
            name, line = str(key.value), line_of(key)
            if name in seen:
                problems.append(f"line {line}: {name!r} is already on line {seen[name]}")
            seen.setdefault(name, line)
    return problems
