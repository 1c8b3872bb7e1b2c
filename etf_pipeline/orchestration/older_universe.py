"""A machine that was not told of a rename does not undo it without a word."""

from __future__ import annotations

from etf_pipeline.errors import UniverseError
from etf_pipeline.model.lineage import UNIVERSE
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.orchestration.resources import Pipeline
from etf_pipeline.share.copy import Copy
from etf_pipeline.share.dropping import marked
from etf_pipeline.share.inputs import is_as_recorded
from etf_pipeline.steps.retiring import left_names


def check_renames(pipeline: Pipeline, copy: Copy, partition: str) -> None:
    """Nothing, unless a ticker has another name by now and this machine's universe is as it was.

    One whose universe has been changed since it made tables last may give a name back.

    Args:
        pipeline: whose universe.
        copy: the working copy; the share's histories have been pulled.
        partition: whose tickers are looked at.

    Raises:
        UniverseError: another machine has renamed a ticker; names both names and the file.
        ShareAwayError: the share does not answer.
    """
    universe, layout = pipeline.universe, copy.layout
    renamed = {
        now.ticker: name
        for name, now in left_names(layout, universe, universe.in_partition(partition))
        if not layout.of(HISTORY, now.ticker).exists()
    }
    if not renamed:
        return
    listed = copy.place.list(copy.names.folder(HISTORY))
    dropped = marked(listed).keys() - listed.keys()
    gone = {
        ticker: name
        for ticker, name in renamed.items()
        if not dropped.isdisjoint(copy.names.of([layout.of(HISTORY, ticker)]))
    }
    file = pipeline.files[UNIVERSE]
    if gone and is_as_recorded(copy, UNIVERSE, file):
        named = ", ".join(f"{name} in place of {ticker}" for ticker, name in sorted(gone.items()))
        raise UniverseError(
            f"another machine on the share {copy.url} has renamed tickers ({named}), and {file} is "
            "as it was when this machine made tables last: bring it up to date and run again; to "
            "have the former name back on all machines, change it there first"
        )
