"""One cycle: things run, the script happens to them, all is given back, what is left is judged."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from etf_pipeline_tests.brokers import Broker
from etf_pipeline_tests.soak import brokers
from etf_pipeline_tests.soak.checker import judge, not_parked, not_sent
from etf_pipeline_tests.soak.ledger import read_ledgers
from etf_pipeline_tests.soak.nursery import Nursery
from etf_pipeline_tests.soak.operating import declare_losses, must, printed
from etf_pipeline_tests.soak.script import EMBEDDED, Script
from etf_pipeline_tests.soak.steps import take
from etf_pipeline_tests.soak.world import PATIENCE, Process, Store, World

_SEND_SECONDS = 90.0
_BROKEN = re.compile(r"Traceback \(most recent call last\)|unexpected \w+: ")
_FALSE_ALARM = "log untouched"


@dataclass(frozen=True)
class Outcome:
    """What came of a cycle."""

    script: Script
    faults: list[str]
    happened: list[str]
    figures: dict[str, int]

    def __str__(self) -> str:
        again = f"python -m etf_pipeline_tests.soak {self.script.seed} --mode {self.script.mode}"
        again += " --short" * self.script.short
        parts = (
            [f"{len(self.faults)} faults; again: {again}", *(f"  {f}" for f in self.faults)],
            ["the script:", str(self.script)],
            ["what happened:", *(f"  {h}" for h in self.happened)],
        )
        return "\n".join(line for part in parts for line in part)


def run_cycle(
    folder: Path, script: Script, nursery: Nursery, broker: Broker | None, *, keep: bool = True
) -> Outcome:
    """Run a cycle in a folder of its own, which goes when all was well and `keep` is not set.

    It ends in any case: after the script's seconds all of it is killed, and the fault says where
    each process was, and this one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    world = World(folder, script, nursery, broker)
    raised: list[BaseException] = []
    # Apart, as a call of a client that never returns takes no signal either.
    cycle = threading.Thread(target=_cycle, args=[world, raised], daemon=True)
    cycle.start()
    cycle.join(script.seconds)
    if cycle.is_alive():
        assert cycle.ident is not None
        here = traceback.format_stack(sys._current_frames()[cycle.ident])
        where = "\n".join(["".join(here), *world.abandon()])
        world.fault(f"the cycle did not end within {script.seconds:g} s:\n{where}")
    elif raised:
        raise raised[0]
    outcome = Outcome(script, world.faults, world.happened, _figures(world))
    if not world.faults and not keep:
        shutil.rmtree(folder)
    return outcome


def _cycle(world: World, raised: list[BaseException]) -> None:
    try:
        if world.broker is not None:
            brokers.permit(world.broker, world.prefix)
        try:
            _chaos(world)
            _quiet(world)
            _finish(world)
            _judge(world)
            _processes(world)
        finally:
            world.close()
    except BaseException as error:
        raised.append(error)


def _judge(world: World) -> None:
    found = {store.name: world.look(store) for store in world.stores}
    known = {i for left in found.values() for i in (*left.noted.intended, *left.here)}
    for store in world.stores:
        left = found[store.name]
        faults = [*judge(left), *([] if store.losses else not_parked(left, known))]
        for fault in faults:
            world.fault(f"{store.name}: {fault}")


def _chaos(world: World) -> None:
    for store in world.stores:
        for _ in range(world.script.recorders if store is world.main else 1):
            world.recorder(store)
        world.replayer(store)
        for _ in range(world.script.projectors):
            world.projector(store)
    for step in world.script.steps:
        take(world, step)


def _quiet(world: World) -> None:
    """Give everything back and let what is running come to its end, or kill it."""
    world.say("quiet")
    world.set_clock("+0")
    abrupt = world.choose.random() < 0.4
    for store in world.stores:
        (store.ledgers / "stop").touch()
    for process in [p for p in world.processes if p.clocked]:
        world.kill(process)  # waits that began under another clock may end in a year
    for process in world.running("recorder"):
        if abrupt:
            world.kill(process)
        else:
            world.await_end(process)
    for process in world.running("replayer"):
        world.await_end(process)
    for store in world.stores:
        for process in world.projectors(store):
            world.end(process)
        for process in world.running("cli", store):
            world.await_end(process, 2 * PATIENCE)
        _await_forked(world, store)


def _await_forked(world: World, store: Store) -> None:
    """What recorders forked ends by itself too."""
    recorders = [p for p in world.processes if p.store is store and p.program == "recorder"]
    ended = world.poll(
        lambda: not any(map(world.group, recorders)),
        PATIENCE,
        f"what was forked ended ({store.name})",
    )
    if not ended:
        for process in recorders:
            world.say(f"{process}: {world.trace(process)}")
            world.kill(process)


def _finish(world: World) -> None:
    """Declare what is lost, send, project, replay, archive, verify, and replay again."""
    for store in world.stores:
        declare_losses(world, store)
        if world.script.mode != EMBEDDED:
            sender = world.start(store, "sender", str(store.ledgers))
            there = world.poll(
                lambda store=store: not any(not_sent(world.look(store, sent_only=True))),
                _SEND_SECONDS,
                f"{store.name}: all is in Kafka, in order",
            )
            world.say(f"{store.name}: all sent: {there}")
            world.end(sender)
    for store in world.stores:
        must(world, store, "events", "project", "--once")
        _replay(world, store)
        must(world, store, "events", "archive")
        must(world, store, "events", "verify", "--json")
        must(world, store, "events", "missing")
        _replay(world, store)


def _replay(world: World, store: Store) -> None:
    began = time.monotonic()
    made = world.replayer(store, once=True)
    world.await_end(made)
    last = [r for r in read_ledgers(store.ledgers).replays if r.began >= began]
    if not last or last[-1].error:
        text = last[-1].error if last else made.said
        world.fault(f"{store.name}: a replay failed when all was quiet: {text}")


def _processes(world: World) -> None:
    """No process broke, and none cried wolf."""
    for process in world.processes:
        code = world.nursery.ended(process.pid)
        text = process.said
        if _BROKEN.search(text):
            world.fault(f"{process} broke ({' '.join(process.argv)}): {text}")
        elif not process.killed and code is not None and not _as_it_should(world, process, code):
            world.fault(f"{process} ended with {code} ({' '.join(process.argv)}): {text}")
        if process.argv[:2] == ("events", "verify") and _cries_wolf(process):
            world.fault(f"{process}: the log was called tampered with: {text}")


def _as_it_should(world: World, process: Process, code: int) -> bool:
    if process.argv == ("events", "project"):  # a worker that is refused, or cannot begin, says so
        no_rights = any(map(world.script.has, ("rights_withdrawn", "broker_wiped")))
        refused = {2} if no_rights else set()
        away = any(map(world.script.has, ("broker_killed", "broker_paused", "broker_wiped")))
        if code in refused | ({1} if away else set()):
            return True
        excused = any(process.began < until for _, until in world.excused)
        return code in (0, -signal.SIGTERM) or (code == 1 and excused)
    if process.program == "cli":
        return code in (0, 1)  # a command may fail while things go wrong, and says why
    return code in (0, -signal.SIGTERM)


def _cries_wolf(process: Process) -> bool:
    return any(c["name"] == _FALSE_ALARM and not c["ok"] for c in printed(process) or ())


def _figures(world: World) -> dict[str, int]:
    found = [read_ledgers(s.ledgers) for s in world.stores]
    return {
        "acknowledged": sum(len(n.acknowledged) for n in found),
        "replays": sum(len(n.replays) for n in found),
        "replays that failed": sum(bool(r.error) for n in found for r in n.replays),
        "killed": sum(p.killed for p in world.processes),
        "runs": sum(len(n.runs) for n in found),
    }


def tell(outcome: Outcome, seconds: float) -> None:
    """A line for a cycle, and all of it when something was wrong."""
    script = outcome.script
    about = ", ".join(f"{n} {k}" for k, n in outcome.figures.items())
    print(f"seed {script.seed} {script.mode}: {about}; {seconds:.1f} s", flush=True)
    if outcome.faults:
        print(outcome, file=sys.stderr, flush=True)
