"""What a point in time means that names no zone: UTC, and whoever gave it is told so."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable


def aware(moment: dt.datetime, name: str, tell: Callable[[str], None]) -> dt.datetime:
    """The same time with a zone: UTC where it names none, as the host's must decide nothing.

    Args:
        moment: the time.
        name: what it was given as.
        tell: takes the sentence that says what was assumed.
    """
    if moment.utcoffset() is not None:
        return moment
    meant = moment.replace(tzinfo=dt.UTC)
    tell(
        f"{name} {moment.isoformat()}: has no time zone and is taken as UTC; "
        f"say so to silence this: {meant.isoformat()}"
    )
    return meant
