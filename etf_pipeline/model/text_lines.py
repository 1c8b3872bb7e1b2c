"""Lines of the text files that users keep by hand."""

from __future__ import annotations


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """Lines that say something, with their numbers from 1: neither blank nor begun with `#`."""
    return [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.startswith("#")
    ]
