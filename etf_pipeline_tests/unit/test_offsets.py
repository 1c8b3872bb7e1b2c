"""Which offsets of a topic a log was confirmed at, against a set of them."""

import contextlib
import random
from itertools import pairwise

import pytest

from etf_pipeline.events.log import offsets
from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.model.positions import Delivery
from etf_pipeline_tests.events_support import queries


@pytest.mark.parametrize("seed", range(12))
def test_what_is_not_confirmed_is_all_that_is_left(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(offsets, "_PAGE", 7)
    choose = random.Random(seed)
    with contextlib.closing(Outbox(tmp_path / "events.sqlite")) as log:
        log.append(queries(60))
        places = [Delivery(choose.randrange(2), choose.randrange(50)) for _ in range(60)]
        assert log.delivered(log.pending(), places, log.epoch())
        for partition in (0, 1):
            low, high = sorted(choose.choices(range(55), k=2))
            sent = {d.position for d in places if d.partition == partition}
            found = log.unconfirmed(("query-events", partition), (low, high))
            named = [n for a, b in found for n in range(a, b)]
            assert named == [n for n in range(low, high) if n not in sent]
            assert all(a < b for a, b in found)
            assert all(b < c for (_, b), (c, _) in pairwise(found))
            rough = log.unconfirmed(("query-events", partition), (low, high), roughly=True)
            assert set(named) <= {n for a, b in rough for n in range(a, b)}
