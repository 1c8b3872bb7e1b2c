"""What the other tickers of a partition did, as evidence on one ticker's rows.

Values only: whoever gathers a `Basis` says how it is found (`store/peers.py`). That may be dear, so
rules ask only where a row is in doubt.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
FEWEST = 3  # fewer say nothing of a market


class Peers(Protocol):
    """The other tickers of a partition, as far as one batch."""

    def until(self, batch_id: str) -> Peers:
        """The same, as what batches up to this one (inclusive) say of them."""
        ...

    def moves(self, before: np.datetime64, day: np.datetime64) -> Floats:
        """Log returns of others from one session to another, without splits; some or none."""
        ...

    def closed(self, day: np.datetime64) -> bool:
        """Whether at least `FEWEST` others have bars around a session and nobody traded on it."""
        ...


class Nobody:
    """No peers: nothing is known of others."""

    def until(self, batch_id: str) -> Peers:
        """The same."""
        return self

    def moves(self, before: np.datetime64, day: np.datetime64) -> Floats:
        """None."""
        return np.empty(0)

    def closed(self, day: np.datetime64) -> bool:
        """Never."""
        return False


NOBODY = Nobody()


def typical_move(moves: Floats) -> float | None:
    """The median size of peers' moves; None when there are too few of them to tell."""
    return float(np.median(np.abs(moves))) if len(moves) >= FEWEST else None
