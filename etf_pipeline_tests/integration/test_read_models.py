"""Read models from brokers: groups are not shared; what topics no longer have is found or told."""

import logging
import shutil
import subprocess
import sys
import threading

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from etf_pipeline.errors import EventError
from etf_pipeline.events.factory import open_events
from etf_pipeline.events.kafka.claims import ClaimedError
from etf_pipeline.events.kafka.log import KafkaLog
from etf_pipeline.events.kafka.topics import topic_name
from etf_pipeline.events.log.projections import Place, Projections
from etf_pipeline.events.model.types import CHANNELS, QUERY
from etf_pipeline_tests.events_support import WORKER, kafka_settings, queries
from etf_pipeline_tests.integration.test_event_cases import wait_until


def settings_for(broker, **changes):
    return kafka_settings(broker.servers, event_store_id="instance", **changes)


@pytest.fixture
def opened():
    """Opens things that are closed at the end."""
    made = []

    def keep(thing):
        made.append(thing)
        return thing

    yield keep
    for thing in made:
        thing.close()


def machine(opened, folder, settings, *events):
    """A machine of the store, and what it has recorded and sent."""
    mine = opened(open_events(folder, settings, publish=False))
    mine.append(list(events))
    assert mine.drain(30) == 0
    return mine


class Running:
    """A worker in a thread."""

    def __init__(self, worker):
        self.worker, self.done, self.error = worker, None, None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.done = self.worker.run()
        except Exception as error:
            self.error = error

    def close(self):
        self.worker.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()


def claimed(settings, group):
    """What a group says on its offset."""
    consumer = KafkaLog(settings).reader.consumer(**{"group.id": group})
    try:
        place = TopicPartition(topic_name(settings, QUERY), 0)
        return consumer.committed([place], timeout=10)[0].metadata
    except KafkaException:  # the group's broker is being found
        return None
    finally:
        consumer.close()


def delete_records(settings, upto=None):
    """Have the broker let go of what the topic of the queries holds."""
    store = KafkaLog(settings)
    ends = {k: upto or high for k, (_, high) in store.ranges([QUERY]).items()}
    places = [TopicPartition(topic_name(settings, c), p, o) for (c, p), o in ends.items() if o]
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for future in admin.delete_records(places).values():
        future.result(20)
    store.close()


def test_each_read_model_has_a_group_of_its_own(tmp_path, broker, opened):
    settings = settings_for(broker)
    mine = machine(opened, tmp_path / "store", settings, *queries(80))
    models = [opened(Projections(tmp_path / f"{k}.sqlite")) for k in range(2)]
    workers = [opened(Running(mine.projector(m))).worker for m in models]
    for model in models:
        wait_until(lambda model=model: len(model.event_ids()) == 80, 60)
    wait_until(lambda: all(len(w.assigned) == 9 for w in workers), 60)  # none is shared
    assert workers[0].group != workers[1].group


def test_a_group_of_other_read_models_is_refused_though_these_do_not_run(tmp_path, broker, opened):
    settings = settings_for(broker)
    mine = machine(opened, tmp_path / "store", settings, *queries(40))
    first, second = (opened(Projections(tmp_path / f"{k}.sqlite")) for k in "ab")
    group = f"{settings.kafka_topic_prefix}.shared"
    assert mine.projector(first, group).run(once=True) == 40
    for once in (True, False):
        with pytest.raises(ClaimedError, match=r"a\.sqlite .*--group"):
            mine.projector(second, group).run(once)
    assert second.event_ids() <= first.event_ids()
    mine.append(queries(5, start=40))
    assert mine.projector(first, group).run(once=True) == 5


def test_a_group_of_other_read_models_is_refused_while_these_run(tmp_path, broker, opened):
    settings = settings_for(broker)
    mine = machine(opened, tmp_path / "store", settings, *queries(40))
    first, second = (opened(Projections(tmp_path / f"{k}.sqlite")) for k in "ab")
    group = f"{settings.kafka_topic_prefix}.shared"
    running = opened(Running(mine.projector(first, group)))
    wait_until(lambda: running.worker.assigned, 60)
    with pytest.raises(ClaimedError, match=r"a\.sqlite"):
        mine.projector(second, group).run(once=True)
    late = opened(Running(mine.projector(second, group)))
    wait_until(lambda: late.error is not None, 60)
    assert isinstance(late.error, ClaimedError)
    machine(opened, tmp_path / "other", settings, *queries(40, start=40))
    wait_until(lambda: len(first.event_ids()) == 80, 60)
    assert running.error is None


def test_a_copy_of_read_models_does_not_share_their_group(tmp_path, broker, opened, caplog):
    settings = settings_for(broker)
    mine = machine(opened, tmp_path / "store", settings, *queries(40))
    first = Projections(tmp_path / "a.sqlite")
    running = Running(mine.projector(first))
    wait_until(lambda: running.worker.assigned and first.claims(), 60)
    running.close()
    first.close()
    shutil.copy(tmp_path / "a.sqlite", tmp_path / "b.sqlite")
    models = [opened(Projections(tmp_path / f"{k}.sqlite")) for k in "ab"]
    workers = [opened(Running(mine.projector(m))).worker for m in models]
    wait_until(lambda: all(len(w.assigned) == 9 for w in workers), 90)
    assert workers[0].group != workers[1].group
    assert "a copy of these read models" in caplog.text


def test_workers_of_one_file_share_the_partitions(tmp_path, broker, opened):
    settings = settings_for(broker)
    mine = machine(opened, tmp_path / "store", settings, *queries(40))
    models = [opened(Projections(tmp_path / "a.sqlite")) for _ in range(2)]
    workers = [opened(Running(mine.projector(m))) for m in models]

    def shared():
        parts = [w.worker.assigned for w in workers]
        return all(parts) and len(parts[0] | parts[1]) == 9 and not parts[0] & parts[1]

    wait_until(shared, 60)
    machine(opened, tmp_path / "other", settings, *queries(40, start=40))
    wait_until(lambda: len(models[0].event_ids()) == 80, 60)
    assert [w.error for w in workers] == [None, None]


def test_once_ends_though_the_group_waits_for_dead_members(tmp_path, own_broker, opened):
    settings = settings_for(own_broker, kafka_topic_partitions=3)
    mine = machine(opened, tmp_path / "store", settings, *queries(40))
    machine(opened, tmp_path / "other", settings, *queries(40, start=40))
    path = tmp_path / "read.sqlite"
    command = [
        sys.executable,
        "-c",
        WORKER,
        own_broker.servers,
        settings.kafka_topic_prefix,
        str(path),
    ]
    workers = [subprocess.Popen(command) for _ in range(3)]
    model = opened(Projections(path))
    try:
        wait_until(lambda: claimed(settings, "readers"), 60)
    finally:
        for w in workers:
            w.kill()
            w.wait()
    assert mine.projector(model, "readers").run(once=True) >= 0
    assert model.event_ids() == {e.id for e in queries(80)}


def test_what_topics_no_longer_have_comes_from_the_local_log(tmp_path, broker, opened):
    settings = settings_for(broker)
    mine = machine(opened, tmp_path / "store", settings, *queries(200))
    delete_records(settings)
    mine.append(queries(5, start=200))  # and these were not sent yet
    model = opened(Projections(tmp_path / "p.sqlite"))
    assert mine.projector(model).run(once=True) == 205
    assert model.event_ids() == {e.id for e in queries(205)}


def test_what_another_machine_sent_and_nothing_has_is_named(tmp_path, broker, opened):
    settings = settings_for(broker, kafka_topic_partitions=1)
    mine = machine(opened, tmp_path / "store", settings, *queries(10))
    other = machine(opened, tmp_path / "other", settings, *queries(20, start=100))
    model = opened(Projections(tmp_path / "p.sqlite"))
    delete_records(settings, upto=25)  # ten of ours, then fifteen of theirs
    with pytest.raises(EventError, match=f"query-events 1 to 15 of log {other.log.id}"):
        mine.projector(model).run(once=True)
    wanted = {e.id for e in [*queries(10), *queries(5, start=115)]}
    assert model.event_ids() == wanted  # the rest was taken in


def test_events_of_other_stores_are_left_out_and_counted(tmp_path, broker, opened):
    settings = settings_for(broker)
    mine = machine(opened, tmp_path / "store", settings, *queries(30))
    foreign = [e._replace(source="/etf_pipeline/neighbour") for e in queries(12, start=50)]
    theirs = kafka_settings(
        broker.servers,
        event_store_id="neighbour",
        kafka_topic_prefix=settings.kafka_topic_prefix,
    )
    machine(opened, tmp_path / "neighbour", theirs, *foreign)
    model = opened(Projections(tmp_path / "p.sqlite"))
    assert mine.projector(model).run(once=True) == 30
    assert model.event_ids() == {e.id for e in queries(30)}
    assert model.others() == {"/etf_pipeline/neighbour": 12}
    assert mine.projector(model).run(once=True) == 0
    assert model.others() == {"/etf_pipeline/neighbour": 12}  # counted once


def test_a_worker_outlives_topics_that_were_made_anew_with_more_partitions(
    tmp_path, own_broker, opened, caplog
):
    settings = settings_for(own_broker, kafka_topic_partitions=2)
    mine = machine(opened, tmp_path / "store", settings, *queries(30))
    model = opened(Projections(tmp_path / "p.sqlite"))
    with caplog.at_level(logging.WARNING):
        running = opened(Running(mine.projector(model)))
        wait_until(lambda: len(running.worker.assigned) == 6, 60)
        admin = AdminClient({"bootstrap.servers": own_broker.servers})
        names = [topic_name(settings, c) for c in CHANNELS]
        for future in admin.delete_topics(names).values():
            future.result(20)
        wait_until(lambda: not set(names) & set(admin.list_topics(timeout=10).topics), 30)
        wider = settings.model_copy(update={"kafka_topic_partitions": 5})
        machine(opened, tmp_path / "other", wider, *queries(40, start=100))
        wanted = {e.id for e in [*queries(30), *queries(40, start=100)]}
        wait_until(lambda: model.event_ids() == wanted, 90)
    assert running.error is None


@pytest.mark.parametrize("once", [True, False])
def test_what_was_passed_over_in_a_topic_that_was_made_anew_is_read(tmp_path, broker, opened, once):
    """Nobody noticed, and reading went on where the topic before had ended."""
    settings = settings_for(broker, kafka_topic_partitions=1)
    mine = machine(opened, tmp_path / "store", settings, *queries(10))
    machine(opened, tmp_path / "other", settings, *queries(20, start=100))
    model = opened(Projections(tmp_path / "p.sqlite"))
    last = KafkaLog(settings).reader.ids_at({(QUERY, 0): 24})[(QUERY, 0)]
    model.apply([], places={(QUERY, 0): Place(25, last)})
    wanted = {e.id for e in [*queries(10), *queries(20, start=100)]}
    if once:
        assert mine.projector(model).run(once=True) == 30
    else:
        running = opened(Running(mine.projector(model)))
        wait_until(lambda: model.event_ids() == wanted, 60)
        assert running.error is None
    assert model.event_ids() == wanted
    assert model.place(QUERY, 0).next == 30


def test_a_worker_finds_partitions_that_were_added(tmp_path, broker, opened):
    settings = settings_for(broker, kafka_topic_partitions=2)
    mine = machine(opened, tmp_path / "store", settings, *queries(30))
    model = opened(Projections(tmp_path / "p.sqlite"))
    running = opened(Running(mine.projector(model)))
    wait_until(lambda: len(running.worker.assigned) == 6, 60)
    admin = AdminClient({"bootstrap.servers": broker.servers})
    (future,) = admin.create_partitions([NewPartitions(topic_name(settings, QUERY), 4)]).values()
    future.result(20)
    other = opened(open_events(tmp_path / "other", settings, publish=False))
    other.append(queries(60, tickers=30, start=100))
    wait_until(lambda: other.drain(5) == 0, 60)
    wait_until(lambda: len(model.event_ids()) == 90, 60)


def test_a_worker_without_news_takes_in_what_comes(tmp_path, broker, opened):
    """Fetching rests while nothing comes; what then comes is found by both ways."""
    settings = settings_for(broker)
    mine = machine(opened, tmp_path / "store", settings, *queries(10))
    other = opened(open_events(tmp_path / "other", settings, publish=False))
    model = opened(Projections(tmp_path / "p.sqlite"))
    running = opened(Running(mine.projector(model)))
    wait_until(lambda: running.worker.resting, 60)
    for n in range(1, 4):
        mine.append(queries(10, start=100 * n))
        other.append(queries(10, start=1_000 * n))
        assert other.drain(30) == 0
        wait_until(lambda n=n: len(model.event_ids()) == 10 + 20 * n, 30)
        wait_until(lambda: running.worker.resting, 30)


def test_read_models_need_not_wait_for_brokers_to_have_what_is_local(tmp_path, own_broker, opened):
    settings = settings_for(own_broker)
    mine = machine(opened, tmp_path / "store", settings, *queries(10))
    model = opened(Projections(tmp_path / "p.sqlite"))
    running = opened(Running(mine.projector(model)))
    wait_until(lambda: len(model.event_ids()) == 10, 60)
    own_broker.kill()
    mine.append(queries(10, start=10))
    wait_until(lambda: len(model.event_ids()) == 20, 60)
    own_broker.start()
    assert running.error is None
