"""Waits are measured by time that passes, not by what a clock is set to."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from fake_sweep import NOW
from fake_world import NAMING, World

from controller.clock import steady_clock
from controller.decide import StopSubmission, WriteFailure, decide
from controller.reconcile import look
from controller.states import Limits


class Machine:
    """A clock that people set, and the seconds that really pass."""

    def __init__(self) -> None:
        self.shown = NOW
        self.passed_s = 0.0

    def now(self) -> datetime:
        return self.shown

    def elapsed(self) -> float:
        return self.passed_s

    def wait(self, seconds: float) -> None:
        self.passed_s += seconds
        self.shown += timedelta(seconds=seconds)


@pytest.mark.parametrize("set_by", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=400)])
def test_a_clock_that_is_set_goes_on_evenly(set_by: timedelta) -> None:
    machine = Machine()
    clock = steady_clock(now=machine.now, elapsed=machine.elapsed)
    machine.wait(5)
    machine.shown += set_by
    machine.wait(5)
    assert clock() == NOW + timedelta(seconds=10)


def test_it_goes_on_by_itself_and_says_where_on_earth_it_is() -> None:
    clock = steady_clock()
    first = clock()
    assert first.utcoffset() == timedelta(0)
    assert first < clock() < first + timedelta(minutes=1)


@pytest.mark.parametrize("set_by", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_clock_that_is_set_an_hour_on_or_back_ends_no_wait(set_by: timedelta) -> None:
    machine = Machine()
    world = World(limits=Limits(parallelism=2, start_timeout_s=600))
    clock = steady_clock(now=machine.now, elapsed=machine.elapsed)
    world.poll()
    machine.shown += set_by
    machine.wait(30)
    world.advance(30)
    controller = world.controller()
    situation = look(replace(controller, clock=replace(controller.clock, now=clock)), leaving=False)
    assert decide(situation, naming=NAMING) == ()
    as_shown = decide(replace(situation, now=machine.shown), naming=NAMING)
    ended = any(isinstance(action, WriteFailure | StopSubmission) for action in as_shown)
    assert ended == (set_by > timedelta(0)), "the machine's own clock would have ended them"
