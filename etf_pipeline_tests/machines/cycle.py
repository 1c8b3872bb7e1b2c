"""One cycle: a night on all machines in which things go wrong, and what is left of it, judged."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, field

from etf_pipeline_tests.machines.checker import judge
from etf_pipeline_tests.machines.hub import Asked
from etf_pipeline_tests.machines.script import Script
from etf_pipeline_tests.machines.troubles import Phase, before, during
from etf_pipeline_tests.machines.world import World

_TICKS = 20


@dataclass
class Outcome:
    """What came of a cycle."""

    script: Script
    faults: list[str] = field(default_factory=list)
    happened: list[str] = field(default_factory=list)
    seconds: float = 0.0
    logs: str = ""

    def say(self, text: str) -> None:
        self.happened.append(text)

    def __str__(self) -> str:
        short = " --short" * self.script.short
        again = f"python -m etf_pipeline_tests.machines {self.script.seed}{short}"
        return "\n".join(
            (
                f"{len(self.faults)} faults; again: {again}",
                *(f"  {f}" for f in self.faults),
                f"the script: {self.script}",
                "what happened:",
                *(f"  {h}" for h in self.happened),
                self.logs,
            )
        )


def run_cycle(world: World, script: Script) -> Outcome:
    """Run a cycle, and judge what is left; it ends in any case."""
    outcome, began = Outcome(script), time.monotonic()
    try:
        _cycle(world, outcome)
        outcome.faults += judge(world)
    except Exception:
        outcome.faults.append(traceback.format_exc())
    finally:
        world.all_given_back()
        for box in world.boxes:
            box.set_clock(0)
    outcome.seconds = time.monotonic() - began
    if outcome.faults:
        outcome.logs = world.logs()
    return outcome


def _cycle(world: World, outcome: Outcome) -> None:
    world.keep_copies()
    world.source.grow()
    _phase(world, outcome, False, world.hub.ask_shards())
    _phase(world, outcome, True, world.hub.ask_tables(whole=outcome.script.whole))
    for _ in range(_TICKS):
        if world.hub.tell().startswith("relayed 0 events of 0 records; 0 behind"):
            break
    else:
        outcome.faults.append(f"events are not told within {_TICKS} ticks")


def _phase(world: World, outcome: Outcome, tables: bool, asked: list[Asked]) -> None:
    """The shards, or the tables, until all of them have come out."""
    script, phase = outcome.script, Phase(world, asked)
    for trouble in script.of(tables):
        if (happens := before(trouble)) is not None:
            outcome.say(happens(phase, trouble))
    for one in asked:
        world.hub.hand_over(one)
    for trouble in script.of(tables):
        if (happens := during(trouble)) is not None:
            outcome.say(happens(phase, trouble))
    world.all_given_back()
    deadline = time.monotonic() + script.patience
    while open_ := [a for a in asked if not world.hub.done(a)]:
        world.hub.look()
        if time.monotonic() > deadline:
            names = [f"{a} ({world.hub.status(a.runs[-1]).value})" for a in open_]
            raise AssertionError(f"not within {script.patience:g} s: {', '.join(names)}")
        time.sleep(0.2)
    again = [f"{a} {len(a.runs)} times" for a in asked if len(a.runs) > 1]
    outcome.say(f"made{' the tables' if tables else ''}: {', '.join(again) or 'at once'}")
