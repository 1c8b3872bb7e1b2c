"""Readers pull first; without the share they go on with the copy, and say how old it is."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import warnings

import dagster as dg
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from etf_pipeline import ETFDataProvider
from etf_pipeline.cli.app import app
from etf_pipeline.errors import SettingsError, ShareError, StaleCopyWarning
from etf_pipeline.model.schemas import HISTORY, RISK_METRICS, WEIGHTS
from etf_pipeline.settings import Settings, load_settings
from etf_pipeline.share.publishing import unpublished
from etf_pipeline.share.work import Freshness
from etf_pipeline.store.reader import file_info
from etf_pipeline.store.stages import read_stages
from etf_pipeline_tests.pipeline.support import execute, make_pipeline
from etf_pipeline_tests.share.machines import SHARDS, TICKERS, Machine, later

UTC = dt.UTC


@pytest.fixture
def worker(folder, tmp_path):
    """A machine that has published two shards and their tables."""
    made = Machine(tmp_path / "worker", folder)
    for shard in SHARDS:
        made.night("0", shard)
    made.derive("0")
    return made


@pytest.fixture
def reader(worker, tmp_path, monkeypatch):
    """Folder of a machine that only reads, with its environment."""
    monkeypatch.setenv("ETF_DATA_DIR", str(tmp_path / "reader"))
    monkeypatch.setenv("ETF_STORE_URL", worker.url)
    monkeypatch.setenv("ETF_UNIVERSE_FILE", str(worker.pipeline.settings.universe_file))
    return tmp_path / "reader"


def told(*words):
    """What the command `etf` prints."""
    return CliRunner().invoke(app, words).stdout


def command(*words):
    """The command `etf`, as it is installed: in a process of its own."""
    program = "from etf_pipeline.cli.app import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, env=os.environ
    )


def test_a_provider_has_what_the_share_has(worker, reader):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = ETFDataProvider()
    assert first.available_etfs == sorted(f"T{i}" for i in range(8))
    worker.now = later(1)
    worker.night("1", SHARDS[0])
    chosen = worker.pipeline.universe.in_partition(SHARDS[0])[0].ticker
    before = len(first.load_etf_data(chosen))
    assert len(ETFDataProvider().load_etf_data(chosen)) == before + 1
    # Files are looked at again by what was opened before.
    assert len(first.load_etf_data(chosen)) == before + 1


def test_without_the_share_a_provider_says_how_old_its_copy_is(worker, reader, tmp_path):
    ETFDataProvider()
    (tmp_path / "share").rename(tmp_path / "unplugged")
    with pytest.warns(StaleCopyWarning, match=r"0 minutes old: the share file://.*mounted") as told:
        provider = ETFDataProvider()
    assert len(told) == 1
    assert told[0].filename == __file__
    assert len(provider.available_etfs) == 8


def test_a_share_whose_id_cannot_be_read_leaves_readers_their_copy(worker, reader, tmp_path):
    path = tmp_path / "share" / "share.json"
    held = path.read_bytes()
    path.write_bytes(held[:10])
    with pytest.raises(ShareError, match=r"share.json .* cannot be read"):
        ETFDataProvider()  # nothing to go on with yet
    path.write_bytes(held)
    ETFDataProvider()
    path.write_bytes(held[:10])
    with pytest.warns(StaleCopyWarning, match=r"minutes old: share.json .* cannot be read"):
        assert len(ETFDataProvider().available_etfs) == 8
    checks = {c["name"]: c for c in json.loads(told("doctor", "--json"))}
    assert not checks["share"]["ok"]


def test_another_folder_is_another_store(worker, reader, tmp_path):
    provider = ETFDataProvider(tmp_path / "mine")
    assert provider.available_etfs == []
    assert not (tmp_path / "mine").exists()
    assert load_settings(data_dir=tmp_path / "mine").store_url is None
    assert load_settings(data_dir=reader).store_url == worker.url
    assert load_settings().store_url == worker.url


def test_status_sql_and_doctor_on_a_copy(worker, reader, tmp_path):
    body = json.loads(told("status", "--json"))
    assert len(body["tickers"]) == 8
    assert body["share"]["url"] == worker.url
    assert body["share"]["away"] is None
    assert dt.datetime.fromisoformat(body["share"]["pulled_at"]).tzinfo is not None
    (tmp_path / "share").rename(tmp_path / "unplugged")
    away = json.loads(told("status", "--json"))
    assert away["share"]["pulled_at"] == body["share"]["pulled_at"]
    assert "does not answer" in away["share"]["away"]
    assert "working on this machine's copy" in told("status")
    run = command("sql", "SELECT count(DISTINCT ticker) AS n FROM prices", "--format", "json")
    assert json.loads(run.stdout) == [{"n": 8}]
    (line,) = run.stderr.splitlines()
    assert line.startswith("warning: working on this machine's copy, as of ")
    checks = {c["name"]: c for c in json.loads(told("doctor", "--json"))}
    assert not checks["share"]["ok"]
    (tmp_path / "unplugged").rename(tmp_path / "share")
    checks = {c["name"]: c for c in json.loads(told("doctor", "--json"))}
    assert checks["share"] == {"name": "share", "ok": True, "detail": f"{worker.url} answers"}
    # Readers leave the raw batches in the share, where they are not gone from.
    assert not list((reader / "raw").glob("*/*.parquet"))
    assert checks["raw batches"]["ok"], checks["raw batches"]
    for found in (body, away):
        assert {row["problem"] for row in found["tickers"]} == {None}
    for lost in (tmp_path / "share" / "raw").glob("*/*.parquet"):
        lost.unlink()
    checks = {c["name"]: c for c in json.loads(told("doctor", "--json"))}
    assert lost.stem in checks["raw batches"]["detail"]


def test_the_whole_graph_through_dagster_on_two_machines(bucket, tmp_path):
    """Each downloads its shard; either makes the tables of both; the other has them too."""
    portfolios = (
        "portfolios:\n  - name: all\n    tickers: [T0, T1, T2, T3]\n    objective: min_volatility\n"
    )
    lines = [
        make_pipeline(
            tmp_path / name, TICKERS, store_url=bucket, shards=2, portfolios=portfolios, workers=1
        )
        for name in ("first", "second")
    ]
    with dg.DagsterInstance.ephemeral() as instance:
        for line, shard in zip(lines, SHARDS, strict=True):
            assert execute(line, instance, "ingest", shard).success
        assert execute(lines[0], instance, "derive").success
        assert execute(lines[1], instance, "derive").success
    for line in lines:  # how the last stage went is in the share too
        assert unpublished(line.working_copy) == []
        assert {s.asset for s in read_stages(line.layout)} >= {"raw_prices", "reports"}
    for table, count in ((HISTORY, 8), (RISK_METRICS, 1), (WEIGHTS, 1)):
        mine, theirs = (
            {line.layout.relative(p): file_info(p).content_hash for p in line.layout.files(table)}
            for line in lines
        )
        assert mine == theirs
        assert len(mine) == count


def test_a_share_that_is_away_fails_the_step_by_name(folder, tmp_path):
    line = make_pipeline(tmp_path / "one", store_url=folder, workers=1)
    (tmp_path / "share").rename(tmp_path / "unplugged")
    with dg.DagsterInstance.ephemeral() as instance:
        result = execute(line, instance, "ingest", "XASX")
    assert not result.success
    failures = [e.step_failure_data for e in result.all_events if e.is_step_failure]
    assert "does not answer" in str(failures[0].error or failures[0].user_failure_data)
    assert not (tmp_path / "share").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://key:secret@bucket/x", "no credentials"),
        ("az://container/x?sig=secret", "no credentials"),
        ("http://bucket/x", "s3://"),
        ("data/share", "s3://"),
        ("file://share", "three slashes"),
        ("s3:///x", "names no bucket"),
    ],
)
def test_a_url_that_cannot_be_one_is_refused_without_repeating_secrets(monkeypatch, url, words):
    monkeypatch.setenv("ETF_STORE_URL", url)
    with pytest.raises(SettingsError, match="ETF_STORE_URL") as caught:
        load_settings()
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(ValidationError):
        Settings(store_url=url)


def test_an_empty_url_is_none(monkeypatch):
    monkeypatch.setenv("ETF_STORE_URL", "")
    assert load_settings().store_url is None


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (dt.timedelta(minutes=1), "1 minute old"),
        (dt.timedelta(minutes=5), "5 minutes old"),
        (dt.timedelta(hours=30), "30 hours old"),
        (dt.timedelta(days=9), "9 days old"),
    ],
)
def test_ages_are_told_as_people_say_them(ago, words):
    now = dt.datetime(2025, 11, 12, 12, tzinfo=UTC)
    assert words in Freshness("s3://x", now - ago, "away").warning(now)
    assert Freshness("s3://x", now - ago).warning(now) is None
    assert "never pulled" in Freshness("s3://x", None, "away").warning(now)
