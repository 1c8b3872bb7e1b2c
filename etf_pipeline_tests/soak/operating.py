"""What an operator does: commands that must end well, and losses that are declared.

A machine that is lost while it sends leaves gaps, and every reading refuses until somebody has
declared them. The operator here knows what went with it, and declares that and nothing else.
"""

from __future__ import annotations

import json
from typing import Any

from etf_pipeline_tests.soak.world import PATIENCE, Process, Store, World

_WHO, _WHY = "the operator", "lost with its machine"


def must(world: World, store: Store, *argv: str, codes: tuple[int, ...] = (0,)) -> Process:
    """Run a command of `etf` to its end, which has to be one of these."""
    made = world.command(store, *argv)
    code = world.await_end(made, 2 * PATIENCE)
    if code not in codes:
        world.fault(f"{store.name}: etf {' '.join(argv)} ended with {code}: {made.said}")
    return made


def declare_losses(world: World, store: Store) -> None:
    """Declare lost what is missing, as far as it went with a log or by the broker's retention."""
    found = missing(world, store)
    unknown = [gap for gap in found if not _went(world, store, gap)]
    if unknown:
        world.fault(f"{store.name}: missing, though the script lost no such thing: {unknown[:3]}")
    if found and not unknown:
        world.say(f"{store.name}: {len(found)} gaps are declared lost")
        must(world, store, "events", "missing", "--accept", "--who", _WHO, "--why", _WHY)
        if still := missing(world, store):
            world.fault(f"{store.name}: still missing once it was declared lost: {still[:3]}")


def missing(world: World, store: Store) -> list[dict[str, Any]]:
    """The gaps that `etf events missing` lists."""
    made = must(world, store, "events", "missing", "--json", codes=(0, 1))
    found = printed(made)
    if not isinstance(found, list):
        world.fault(f"{store.name}: etf events missing did not say what is: {made.said}")
        return []
    return found


def _went(world: World, store: Store, gap: dict[str, Any]) -> bool:
    """Whether all of a gap went with something that the script took away."""
    if "partition" in gap:
        return bool(store.losses) and gap["last"] < world.deleted.get(
            (gap["channel"], gap["partition"]), 0
        )
    gone = set().union(*(loss.numbers for loss in store.losses))
    numbers = range(gap["first"], gap["last"] + 1)
    return all((gap["log"], gap["channel"], n) in gone for n in numbers)


def printed(process: Process) -> Any:
    """The JSON that a command printed between its warnings; None when there is none."""
    text = process.out.read_text(errors="replace")
    for at in (i for i, c in enumerate(text) if c in "[{" and text[i - 1 : i] in ("", "\n")):
        try:
            return json.JSONDecoder().raw_decode(text, at)[0]
        except ValueError:
            continue
    return None
