"""Turns of a token bucket, against a clock that only sleeps move."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.kube.pacing import TokenBucket


class FakeTime:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def bucket(time: FakeTime, *, per_s: float, burst: int) -> TokenBucket:
    return TokenBucket(per_s=per_s, burst=burst, monotonic=time.monotonic, sleep=time.sleep)


def test_a_burst_is_free_and_the_next_turn_waits() -> None:
    time = FakeTime()
    turns = bucket(time, per_s=20, burst=40)
    for _ in range(40):
        turns.take()
    assert time.now_s == 100.0
    turns.take()
    assert time.now_s == pytest.approx(100.05)


@given(st.floats(0.5, 100), st.integers(1, 50), st.lists(st.floats(0, 3), min_size=1, max_size=100))
def test_no_more_turns_than_burst_and_rate_allow_whatever_the_pauses(
    per_s: float, burst: int, pauses: list[float]
) -> None:
    time = FakeTime()
    turns = bucket(time, per_s=per_s, burst=burst)
    for pause in pauses:
        time.now_s += pause
        turns.take()
    assert len(pauses) <= burst + (time.now_s - 100.0) * per_s + 1e-6


@given(st.floats(0.5, 100), st.integers(1, 50))
def test_a_long_rest_fills_the_bucket_but_never_over_the_burst(per_s: float, burst: int) -> None:
    time = FakeTime()
    turns = bucket(time, per_s=per_s, burst=burst)
    time.now_s += 1e6
    before = time.now_s
    for _ in range(burst + 1):
        turns.take()
    assert time.now_s - before == pytest.approx(1 / per_s, rel=1e-3)
