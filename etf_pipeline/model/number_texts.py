"""What somebody meant by a text where a number belongs."""

from __future__ import annotations

import math

_PLAIN = "give a number, without quotes"


def number_meant(text: str) -> str:
    """What to write in place of a text; per cent as the fraction that it is."""
    bare = text.strip().removesuffix("%")
    try:
        percent = float(bare)
    except ValueError:
        return _PLAIN
    if bare == text.strip() or not math.isfinite(percent):
        return _PLAIN
    return f"give a fraction, without quotes: {percent:g} % is {percent / 100:.12g}"
