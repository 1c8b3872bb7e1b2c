"""The metrics of many tickers are the same whoever makes them, and whatever cannot be read."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from etf_pipeline.model.instruments import Universe
from etf_pipeline.model.schemas import HISTORY
from etf_pipeline.steps.derived import Assumptions, read_histories
from etf_pipeline.steps.result import Run
from etf_pipeline.steps.risk_tables import risk_metrics
from etf_pipeline.steps.workers import LEAST
from etf_pipeline.store.layout import Layout
from etf_pipeline.store.store import Store
from etf_pipeline_tests.stored_support import damage_rows, publish_closes
from etf_pipeline_tests.support import asx_days, instrument, walk

N = 40
DAYS = asx_days("2024-01-03", N)
# As many as it takes for others to be asked, a user's own file and two that are damaged besides.
NAMES = [f"T{i:03d}" for i in range(LEAST)]
OTHERS = ["BAD", "MINE", "WORSE"]
BENCHMARK, DOLLARS = "T003", "T007"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("metrics") / "store"
    for i, name in enumerate([*NAMES, "BAD", "WORSE"]):
        currency = "USD" if name == DOLLARS else "AUD"
        publish_closes(root, name, DAYS[i % 3 :], walk(N, seed=i)[i % 3 :], currency)
    publish_closes(root, "AUDUSD=X", DAYS, 0.7 + np.zeros(N), "USD")
    damage_rows(Layout(root).of(HISTORY, "BAD"))
    Layout(root).of(HISTORY, "WORSE").write_bytes(b"no Parquet")
    index = pd.DatetimeIndex(DAYS, name="Date")
    mine = Layout(root).of(HISTORY, "MINE")
    pd.DataFrame({"Close": walk(N, seed=999)}, index).to_parquet(mine)
    return root


def made(root, workers):
    """The step's file, its outcomes, and whose prices this process has read."""
    universe = Universe(tuple(instrument(t) for t in [*NAMES, *OTHERS]))
    store = Store.at(root, 10.0)
    histories = read_histories(store, [i.ticker for i in universe])
    run = Run(f"run-{workers}", dt.datetime(2025, 1, 1, tzinfo=dt.UTC))
    assumed = Assumptions(1, 0.02, BENCHMARK)
    result = risk_metrics(store, run, histories, universe, assumed, workers)
    (file,) = result.published
    content = file.path.read_bytes()
    file.path.unlink()
    read = {t for t in NAMES if store.cache.get("series", store.layout.of(HISTORY, t)) is not None}
    return content, {o.subject: (o.good, o.reason_code, o.fx) for o in result.outcomes}, read


def test_workers_make_the_same_file_and_tell_the_same(root):
    content, outcomes, read = made(root, 1)
    assert read == set(NAMES)
    others = made(root, 2)
    assert others[:2] == (content, outcomes)
    assert others[2] == {BENCHMARK}  # the rest was read elsewhere
    assert {t for t, (good, *_) in outcomes.items() if not good} == {"BAD", "WORSE"}
    assert outcomes.keys() == {*NAMES, *OTHERS}
    assert {t for t, (*_, fx) in outcomes.items() if fx} == {DOLLARS}
