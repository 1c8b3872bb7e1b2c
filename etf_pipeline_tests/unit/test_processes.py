import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import etf_pipeline
from etf_pipeline.store.processes import HOST, is_gone, process_alive, process_name

PACKAGE = Path(etf_pipeline.__file__).parent


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


def probes(text):
    """Lines that call `os.kill`, by whatever name, with signal 0."""
    tree = ast.parse(text)
    names = {"kill"}  # of `os.kill`, and of `from os import kill as …`
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            names |= {a.asname or a.name for a in node.names if a.name == "kill"}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and len(node.args) == 2:
            function = node.func
            called = function.attr if isinstance(function, ast.Attribute) else None
            called = function.id if isinstance(function, ast.Name) else called
            signal = node.args[1]
            if called in names and isinstance(signal, ast.Constant) and signal.value == 0:
                found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("import os\nos.kill(pid, 0)\n", [2]),
        ("from os import kill as ask\nask(1, 0)\n", [2]),
        ("import os as o\nif 1:\n    o.kill(1, 0)\n", [3]),
        ("import os, signal\nos.kill(1, signal.SIGTERM)\nos.getpid()\n", []),
    ],
)
def test_a_probe_by_signal_is_seen(text, lines):
    assert probes(text) == lines


def test_no_process_is_probed_by_a_signal():
    """On Windows that call ends the other process's console group instead of asking."""
    found = {
        p.relative_to(PACKAGE).as_posix(): lines
        for p in PACKAGE.rglob("*.py")
        if (lines := probes(p.read_text()))
    }
    assert found == {}
