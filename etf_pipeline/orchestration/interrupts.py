"""Signals that ask this process to end, for as long as a block runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def handled(handler: Handler, *numbers: signal.Signals) -> Iterator[None]:
    """Signals are given to a handler during the block, and to whom they were given before after it.

    Nothing changes in other threads than the main one: Python hands signals to that one alone.
    """
    with ExitStack() as restored:
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                restored.callback(signal.signal, number, signal.signal(number, handler))
        yield


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """A signal as an exception that can be cleaned up after.

    Raises:
        KeyboardInterrupt: always.
    """
    raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT interrupts during the block, also where whoever began this process had it ignored.

    A shell does so with what it puts in the background.
    """
    ignored = [signal.SIGINT] if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else []
    with handled(interrupt, *ignored):
        yield
