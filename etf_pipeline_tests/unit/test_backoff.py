"""A pause that all share. Measured against the process's own clock: never too short.

Where a pause must *not* be long, what would happen otherwise is longer by an order of magnitude,
so that a slow machine changes nothing.
"""

import threading
import time

import pytest

from etf_pipeline.ingest.backoff import SharedBackoff

FAR = 1e9


def now():
    return time.monotonic()


def refused(backoff):
    """A request that begins after every pause so far, and is refused; when it began."""
    assert backoff.wait(FAR)
    started = now()
    backoff.rate_limited(started)
    return started


def test_without_a_refusal_nobody_waits():
    backoff = SharedBackoff(1000, 1000)
    started = now()
    assert backoff.wait(started + 500)
    assert now() - started < 500


def test_a_deadline_that_has_passed_is_told():
    assert not SharedBackoff(1000, 1000).wait(now() - 1)


def test_a_pause_is_at_least_half_of_the_first_one():
    backoff = SharedBackoff(1000, 1000)
    started = refused(backoff)
    assert not backoff.wait(started + 500)  # told at once: the deadline comes first


def test_a_pause_is_slept_out():
    backoff = SharedBackoff(0.1, 0.1)
    started = refused(backoff)
    assert backoff.wait(FAR)
    assert now() - started >= 0.05


def test_every_worker_waits():
    backoff = SharedBackoff(0.1, 0.1)
    started, ended = refused(backoff), []

    def work():
        assert backoff.wait(FAR)
        ended.append(now() - started)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(ended) == 4
    assert min(ended) >= 0.05


def test_each_further_refusal_doubles_the_pause():
    """0.01, 0.02, 0.04, 0.08, 0.16: the sixth is at least half of 0.32."""
    backoff = SharedBackoff(0.01, FAR)
    for _ in range(5):
        refused(backoff)
    started = refused(backoff)
    assert not backoff.wait(started + 0.16)


def test_no_pause_is_longer_than_the_greatest():
    """Without it the thirtieth would last decades."""
    backoff = SharedBackoff(0.001, 0.002)
    for _ in range(30):
        refused(backoff)
    assert backoff.wait(now() + 60)


def test_refusals_of_requests_that_were_under_way_do_not_add_up():
    """Twenty counted as episodes would pause for half an hour or more."""
    backoff = SharedBackoff(0.01, FAR)
    started = now()
    for _ in range(20):
        backoff.rate_limited(started)
    assert backoff.wait(now() + 60)


def test_an_answer_halves_the_pause():
    """After six refusals the next would be at least 0.32; after as many answers, at most 0.01."""
    backoff = SharedBackoff(0.01, FAR)
    for _ in range(6):
        refused(backoff)
    assert backoff.wait(FAR)
    for _ in range(6):
        backoff.answered()
    started = refused(backoff)
    assert backoff.wait(started + 0.32)


def test_an_answer_during_a_pause_does_not_count():
    """It was asked for before. The second pause is at least half of 0.4."""
    backoff = SharedBackoff(0.2, FAR)
    refused(backoff)
    backoff.answered()
    started = refused(backoff)
    assert not backoff.wait(started + 0.2)


@pytest.mark.parametrize(("attempt", "least"), [(0, 0.01), (1, 0.02), (3, 0.08)])
def test_a_request_pauses_by_its_own_number_of_tries(attempt, least):
    backoff = SharedBackoff(0.02, FAR)
    started = now()
    backoff.pause(attempt, FAR)
    assert now() - started >= least
    assert backoff.wait(now() + 60)  # the others do not wait for it


def test_a_request_pauses_no_longer_than_to_its_deadline():
    backoff = SharedBackoff(1000, 1000)
    started = now()
    backoff.pause(0, started + 0.02)
    assert 0.02 <= now() - started < 500
    backoff.pause(0, now() - 1)
    assert now() - started < 500
