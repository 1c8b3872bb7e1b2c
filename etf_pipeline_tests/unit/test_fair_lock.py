import threading

from etf_pipeline.events.log.fair_lock import FairLock
from etf_pipeline_tests.events_support import wait_until


def waiting(lock, n):
    """Until so many threads wait; the queue of a lock is nobody else's to see."""
    wait_until(lambda: len(lock._waiting) == n, 20)


def test_threads_get_it_in_the_order_they_came_even_from_one_that_wants_it_back_at_once():
    lock, order = FairLock(), []

    def take(name):
        with lock:
            order.append(name)

    threads = [threading.Thread(target=take, args=(i,)) for i in range(5)]
    with lock:
        for i, thread in enumerate(threads):
            thread.start()
            waiting(lock, i + 1)
    take("back at once")
    for thread in threads:
        thread.join(20)
    assert order == [0, 1, 2, 3, 4, "back at once"]


def test_who_has_it_may_take_it_again():
    lock = FairLock()
    assert not lock.owned()
    with lock, lock:
        assert lock.owned()
        other = []
        thread = threading.Thread(target=lambda: other.append(lock.owned()))
        thread.start()
        thread.join(20)
        assert other == [False]
    assert not lock.owned()


def test_one_at_a_time():
    lock, counted = FairLock(), {"n": 0}

    def count():
        for _ in range(500):
            with lock:
                n = counted["n"]
                threading.Event().wait(0)  # others get to run
                counted["n"] = n + 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counted["n"] == 4 * 500
