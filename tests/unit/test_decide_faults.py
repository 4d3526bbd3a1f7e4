"""The loop under Sieve's three patterns: killed between any two effects, an old view, and changes nobody announced."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from fake_backend import Deaf
from fake_sweep import lora_trial, plan_of, publish
from fake_world import NAMING, World
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controller.backend import Observed
from controller.interrupts import Wish
from controller.states import Limits
from job.contract.base import sha256_hex
from job.contract.documents import Control
from job.contract.errors import TransientError
from job.store import Keys

# More effects than any one look of these worlds has.
MOST_EFFECTS = 12


def drive(world: World, *, looks: int = 200) -> None:
    """Processes work and the controller looks, until everything is settled."""
    for _ in range(looks):
        if world.poll():
            return
        world.check_promises()
        world.work()
        world.advance(30)
    raise AssertionError("I2: not settled after many looks")


@pytest.mark.parametrize("after", range(MOST_EFFECTS))
@pytest.mark.parametrize("looks_before", range(6))
def test_a_controller_killed_after_any_effect_is_succeeded_by_one_that_makes_nothing_twice(
    looks_before: int, after: int
) -> None:
    world = World()
    for _ in range(looks_before):
        world.poll()
        world.work()
        world.advance(30)
    world.crash(after)
    world.check_promises()
    drive(world)
    world.check_settled()
    assert world.backend.submits == len(world.plan.groups)


def test_a_sweep_whose_every_look_is_killed_after_one_effect_still_ends() -> None:
    world = World()
    for _ in range(200):
        if not world.crash(0):
            world.work()
            world.advance(30)
        world.check_promises()
    world.check_settled()
    assert world.backend.submits == len(world.plan.groups)


def test_a_view_older_than_the_last_submit_makes_no_second_one() -> None:
    world = World()
    world.stale.refresh()
    for _ in range(5):
        world.poll(backend=world.stale)
    assert {seen.number for seen in world.backend.live} == {1}
    assert world.backend.submits == 2
    world.check_promises()


def test_a_process_that_vanishes_without_a_word_is_made_again() -> None:
    world = World()
    world.poll()
    name = world.backend.live[0].name
    del world.backend.seen[name]
    drive(world)
    world.check_settled()


def test_a_result_that_comes_after_its_process_was_given_up_still_wins() -> None:
    world = World()
    world.poll()
    name = world.backend.live[0].name
    attempt = world.backend.start(name)
    world.backend.end(name, exit_code=65)
    trial_ids = world.backend.seen[name].trial_ids
    world.poll()
    assert {world.onlooker.statuses.get(trial_id) for trial_id in trial_ids} == {None}
    for trial_id in trial_ids:
        publish(world.store, world.planned(trial_id), attempt)
    world.reader = world.new_reader()
    outcome = world.run(sleep=world.work_and_wait)
    assert {outcome.statuses[trial_id].state for trial_id in trial_ids} == {"succeeded"}


def test_a_process_that_ends_while_the_controller_looks_has_its_result() -> None:
    """The backend is looked at before the store: what is seen to have ended has published."""
    world = World()
    world.poll()
    name = world.backend.live[0].name
    world.backend.start(name)

    class Ending(Deaf):
        """The process ends in the moment in which somebody looks."""

        def observe(self) -> Sequence[Observed]:
            world.publish(name)
            world.backend.end(name, exit_code=0)
            return super().observe()

    world.poll(backend=Ending(world.backend))
    assert [end.outcome for end in world.ends()] == ["done"]


def test_a_foreign_object_fails_its_trials_and_is_not_touched() -> None:
    world = World()
    name = NAMING.submission(world.plan.groups[0].trial_ids, 1)
    world.backend.foreign.add(name)
    drive(world)
    world.check_settled()
    found = world.run().statuses
    assert {found[trial_id].reason for trial_id in world.plan.groups[0].trial_ids} == {"conflict"}
    assert {found[trial_id].state for trial_id in world.plan.groups[1].trial_ids} == {"succeeded"}


def test_a_store_that_is_down_is_waited_for_and_then_given_up() -> None:
    world = World()
    world.backend.troubles = [TransientError("connection refused")] * 4
    outcome = world.run(sleep=world.work_and_wait)
    assert {status.state for status in outcome.statuses.values()} == {"succeeded"}
    assert len(world.onlooker.troubles) == 4

    world = World()
    world.backend.troubles = [TransientError("connection refused")] * 10_000
    with pytest.raises(TransientError, match="no answer since 2026-01-02"):
        world.run()
    assert len(world.onlooker.troubles) < 100


@pytest.mark.parametrize("wish", ["stop", "interrupt"])
def test_a_controller_told_to_leave_stops_its_processes_waits_for_them_and_records_their_ends(wish: str) -> None:
    world = World()
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        world.wish = ("stop" if wish == "stop" else "interrupt") if looks >= 3 else None
        if looks < 3 or looks > 5:  # it takes its processes two looks to save
            world.work()
        world.advance(seconds)

    outcome = world.run(sleep=sleep)
    assert outcome.kind == wish
    assert world.onlooker.told == [(wish, 1)]
    assert world.backend.seen == {}
    assert {end.outcome for end in world.ends()} <= {"done", "stopped"}
    world.wish = None
    drive(world)
    world.check_settled()


def test_a_controller_whose_processes_outlive_it_leaves_them_alone() -> None:
    world = World()
    world.backend.outlives = True
    world.poll()
    world.wish = "interrupt"
    assert world.run().kind == "interrupt"
    assert [seen.stopping for seen in world.backend.live] == [False, False]
    assert world.onlooker.told == []


def test_a_person_hears_of_a_signal_before_a_store_that_does_not_answer() -> None:
    world = World()

    def sleep(seconds: float) -> None:
        if world.backend.live and not world.wish:
            world.wish = "interrupt"
            world.backend.troubles = [TransientError("connection refused")]
        elif not world.backend.troubles:
            world.work()
        world.advance(seconds)
        heard.append((list(world.onlooker.told), len(world.onlooker.troubles)))

    heard: list[tuple[list[tuple[Wish, int]], int]] = []
    assert world.run(sleep=sleep).kind == "interrupt"
    assert heard[:2] == [([], 0), ([("interrupt", 2)], 1)]


def test_a_widened_plan_runs_only_what_is_new() -> None:
    world = World(plan=plan_of(tuple(lora_trial(number) for number in range(2))))
    drive(world)
    wider = plan_of(tuple(lora_trial(number) for number in range(4)))
    world.plan, world.reader = wider, world.new_reader()
    world.reader = world.new_reader()
    drive(world)
    assert world.backend.submits == 4
    world.check_settled()


def test_a_finished_trial_s_adapter_is_offered_to_the_one_that_shares_it() -> None:
    world = World(plan=plan_of((lora_trial(0), lora_trial(0, max_new_tokens=32))))
    drive(world)
    first, second = world.plan.trials
    request = world.backend.requests[NAMING.submission([second.trial_id], 1)].request
    attempt = f"{NAMING.submission([first.trial_id], 1)}-p"
    assert request.adapters == {second.trial_id: Keys.attempt(first.trial_id, attempt)}


def test_a_pause_makes_no_progress_and_loses_nothing() -> None:
    world = World()
    world.poll()
    world.command(Control(state="paused"))
    for _ in range(5):
        world.work()
        assert not world.poll()
    made = world.backend.submits
    assert world.backend.seen == {}
    world.command(Control())
    drive(world)
    assert world.backend.submits > made
    world.check_settled()


class AnySweep(RuleBasedStateMachine):
    """Whatever happens in whatever order, the promises hold; and when it stops happening, the sweep ends."""

    @initialize(parallelism=st.integers(1, 3), canary=st.booleans(), allowed=st.none() | st.integers(0, 3))
    def begin(self, parallelism: int, canary: bool, allowed: int | None) -> None:
        limits = Limits(
            parallelism=parallelism,
            max_attempts=2,
            max_disruptions=2,
            max_failed_trials=allowed,
            start_timeout_s=600,
            canary=canary,
        )
        self.world = World(limits=limits)
        self.retries = 0
        self.finals: dict[str, str] = {}

    @rule()
    def look(self) -> None:
        self.world.poll()

    @rule(after=st.integers(0, MOST_EFFECTS))
    def crash(self, after: int) -> None:
        self.world.crash(after)

    @rule()
    def restart(self) -> None:
        self.world.reader = self.world.new_reader()

    @rule()
    def refresh_the_stale_view(self) -> None:
        self.world.stale.refresh()

    @rule()
    def look_at_an_old_view(self) -> None:
        self.world.poll(backend=self.world.stale)

    @rule(seconds=st.sampled_from([1, 60, 700, -3600]))
    def time_passes(self, seconds: int) -> None:
        self.world.advance(seconds)

    @precondition(lambda self: any(seen.state == "waiting" for seen in self.world.backend.live))
    @rule(pick=st.integers(0, 9))
    def start(self, pick: int) -> None:
        waiting = [seen for seen in self.world.backend.live if seen.state == "waiting"]
        self.world.backend.start(waiting[pick % len(waiting)].name)

    def _running(self, pick: int) -> str:
        running = [seen.name for seen in self.world.backend.live if seen.state == "running"]
        return running[pick % len(running)]

    def _any_running(self) -> bool:
        return any(seen.state == "running" for seen in self.world.backend.live)

    @precondition(_any_running)
    @rule(pick=st.integers(0, 9), count=st.sampled_from([None, 0, 1]), exit_code=st.sampled_from([0, 1, 75, 85, 137]))
    def end(self, pick: int, count: int | None, exit_code: int) -> None:
        name = self._running(pick)
        self.world.publish(name, count=count)
        self.world.backend.end(name, exit_code=exit_code)

    @precondition(_any_running)
    @rule(pick=st.integers(0, 9), reason=st.sampled_from(["crash", "diverged", "data"]))
    def fail(self, pick: int, reason: str) -> None:
        name = self._running(pick)
        self.world.fail(name, "diverged" if reason == "diverged" else "data" if reason == "data" else "crash")
        self.world.backend.end(name, exit_code=80 if reason == "diverged" else 65 if reason == "data" else 1)

    @precondition(lambda self: bool(self.world.backend.live))
    @rule(pick=st.integers(0, 9), cause=st.sampled_from(["evicted", "oom", "deleted", "lost"]))
    def disrupt(self, pick: int, cause: str) -> None:
        names = [seen.name for seen in self.world.backend.live]
        name = names[pick % len(names)]
        if cause == "evicted":
            self.world.backend.end(name, exit_code=None, cause="evicted")
        elif cause == "oom":
            self.world.backend.end(name, exit_code=137, cause="oom")
        else:
            self.world.backend.end(name, exit_code=None, cause="deleted" if cause == "deleted" else "lost")

    @precondition(lambda self: bool(self.world.backend.live))
    @rule(pick=st.integers(0, 9))
    def vanish(self, pick: int) -> None:
        names = [seen.name for seen in self.world.backend.live]
        del self.world.backend.seen[names[pick % len(names)]]

    @rule(pick=st.integers(0, 4))
    def stop_a_trial(self, pick: int) -> None:
        control = self.world.control()
        trial_id = self.world.plan.trials[pick].trial_id
        self.world.command(control.model_copy(update={"trials": {**control.trials, trial_id: "stop"}}))

    @rule(state=st.sampled_from(["running", "paused", "stopped"]))
    def command(self, state: str) -> None:
        control = self.world.control()
        resumed = control.state == "paused" and state == "running"
        update = {"state": state, "resumed_at": self.world.now if resumed else control.resumed_at}
        self.world.command(control.model_copy(update=update))

    @rule(pick=st.integers(0, 4))
    def retry(self, pick: int) -> None:
        trial_id = self.world.plan.trials[pick].trial_id
        self.retries += 1
        control = self.world.control()
        trials = {key: value for key, value in control.trials.items() if key != trial_id}
        self.world.command(control.model_copy(update={"trials": trials}))
        self.world.retry(trial_id, self.retries)

    @invariant()
    def the_promises_hold(self) -> None:
        if hasattr(self, "world"):
            self.world.check_promises()

    @invariant()
    def a_result_is_never_lost(self) -> None:
        if hasattr(self, "world"):
            for key, body in self.world.store.objects.items():
                if key.endswith("/result.json"):
                    assert self.finals.setdefault(key, sha256_hex(body)) == sha256_hex(body)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            control = self.world.control()
            self.world.command(control.model_copy(update={"state": "running"}))
            drive(self.world)
            self.world.check_settled()


TestAnySweep = AnySweep.TestCase
TestAnySweep.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
