"""A lock that goes to whoever has waited longest."""

from __future__ import annotations

import threading
from collections import deque


class FairLock:
    """Like `threading.RLock`, which a busy thread can take again before others wake up."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()  # a signal may come at any moment, and its handler record
        self._waiting: deque[tuple[int, threading.Lock]] = deque()
        self._owner: int | None = None
        self._depth = 0

    def owned(self) -> bool:
        """Whether the calling thread has it."""
        return self._owner == threading.get_ident()

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._mutex:
            if self._owner in (None, me):
                self._owner = me
                self._depth += 1
                return
            called = threading.Lock()
            called.acquire()
            place = (me, called)
            self._waiting.append(place)
        try:
            called.acquire()
        except BaseException:  # a signal's handler raised
            with self._mutex:
                if place in self._waiting:
                    self._waiting.remove(place)
                else:
                    self._hand_over()
            raise

    def __exit__(self, *error: object) -> None:
        with self._mutex:
            self._depth -= 1
            if self._depth == 0:
                self._hand_over()

    def _hand_over(self) -> None:
        if self._waiting:
            self._owner, called = self._waiting.popleft()
            self._depth = 1
            called.release()
        else:
            self._owner, self._depth = None, 0
