"""The servers that the machines share, each of which may be away for a while."""

from __future__ import annotations

import contextlib
import time
from importlib.util import find_spec
from pathlib import Path

import redis

from etf_pipeline_tests.pipeline.machines import Redis
from etf_pipeline_tests.pipeline.postgres import Postgres
from etf_pipeline_tests.share.s3 import BUCKET, S3, Gate

_DATABASE = "machines"
_START_SECONDS = 20.0


class Services:
    """PostgreSQL, Redis and S3; to the last two there are ways that can be shut.

    PostgreSQL is ended and started again. Redis keeps nothing on a disk and S3 is in memory, so
    theirs are cut from the machines instead.
    """

    def __init__(self, folder: Path) -> None:
        self.postgres = Postgres("UTC").start()
        self.postgres.query("postgres", f"CREATE DATABASE {_DATABASE}")
        self._redis = Redis(folder).start()
        self._s3 = S3()
        self.redis, self.s3 = Gate(self._redis.port), Gate(self._s3.port)
        self._await_redis()

    @staticmethod
    def missing() -> str | None:
        """Why they cannot be had here, None when they can."""
        moto = None if find_spec("moto") else "moto's S3 server is not installed"
        return Postgres.missing() or Redis.missing() or moto

    def environment(self) -> dict[str, str]:
        """What every machine is told."""
        return self._s3.environment() | {
            "AWS_ENDPOINT": self.s3.endpoint,
            "ETF_STORE_URL": f"s3://{BUCKET}/etf",
            "DAGSTER_POSTGRES_URL": self.postgres.url(_DATABASE),
            "ETF_CELERY_BROKER": f"redis://127.0.0.1:{self.redis.port}/0",
        }

    def close(self) -> None:
        for gate in (self.redis, self.s3):
            gate.shut()
        self._s3.close()
        self._redis.stop()
        self.postgres.stop()

    def _await_redis(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(redis.exceptions.ConnectionError):
                redis.Redis(port=self._redis.port).ping()
                return
            assert time.monotonic() < deadline, "Redis did not start"
            time.sleep(0.02)
