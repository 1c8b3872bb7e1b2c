"""Several machines on one: a broker, and workers with homes of their own that share a store."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository

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
        """In a folder that may be one of an earlier worker: the same machine, begun again."""
        folder.mkdir(exist_ok=True)
        self.log = folder / "log"
        with self.log.open("ab") as log:
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


def hand_over(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    name: str,
    partition: str = "",
    config: Mapping[str, Any] | None = None,
    module: str = "etf_pipeline.definitions",
    assets: Collection[str] = (),
) -> str:
    """Hand a run of a job to the workers, as Dagster's daemon does; its id.

    Args:
        instance: that has the run recorded.
        repository: the definitions here.
        name: of the job.
        partition: empty for a job without.
        config: of the run.
        module: has the definitions by which workers execute it.
        assets: only these of the job's; all of them when empty.
    """
    origin = ReconstructableRepository.for_module(module, "defs")
    job, chosen = repository.get_job(name), frozenset(map(dg.AssetKey, assets)) or None
    run = instance.create_run_for_job(
        job if chosen is None else job.get_subset(asset_selection=chosen),
        asset_selection=chosen,
        run_config=config or {},
        tags={**job.run_tags, **({"dagster/partition": partition} if partition else {})},
        job_code_origin=origin.get_reconstructable_job(name).get_python_origin(),
    )
    instance.launch_run(run.run_id, None)  # type: ignore[arg-type]
    return run.run_id
