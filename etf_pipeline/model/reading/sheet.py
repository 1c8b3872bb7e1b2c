"""A file's cells, column by column, before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from etf_pipeline.errors import UnreadableFileError

Floats = npt.NDArray[np.float64]
Strings = npt.NDArray[np.object_]
Seconds = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class Text:
    """Cells as written, stripped; empty where there is nothing."""

    values: Strings


@dataclass(frozen=True)
class Numbers:
    """Cells that are numbers already; NaN where there is nothing. `digits` they are exact to."""

    values: Floats


@dataclass(frozen=True)
class Stamps:
    """Points in time to the second, NaT where there is nothing.

    Attributes:
        written: date and time as written.
        instants: the same in UTC; None where the file names no zone.
    """

    written: Seconds
    instants: Seconds | None = None


Cells = Text | Numbers | Stamps


@dataclass(frozen=True)
class Sheet:
    """What is read of a file.

    Attributes:
        origin: the file's name, for errors.
        columns: cells by our name.
        written: names as written, by our name.
        lines: number of each row in the file, shape (n,).
        unit: what `lines` count: a `line` of text or a `row` of a table.
        semicolons: whether semicolons or tabs part the cells, as where commas are decimal signs.
        currencies: what prices are said to be in.
        claims: what the file says of whose prices they are, and in what: the distinct texts by
            `symbol`, `code`, `label`, `isin` and `currency`.
    """

    origin: str
    columns: Mapping[str, Cells]
    written: Mapping[str, str]
    lines: npt.NDArray[np.int64]
    unit: str = "line"
    semicolons: bool = False
    currencies: frozenset[str] = frozenset()
    claims: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def refusal(self, why: str, row: int | None = None) -> UnreadableFileError:
        """The error that names the file, and the line if it is about one."""
        where = self.origin if row is None else f"{self.origin} {self.unit} {self.lines[row]}"
        return UnreadableFileError(f"{where}: {why}")


def shown(cell: object) -> str:
    """A cell as a message quotes it; not at any length."""
    text = repr(str(cell))
    return text if len(text) <= 40 else f"{text[:36]}…'"
