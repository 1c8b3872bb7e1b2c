"""A share of each kind: a bucket of a real S3 server, and a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from etf_pipeline_tests.share.s3 import BUCKET, S3, Gate


@pytest.fixture(scope="session")
def server() -> Iterator[S3]:
    """One server for all tests; each has a folder of its own in the bucket."""
    found = S3()
    yield found
    found.close()


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The server, with the environment that leads to it."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def bucket(s3: S3, tmp_path: Path) -> str:
    """URL of a share in the bucket that nobody else uses."""
    return f"s3://{BUCKET}/{tmp_path.parent.name}/{tmp_path.name}"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """URL of a share in a folder."""
    (tmp_path / "share").mkdir()
    return (tmp_path / "share").as_uri()


@pytest.fixture(params=["bucket", "folder"])
def url(request: pytest.FixtureRequest) -> str:
    """Of a share: each kind in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def gate(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A way to the server that can be shut."""
    found = Gate(s3.port)
    monkeypatch.setenv("AWS_ENDPOINT", found.endpoint)
    yield found
    found.shut()
