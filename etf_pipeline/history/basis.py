"""What the rows of one ticker are judged by, besides themselves."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etf_pipeline.history.peers import NOBODY, Peers
from etf_pipeline.model.corrections import Correction


@dataclass(frozen=True)
class Basis:
    """Everything besides the rows that a history depends on: equal bases, equal histories.

    Attributes:
        sessions: the exchange's sessions, ascending, shape (m,), datetime64[D].
        holidays_known: whether they leave the holidays out. Where they are all weekdays (a
            currency pair, an index), a few of them without a bar say nothing.
        rests_otherwise: whether nobody trades on other days.
        listed_since: rows before it are another security's, all later ones are this one's; None
            when nobody has said so.
        peers: what the other tickers of the partition did.
        corrections: what somebody declared right of its rows.
    """

    sessions: npt.NDArray[np.datetime64]
    holidays_known: bool = True
    rests_otherwise: bool = True
    listed_since: dt.date | None = None
    peers: Peers = NOBODY
    corrections: tuple[Correction, ...] = ()
