"""A program that has work done by workers: `python workers_program.py FOLDER`.

Without a guard of `__main__`, as scripts are: it must not run again in each worker.
"""

import os
import signal
import sys
from pathlib import Path

from etf_pipeline.steps.workers import spread
from etf_pipeline_tests.workers_support import Files

folder = Path(sys.argv[1])
(folder / f"{os.getpid()}.program").touch()
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    spread(Files(folder), range(64), 2, least=2)
except KeyboardInterrupt:
    sys.exit(130)
