"""The clock of a machine, which may be off: the pipeline's own, by the clock that it may be given.

libfaketime would set the clock of the whole process; that of Debian (0.9.10) breaks `time.sleep` of
Python where it leaves the monotonic clock alone, and waiting with a timeout where it does not.
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

from etf_pipeline.ingest.source import utc_now

# Of a file with the seconds by which the clock is off.
CLOCK_FILE = "ETF_TEST_CLOCK_FILE"


def machine_clock() -> dt.datetime:
    """What time it is on this machine, as far as it knows."""
    return utc_now() + dt.timedelta(seconds=int(Path(os.environ[CLOCK_FILE]).read_text()))
