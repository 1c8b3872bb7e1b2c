import os
import subprocess
import sys

import pytest

from etf_pipeline.store.processes import HOST, is_gone, process_alive, process_name


@pytest.fixture
def dead():
    """Number of a process that has ended and was waited for."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_this_process_is_alive_and_one_that_ended_is_not(dead):
    assert process_alive(os.getpid())
    assert not process_alive(dead)


def test_asking_does_not_disturb_the_other_process():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert process_alive(child.pid)
        assert child.poll() is None
    finally:
        child.communicate(b"\n")
    assert child.returncode == 0


def test_a_name_is_gone_only_with_a_process_of_this_host(dead):
    assert process_name() == f"{HOST}-{os.getpid()}"
    assert not is_gone(process_name())
    assert is_gone(f"{HOST}-{dead}")
    assert is_gone(f"{HOST}-{dead}-and-more")
    other = "00000000" if HOST != "00000000" else "11111111"
    for unknown in (f"{other}-{dead}", f"{HOST}-x", HOST, str(dead), ""):
        assert not is_gone(unknown)
