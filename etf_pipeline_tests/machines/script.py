"""What goes wrong in a cycle, drawn from its seed alone: the same seed gives the same script."""

from __future__ import annotations

import random
from dataclasses import dataclass

# By the name of a function of `troubles.py`.
KINDS = (
    "killed_before_event",
    "machine_killed",
    "redis_away",
    "postgres_away",
    "share_away",
    "one_shard_twice",
    "stale_copy",
    "clock_off",
)
# The short cycles of every test run: each kind of trouble is in at least one of them.
SEEDS = (12, 14, 18, 19, 20)


@dataclass(frozen=True)
class Trouble:
    """One thing that goes wrong.

    Attributes:
        what: its kind.
        tables: whether it waits for the run that makes the tables, or comes with the shards.
        after: seconds from when such a run is under way.
        seconds: for which something is away.
        choice: a number from which everything else is chosen.
    """

    what: str
    tables: bool
    after: float
    seconds: float
    choice: int

    def __str__(self) -> str:
        when = "the tables" if self.tables else "the shards"
        return f"{self.what} with {when}, after {self.after:.2f} s, for {self.seconds:g} s"


@dataclass(frozen=True)
class Script:
    """A cycle: what goes wrong in it. `short` is for cycles of every test run."""

    seed: int
    troubles: tuple[Trouble, ...] = ()
    short: bool = True

    @property
    def whole(self) -> bool:
        """Whether the whole graph is made, reports too."""
        return not (self.short and self.troubles)

    @property
    def patience(self) -> float:
        """Seconds within which all must be well again; two minutes of it find a lost run."""
        return 180.0 if self.short else 400.0

    def __str__(self) -> str:
        return "; ".join(map(str, self.troubles)) or "nothing goes wrong"

    def of(self, tables: bool) -> list[Trouble]:
        """Those that come with the tables, or with the shards."""
        return [t for t in self.troubles if t.tables is tables]


def draw(seed: int, *, short: bool = False) -> Script:
    """The script of a seed: one trouble or two, of different kinds."""
    choose = random.Random(seed)
    kinds = choose.sample(KINDS, choose.choice((1, 2, 2)))
    return Script(seed, tuple(_trouble(choose, kind, short) for kind in kinds), short)


def _trouble(choose: random.Random, kind: str, short: bool) -> Trouble:
    return Trouble(
        kind,
        choose.random() < 0.3,
        choose.choice((0.0, choose.uniform(0.0, 2.0))),
        choose.choice((2.0, 3.0)) if short else 30.0,
        choose.randrange(10_000),
    )
