"""What is handed to the update of one history, and what comes of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from etf_pipeline.errors import EtfError, MixedSourceError, RawMissingError, RejectedDataError
from etf_pipeline.history.corrections import newest_void, of_ticker
from etf_pipeline.model.corrections import Correction
from etf_pipeline.model.instruments import Instrument
from etf_pipeline.model.outcomes import FailureKind, Outcome, failed, our_mistake, rejected
from etf_pipeline.steps.result import Published
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.origins import Origin
from etf_pipeline.store.reader import FileInfo
from etf_pipeline.store.seen import Seen

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lacking:
    """A ticker, and the batches of it that its history lacks, oldest first.

    Attributes:
        held: the newest batch that its history holds; None when nothing says so, and then all
            batches of it are meant.
        elsewhere: those of other partitions, each with its partition; only with `held` None.
        published: the content hash that its history was published with; None when nothing says so.
    """

    instrument: Instrument
    held: str | None
    batches: tuple[str, ...] = ()
    elsewhere: tuple[tuple[str, str], ...] = ()
    published: str | None = None

    def is_of(self, info: FileInfo) -> bool:
        """Whether a history is what was published, or newer: its run may have been killed."""
        if self.published in (None, info.content_hash):
            return True
        return any(batch > (self.held or "") for batch in Origin.of(info).batches)


@dataclass(frozen=True)
class Updated:
    """What came of one ticker, and the newest batch that its history now holds, if one more.

    `seen` is what is known of the files that were published.
    """

    outcome: Outcome
    published: Published | None = None
    newest: str | None = None
    seen: Seen | None = None


@dataclass(frozen=True)
class Scope:
    """What histories are brought up to date, and by what.

    Attributes:
        lock_timeout: how long to wait for another writer, in seconds.
        corrections: every one that counts.
    """

    layout: Layout
    lock_timeout: float
    partition: str
    corrections: Sequence[Correction]

    def void(self, instrument: Instrument) -> Correction | None:
        """What is declared void of a ticker."""
        return newest_void(of_ticker(self.corrections, instrument.ticker))


def told(ticker: str, make: Callable[[], Updated]) -> Updated:
    """What came of a ticker; an error of its own is its outcome."""
    try:
        return make()
    except (MixedSourceError, RawMissingError, RejectedDataError) as error:
        return Updated(rejected(ticker, error))
    except EtfError as error:
        return Updated(failed(ticker, error, FailureKind.TRANSIENT))
    except OSError:
        raise  # the store's, and so every ticker's
    except Exception as error:
        log.exception("%s: its history could not be built", ticker)
        return Updated(our_mistake(ticker, error))
