"""The newest events, against sorting everything there is."""

import datetime as dt
import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from etf_pipeline.events.log.archive import Archive
from etf_pipeline.events.modes.embedded import Embedded
from etf_pipeline.events.proof.archiving import read_all
from etf_pipeline.events.proof.newest import newest
from etf_pipeline.store.layout import Layout
from etf_pipeline_tests.events_support import T0, embedded_settings
from etf_pipeline_tests.property.test_replay import histories


@settings(max_examples=40, deadline=None)
@given(
    histories(),
    st.lists(st.integers(0, 40), max_size=3),
    st.integers(1, 12),
    st.sampled_from([None, "VAS", "a", "nothing"]),
    st.sampled_from([None, "PriceDataQueried", "PortfolioOptimized"]),
)
def test_the_newest_are_those_that_happened_last_wherever_they_lie(log, cuts, limit, subject, kind):
    """Parts of the log are archived and pruned; events are recorded in any order of time."""
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(Path(folder))
        store, archive = Embedded(layout, embedded_settings()), Archive(layout)
        mine = [e._replace(source=f"/etf_pipeline/{store.instance}") for e in log]
        edges = [0, *sorted(min(c, len(log)) for c in cuts), len(log)]
        for n, (begin, end) in enumerate(pairwise(edges)):
            store.append(mine[begin:end])
            store.archive(archive, T0 + dt.timedelta(days=n))
            if n < 2:
                store.log.prune(end)
        wanted = [e for e in mine if subject in (None, e.subject) and kind in (None, e.type)]
        wanted.sort(key=lambda e: (e.time_us, e.id), reverse=True)
        found = newest(store, archive, limit, subject, kind)
        assert [e.id for e in found] == [e.id for e in wanted[:limit]]
        assert {e.id for b in read_all(store, archive) for e in b} == {e.id for e in mine}
        store.close()
