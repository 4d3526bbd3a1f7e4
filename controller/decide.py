"""The decision table: from what is planned, stored and observed, what to do next. Pure.

Rules, in the order in which they are applied:
- an ended submission: first a failure for each trial that it leaves without result and without a failure of its own,
  then its end; it is forgotten only when that end is in the store;
- of several trials in one process only those fail with it that it had begun, as far as their progress tells;
- several lanes that were killed together for want of memory have not failed: each might fit alone, and half of them
  are tried next;
- a live submission is stopped when a trial of it is to stop, when it waited too long or was disrupted too often; never
  because its trials are done: a process that has published still tidies up;
- a trial that was disrupted too often fails;
- a pause starts nothing and ends nothing: what lives goes on, and no limit of waiting runs until it is over;
- a group with open trials gets submission n+1 when the end of n is in the store, nothing live holds one of its trials
  or trains the same adapter, the pause after a failure is over and a place is free.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from controller.backend import Observed
from controller.endings import Ending, ending, said
from controller.names import Naming
from controller.states import Situation, TrialStatus, open_trials, states
from job.contract.documents import Failure, Group, SubmissionEnd
from job.contract.errors import PERMANENT_REASONS, FailureReason

__all__ = ["Action", "Forget", "RecordEnd", "StopSubmission", "Submit", "WriteFailure", "decide", "settled"]

# Of a wait that start_timeout_s ends: the reasons with a failure reason of their own.
_WAIT_FAILURES: dict[str, FailureReason] = {
    "image": "image",
    "admission": "admission",
    "configuration": "configuration",
}
_OUT_OF_MEMORY: frozenset[FailureReason] = frozenset({"oom", "gpu_oom"})
_READY = frozenset({"slot", "canary"})
_QUEUE_WAITS = frozenset({"no_gpu", "unschedulable", "quota", "queued", "suspended", "slot"})


@dataclass(frozen=True, slots=True)
class Submit:
    """Make the group's submission of this number with these of its trials."""

    name: str
    number: int
    group_id: str
    trial_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WriteFailure:
    """Put the failure, once."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class RecordEnd:
    """Put the submission's end, once."""

    end: SubmissionEnd


@dataclass(frozen=True, slots=True)
class StopSubmission:
    """Ask a live submission to end."""

    name: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove what the backend keeps of an ended submission."""

    name: str


Action = Submit | WriteFailure | RecordEnd | StopSubmission | Forget


def decide(situation: Situation, *, naming: Naming) -> tuple[Action, ...]:
    """What to do now, in this order; nothing when everything is settled or only time can help."""
    statuses = states(situation)
    table = _Table(situation, naming, statuses)
    return (*table.closings(), *table.stops(), *table.surrenders(), *table.submissions())


def settled(situation: Situation, statuses: Mapping[str, TrialStatus]) -> bool:
    """Whether every trial is in its final state and nothing is left in the backend."""
    return not situation.observed and all(status.final for status in statuses.values())


@dataclass(frozen=True, slots=True)
class _Table:
    situation: Situation
    naming: Naming
    statuses: Mapping[str, TrialStatus]

    @property
    def observed(self) -> Sequence[Observed]:
        return self.situation.observed or ()

    def closings(self) -> Iterator[Action]:
        for seen in self.observed:
            if seen.live:
                continue
            if seen.name in self.situation.ledger.ends:
                yield Forget(seen.name)
            else:
                yield from self._close(seen)

    def _close(self, seen: Observed) -> Iterator[Action]:
        end = self._ending(seen)
        attempt = seen.attempt or seen.name
        ended_at = seen.ended_at or self.situation.now
        if end.reason is not None and not (end.reason in _OUT_OF_MEMORY and self._were_lanes(seen.trial_ids)):
            for trial_id in self._failed_with(seen, attempt):
                yield WriteFailure(_failure(trial_id, attempt, end.reason, end.message, seen, ended_at))
        yield RecordEnd(
            SubmissionEnd(
                name=seen.name,
                group_id=seen.group_id,
                number=seen.number,
                trial_ids=seen.trial_ids,
                attempt=seen.attempt,
                outcome=end.outcome,
                exit_code=seen.exit_code,
                reason=end.reason,
                message=end.message,
                started_at=seen.started_at,
                ended_at=ended_at,
            )
        )

    def _were_lanes(self, trial_ids: Sequence[str]) -> bool:
        """Whether several trials shared the memory of their process."""
        return len(trial_ids) > 1 and not self.situation.packed.isdisjoint(trial_ids)

    def _failed_with(self, seen: Observed, attempt: str) -> list[str]:
        """Those it leaves that the process had begun; all of them when none is known to have been begun.

        So each failed process costs some trial an attempt, or has brought one to its end.
        """
        begun = {trial_id for trial_id in seen.trial_ids if self._had_begun(trial_id, attempt)}
        return [trial_id for trial_id in self._left_by(seen, attempt) if not begun or trial_id in begun]

    def _had_begun(self, trial_id: str, attempt: str) -> bool:
        progress = self.situation.ledger.record(trial_id).progress
        return progress is not None and progress.attempt == attempt and progress.begun

    def _left_by(self, seen: Observed, attempt: str) -> list[str]:
        """Trials of the plan without a result and without a failure of this attempt."""
        planned = [trial_id for trial_id in seen.trial_ids if trial_id in self.statuses]
        records = {trial_id: self.situation.ledger.record(trial_id) for trial_id in planned}
        return [
            trial_id
            for trial_id, record in records.items()
            if record.result is None and record.corrupt is None and not record.failed_in(attempt)
        ]

    def _ending(self, seen: Observed) -> Ending:
        asked = (
            self.situation.limits.leaving
            or self.situation.ledger.control.state == "paused"
            or any(self._to_stop(trial_id) or self._gave_up_waiting(trial_id, seen) for trial_id in seen.trial_ids)
        )
        return ending(seen, asked=asked, complete=not self._left_by(seen, seen.attempt or seen.name))

    def _to_stop(self, trial_id: str) -> bool:
        """Whether the trial is open and someone, or a limit, wants it to end."""
        status = self.statuses.get(trial_id)
        return status is not None and (status.state == "stopped" or status.stopping)

    def _gave_up_waiting(self, trial_id: str, seen: Observed) -> bool:
        """Whether this controller failed the trial for waiting in this very submission."""
        return self.situation.ledger.record(trial_id).failed_in(seen.name)

    def stops(self) -> Iterator[Action]:
        for seen in self.observed:
            if not seen.live or seen.stopping:
                continue
            yield from self._waited_too_long(seen)
            yield from self._disrupted_too_often(seen)
            asked = self.situation.limits.leaving or any(self._to_stop(trial_id) for trial_id in seen.trial_ids)
            waited = any(self._gave_up_waiting(trial_id, seen) for trial_id in seen.trial_ids)
            if asked or waited:
                yield StopSubmission(seen.name)

    def _waited_too_long(self, seen: Observed) -> tuple[WriteFailure, ...]:
        """Failures for the trials of a submission whose wait is over its limit; the stop follows from them."""
        control = self.situation.ledger.control
        # How long a node stays away is in nobody's hands here, and a trial whose node is lost may have run for hours.
        if seen.state != "waiting" or seen.wait_reason == "node_lost" or control.state == "paused":
            return ()
        limits, now = self.situation.limits, self.situation.now
        queued = seen.scheduled_at is None and seen.wait_reason in _QUEUE_WAITS
        limit_s = limits.queue_timeout_s if queued else limits.start_timeout_s
        since = seen.submitted_at if queued else seen.scheduled_at or seen.submitted_at
        if limit_s is None or since is None:
            return ()
        if control.resumed_at is not None:
            since = max(since, control.resumed_at)
        if (now - since).total_seconds() <= limit_s:
            return ()
        field, reason = _wait_limit(seen, queued=queued)
        message = f"not running {limit_s:g} s after it was {'submitted' if queued else 'given a place'} ({field})"
        return tuple(
            WriteFailure(_failure(trial_id, seen.name, reason, said(seen, message), seen, now))
            for trial_id in self._left_by(seen, seen.name)
        )

    def _disrupted_too_often(self, seen: Observed) -> Iterator[Action]:
        """Failures for trials whose processes the backend itself has replaced too often; the stop follows from them."""
        limit = self.situation.limits.max_disruptions
        for trial_id in self._left_by(seen, seen.name) if seen.disruptions else ():
            count = seen.disruptions + len(self.situation.ledger.disruptions(trial_id))
            if count > limit:
                message = f"disrupted {count} times, more than max_disruptions={limit}"
                yield WriteFailure(
                    _failure(trial_id, seen.name, "disruptions", said(seen, message), seen, self.situation.now)
                )

    def surrenders(self) -> Iterator[Action]:
        limit = self.situation.limits.max_disruptions
        for trial_id, status in self.statuses.items():
            if status.state != "pending":
                continue
            disruptions = self.situation.ledger.disruptions(trial_id)
            if (count := len(disruptions)) > limit:
                last = disruptions[-1]
                message = f"disrupted {count} times, more than max_disruptions={limit}; the last time: {last.message}"
                yield WriteFailure(
                    Failure(
                        trial_id=trial_id,
                        # A name of its own: a process may have written a failure before it was evicted.
                        attempt=f"{last.name}-disrupted",
                        reason="disruptions",
                        permanent=True,
                        exit_code=last.exit_code,
                        message=message,
                        written_by="controller",
                        at=self.situation.now,
                    )
                )

    def submissions(self) -> Iterator[Submit]:
        if self.situation.limits.leaving:
            return
        live = [seen for seen in self.observed if seen.live]
        free = self.situation.limits.parallelism - len(live)
        if self.situation.awaits_canary:
            free = min(free, 1 - len(live))
        adapter_of = {trial.trial_id: trial.adapter_id for trial in self.situation.plan.trials if trial.adapter_id}
        taken = {adapter_of.get(trial_id, "") for seen in live for trial_id in seen.trial_ids}
        # Retries queue behind first attempts, so that one bad trial holds nobody up.
        for candidate in sorted(self._candidates(), key=lambda submit: submit.number):
            adapters = {adapter_of[trial_id] for trial_id in candidate.trial_ids if trial_id in adapter_of}
            if free <= 0:
                return
            if taken.isdisjoint(adapters):
                yield candidate
                taken |= adapters
                free -= 1

    def _candidates(self) -> Iterator[Submit]:
        held = {trial_id for seen in self.observed if seen.live for trial_id in seen.trial_ids}
        known = {seen.name for seen in self.observed}
        exhausted = {trial_id for trial_id in self.statuses if self._exhausted(trial_id)}
        for group in self.situation.plan.groups:
            left = tuple(trial_id for trial_id in open_trials(group, self.statuses) if trial_id not in exhausted)
            if not left or not held.isdisjoint(group.trial_ids):
                continue
            if any(self.statuses[trial_id].reason not in _READY for trial_id in left):
                continue
            left = left[: self._most_lanes(left)]
            number = self._next_number(group)
            name = self.naming.submission(group.trial_ids, number)
            if name not in known:  # ended, and its end is being recorded
                yield Submit(name, number, group.group_id, left)

    def _most_lanes(self, trial_ids: Sequence[str]) -> int:
        """How many of these may share a process: half of the fewest that ran out of memory together, at least one."""
        ledger = self.situation.ledger
        too_many = [
            len(end.trial_ids)
            for trial_id in self.situation.packed.intersection(trial_ids)
            for end in ledger.ends_of(trial_id)
            if end.reason in _OUT_OF_MEMORY and end.name not in ledger.record(trial_id).voided
        ]
        return max(1, min(too_many) // 2) if too_many else len(trial_ids)

    def _exhausted(self, trial_id: str) -> bool:
        return len(self.situation.ledger.disruptions(trial_id)) > self.situation.limits.max_disruptions

    def _next_number(self, group: Group) -> int:
        number = 1
        while self.naming.submission(group.trial_ids, number) in self.situation.ledger.ends:
            number += 1
        return number


def _wait_limit(seen: Observed, *, queued: bool) -> tuple[str, FailureReason]:
    if queued:
        return "queue_timeout_s", "queue_timeout"
    return "start_timeout_s", _WAIT_FAILURES.get(seen.wait_reason or "", "start_timeout")


def _failure(trial_id: str, attempt: str, reason: FailureReason, message: str, seen: Observed, at: datetime) -> Failure:
    return Failure(
        trial_id=trial_id,
        attempt=attempt,
        reason=reason,
        permanent=reason in PERMANENT_REASONS,
        exit_code=seen.exit_code,
        message=message,
        log_tail=seen.log_tail,
        written_by="controller",
        at=at,
    )
