"""The brokers of a session of cycles: started once, and handed from cycle to cycle."""

from __future__ import annotations

from pathlib import Path

from etf_pipeline_tests.brokers import Broker, Noida
from etf_pipeline_tests.brokers.apache import Apache
from etf_pipeline_tests.brokers.secured import Secured
from etf_pipeline_tests.soak.script import APACHE, EMBEDDED, NOIDA


class Brokers:
    """One of each kind; a cycle has it to itself while it lasts, and prefixes of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, Broker] = {}

    @staticmethod
    def missing(mode: str) -> str | None:
        """Why cycles of a mode cannot be run here, None when they can."""
        return {EMBEDDED: lambda: None, NOIDA: Noida.missing, APACHE: Apache.missing}[mode]()

    def get(self, mode: str) -> Broker | None:
        """The running broker of a mode, None for the mode that has none."""
        if mode == EMBEDDED:
            return None
        found = self._running.get(mode)
        if found is None:
            where = self._folder / mode
            found = Noida(where) if mode == NOIDA else Secured(where, "SASL_PLAINTEXT")
            self._running[mode] = found
        if found.process is None or found.process.poll() is not None:
            found.start()
        return found

    def close(self) -> None:
        for broker in self._running.values():
            broker.kill()
