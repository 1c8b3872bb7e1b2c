"""How long what failed is left alone: longer each time, and until it is well again."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

_SECONDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
_PATIENCE = 3


@dataclass(frozen=True)
class _Pause:
    failures: int
    until: float
    why: str


class Pauses:
    """One pause for each name that fails."""

    def __init__(self) -> None:
        self._pauses: dict[str, _Pause] = {}

    @property
    def names(self) -> frozenset[str]:
        """What failed and has not been well since."""
        return frozenset(self._pauses)

    @property
    def held(self) -> frozenset[str]:
        """What is to be left alone now."""
        return frozenset(name for name, p in self._now() if time.monotonic() < p.until)

    @property
    def reasons(self) -> str | None:
        """Why, in words; None when nothing failed."""
        return "; ".join(p.why for _, p in self._now()) or None

    def holds(self, name: str) -> bool:
        """Whether this is to be left alone now."""
        return name in self.held

    def lengthen(self, name: str, why: str) -> None:
        """It failed, once more perhaps."""
        before = self._pauses.get(name)
        failures = 0 if before is None else before.failures + 1
        until = time.monotonic() + _SECONDS[min(failures, len(_SECONDS) - 1)]
        self._pauses[name] = _Pause(failures, until, why)

    def given_up(self) -> frozenset[str]:
        """What failed again and again since `try_now`, for two seconds."""
        held = self.held
        return frozenset(n for n, p in self._now() if n in held and p.failures >= _PATIENCE)

    def try_now(self, *names: str) -> None:
        """Leave these alone no longer; they are not known to be well yet."""
        for name, pause in self._now():
            if name in names:
                self._pauses[name] = replace(pause, failures=-1, until=0.0)

    def end(self, *names: str) -> None:
        """These are well."""
        for name in names:
            self._pauses.pop(name, None)

    def _now(self) -> list[tuple[str, _Pause]]:
        # A copy: one thread may look while another sends.
        return list(self._pauses.items())
