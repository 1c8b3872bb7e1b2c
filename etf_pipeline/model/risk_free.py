"""How somebody says what is free of risk: a rate, the ticker of a cash fund, or a file of rates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

LOWEST, HIGHEST = -1.0, 1.0  # of a rate, both excluded
_NUMBER = re.compile(r"[+-]?[\d.,_ ]*\d[\d.,_ ]*(?:[eE][+-]?\d+)?\s*%?", re.ASCII)
_FILES = (".csv", ".tsv", ".txt")
_TICKER, _FILE = "ticker:", "file:"


@dataclass(frozen=True)
class Cash:
    """The returns of a ticker of the universe, such as a cash fund."""

    ticker: str


@dataclass(frozen=True)
class Published:
    """Rates as a central bank publishes them, in a text file."""

    path: Path


Asked = float | Cash | Published


def is_number(text: str) -> bool:
    """Whether a text is, or tries to be, a number."""
    return _NUMBER.fullmatch(text.strip()) is not None


def asked(value: float | str | Path) -> Asked:
    """What a setting or an argument asks for.

    A number is an annual effective rate, a name that ends in .csv, .tsv or .txt a file, anything
    else a ticker; `ticker:` and `file:` before it say which it is.

    Raises:
        ValueError: it is none of these; says what would be.
    """
    if isinstance(value, Path):
        return Published(value)
    if not isinstance(value, str):
        return _rate(float(value))
    text = value.strip()
    if text.startswith(_TICKER) and text != _TICKER:
        return Cash(text.removeprefix(_TICKER).strip())
    if text.startswith(_FILE) and text != _FILE:
        return Published(Path(text.removeprefix(_FILE).strip()))
    if is_number(text):
        try:
            return _rate(float(text))
        except ValueError as error:
            raise ValueError(
                f"must be a fraction such as 0.04, above {LOWEST:g} and below {HIGHEST:g}; or "
                f"{_TICKER}{text} for a ticker of that name"
            ) from error
    if not text or text in (_TICKER, _FILE):
        raise ValueError("must be a fraction such as 0.04, a ticker, or a CSV file of rates")
    return Published(Path(text)) if text.lower().endswith(_FILES) else Cash(text)


def _rate(value: float) -> float:
    if not LOWEST < value < HIGHEST:
        raise ValueError(f"must be above {LOWEST:g} and below {HIGHEST:g}")
    return value
