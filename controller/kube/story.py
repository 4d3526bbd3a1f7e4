"""What happened to a run, as the Events that `kubectl describe` shows beside its ConfigMap. Pure.

One for a change, never one for a look: an API server keeps events for an hour and shares their room among all. A failed
trial has its own; of trials that wait, the first with each reason; what passes within seconds is no news.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from controller.kube.identity import Owner
from controller.kube.objects import JsonObject
from controller.kube.run_status import counted
from controller.reconcile import Conclusion
from controller.remedies import pause_text
from controller.report.text import first_line
from controller.states import Situation, TrialStatus
from job.contract.config import PlannedTrial

__all__ = ["Happening", "Story", "event_manifest"]

COMPONENT = "lorasweep"
_MESSAGE_BYTES = 1024  # of an Event's message (kubernetes/pkg/apis/core/validation/events.go)
_AT_MOST = 50
_PASSING = timedelta(seconds=10)


class Happening(NamedTuple):
    """One event."""

    reason: str
    """As machines read it."""
    message: str
    warning: bool = False


class Story:
    """What is new at each look. A controller that takes over begins with where the run stands then."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._told = 0
        self._wanted = "running"
        self._ended: set[str] = set()
        self._waits: dict[str, datetime] = {}
        self._texts: set[str] = set()
        self._began = False

    def news(self, situation: Situation, statuses: Mapping[str, TrialStatus]) -> tuple[Happening, ...]:
        """What has changed since the last look."""
        found = tuple(islice(self._news(situation, statuses), _AT_MOST - self._told))
        self._told += len(found)
        return found

    def end(self, conclusion: Conclusion) -> Happening:
        """The last one: counts, and what the report says."""
        leads = f"; ranked first: {conclusion.leading}" if conclusion.leading else ""
        lost = any(status.state != "succeeded" for status in conclusion.statuses.values())
        return Happening(
            "Finished", f"{counted(conclusion.statuses)}{leads}; report: {conclusion.report}", warning=lost
        )

    def _news(self, situation: Situation, statuses: Mapping[str, TrialStatus]) -> Iterator[Happening]:
        if not self._began:
            self._began = True
            self._ended = {trial_id for trial_id, status in statuses.items() if status.final}
            many = f"{len(statuses)} trials, {situation.limits.parallelism} at a time, kept in {self._run}"
            yield Happening("Began", f"{many}: {counted(statuses)}")
        yield from self._wishes(situation, statuses)
        for trial in situation.plan.trials:
            status = statuses[trial.trial_id]
            if status.final and trial.trial_id not in self._ended:
                self._ended.add(trial.trial_id)
                yield from self._ending(trial, status)
            elif not status.final:
                self._ended.discard(trial.trial_id)  # taken back by a retry
        yield from self._waiting(situation, statuses)

    def _wishes(self, situation: Situation, statuses: Mapping[str, TrialStatus]) -> Iterator[Happening]:
        wanted, before = situation.ledger.control.state, self._wanted
        self._wanted = wanted
        if wanted == before:
            return
        if wanted == "paused":
            yield Happening(
                "Paused", pause_text(situation, statuses, run=self._run) or "paused; nothing is left to hold"
            )
        elif wanted == "stopped":
            yield Happening("Stopped", "somebody stopped the run; what is finished is kept")
        else:
            yield Happening("Resumed", "the run goes on")

    def _ending(self, trial: PlannedTrial, status: TrialStatus) -> Iterator[Happening]:
        who = f"{trial.letter} {trial.trial_id} ({trial.label})"
        if status.state == "failed":
            yield Happening("TrialFailed", f"{who}: {status.reason}: {first_line(status.text)}", warning=True)
        elif status.state == "stopped" and self._wanted != "stopped" and status.text not in self._texts:
            self._texts.add(status.text)
            yield Happening("TrialStopped", f"{who}: {first_line(status.text)}")

    def _waiting(self, situation: Situation, statuses: Mapping[str, TrialStatus]) -> Iterator[Happening]:
        """Of each reason the first trial, once it has waited for longer than any does."""
        seen: dict[str, tuple[PlannedTrial, TrialStatus]] = {}
        for trial in situation.plan.trials:
            status = statuses[trial.trial_id]
            if status.state == "waiting" and status.reason is not None:
                seen.setdefault(str(status.reason), (trial, status))
        self._waits = {reason: at for reason, at in self._waits.items() if reason in seen}
        for reason, (trial, status) in seen.items():
            since = self._waits.setdefault(reason, situation.now)
            if situation.now - since >= _PASSING and f"waits: {reason}" not in self._texts:
                self._texts.add(f"waits: {reason}")
                said = f": {first_line(status.text)}" if status.text else ""
                yield Happening("TrialWaits", f"{trial.letter} {trial.trial_id}: {reason}{said}")


def event_manifest(happening: Happening, *, about: Owner, namespace: str, at: datetime, reporter: str) -> JsonObject:
    """The Event about the run's ConfigMap `about`, which the process `reporter` reports."""
    time = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    body = happening.message.encode()[:_MESSAGE_BYTES].decode(errors="ignore")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{about.name}-", "namespace": namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": about.name,
            "namespace": namespace,
            "uid": about.uid,
        },
        "type": "Warning" if happening.warning else "Normal",
        "reason": happening.reason,
        "message": body,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": reporter,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
