"""Lines of the text files that users keep by hand."""

from __future__ import annotations

import io


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """Lines that say something, with their numbers from 1: neither blank nor begun with `#`.

    They end as lines of a file do: U+2028 and the like, which names may hold, end none.
    """
    return [
        (number, line.rstrip("\n"))
        for number, line in enumerate(io.StringIO(text, newline=None), 1)
        if line.strip() and not line.startswith("#")
    ]
