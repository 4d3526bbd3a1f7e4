"""Finished trials are published beside the next work, and cost only what the process waits for them."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from job.contract.errors import TransientError
from job.lanes.publisher import Publisher, SharedWait


class Hands:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def __call__(self) -> float:
        return self.time_s


def test_what_is_published_beside_other_work_costs_nothing() -> None:
    hands = Hands()
    waited = SharedWait(hands)
    waited.begun()
    hands.time_s += 30
    waited.over()
    assert waited() == 0.0


def test_waiting_is_shared_by_all_that_are_under_way() -> None:
    hands = Hands()
    waited = SharedWait(hands)
    waited.begun()
    hands.time_s += 30
    waited.begun()
    with waited:
        hands.time_s += 6  # for two
        assert waited() == 3.0
        waited.over()
        hands.time_s += 4  # for the other one alone
        assert waited() == 7.0
        waited.over()
        hands.time_s += 50  # for nobody
    hands.time_s += 50
    assert waited() == 7.0


def test_one_is_published_while_the_caller_goes_on_and_the_end_waits_for_it() -> None:
    caller_went_on, published = threading.Event(), threading.Event()

    def publish() -> None:
        assert caller_went_on.wait(timeout=60)
        published.set()

    with Publisher() as publisher:
        publisher.begin(publish)
        assert not published.is_set()
        caller_went_on.set()
        publisher.finish()
        assert published.is_set()


def test_what_stops_one_stops_the_process_where_the_next_begins() -> None:
    begun: list[int] = []
    over = threading.Event()
    with pytest.raises(TransientError, match="the store is away"), Publisher() as publisher:
        publisher.begin(partial(_away, over))
        assert over.wait(timeout=60)
        for number in range(1000):  # the first of them that begins after the error is known is the last
            publisher.begin(partial(begun.append, number))
        publisher.finish()
    assert begun == list(range(len(begun)))


def test_what_stops_the_last_one_stops_the_process_at_the_end() -> None:
    over = threading.Event()
    with Publisher() as publisher:
        publisher.begin(partial(_away, over))
        with pytest.raises(TransientError, match="the store is away"):
            publisher.finish()


def test_after_an_error_those_that_have_begun_come_to_their_end() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def publish() -> None:
        begun.set()
        assert may_end.wait(timeout=60)
        ended.set()

    with pytest.raises(ValueError, match="other work"), Publisher() as publisher:
        publisher.begin(publish)
        assert begun.wait(timeout=60)
        threading.Timer(0.05, may_end.set).start()
        raise ValueError("other work failed")
    assert ended.is_set()


def _away(over: threading.Event) -> None:
    over.set()
    raise TransientError("the store is away")
