"""A worker: takes runs from the broker and executes them, each in a process of its own."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import dagster as dg
from celery import Celery, Task
from celery.exceptions import Reject
from dagster_celery import tasks as theirs
from dagster_celery.config import TASK_EXECUTE_JOB_NAME

from etf_pipeline.errors import SettingsError
from etf_pipeline.orchestration.beats import LOOK_SECONDS, Watch, beating
from etf_pipeline.orchestration.database import outage
from etf_pipeline.orchestration.instance import open_instance
from etf_pipeline.orchestration.launcher import WatchedLauncher
from etf_pipeline.orchestration.settling import Settling
from etf_pipeline.orchestration.slots import end_dead_runs, free_dead_slots

log = logging.getLogger(__name__)
_WAITING = frozenset({dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING})

# Before a run that could not be begun goes back to the broker, which hands it over at once.
_AWAY_SECONDS = 5.0


class Beating(Task):  # type: ignore[misc]
    """A task that executes a run, and gives signs of life of it."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Execute it; Dagster ignores one that is over, or that another process has.

        Raises:
            Reject: the database is away, and the run goes to whoever takes it next.
        """
        packed: Any = kwargs["execute_job_args_packed"]
        asked: Any = theirs.unpack_value(packed)  # type: ignore[attr-defined]
        run_id = asked.run_id
        with ExitStack() as stack:
            with _given_back(run_id):
                instance = stack.enter_context(dg.DagsterInstance.get())
                run = instance.get_run_by_id(run_id)
                if run is None or run.status not in _WAITING:
                    log.warning("run %s was begun before: nothing to do", run_id)
                    return super().__call__(*args, **kwargs)
                # Celery's processes may have none below them; a run may, by its executor.
                multiprocessing.current_process().daemon = False
                stack.enter_context(beating(instance, run_id))
                settling = Settling.of(instance, run)
            answer, lost = 1, None
            with _losses_told(run_id):
                try:
                    answer = super().__call__(*args, **kwargs)
                except Exception as error:
                    if (lost := outage(error)) is None:
                        raise
                settling.settle(lost)
        return answer


@contextmanager
def _given_back(run_id: str) -> Iterator[None]:
    """Leave a run to whoever takes it next, where the database goes before it is begun."""
    try:
        yield
    except Exception as error:
        if (lost := outage(error)) is None:
            raise
        log.error("run %s waits: %s", run_id, lost)
        time.sleep(_AWAY_SECONDS)
        raise Reject(str(lost), requeue=True) from error


@contextmanager
def _losses_told(run_id: str) -> Iterator[None]:
    """Say that a run's end could not be recorded: whoever watches fails it when it is missed."""
    try:
        yield
    except Exception as error:
        if (lost := outage(error)) is None:
            raise
        log.error("the end of run %s could not be recorded: %s", run_id, lost)


def worker_app(instance: dg.DagsterInstance) -> Celery:
    """The Celery app of a worker, with the tasks that the launcher sends.

    Raises:
        SettingsError: runs of the instance do not go by way of Celery.
    """
    launcher = instance.run_launcher
    if not isinstance(launcher, WatchedLauncher):
        raise SettingsError("runs are not sent to workers: set ETF_CELERY_BROKER")
    app = launcher.celery
    # Celery gives every app what another one of the process was given, as where a run was launched,
    # and the first of a name stays.
    app.tasks.pop(TASK_EXECUTE_JOB_NAME, None)
    # A task is taken from the queue when it is done: nobody keeps a run from an idle worker.
    options: dict[str, Any] = {"base": Beating, "acks_late": True, "shared": False}
    theirs.create_execute_job_task(app, **options)
    return app


def serve(at_once: int) -> None:
    """Execute runs until SIGTERM or Ctrl-C, which let those under way come to their end.

    Args:
        at_once: how many runs in how many processes.

    Raises:
        SettingsError: runs of the instance do not go by way of Celery.
        RecordsError: the database or the broker cannot be reached.
    """
    # Processes of runs are forked from this one: what they import is here before.
    importlib.import_module("etf_pipeline.orchestration.build")
    with open_instance() as instance, watching(instance):
        free_dead_slots(instance)
        end_dead_runs(instance)
        app = worker_app(instance)
        arguments = {
            "concurrency": at_once,
            "prefetch-multiplier": 1,
            "max-tasks-per-child": 1,  # what a run has used up of memory is given back
            "hostname": f"etf-{os.getpid()}@%h",
            "queues": instance.run_launcher.default_queue,  # type: ignore[attr-defined]
            "loglevel": "WARNING",
        }
        app.worker_main(
            ["worker", "-O", "fair", "--without-gossip", "--without-mingle"]
            + [f"--{name}={value}" for name, value in arguments.items()]
        )


@contextmanager
def watching(instance: dg.DagsterInstance) -> Iterator[None]:
    """Look at the signs of life of all runs, wherever they are, while the block is under way."""
    over, watch = threading.Event(), Watch(instance)

    def keep() -> None:
        while not over.wait(LOOK_SECONDS):
            try:
                watch.look()
            except Exception as error:
                log.warning("no look at the runs: %s", outage(error) or error)

    thread = threading.Thread(target=keep, name="etf-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(LOOK_SECONDS)
