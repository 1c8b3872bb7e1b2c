"""The peak memory of this process, as the kernel knows it of the process alone.

`ru_maxrss` is no measure of a child: it begins with what its parent had when it was started, so
that a peak below that reads as no growth at all.
"""

from __future__ import annotations

import re
from pathlib import Path

_PROC = Path("/proc/self")


def peak_mib() -> float:
    """Most resident memory since the start, or since `forget_peak`, in MiB (Linux)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", (_PROC / "status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def forget_peak() -> float:
    """Let the peak begin anew with what is resident now; returns that, in MiB."""
    (_PROC / "clear_refs").write_text("5")
    return peak_mib()
