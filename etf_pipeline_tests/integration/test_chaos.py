"""20,000 events from three processes while the broker and the processes are killed at random.

Afterwards the read model holds exactly the events that were handed over, each once.
"""

import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from etf_pipeline.events.factory import open_events
from etf_pipeline.events.kafka.publisher import Publisher
from etf_pipeline.events.log.projections import Projections
from etf_pipeline_tests.events_support import kafka_settings
from etf_pipeline_tests.integration.test_event_cases import emit

EVENTS, PROCESSES, SEED = 20_000, 3, 20251112
WORKER = """
import signal
import sys
from pathlib import Path
from etf_pipeline.events.kafka.log import KafkaLog
from etf_pipeline.events.kafka.worker import Worker
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.settings import EventSettings
settings = EventSettings(event_store_type="kafka", kafka_bootstrap_servers=sys.argv[1],
                         kafka_topic_prefix=sys.argv[2], kafka_topic_partitions=3)
projections, workers, stopped = Projections(Path(sys.argv[3])), [], []


def stop(*_):
    stopped.append(True)
    for worker in workers:
        worker.stop()


signal.signal(signal.SIGTERM, stop)
while not stopped:
    try:
        workers[:] = [Worker(KafkaLog(settings), projections, "readers")]
        if not stopped:
            workers[0].run()
    except Exception as error:
        print(error, file=sys.stderr)
"""


class Emitters:
    """Processes that share one outbox; each goes on where the one before it was killed."""

    def __init__(self, folder, settings):
        self.folder, self.settings = folder, settings
        self.told = [folder / f"told{k}" for k in range(PROCESSES)]
        self.share = EVENTS // PROCESSES
        self.running = {}

    def start(self, k):
        done = len(self.told[k].read_text().split()) if self.told[k].exists() else 0
        if done < self.share:
            self.running[k] = emit(
                self.folder,
                self.settings,
                100_000 * k + done,
                self.share - done,
                "normal",
                self.told[k],
            )

    def finished(self):
        for k, process in list(self.running.items()):
            if process.poll() is not None:
                del self.running[k]
                self.start(k)
        return not self.running

    def handed_over(self):
        return {i for t in self.told for i in t.read_text().split()}


def worker(broker, settings, path):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, broker.servers, settings.kafka_topic_prefix, str(path)],
        stderr=path.with_suffix(".log").open("a"),
    )


@pytest.fixture
def processes():
    made = []
    yield made
    for process in made:
        process.kill()
        process.wait()


def test_nothing_is_lost_and_nothing_counts_twice(tmp_path, own_broker, processes):
    choose = random.Random(SEED)
    settings = kafka_settings(own_broker.servers)
    emitters = Emitters(tmp_path, settings)
    for k in range(PROCESSES):
        emitters.start(k)
    readers = [worker(own_broker, settings, tmp_path / "read.sqlite") for _ in range(2)]
    processes += readers
    deadline, kills = time.monotonic() + 120, {"broker": 0, "emitter": 0, "reader": 0, "wiped": 0}
    while not emitters.finished() and time.monotonic() < deadline:
        time.sleep(choose.uniform(0.1, 0.5))
        # emitters first: on a slow machine they may be done before their turn would come
        few = kills["emitter"] < 3
        victim = "emitter" if few else choose.choice(["broker", "emitter", "emitter", "reader"])
        if kills[victim] >= (4 if victim == "broker" else 8):
            continue
        kills[victim] += 1
        if victim == "broker":
            own_broker.kill()
            if kills["broker"] == 3:  # and once its disk is lost too
                shutil.rmtree(own_broker.folder / "data")
                kills["wiped"] += 1
            own_broker.start()
        elif victim == "emitter" and emitters.running:
            choose.choice(sorted(emitters.running.items()))[1].send_signal(signal.SIGKILL)
        elif victim == "reader":
            n = choose.randrange(2)
            # noida-db waits for ever for a group member that dies during a rebalance
            readers[n].kill() if own_broker.durable else readers[n].terminate()
            readers[n].wait(30)
            readers[n] = worker(own_broker, settings, tmp_path / "read.sqlite")
            processes.append(readers[n])
    assert emitters.finished(), "the emitters did not come to an end"
    assert kills["broker"] >= 1
    assert kills["emitter"] >= 3

    recorder = open_events(tmp_path, settings, publish=False)
    handed = emitters.handed_over()
    assert len(handed) >= EVENTS - PROCESSES
    read_model = Projections(tmp_path / "read.sqlite")
    written = {e.id for batch in recorder.log.read() for e in batch}
    assert handed <= written  # a kill between recording and telling leaves a few more
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        Publisher(recorder.log, recorder.broker).drain(20)
        if recorder.log.count_pending() == 0 and read_model.event_ids() == written:
            break
        time.sleep(0.5)
    print(kills, (tmp_path / "read.log").read_text()[-3000:])
    missed, more = written - read_model.event_ids(), read_model.event_ids() - written
    assert (len(missed), len(more)) == (0, 0)
    assert sum(read_model.query_counts().values()) == len(written)
    assert recorder.log.verify().events == len(written)
    assert len(written) - len(handed) <= kills["emitter"]
    recorder.close(0)
    read_model.close()
