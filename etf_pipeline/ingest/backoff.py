"""A pause that every worker shares: when one is told to slow down, all of them do."""

from __future__ import annotations

import random
import threading
import time


class SharedBackoff:
    """Jittered exponential backoff across threads.

    The first `rate_limited` call of an episode sets a pause for all workers; calls that were
    under way when it was set do not lengthen it. Each further episode doubles the pause, an
    undisturbed answer halves it.
    """

    def __init__(self, first_seconds: float, max_seconds: float) -> None:
        self._first, self._max = first_seconds, max_seconds
        self._lock = threading.Lock()
        self._resume_at = 0.0
        self._episodes = 0
        self._random = random.Random()  # noqa: S311 - jitter is not a secret

    def wait(self, deadline: float) -> bool:
        """Sleep out the pause; False when `deadline` (monotonic seconds) comes first."""
        while True:
            with self._lock:
                now, resume_at = time.monotonic(), self._resume_at
            if now >= deadline or resume_at >= deadline:
                return False
            if resume_at <= now:
                return True
            time.sleep(resume_at - now)

    def rate_limited(self, started: float) -> None:
        """Report a refusal of a request that began at `started` (monotonic seconds)."""
        with self._lock:
            now = time.monotonic()
            if started < self._resume_at or now < self._resume_at:
                return
            self._resume_at = now + self._delay(self._episodes)
            self._episodes += 1

    def answered(self) -> None:
        """Report an undisturbed answer."""
        with self._lock:
            if self._episodes and time.monotonic() >= self._resume_at:
                self._episodes -= 1

    def pause(self, attempt: int, deadline: float) -> None:
        """Sleep before try `attempt` + 1 of one request after a fault of its own."""
        time.sleep(max(0.0, min(self._delay(attempt), deadline - time.monotonic())))

    def _delay(self, episode: int) -> float:
        full = min(self._first * 2.0**episode, self._max)
        return full * self._random.uniform(0.5, 1.0)
