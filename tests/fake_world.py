"""One sweep in memory with everything that can happen to it: processes, people, crashes; and the four promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fake_backend import Crash, CrashAfter, FakeBackend, Stale
from fake_sweep import NOW, lora_trial, plan_of, publish, request_for
from memory_store import MemoryStore

from controller.backend import Backend
from controller.decide import decide, settled
from controller.interrupts import Wish
from controller.ledger_reader import LedgerReader
from controller.names import Naming
from controller.reconcile import Clock, Controller, Outcome, Watcher, act, look, reconcile
from controller.states import Limits, Situation, TrialStatus, states
from job.contract.config import PlannedTrial, Request
from job.contract.documents import Control, Failure, Plan, SubmissionEnd, parse, to_json
from job.contract.errors import PERMANENT_REASONS, FailureReason, TransientError
from job.store import Keys

NAMING = Naming("/memory", "demo", "main")


class Onlooker(Watcher):
    """A Watcher that remembers."""

    def __init__(self) -> None:
        self.troubles: list[TransientError] = []
        self.told: list[tuple[Wish, int]] = []
        self.statuses: Mapping[str, TrialStatus] = {}

    def update(self, situation: Situation, statuses: Mapping[str, TrialStatus]) -> None:
        del situation
        self.statuses = statuses

    def trouble(self, error: TransientError, *, since: datetime) -> None:
        del since
        self.troubles.append(error)

    def leaving(self, wish: Wish, *, live: int) -> None:
        self.told.append((wish, live))


def five_trials() -> Plan:
    """Groups of two, two and one; the last trial shares the first one's adapter."""
    trials = (*(lora_trial(number) for number in range(4)), lora_trial(0, max_new_tokens=32))
    return plan_of(trials, per_group=2)


@dataclass
class World:
    """The sweep and the clock."""

    plan: Plan = field(default_factory=five_trials)
    limits: Limits = field(default_factory=lambda: Limits(parallelism=2, max_attempts=2, max_disruptions=2))
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.store = MemoryStore()
        self.backend = FakeBackend(now=lambda: self.now)
        self.stale = Stale(self.backend)
        self.reader = self.new_reader()
        self.wish: Wish | None = None
        self.onlooker = Onlooker()

    def new_reader(self) -> LedgerReader:
        return LedgerReader(self.store, self.plan, monotonic=lambda: (self.now - NOW).total_seconds())

    def controller(self, *, backend: Backend | None = None, sleep: Callable[[float], None] | None = None) -> Controller:
        return Controller(
            plan=self.plan,
            naming=NAMING,
            store=self.store,
            reader=self.reader,
            backend=backend or self.backend,
            limits=self.limits,
            make_request=self.request,
            watcher=self.onlooker,
            clock=Clock(
                now=lambda: self.now,
                monotonic=lambda: (self.now - NOW).total_seconds(),
                sleep=sleep or (lambda seconds: self.advance(seconds)),
            ),
            wish=lambda: self.wish,
        )

    def request(self, trial_ids: tuple[str, ...], adapters: Mapping[str, str]) -> Request:
        return request_for(self.plan, trial_ids, dict(adapters))

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def poll(self, *, backend: Backend | None = None) -> bool:
        """One look, all its actions; True when everything is settled."""
        controller = self.controller(backend=backend)
        situation = look(controller, leaving=False)
        for action in decide(situation, naming=NAMING):
            act(controller, action, situation.ledger)
        return settled(situation, states(situation))

    def crash(self, after: int) -> bool:
        """A controller that is killed after so many effects, if it has that many; then a new one begins."""
        counter = CrashAfter(after)
        self.store.after_effect = self.backend.after_effect = counter.count
        try:
            self.poll()
        except Crash:
            return True
        else:
            return False
        finally:
            self.store.after_effect = self.backend.after_effect = lambda: None
            self.reader = self.new_reader()

    def run(self, *, sleep: Callable[[float], None] | None = None) -> Outcome:
        """As `lorasweep run`, with what happens meanwhile in `sleep`."""
        return reconcile(self.controller(sleep=sleep))

    def planned(self, trial_id: str) -> PlannedTrial:
        return next(trial for trial in self.plan.trials if trial.trial_id == trial_id)

    def publish(self, name: str, *, count: int | None = None) -> None:
        """The process writes the results of the first `count` of its trials."""
        seen = self.backend.seen[name]
        for trial_id in seen.trial_ids[:count]:
            publish(self.store, self.planned(trial_id), seen.attempt or name)

    def fail(self, name: str, reason: FailureReason) -> None:
        """The process writes a failure for each trial that has no result."""
        seen = self.backend.seen[name]
        for trial_id in seen.trial_ids:
            if Keys.result(trial_id) not in self.store.objects:
                failure = Failure(
                    trial_id=trial_id,
                    attempt=seen.attempt or name,
                    reason=reason,
                    permanent=reason in PERMANENT_REASONS,
                    exit_code=None,
                    message="it broke",
                    written_by="job",
                    at=self.now,
                )
                self.store.put_once(Keys.failure(trial_id, failure.attempt), to_json(failure))

    def command(self, control: Control) -> None:
        """What a person's verb does last."""
        self.store.put(Keys.CONTROL, to_json(control))

    def control(self) -> Control:
        if Keys.CONTROL not in self.store.objects:
            return Control()
        return parse(Control, self.store.objects[Keys.CONTROL], name=Keys.CONTROL)

    def retry(self, trial_id: str, number: int) -> None:
        ledger = self.new_reader().read(live=())
        self.store.put_once(Keys.retry(trial_id, number), to_json(ledger.retry(trial_id, at=self.now)))
        self.command(self.control())

    def work(self) -> None:
        """Every process makes one step: it starts, then publishes and ends, or ends because it was asked to."""
        for seen in self.backend.live:
            if seen.stopping:
                self.backend.end(seen.name, exit_code=85)
            elif seen.state == "waiting":
                self.backend.start(seen.name)
            else:
                self.publish(seen.name)
                self.backend.end(seen.name, exit_code=0)

    def work_and_wait(self, seconds: float) -> None:
        """As a sleep of the loop."""
        self.work()
        self.advance(seconds)

    def check_promises(self) -> None:
        """I1, and the order of failures, ends and successors."""
        live = [trial_id for seen in self.backend.live for trial_id in seen.trial_ids]
        assert len(live) == len(set(live)), "I1: two live submissions hold one trial"
        for seen in self.backend.live:
            if seen.number > 1:
                before = f"{seen.name.rsplit('-', 1)[0]}-{seen.number - 1}"
                assert Keys.submission(before) in self.store.objects, f"{before} has no end, {seen.name} lives"
        for end in self.ends():
            for trial_id in end.trial_ids if end.reason is not None else ():
                known = {Keys.result(trial_id), Keys.failure(trial_id, end.attempt or end.name)}
                assert known & self.store.objects.keys(), f"{end.name} failed and left no failure of {trial_id}"

    def ends(self) -> list[SubmissionEnd]:
        keys = [key for key in self.store.objects if key.startswith(Keys.SUBMISSIONS)]
        return [parse(SubmissionEnd, self.store.objects[key], name=key) for key in keys]

    def check_settled(self) -> None:
        """I2 and I4, once nothing more happens."""
        situation = look(self.controller(), leaving=False)
        assert all(status.final for status in states(situation).values()), "I2"
        before, made = dict(self.store.objects), self.backend.submits
        self.reader = self.new_reader()
        outcome = self.run()
        assert outcome.submissions == 0, "I4: a second run submitted"
        assert (self.store.objects, self.backend.submits) == (before, made), "I4: a second run changed something"
