"""Texts of any origin, made fit for records: whole Unicode, of a bounded length."""

from __future__ import annotations

import re

MOST = 4_000
# Half a surrogate pair cannot be written as UTF-8; controls end lines, cells and C strings.
_UNSAYABLE = re.compile("[\ud800-\udfff]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def sayable(text: str, most: int = MOST) -> str:
    """A text without what no record can hold, and not much longer than `most` characters.

    Beginning and end of a longer one are kept, as errors say what happened first and why last.
    """
    if len(text) > most:
        half = most // 2
        left_out = len(text) - 2 * half
        text = f"{text[:half]} […{left_out} characters left out…] {text[-half:]}"
    return _UNSAYABLE.sub("\ufffd", text)
