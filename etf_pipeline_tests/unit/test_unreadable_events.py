"""Events of this store that cannot be read here: of a newer release, or with a damaged payload."""

import json

import pytest

from etf_pipeline.cli.render.events import state_body, state_lines
from etf_pipeline.events.log.projections import Projections
from etf_pipeline.events.model.state import fold
from etf_pipeline_tests.events_support import T0, collected, optimised, query, updated

LATER = T0.replace(hour=9)
ODD = {
    "a newer version": {"version": 99},
    "an unknown type": {"type": "PortfolioDreamt"},
    "no JSON": {"data": "{"},
    "no text at all": {"data": ""},
    "JSON of another shape": {"data": json.dumps({"a": 1})},
}
GOOD = [collected("VAS", "b1"), updated("VAS", "ab" * 32), optimised("calm", 0.25), query(1)]


@pytest.mark.parametrize("change", ODD.values(), ids=ODD.keys())
def test_the_rest_of_the_state_is_read_and_they_are_named(change):
    odd = [
        collected("VAS", "b2", LATER)._replace(**change),
        updated("VGS", "cd" * 32, LATER)._replace(**change),
        optimised("bold", 0.5, LATER)._replace(**change),
    ]
    state = fold([[*GOOD, *odd]])
    assert len(state) == len(GOOD) + len(odd)  # nothing is left out of the record
    assert [b.batch_id for b in state.etfs["VAS"].batches] == ["b1"]
    assert state.etfs["VAS"].updated.content_hash == "ab" * 32
    assert list(state.portfolios) == ["calm"]
    assert state.unreadable.keys() == {e.id for e in odd}
    body = state_body(state)
    assert body["unreadable"].keys() == {e.id for e in odd}
    assert sum("not readable here" in line for line in state_lines(state)) == 3


def test_a_ticker_whose_newest_event_cannot_be_read_tells_no_older_one():
    newest = updated("VAS", "cd" * 32, LATER)._replace(version=99)
    state = fold([[*GOOD, newest]])
    assert state.etfs["VAS"].updated is None
    assert set(state.unreadable) == {newest.id}


def test_read_models_keep_them_in_the_trail_alone(tmp_path, caplog):
    model = Projections(tmp_path / "p.sqlite")
    bad = optimised("calm", 0.75, LATER)._replace(data="{")
    assert model.apply([*GOOD, bad], places={}) == 5
    assert model.event_ids() == {e.id for e in [*GOOD, bad]}
    assert model.latest("PortfolioOptimized")["calm"]["weights"]["VAS"] == 0.25
    assert bad.id in caplog.text
    model.close()
