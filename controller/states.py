"""The state and reason of every trial: one pure function, used for decisions, for `status` and for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple, assert_never

from controller.backend import Observed
from controller.ledger import Ledger, TrialRecord
from job.contract.documents import Group, Plan
from job.contract.errors import FailureReason, TrialState, WaitReason

__all__ = ["FINAL_STATES", "Limits", "Situation", "TrialStatus", "states"]

FINAL_STATES: frozenset[TrialState] = frozenset({"succeeded", "failed", "stopped"})
# A running job writes its progress every few seconds; five minutes of silence cover a slow load of weights.
SILENCE_S = 300.0
_QUIET_S = 60.0  # worth a word


@dataclass(frozen=True, slots=True)
class Limits:
    """The spec's `execution` numbers that the controller keeps, and where it is in its own life."""

    parallelism: int = 1
    max_attempts: int = 3
    max_disruptions: int = 20
    max_failed_trials: int | None = None
    """More failed trials than this stop the rest; None: never."""
    queue_timeout_s: float | None = None
    """From submission to a place; None: wait for ever."""
    start_timeout_s: float | None = None
    """From a place to a running process; None: wait for ever."""
    backoff_s: float = 5.0
    """Before the second attempt; doubles with every further one."""
    backoff_limit_s: float = 300.0
    canary: bool = False
    """Submit no second group before one has run: a wrong image or Secret then costs one Job, not a thousand."""
    leaving: bool = False
    """The controller was told to end: stop what lives, submit nothing."""

    def backoff(self, attempts: int) -> timedelta:
        """The pause after so many failed attempts."""
        doublings = min(attempts - 1, 30)
        return timedelta(seconds=min(self.backoff_s * 2**doublings, self.backoff_limit_s))


@dataclass(frozen=True, slots=True)
class TrialStatus:
    """Where one trial is, in one word, with the reason and a sentence."""

    state: TrialState
    reason: FailureReason | WaitReason | None = None
    text: str = ""
    attempts: int = 0
    """Failed attempts that count."""
    name: str | None = None
    """Its live submission."""
    stopping: bool = False
    """It is live, and somebody or a limit wants it to end."""

    @property
    def final(self) -> bool:
        return self.state in FINAL_STATES


@dataclass(frozen=True)
class Situation:
    """Everything that states and decisions depend on."""

    plan: Plan
    ledger: Ledger
    observed: Sequence[Observed] | None
    """None: nobody asked a backend, as in `status`; what runs is then told from progress documents."""
    limits: Limits
    now: datetime

    @cached_property
    def packed(self) -> frozenset[str]:
        """Trials whose group trains its trials together."""
        return frozenset(
            trial_id for group in self.plan.groups if group.engine == "lanes" for trial_id in group.trial_ids
        )

    @cached_property
    def last_words(self) -> Mapping[str, datetime]:
        """When each process last told of any of its trials, by attempt: lanes have their turns."""
        said: dict[str, datetime] = {}
        for trial in self.plan.trials:
            progress = self.ledger.record(trial.trial_id).progress
            if progress is not None:
                said[progress.attempt] = max(said.get(progress.attempt, progress.updated_at), progress.updated_at)
        return said

    @property
    def awaits_canary(self) -> bool:
        """Whether the first submission has yet to show that a process can start here."""
        if not self.limits.canary or any(seen.started_at is not None for seen in self.observed or ()):
            return False
        return all(end.started_at is None for end in self.ledger.ends.values())


def states(situation: Situation) -> dict[str, TrialStatus]:
    """The status of every trial of the plan, in plan order."""
    ledger, limits = situation.ledger, situation.limits
    verdicts = {trial.trial_id: _verdict(ledger.record(trial.trial_id), limits) for trial in situation.plan.trials}
    live = {trial_id: seen for seen in situation.observed or () if seen.live for trial_id in seen.trial_ids}
    open_trials = _Open(situation, live=live, hopeless=_hopeless(situation, verdicts))
    return {trial_id: verdict or open_trials.status(trial_id) for trial_id, verdict in verdicts.items()}


def _verdict(record: TrialRecord, limits: Limits) -> TrialStatus | None:
    """Succeeded or failed by what is stored; None while neither. A verified result wins over every failure."""
    failures = record.counted_failures
    if record.result is not None:
        return TrialStatus("succeeded", attempts=len(failures))
    if record.corrupt is not None:
        return TrialStatus("failed", "result_corrupt", record.corrupt.message, len(failures))
    # Any permanent one: which is the newest is known only as far as the clocks of machines agree.
    decisive = next((failure for failure in reversed(failures) if failure.permanent), None)
    if decisive is not None:
        return TrialStatus("failed", decisive.reason, decisive.message, len(failures))
    if len(failures) >= limits.max_attempts:
        newest = failures[-1]
        return TrialStatus("failed", newest.reason, f"{newest.message} (attempt {len(failures)})", len(failures))
    return None


class _Stop(NamedTuple):
    """Why an open trial is to end, or not to begin."""

    text: str
    reason: FailureReason | None = None
    """Of the failed trial that it would only repeat."""


def _hopeless(situation: Situation, verdicts: Mapping[str, TrialStatus | None]) -> _Stop | None:
    """Why no trial that is still open should run; None where they should."""
    limit = situation.limits.max_failed_trials
    failed = [
        trial
        for trial in situation.plan.trials
        if (verdict := verdicts[trial.trial_id]) is not None and verdict.state == "failed"
    ]
    for trial in failed:
        failures = situation.ledger.record(trial.trial_id).counted_failures
        if shared := next((failure for failure in failures if failure.permanent and failure.shared), None):
            return _Stop(f"every trial would fail as {trial.letter} {trial.trial_id} did", shared.reason)
    if limit is not None and len(failed) > limit:
        return _Stop(f"more than max_failed_trials={limit} trials failed")
    return None


@dataclass(frozen=True, slots=True)
class _Open:
    """States of trials that are neither succeeded nor failed."""

    situation: Situation
    live: Mapping[str, Observed]
    hopeless: _Stop | None

    def status(self, trial_id: str) -> TrialStatus:
        record = self.situation.ledger.record(trial_id)
        attempts = len(record.counted_failures)
        stop = self._stop(trial_id)
        if seen := self.live.get(trial_id):
            said = seen if seen.text else replace(seen, text=self._silence(trial_id, seen))
            return _live_status(said, stop="" if stop is None else stop.text, attempts=attempts)
        if stop is not None:
            return TrialStatus("stopped", stop.reason, stop.text, attempts)
        if self.situation.observed is None and (heard := self._heard_of(record)):
            return heard
        return self._pending(record, attempts)

    def _stop(self, trial_id: str) -> _Stop | None:
        control = self.situation.ledger.control
        if control.state == "stopped":
            return _Stop("the run was stopped")
        if trial_id in control.trials:
            return _Stop("the trial was stopped")
        return self.hopeless

    def _silence(self, trial_id: str, seen: Observed) -> str:
        """That a running process tells nothing for long: its store takes nothing, or it hangs. Its log says which."""
        if seen.state != "running" or seen.started_at is None:
            return ""
        spoken = {
            each: progress.updated_at
            for each in seen.trial_ids
            if (progress := self.situation.ledger.record(each).progress) is not None
            and progress.attempt == seen.attempt
        }
        together = len(seen.trial_ids) == 1 or trial_id in self.situation.packed
        if not together and trial_id not in spoken:  # it waits for its turn
            return ""
        # Any trial of a group speaks for its process: a lane may have nothing to say while others are evaluated.
        silent_s = (self.situation.now - max(spoken.values(), default=seen.started_at)).total_seconds()
        return f"no progress for {silent_s // 60:.0f} min, see `lorasweep logs`" if silent_s > SILENCE_S else ""

    def _heard_of(self, record: TrialRecord) -> TrialStatus | None:
        """Running, as far as the store can tell: a process writes progress and its end is not recorded."""
        progress = record.progress
        if progress is None or record.failed_in(progress.attempt) or self.situation.ledger.has_ended(progress.attempt):
            return None
        silent_s = (self.situation.now - self.situation.last_words[progress.attempt]).total_seconds()
        attempts = len(record.counted_failures)
        if silent_s > SILENCE_S:
            text = f"no sign of life for {silent_s:.0f} s; `lorasweep run` goes on"
            return TrialStatus("pending", text=text, attempts=attempts)
        text = f"no sign of life for {silent_s:.0f} s" if silent_s > _QUIET_S else ""
        return TrialStatus("running", text=text, attempts=attempts)

    def _pending(self, record: TrialRecord, attempts: int) -> TrialStatus:
        if self.situation.ledger.control.state == "paused":
            return TrialStatus("pending", "paused", "the run is paused", attempts)
        if attempts:
            failure = record.counted_failures[-1]
            waited = self.situation.now - failure.at
            pause = self.situation.limits.backoff(attempts)
            # A clock that was set back must not turn a pause of seconds into one of hours.
            if timedelta(0) <= waited < pause:
                left = (pause - waited).total_seconds()
                text = f"attempt {attempts} failed ({failure.reason}); next in {left:.0f} s"
                return TrialStatus("pending", "backoff", text, attempts)
        return TrialStatus("pending", "canary" if self.situation.awaits_canary else "slot", attempts=attempts)


def _live_status(seen: Observed, *, stop: str, attempts: int) -> TrialStatus:
    text = f"stopping: {stop}" if stop else seen.text
    match seen.state:
        case "waiting":
            return TrialStatus("waiting", seen.wait_reason or "starting", text, attempts, seen.name, bool(stop))
        case "running" | "ended":
            return TrialStatus("running", None, text, attempts, seen.name, bool(stop))
        case unreachable:
            assert_never(unreachable)


def open_trials(group: Group, statuses: Mapping[str, TrialStatus]) -> tuple[str, ...]:
    """The group's trials that are not final."""
    return tuple(trial_id for trial_id in group.trial_ids if not statuses[trial_id].final)
