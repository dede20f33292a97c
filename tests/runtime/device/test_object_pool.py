"""A bounded number of things, one thread at a time each."""

from __future__ import annotations

import threading
import time

import pytest
from attn_runtime.device.object_pool import Pool
from attn_runtime.errors import BackendError, InputError, UsageError
from support.checks.threads import in_threads


class Thing:
    def __init__(self) -> None:
        self.users = 0
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Maker:
    def __init__(self) -> None:
        self.made: list[Thing] = []
        self.fail = False

    def __call__(self) -> Thing:
        if self.fail:
            raise BackendError("no memory")
        self.made.append(Thing())
        return self.made[-1]


def test_a_lone_thread_makes_one() -> None:
    maker = Maker()
    pool = Pool(maker, 4)
    for _ in range(5):
        with pool.take():
            pass
    assert len(maker.made) == 1


def test_more_threads_than_things_wait_and_never_share() -> None:
    maker, most, together = Maker(), 3, []
    pool = Pool(maker, most)
    busy = threading.Semaphore(most)

    def work(_: int) -> None:
        for _ in range(20):
            with pool.take() as thing:
                assert busy.acquire(blocking=False), "more are out than there may be"
                thing.users += 1
                together.append(thing.users)
                time.sleep(0.0005)
                thing.users -= 1
                busy.release()

    assert in_threads(16, work) == []
    assert len(maker.made) == most and set(together) == {1}


def test_a_thing_that_failed_is_closed_and_replaced() -> None:
    maker = Maker()
    pool = Pool(maker, 1)
    with pytest.raises(BackendError, match="broke"), pool.take():
        raise BackendError("broke")
    assert maker.made[0].closed == 1
    with pool.take() as thing:
        assert thing is maker.made[1]


def test_a_wrong_input_costs_nothing() -> None:
    maker = Maker()
    pool = Pool(maker, 1)
    with pytest.raises(InputError), pool.take():
        raise InputError("too large")
    with pool.take() as thing:
        assert thing is maker.made[0] and not thing.closed


def test_what_can_not_be_made_leaves_the_place_free() -> None:
    maker = Maker()
    pool = Pool(maker, 1)
    maker.fail = True
    for _ in range(3):
        with pytest.raises(BackendError, match="no memory"), pool.take():
            pass
    maker.fail = False
    with pool.take() as thing:
        assert thing is maker.made[0]


def test_closing_waits_for_those_that_are_out() -> None:
    maker = Maker()
    pool = Pool(maker, 2)
    inside, leave, order = threading.Event(), threading.Event(), []

    def use() -> None:
        with pool.take():
            inside.set()
            leave.wait()
            order.append("used")

    user = threading.Thread(target=use, daemon=True)
    user.start()
    inside.wait()
    closer = threading.Thread(target=lambda: (pool.close(), order.append("closed")), daemon=True)
    closer.start()
    time.sleep(0.05)
    assert not order
    leave.set()
    user.join()
    closer.join()
    assert order == ["used", "closed"] and maker.made[0].closed == 1
    pool.close()
    assert maker.made[0].closed == 1
    with pytest.raises(UsageError, match="closed"), pool.take():
        pass


def test_a_thread_that_waits_is_told_of_the_closing() -> None:
    pool = Pool(Maker(), 1)
    told: list[type] = []

    def wait() -> None:
        try:
            with pool.take():
                told.append(Thing)
        except UsageError:
            told.append(UsageError)

    with pool.take():
        waiter = threading.Thread(target=wait, daemon=True)
        waiter.start()
        time.sleep(0.05)
        closer = threading.Thread(target=pool.close, daemon=True)
        closer.start()
        time.sleep(0.05)
        assert told == [UsageError]
    closer.join()
    waiter.join()
