"""What steps warn of while a command runs: once each, on standard error."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from etf_pipeline.cli.render.output import print_warning

# What people must know of data: a machine's own files, a share's losses, histories that go. Others
# are told by the outcomes of tickers, or by a status.
_OF_DATA = (
    "etf_pipeline.share",
    "etf_pipeline.steps.retiring",
    "etf_pipeline.orchestration.sharing",
)


class _Once(logging.Handler):
    """Prints each message that it has not printed yet."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        text = record.getMessage()
        if text not in self._told:
            self._told.add(text)
            print_warning(text)


@contextmanager
def warnings_told() -> Iterator[None]:
    """Have warnings on data printed during the block, which else no command shows."""
    loggers, handler = [logging.getLogger(name) for name in _OF_DATA], _Once()
    before = [(one.level, one.propagate) for one in loggers]
    for one in loggers:
        one.addHandler(handler)
        one.setLevel(logging.WARNING)
        one.propagate = False
    try:
        yield
    finally:
        for one, (level, propagate) in zip(loggers, before, strict=True):
            one.removeHandler(handler)
            one.setLevel(level)
            one.propagate = propagate
