import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from etf_pipeline.store.batches import collected_at, new_batch_id

T = dt.datetime(2025, 11, 12, 12, tzinfo=dt.UTC)


@given(st.lists(st.integers(-200_000, 200_000), min_size=1, max_size=20))
def test_whatever_the_clock_says_ids_ascend_and_are_the_clock_s_where_they_can_be(seconds):
    last = None
    for k, offset in enumerate(seconds):
        now = T + dt.timedelta(seconds=offset)
        made = new_batch_id(now, f"run{k}", last)
        if last is not None:
            assert made > last
        if last is None or now > collected_at(last):
            assert collected_at(made) == now
        else:
            assert collected_at(made) - collected_at(last) == dt.timedelta(microseconds=1)
        last = made
