"""Which process wrote or holds something, and whether it is still there."""

from __future__ import annotations

import os
import socket
import zlib

# Names this host in temp files, leases and run tags; a store may be shared by several.
HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"

FOREIGN_SECONDS = 86_400  # what a process of another host left for so long, it left for good
_SLACK = 5.0  # seconds by which two readings of when a process began may differ


def process_name() -> str:
    """This process, as `is_gone` reads it: host and process number, joined by `-`."""
    return named_process(os.getpid())


def named_process(pid: int) -> str:
    """The same of another process of this host."""
    return f"{HOST}-{pid}"


def started_at(pid: int) -> float | None:
    """When a process of this host began, in seconds since 1970; None where that is not known."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def is_gone(name: str) -> bool:
    """Whether a name by `process_name` (and more after another `-`) is of a dead process here.

    False for a process of another host, of which nothing can be known, and for any other text.
    """
    host, _, rest = name.partition("-")
    pid = rest.partition("-")[0]
    return host == HOST and pid.isdigit() and not process_alive(int(pid))


def has_ended(name: str, began: float | None) -> bool:
    """Whether a process is known to be gone, or its number to be another's by now.

    Args:
        name: by `process_name`.
        began: when it began, by `started_at`; None where that is not known.
    """
    if is_gone(name):
        return True
    host, _, pid = name.partition("-")
    if began is None or host != HOST:
        return False
    now = started_at(int(pid))
    return now is not None and abs(now - began) > _SLACK


def process_alive(pid: int) -> bool:
    """Whether this host has a process of that number.

    By psutil, as there is no signal that only asks on Windows: `os.kill` with signal 0 ends the
    other process's console group there.
    """
    import psutil  # takes a while to import, and most commands never ask

    return bool(psutil.pid_exists(pid))
