"""A process that emits events through a recorder, for tests that end it in many ways.

Arguments: data dir, servers, prefix, first number, count, how it ends, and a file that gets each
event's id after the recorder has taken it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from etf_pipeline.events.factory import open_events
from etf_pipeline.events.settings import EventSettings
from etf_pipeline_tests.events_support import T0, query


def main() -> None:
    folder, servers, prefix, first, count, ending, told = sys.argv[1:8]
    settings = EventSettings(
        event_store_type="kafka",
        kafka_bootstrap_servers=servers,
        kafka_topic_prefix=prefix,
        kafka_topic_partitions=3,
    )
    recorder = open_events(Path(folder), settings)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with Path(told).open("a") as handle:
        for i in range(int(first), int(first) + int(count)):
            event = query(i, f"T{i % 11}", T0)
            recorder.append([event])
            handle.write(event.id + "\n")
            handle.flush()
    print("emitted", flush=True)
    if ending == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif ending == "sigterm":
        os.kill(os.getpid(), signal.SIGTERM)
    elif ending == "stay":
        time.sleep(3600)


if __name__ == "__main__":
    main()
