"""The lease of the sending process: never longer than it is, whatever clocks do."""

import contextlib
import sqlite3
import subprocess
import sys

import pytest

from etf_pipeline.events.log.outbox import Outbox
from etf_pipeline.events.model.envelope import now_micros
from etf_pipeline.store.processes import HOST
from etf_pipeline_tests.events_support import wait_until

DAY = 86_400_000_000
# Of another host, of whose processes nothing can be known.
ELSEWHERE = ("00000000" if HOST != "00000000" else "11111111") + "-17-x"


@pytest.fixture
def outbox(tmp_path):
    made = Outbox(tmp_path / "events.sqlite")
    made.epoch()  # the file is there
    yield made
    made.close()


def leave(outbox, owner, until_us):
    """A lease as somebody else left it."""
    with contextlib.closing(sqlite3.connect(outbox.path)) as db:
        db.execute("REPLACE INTO leases VALUES ('role', ?, ?)", (owner, until_us))
        db.commit()


def test_one_at_a_time_and_given_up_at_once(outbox):
    assert outbox.lease("role", "a", 60)
    assert outbox.lease("role", "a", 60)
    assert not outbox.lease("role", "b", 60)
    outbox.release("role", "a")
    assert outbox.lease("role", "b", 60)


@pytest.mark.parametrize("ahead", [DAY, 400 * DAY])
def test_one_that_a_wrong_clock_left_in_the_future_ends_after_its_length(outbox, ahead):
    leave(outbox, ELSEWHERE, now_micros() + ahead)
    assert not outbox.lease("role", "a", 0.3)  # its owner may live
    wait_until(lambda: outbox.lease("role", "a", 0.3))
    assert not outbox.lease("role", ELSEWHERE, 60)


def test_one_in_the_future_whose_owner_shows_signs_of_life_goes_on(outbox):
    for i in range(20):
        leave(outbox, ELSEWHERE, now_micros() + DAY + i)
        assert not outbox.lease("role", "a", 0.0)
    wait_until(lambda: outbox.lease("role", "a", 0.0))


def test_one_of_a_dead_process_of_this_host_is_over_at_once(outbox):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    leave(outbox, f"{HOST}-{child.pid}-x", now_micros() + DAY)
    assert outbox.lease("role", "a", 60)


def test_one_that_ended_is_over_at_once(outbox):
    leave(outbox, ELSEWHERE, now_micros() - 1)
    assert outbox.lease("role", "a", 60)
