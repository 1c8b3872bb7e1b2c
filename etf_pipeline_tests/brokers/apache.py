"""Apache Kafka in KRaft mode, resolved with Maven into a cache.

`python -m etf_pipeline_tests.brokers.apache [PORT]` runs one until it is interrupted.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from etf_pipeline_tests.brokers import Broker, free_port, java

VERSION = "4.3.1"
BROKER = "kafka_2.13"
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>broker</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>@</artifactId>
    <version>{VERSION}</version>
  </dependency></dependencies>
</project>
"""
_LIB: dict[str, Path | str] = {}


def library(artifact: str = BROKER) -> Path | str:
    """Folder of the jars of an artifact, or why there is none. Resolved once per machine."""
    if artifact not in _LIB:
        _LIB[artifact] = _resolve(artifact)
    return _LIB[artifact]


def _resolve(artifact: str) -> Path | str:
    if java() is None or shutil.which("mvn") is None:
        return "Apache Kafka needs Java 17 and Maven, which are not here"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = "kafka" if artifact == BROKER else artifact
    home = cache / "etf_pipeline_tests" / f"{name}-{VERSION}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            (home / "pom.xml").write_text(_POM.replace("@", artifact))
            done = subprocess.run(
                ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"],
                cwd=home,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                return f"Maven could not resolve {artifact} {VERSION}: {done.stdout[-300:]}"
            (home / "complete").touch()
    return home / "lib"


class Apache(Broker):
    """One node, broker and controller in one."""

    name = "apache"

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        node: int = 1,
        voters: dict[int, int] | None = None,
        **settings: str,
    ) -> None:
        super().__init__(folder, port)
        self.node = node
        self.controller = (voters or {}).get(node) or free_port()
        self.voters = voters or {node: self.controller}
        self.settings = {k.replace("_", "."): v for k, v in settings.items()}

    @staticmethod
    def missing() -> str | None:
        """Why it cannot be used here, None when it can."""
        found = library()
        return found if isinstance(found, str) else None

    def properties(self) -> dict[str, str]:
        """server.properties."""
        return {
            "process.roles": "broker,controller",
            "node.id": str(self.node),
            "controller.quorum.voters": ",".join(
                f"{n}@127.0.0.1:{p}" for n, p in self.voters.items()
            ),
            "listeners": f"CLIENT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller}",
            "advertised.listeners": f"CLIENT://127.0.0.1:{self.port}",
            "inter.broker.listener.name": "CLIENT",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            "log.cleaner.backoff.ms": "200",
            "log.segment.delete.delay.ms": "200",
            # a node that was killed may register again at once
            "broker.session.timeout.ms": "1500",
            "broker.heartbeat.interval.ms": "300",
            **self.settings,
        }

    def _java(self, main: str, *args: str) -> list[str]:
        return [
            java() or "java",
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            f"{library()}/*",
            main,
            *args,
        ]

    def command(self) -> list[str]:
        file = self.folder / "server.properties"
        file.write_text("".join(f"{k}={v}\n" for k, v in self.properties().items()))
        if not (self.folder / "data").exists():
            subprocess.run(
                self._java(
                    "kafka.tools.StorageTool",
                    "format",
                    "--cluster-id",
                    "etfpipelinetestsAAAAAA",
                    "--config",
                    str(file),
                ),
                check=True,
                capture_output=True,
            )
        return self._java("kafka.Kafka", str(file))


def main() -> None:
    """Run a broker until interrupted."""
    with tempfile.TemporaryDirectory() as folder:
        port = int(sys.argv[1]) if len(sys.argv) > 1 else None
        with Apache(Path(folder), port) as broker:
            print(f"KAFKA_BOOTSTRAP_SERVERS={broker.servers}", flush=True)
            signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
