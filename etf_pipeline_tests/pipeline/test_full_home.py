"""DAGSTER_HOME on a disk that fills up, or that cannot be written."""

import re
import shutil
import subprocess

import pytest

from etf_pipeline.errors import DiskFullError, ReasonCode, SettingsError
from etf_pipeline.orchestration.instance import disk_told, open_instance
from etf_pipeline.orchestration.kept_open import kept_open
from etf_pipeline_tests.support import disk_in_memory


def write(names):
    """Have Dagster record something, some hundred bytes at a time, as in a run."""
    with disk_told(), open_instance() as instance, kept_open(instance):
        for i in range(names):
            instance.add_dynamic_partitions("many", [f"{i}-{'x' * 200}"])
        assert instance.has_dynamic_partition("many", f"{names - 1}-{'x' * 200}")


# An I/O error where no byte is left, a full disk where little is.
@pytest.mark.parametrize("left", [0, 100_000])
def test_a_full_disk_is_said_with_the_folder_and_what_helps(tmp_path, monkeypatch, left):
    with disk_in_memory(tmp_path / "disk", "size=4m") as disk:
        home = disk / "home"
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        open_instance().dispose()
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(disk).free - left))
        named = re.escape(f"DAGSTER_HOME={home}: ") + ".*; free some space on its disk"
        with pytest.raises(DiskFullError, match=named) as told:
            write(1_000)
        assert told.value.code is ReasonCode.DISK_FULL
        ballast.unlink()
        write(1)


def read_only(disk):
    """What a mount becomes when its disk has a fault, too."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


def test_a_home_that_cannot_be_written_is_said_with_what_helps(tmp_path, monkeypatch):
    with disk_in_memory(tmp_path / "disk", "size=8m") as disk:
        monkeypatch.setenv("DAGSTER_HOME", str(disk / "home"))
        with open_instance() as instance:
            read_only(disk)
            with pytest.raises(SettingsError, match="; set it to a folder that can"), disk_told():
                instance.add_dynamic_partitions("many", ["one"])
        for home in (disk / "home", disk / "later"):
            monkeypatch.setenv("DAGSTER_HOME", str(home))
            with pytest.raises(SettingsError) as told:
                open_instance()
            why = "Read-only file system; set it to a folder that can be written"
            assert str(told.value) == f"DAGSTER_HOME={home}: {why}"
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
        write(1)


def test_other_errors_are_what_they_are():
    with pytest.raises(ZeroDivisionError), disk_told():
        raise ZeroDivisionError
