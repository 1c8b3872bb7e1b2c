"""What a run of the command line did, as it is shown and as its exit code is decided."""

from __future__ import annotations

from dataclasses import dataclass, field

from etf_pipeline.errors import EtfError, ReasonCode
from etf_pipeline.model.outcomes import Outcome
from etf_pipeline.store.stages import Stage


@dataclass
class RunReport:
    """What a run did: per-ticker outcomes, per-portfolio outcomes, and how each stage went.

    `backtests` are by portfolio too. A portfolio without one may be too young for it, which is no
    failure of the run. `told` names stages whose failure their tickers' outcomes tell in full.
    `ended` says what kept the run from going on: nothing after that was tried.
    """

    tickers: dict[str, Outcome] = field(default_factory=dict)
    portfolios: dict[str, Outcome] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    backtests: dict[str, Outcome] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    ended: EtfError | None = None

    @property
    def errors(self) -> list[str]:
        """What to say of the stages that did not come out, and of what ended the run.

        A stage that was held back is not, where it is said of the one that holds it back.
        """
        silent = self.told if any(o.good for o in self.tickers.values()) else ()
        bad = [s for s in self.stages if not s.good and s.name not in silent]
        causes = [s for s in bad if s.outcome.reason_code is not ReasonCode.HELD_BACK]
        said = [s.sentence for s in causes or bad]
        return said if self.ended is None else [*said, str(self.ended)]
