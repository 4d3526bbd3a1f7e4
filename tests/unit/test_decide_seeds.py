"""The loop under Sieve's patterns in an order that a seed decides, over hundreds of seeds.

Every effect can be the last of its controller, every look can be old or deaf, and processes end in every way.
"""

from __future__ import annotations

import random

import pytest
from fake_backend import Deaf
from fake_world import World

from controller.backend import Backend, EndCause
from controller.states import Limits
from job.contract.documents import Control

SEEDS = 320
_TESTS = 8
_STEPS = 40
_LOOKS = 400
_CAUSES: tuple[EndCause, ...] = ("evicted", "oom", "deleted", "lost", "killed")
_EXIT_CODES = (0, 1, 65, 75, 80, 85, 137, 143)


def a_world(rng: random.Random) -> World:
    limits = Limits(
        parallelism=rng.randint(1, 3),
        max_attempts=rng.randint(1, 3),
        max_disruptions=rng.randint(0, 3),
        max_failed_trials=rng.choice([None, None, 1]),
        start_timeout_s=rng.choice([None, 600]),
        canary=rng.random() < 0.5,
    )
    return World(limits=limits)


def strike(world: World, rng: random.Random) -> None:
    """Something happens to one process, or a person wishes something."""
    live = world.backend.live
    seen = rng.choice(live) if live else None
    match rng.randrange(8):
        case 0 if seen is not None and seen.state == "waiting":
            world.backend.start(seen.name)
        case 1 if seen is not None and seen.state == "running":
            world.publish(seen.name, count=rng.choice([None, 0, 1]))
        case 2 if seen is not None and seen.state == "running":
            world.backend.end(seen.name, exit_code=rng.choice(_EXIT_CODES))
        case 3 if seen is not None:
            world.backend.end(seen.name, exit_code=None, cause=rng.choice(_CAUSES))
        case 4 if seen is not None:
            del world.backend.seen[seen.name]
        case 5:
            world.command(Control(state=rng.choice(["running", "running", "paused", "stopped"])))
        case 6:
            world.advance(rng.choice([1, 60, 700, -3600]))
        case _:
            world.work()


def play(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  (an order of events, no secret)
    world = a_world(rng)
    deaf = Deaf(world.backend)
    views: tuple[Backend, ...] = (world.backend, world.stale, deaf)
    for _ in range(_STEPS):
        strike(world, rng)
        if rng.random() < 0.2:
            world.stale.refresh()
        if rng.random() < 0.3:
            world.crash(rng.randint(0, 6))
        else:
            world.poll(backend=rng.choice(views))
        world.check_promises()
    world.command(Control())
    # A controller that begins lists first, however deaf it is afterwards.
    finish(world, Deaf(world.backend) if rng.random() < 0.5 else world.backend)


def finish(world: World, view: Backend) -> None:
    """Nothing more strikes: the sweep ends by itself, also where only a list now and then tells what happens."""
    for _ in range(_LOOKS):
        if world.poll(backend=view):
            break
        world.check_promises()
        world.work()
        world.advance(30)
    else:
        raise AssertionError("I2: not settled after many looks")
    world.check_settled()


@pytest.mark.parametrize("part", range(_TESTS))
def test_whatever_the_order_nothing_is_made_twice_nothing_is_lost_and_the_sweep_ends(part: int) -> None:
    for seed in range(part, SEEDS, _TESTS):
        try:
            play(seed)
        except AssertionError as err:
            raise AssertionError(f"seed {seed}: {err}") from err


def test_a_controller_that_hears_of_no_change_ends_the_sweep_by_listing() -> None:
    world = World()
    finish(world, Deaf(world.backend, list_every=7))
    assert world.backend.submits == len(world.plan.groups)
