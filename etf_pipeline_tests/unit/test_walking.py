"""Backtests shared out over processes: which go together; what comes of them is the same."""

import datetime as dt

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from etf_pipeline.model.portfolios import PortfolioSpec
from etf_pipeline.steps import backtests
from etf_pipeline.steps.derived import read_histories
from etf_pipeline.steps.result import Run
from etf_pipeline.steps.walking import together_of
from etf_pipeline.store.manifests import read_manifest
from etf_pipeline.store.store import Store
from etf_pipeline_tests.derived_support import SPECS, DerivedWorld, published_files

RUN = Run("run", dt.datetime(2025, 1, 1, tzinfo=dt.UTC))


def plain(name, benchmark=None):
    return PortfolioSpec(
        name=name,
        tickers=["AAA", "BBB"],
        objective="min_volatility" if benchmark is None else "min_tracking_error",
        benchmark=benchmark,
    )


MORE = tuple(plain(f"more-{i}") for i in range(8))


@given(st.lists(st.none() | st.integers(0, 11), max_size=12), st.randoms())
def test_what_is_measured_against_each_other_goes_together(against, random):
    """Each is measured against one with a lower number, or none; they come in any order."""
    links = [(i, a % i) for i, a in enumerate(against) if a is not None and i]
    other = dict(links)
    specs = [
        plain(f"p{i:02d}", f"p{other[i]:02d}" if i in other else None) for i in range(len(against))
    ]
    random.shuffle(specs)
    ends = np.array(links, dtype=int).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(specs),) * 2)
    labels = connected_components(graph, directed=False)[1] if specs else []
    groups = {}
    for i, label in enumerate(labels):
        groups.setdefault(label, []).append(f"p{i:02d}")
    found = [[s.name for s in group] for group in together_of(specs)]
    assert sorted(found) == sorted(groups.values())


def test_several_processes_give_what_one_gives(tmp_path):
    """Files and manifests alike, of portfolios that are refused and that follow others, too."""
    found = []
    for workers in (1, 3):
        world = DerivedWorld(tmp_path / str(workers), specs=SPECS + MORE)
        world.save()
        store = Store.at(world.root, 10.0)
        histories = read_histories(store, [i.ticker for i in world.universe.etfs])
        result = backtests.backtests(
            store, RUN, histories, world.specs, world.universe, world.assumed, workers
        )
        assert result.manifest is not None
        told = list(read_manifest(result.manifest))
        found.append((published_files(result, world.root), told))
    assert found[0] == found[1]
    outcomes = {o.subject: o for o in found[0][1]}
    assert set(outcomes) == {s.name for s in SPECS + MORE}
    assert [name for name, o in outcomes.items() if not o.good] == ["lacking"]
