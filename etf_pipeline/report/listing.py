"""A list of many ETFs that a page's own script searches, sorts and turns over.

The data are on the page once, as JSON by column: numbers as whole numbers of the last digit that is
shown, words that repeat by their position. The first rows are on the page too, for those who run no
script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from etf_pipeline.report.alike import Alike
from etf_pipeline.report.cells import DASH

PAGE = 25  # rows that are shown at once

Cell = str | int | None


@dataclass(frozen=True)
class Column:
    """A column: its heading, its kind (`text`, `choice`, `percent`, `number`, `count`), its values.

    Of a percentage or a number a value is a whole number of its last digit; of a choice it is a
    position in `among`. A cell of a `whole` column is never broken into lines.
    """

    title: str
    kind: str
    values: Sequence[Cell]
    digits: int = 0
    among: Sequence[str] = ()
    whole: bool = False

    @property
    def set_as(self) -> str:
        """The class of its cells: `n` to the right, `d` in one line."""
        return "n" if self.kind in ("percent", "number", "count") else "d" if self.whole else ""

    def shown(self, row: int) -> str:
        """A cell as a reader sees it; the script does the same."""
        value = self.values[row]
        if value is None:
            return DASH
        if self.kind == "choice":
            return self.among[int(value)]
        if self.kind in ("percent", "number"):
            sign = "%" if self.kind == "percent" else ""
            return f"{int(value) / 10**self.digits:,.{self.digits}f}{sign}"
        return str(value)

    @property
    def packed(self) -> dict[str, Any]:
        """For the script."""
        said = {"title": self.title, "kind": self.kind, "values": list(self.values)}
        more = {"digits": self.digits, "among": list(self.among), "set": self.set_as}
        return said | {name: value for name, value in more.items() if value}


def texts(title: str, values: Sequence[str]) -> Column:
    """A column of words that do not repeat."""
    return Column(title, "text", values)


def choices(title: str, values: Sequence[str | None], *, whole: bool = False) -> Column:
    """A column of words that repeat."""
    among = sorted({v for v in values if v})
    at = {word: i for i, word in enumerate(among)}
    return Column(title, "choice", [at[v] if v else None for v in values], 0, among, whole)


def percentages(title: str, values: npt.NDArray[np.float64], digits: int = 1) -> Column:
    """A column of fractions; NaN is a dash."""
    return Column(title, "percent", _whole(values, digits, "%"), digits)


def numbers(title: str, values: npt.NDArray[np.float64], digits: int = 2) -> Column:
    """A column of plain numbers; NaN is a dash."""
    return Column(title, "number", _whole(values, digits, "f"), digits)


def counts(title: str, values: Sequence[int]) -> Column:
    """A column of whole numbers."""
    return Column(title, "count", values)


def _whole(values: npt.NDArray[np.float64], digits: int, kind: str) -> list[int | None]:
    """Whole numbers of the last digit, rounded exactly as the same value is in any other table."""
    return [
        int(f"{v:.{digits}{kind}}".rstrip("%").replace(".", "")) if np.isfinite(v) else None
        for v in values.tolist()
    ]


@dataclass(frozen=True)
class Listing:
    """All rows, by column, the first column naming each; and what each row is alike, if known."""

    caption: str
    columns: Sequence[Column]
    alike: Alike | None = None
    alike_said: str = ""
    otherwise: str = ""  # a command that lists all of it

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.columns[0].values)

    @property
    def first(self) -> list[list[str]]:
        """Cells of the rows that are shown at first."""
        return [[c.shown(i) for c in self.columns] for i in range(min(PAGE, self.rows))]

    @property
    def data(self) -> str:
        """Everything as JSON that may stand inside a script element."""
        told: dict[str, Any] = {"page": PAGE, "columns": [c.packed for c in self.columns]}
        if self.alike is not None:
            found = self.alike
            told["alike"] = {
                "said": self.alike_said,
                "count": found.nearest.shape[1],
                "nearest": found.nearest.ravel().tolist(),
                "nearestBy": _whole(found.nearest_by.ravel(), 2, "f"),
                "farthest": found.farthest.ravel().tolist(),
                "farthestBy": _whole(found.farthest_by.ravel(), 2, "f"),
            }
        text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
        # No name may end the element or begin a comment in it.
        return (
            text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
        )


@cache
def script() -> str:
    """The script, as it stands on the page."""
    folder = resources.files("etf_pipeline.report") / "templates"
    return (folder / "listing.js").read_text(encoding="utf-8")


@cache
def script_source() -> str:
    """Its hash as a content security policy names it: nothing else runs on the page."""
    digest = hashlib.sha256(script().encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
