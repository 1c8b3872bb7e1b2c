"""The launcher that hands whole runs to workers on other machines, by way of Celery.

Belongs here: what is asked of Dagster's own launcher beyond what it does. `dagster.yaml` names the
class.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import dagster as dg
from dagster_celery import launcher as theirs
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from etf_pipeline.orchestration.beats import Beats, Watch
from etf_pipeline.orchestration.jobs import NEVER_AGAIN

# Dagster's launcher makes the same task anew for every run that it sends, and Celery remarks on it.
warnings.filterwarnings("ignore", message="Task name 'execute_job' is already registered")
# A message that a worker took and did not finish comes again after this; what it is about is then
# over, and ignored. In seconds.
_TAKEN_FOR_GOOD = 12 * 3600


class WatchedLauncher(theirs.CeleryRunLauncher):
    """`CeleryRunLauncher`, with runs whose machine is gone failed by their signs of life.

    Celery says of a dead machine's task that it is under way, for ever. Nothing is asked of Celery,
    so that it needs no place for results.
    """

    def app_args(self) -> dict[str, Any]:
        """Of the Celery app, in this process and in workers."""
        found: dict[str, Any] = super().app_args()
        ours = {
            "broker_transport_options": {"visibility_timeout": _TAKEN_FOR_GOOD},
            # A broker that is away for a minute costs no run.
            "task_publish_retry_policy": {
                "max_retries": 45,
                "interval_start": 0.5,
                "interval_step": 0.5,
                "interval_max": 2.0,
            },
            "broker_connection_retry_on_startup": True,
            "broker_connection_max_retries": None,
            "worker_cancel_long_running_tasks_on_connection_loss": False,
            "task_ignore_result": True,
        }
        given = found["config_source"] or {}
        return found | {"backend": None, "config_source": ours | given | _transport(ours, given)}

    @cached_property
    def _watch(self) -> Watch:
        return Watch(self._instance)

    def check_run_worker_health(self, run: dg.DagsterRun) -> theirs.CheckRunHealthResult:  # type: ignore[name-defined]
        """Fail every run that gives no sign of life; nothing is left to do about those that do."""
        self._watch.look()
        return theirs.CheckRunHealthResult(theirs.WorkerStatus.RUNNING)  # type: ignore[attr-defined]

    def terminate(self, run_id: str) -> bool:
        """End a run: its process finds out at its next sign of life; one that waits is dropped."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.add_run_tags(run_id, NEVER_AGAIN)
        self._instance.report_run_canceling(run)
        if run_id in Beats(self._instance).seen():
            return True
        if run.status is dg.DagsterRunStatus.STARTED:
            why = "ended; no process gave signs of life of it"
        else:
            why = "ended before a worker had begun it"
            if task := run.tags.get(DAGSTER_CELERY_TASK_ID_TAG):
                self.celery.control.revoke(task)
        self._instance.report_run_canceled(run, why)
        return True

    def get_run_worker_debug_info(
        self, run: dg.DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """Which process has it."""
        seen = Beats(self._instance).seen().get(run.run_id)
        return "no worker has begun it" if seen is None else f"it is {seen[0]}"


def _transport(ours: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    name = "broker_transport_options"
    return {name: {**given.get(name, {}), **ours[name]}}
