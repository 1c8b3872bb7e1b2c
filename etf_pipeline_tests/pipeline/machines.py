"""Several machines on one: a broker, and workers with homes of their own that share a store."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from etf_pipeline_tests.brokers import free_port
from etf_pipeline_tests.conftest import ROOT


class Redis:
    """One server on loopback, with nothing kept on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()

    @staticmethod
    def missing() -> str | None:
        """Why there is none here, None when there is."""
        return None if shutil.which("redis-server") else "Redis's server is not installed"

    @property
    def url(self) -> str:
        """Of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Redis:
        """Start it; whoever connects waits for it."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen(
            ["redis-server", *options], cwd=self._folder, stdout=subprocess.DEVNULL
        )
        return self

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class Worker:
    """`etf worker`, and every process that it begins."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        folder.mkdir()
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [Path(sys.executable).with_name("etf"), "worker", "--json"],
                env=os.environ | dict(environment) | {"DAGSTER_HOME": str(folder / "home")},
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def has(self, pid: int) -> bool:
        """Whether a process is one of its."""
        try:
            return os.getpgid(pid) == self._process.pid
        except ProcessLookupError:
            return False

    def lose(self) -> None:
        """End all of it at once, as when a machine loses its power."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
