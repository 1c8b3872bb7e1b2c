"""The things that go wrong, each by the name that a script has for it."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
import signal
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from confluent_kafka import Producer

from etf_pipeline_tests.soak import brokers
from etf_pipeline_tests.soak.checker import Loss
from etf_pipeline_tests.soak.ledger import CHANNELS, LINEAGE
from etf_pipeline_tests.soak.nursery import can_forbid_writing
from etf_pipeline_tests.soak.operating import declare_losses, must
from etf_pipeline_tests.soak.reading import archived, numbered, store_id, topics
from etf_pipeline_tests.soak.script import EMBEDDED, NOT_YET, Step
from etf_pipeline_tests.soak.world import FAKETIME, Process, Store, World

_CLOCKS = ("+1d", "-1d", "+400d", "-3h", "+1h", "+0")


def take(world: World, step: Step) -> None:
    """Wait as the script says, then do it."""
    world.await_events(step.after)
    world.choose.seed(f"{world.script.seed}-{step.choice}")
    if step.what in NOT_YET:
        world.say(f"{step.what}: passed over")
        return
    world.say(step.what)
    STEPS[step.what](world)


def _one(world: World, processes: list[Process]) -> Process | None:
    return world.choose.choice(processes) if processes else None


def _store(world: World) -> Store:
    return world.choose.choice(world.stores)


def _recorder(world: World) -> Process | None:
    found = _one(world, world.running("recorder"))
    if found is not None:
        world.await_started(found)
    return found


def kill_recorder(world: World) -> None:
    victim = _recorder(world)
    if victim is not None:
        world.kill(victim)
        world.recorder(victim.store)


def end_recorder(world: World) -> None:
    victim = _recorder(world)
    if victim is not None:
        world.signal(victim, signal.SIGTERM)
        world.recorder(victim.store)


def fork_and_child_goes_on(world: World) -> None:
    victim = _recorder(world)
    if victim is not None:
        world.signal(victim, signal.SIGUSR1)


def fork_and_child_ends(world: World) -> None:
    victim = _recorder(world)
    if victim is not None:
        world.signal(victim, signal.SIGUSR2)


def too_large(world: World) -> None:
    victim = _recorder(world)
    if victim is not None:
        world.signal(victim, signal.SIGHUP)


def archive(world: World) -> None:
    world.command(_store(world), "events", "archive")


def archive_and_prune(world: World) -> None:
    world.command(_store(world), "events", "archive", "--prune")


def kill_archiving(world: World) -> None:
    victim = world.command(_store(world), "events", "archive", "--prune")
    time.sleep(world.choose.uniform(0.05, 0.6))
    world.kill(victim)


def verify(world: World) -> None:
    world.command(_store(world), "events", "verify", "--json")


def kill_replayer(world: World) -> None:
    victim = _one(world, world.running("replayer"))
    if victim is not None:
        world.kill(victim)
        world.replayer(victim.store)


def kill_projector(world: World) -> None:
    _projector(world, world.kill)


def end_projector(world: World) -> None:
    _projector(world, lambda p: world.signal(p, signal.SIGTERM))


def _projector(world: World, end: Callable[[Process], None]) -> None:
    store = _store(world)
    victim = _one(world, world.projectors(store))
    if victim is not None:
        end(victim)
        world.projector(store)


def clock_jumps(world: World) -> None:
    if FAKETIME is None:
        world.say("passed over: libfaketime is not installed")
        return
    offset = world.choose.choice(_CLOCKS)
    world.say(f"clock {offset}")
    world.set_clock(offset)
    if not any(p.clocked for p in world.running("recorder")):
        world.recorder(world.main, clocked=True)


def read_only(world: World) -> None:
    """The folder and its files may not be written for a while; who begins then is told."""
    if not can_forbid_writing():
        world.say("passed over: nothing may forbid root to write here")
        return
    folder = world.main.data / "events"
    if not folder.exists():
        return
    with world.excusing():
        before = {p: p.stat().st_mode for p in (folder, *folder.iterdir()) if not p.is_symlink()}
        for path, mode in before.items():
            path.chmod(mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
        victim = _recorder(world)
        if victim is not None and victim.store is world.main:
            world.kill(victim)
        unlucky = world.recorder(world.main)
        unlucky.killed = True  # it may end in any way, as long as nothing is lost
        time.sleep(world.choose.uniform(0.2, 0.5))
        for path, mode in before.items():
            if path.exists():
                path.chmod(mode)
    world.kill(unlucky)
    world.recorder(world.main)


def no_space(world: World) -> None:
    """No file of one recorder may grow for a while: as on a full disk, its calls fail."""
    victim = _recorder(world)
    if victim is None:
        return
    most = resource.RLIM_INFINITY
    with world.excusing():
        resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, (8_192, most))
        time.sleep(world.choose.uniform(0.1, 0.4))
        for pid in world.group(victim):  # it may have forked meanwhile
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
        time.sleep(0.1)


def runs_and_home_removed(world: World) -> None:
    """Runs, then Dagster's home is removed, and runs again."""
    store, most = world.main, 1 if world.script.short else 2
    _runs(world, store, 1 + world.choose.randrange(most))
    shutil.rmtree(store.env["DAGSTER_HOME"], ignore_errors=True)
    world.say("Dagster's home removed")
    _runs(world, store, 1 + world.choose.randrange(most))


def _runs(world: World, store: Store, count: int) -> None:
    days = [str(store.runs + k + 1) for k in range(count)]
    store.runs += count
    prices = store.env["ETF_SOURCE"].removeprefix("files:")
    made = world.start(store, "orchestrator", str(store.ledgers), prices, *days)
    world.await_end(made, 180.0)


def _silence(world: World, store: Store) -> None:
    """Kill whatever has files of the store open, and what it forked."""
    mine = [p for p in world.processes if p.store is store]
    for process in mine:
        world.kill(process)
    world.poll(lambda: not any(map(world.group, mine)), 30.0, f"all of {store.name} is killed")


def _again(world: World, store: Store) -> None:
    """Start anew what a store has running."""
    for _ in range(world.script.recorders):
        world.recorder(store)
    world.replayer(store)
    world.projector(store)


def log_restored(world: World) -> None:
    """A backup of the log, taken while nothing wrote, is put back after it had gone on."""
    store = world.main
    _silence(world, store)
    if not store.log.exists():
        _again(world, store)
        return
    world.settle_wal(store)
    backup = store.data.parent / "backup"
    shutil.copytree(store.data / "events", backup, ignore=shutil.ignore_patterns("archive"))
    _again(world, store)
    time.sleep(world.choose.uniform(0.3, 0.8))
    _silence(world, store)
    _lose(world, store, _ids(backup))
    for path in (store.data / "events").iterdir():
        if path.is_file():
            path.unlink()
    shutil.copytree(backup, store.data / "events", dirs_exist_ok=True)
    shutil.rmtree(backup)
    _again(world, store)
    # What only Kafka has of the log that went would go with the next broker that loses its disk.
    must(world, store, "events", "archive")
    declare_losses(world, store)


def _ids(folder: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(folder / "events.sqlite")) as db:
        return [i for (i,) in db.execute("SELECT id FROM events")]


def _lose(world: World, store: Store, kept: Iterable[str] = ()) -> None:
    """Note what goes with the local log: all but what is `kept`, in Kafka, or archived."""
    left = _kept_elsewhere(world, store) | {*kept}
    gone = {number for number, name in numbered(store.data).items() if name not in left}
    store.losses.append(Loss(time.monotonic(), left, gone))
    world.say(f"{len(gone)} events are lost with their log")


def _kept_elsewhere(world: World, store: Store) -> set[str]:
    found = set(archived(store.data))
    if world.script.mode != EMBEDDED:
        found |= {r.id for r in topics(world.servers, world.prefix)}
    return found


def fresh_machine(world: World) -> None:
    """The machine is lost with its log; another one continues the store under its id."""
    store = world.main
    if not store.log.exists():
        return
    _silence(world, store)
    _lose(world, store)
    if world.choose.random() < 0.3:  # only its log is lost
        for path in (store.data / "events").glob("events.sqlite*"):
            path.unlink()
        world.say("the log is lost, its folder is not")
    else:
        _move(store)
    _again(world, store)
    # What only Kafka has of the old machine would go with the next broker that loses its disk.
    must(world, store, "events", "archive")
    declare_losses(world, store)


def _move(store: Store) -> None:
    store.env["EVENT_STORE_ID"] = store_id(store.data)
    before = store.data
    store.data = before.with_name(f"{before.name}-{len(store.losses)}")
    store.env["ETF_DATA_DIR"] = str(store.data)
    shutil.copytree(before, store.data, ignore=shutil.ignore_patterns("events"))
    if (before / "events" / "archive").exists():
        shutil.copytree(before / "events" / "archive", store.data / "events" / "archive")


def broker_killed(world: World) -> None:
    assert world.broker is not None
    world.broker.kill()
    time.sleep(world.choose.uniform(0.05, 0.5))
    world.broker.start()


def broker_paused(world: World) -> None:
    assert world.broker is not None
    world.broker.pause()
    time.sleep(world.choose.uniform(0.2, 1.5))
    world.broker.resume()


def broker_wiped(world: World) -> None:
    """With the rights, where it has any."""
    assert world.broker is not None
    world.broker.kill()
    shutil.rmtree(world.broker.folder / "data", ignore_errors=True)
    world.broker.start()
    brokers.permit(world.broker, world.prefix)
    _projectors_again(world)


def topics_made_anew(world: World) -> None:
    partitions = world.choose.choice((None, 1, 2, 5, world.script.partitions))
    brokers.make_anew(world.servers, world.prefix, partitions)
    world.say(f"topics made anew, partitions {partitions or 'left to the publisher'}")


def records_deleted(world: World) -> None:
    gone, went = brokers.delete_records(world.servers, world.prefix, world.choose)
    world.expired |= went
    for place, low in gone.items():
        world.deleted[place] = max(low, world.deleted.get(place, 0))
    world.say(f"records deleted: {gone}")


def poison(world: World) -> None:
    """Another program writes what is not ours into our topics."""
    channel = world.choose.choice((*CHANNELS, LINEAGE))
    producer = Producer({"bootstrap.servers": world.servers, "log_level": 0, "acks": "all"})
    errors: list[object] = []
    sent = world.choose.sample(brokers.FOREIGN, 3)
    for headers, value in sent:
        producer.produce(
            f"{world.prefix}.{channel}",
            value,
            b"VAS",
            headers=headers,
            on_delivery=lambda error, _: errors.append(error),
        )
    producer.flush(10.0)
    world.foreign += sum(e is None for e in errors)
    world.say(f"{sum(e is None for e in errors)} foreign records in {channel}")


def rights_withdrawn(world: World) -> None:
    assert world.broker is not None
    kept = world.choose.choice(brokers.PARTS_OF_RIGHTS)
    world.say(f"rights left: {json.dumps(kept)}")
    brokers.withdraw(world.broker)
    brokers.permit(world.broker, world.prefix, kept)
    time.sleep(world.choose.uniform(0.3, 1.2))
    brokers.permit(world.broker, world.prefix)
    _projectors_again(world)


def _projectors_again(world: World) -> None:
    """Those that ended as they were refused."""
    for store in world.stores:
        if not world.projectors(store):
            world.projector(store)


STEPS: dict[str, Callable[[World], None]] = {
    f.__name__: f
    for f in (
        kill_recorder,
        end_recorder,
        fork_and_child_goes_on,
        fork_and_child_ends,
        too_large,
        archive,
        archive_and_prune,
        kill_archiving,
        verify,
        kill_replayer,
        end_projector,
        kill_projector,
        clock_jumps,
        read_only,
        no_space,
        runs_and_home_removed,
        log_restored,
        fresh_machine,
        broker_killed,
        broker_paused,
        broker_wiped,
        topics_made_anew,
        records_deleted,
        poison,
        rights_withdrawn,
    )
}
