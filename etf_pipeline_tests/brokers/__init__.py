"""Real Kafka-protocol brokers for the tests: started, stopped, paused and killed at will."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from etf_pipeline.events.kafka.probe import ask_kafka
from etf_pipeline.events.settings import EventSettings

START_SECONDS = 60.0


def free_port() -> int:
    """A port on loopback that nothing listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Broker:
    """One broker process on a port of its own; keeps port and data over restarts."""

    name = "broker"
    durable = True

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> Broker:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = (self.folder / "broker.log").open("ab")
        self.process = subprocess.Popen(
            self.command(), stdout=log, stderr=log, cwd=self.folder, start_new_session=True
        )
        deadline = time.monotonic() + START_SECONDS
        while (why := self.answers()) is not None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / "broker.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} did not start ({why}):\n{tail}")
            time.sleep(0.05)
        return self

    def answers(self) -> str | None:
        """None when it does."""
        return ask_kafka(EventSettings(kafka_bootstrap_servers=self.servers), 1.0)

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing is answered."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """An orderly end."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(number)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
                self.process.wait(20)
        self.process = None

    def __enter__(self) -> Broker:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
        self.kill()


class Noida(Broker):
    """noida-db: up in milliseconds. Confirms before it writes, so it is not durable."""

    name = "noida-db"
    durable = False

    def command(self) -> list[str]:
        program = Path(sys.executable).with_name("noida-db")
        return [
            str(program),
            "start",
            "--only",
            "kafka",
            "--kafka-port",
            str(self.port),
            "--data-dir",
            str(self.folder / "data"),
        ]

    @staticmethod
    def missing() -> str | None:
        """Why it cannot be used here, None when it can."""
        if Path(sys.executable).with_name("noida-db").exists():
            return None
        return "noida-db is not installed (pip install -r requirements-broker.lock)"


class External(Broker):
    """A broker that someone else runs, named by KAFKA_BOOTSTRAP_SERVERS."""

    name = "external"

    def __init__(self, servers: str) -> None:
        super().__init__(Path(), 1)
        self._servers = servers

    @property
    def servers(self) -> str:
        return self._servers

    def start(self) -> Broker:
        return self

    def kill(self) -> None:
        """Not ours to kill."""


def java() -> str | None:
    """Path of a Java runtime, None without one."""
    return shutil.which("java")
