"""How far a sweep is, and how long it will still take; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from controller.states import Situation, TrialStatus, open_trials
from job.contract.config import PlannedTrial, TrialKind
from job.contract.documents import Group, Progress, Result
from job.contract.errors import TrialState

__all__ = ["SweepProgress", "duration", "progress_of", "trial_note"]


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """One line about the whole sweep."""

    counts: Mapping[TrialState, int]
    total: int
    eta_s: float | None
    """Until the last trial ends; None while nothing can be told."""

    @property
    def done(self) -> int:
        """Trials in a final state."""
        return self.counts.get("succeeded", 0) + self.counts.get("failed", 0) + self.counts.get("stopped", 0)


def progress_of(situation: Situation, statuses: Mapping[str, TrialStatus]) -> SweepProgress:
    """Counts by state, and the time left if trials to come take as long as finished ones of their kind."""
    counts = Counter(status.state for status in statuses.values())
    return SweepProgress(counts=counts, total=len(statuses), eta_s=_eta_s(situation, statuses))


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def trial_note(situation: Situation, trial: PlannedTrial, status: TrialStatus) -> str:
    """What is worth knowing about a trial now, beyond its state: reason, step and loss and time left, or its wait."""
    if status.state in {"succeeded", "stopped"}:
        return status.text
    progress = _present(situation, trial.trial_id)
    if status.state == "running" and progress is not None:
        parts: list[str] = [progress.stage]
        if progress.message and progress.stage != "train":  # rows of an evaluation; a step says nothing in words
            parts.append(progress.message)
        if progress.max_steps:
            parts.append(f"step {progress.step}/{progress.max_steps}")
        if progress.loss is not None:
            parts.append(f"loss {progress.loss:.3f}")
        if progress.tokens_per_s is not None:
            parts.append(f"{progress.tokens_per_s:,.0f} tokens/s")
        if progress.stage == "train" and (left_s := _own_estimate_s(situation, trial.trial_id)):
            parts.append(f"about {duration(left_s)} left")
        if status.text:
            parts.append(status.text)
        return ", ".join(parts)
    reason = status.reason or ""
    return f"{reason}: {status.text}" if reason and status.text else reason or status.text


def _present(situation: Situation, trial_id: str) -> Progress | None:
    """The progress of the process that runs now; what an earlier one left says nothing about it."""
    record = situation.ledger.record(trial_id)
    if record.progress is None or record.failed_in(record.progress.attempt):
        return None
    if situation.observed is None:
        return record.progress
    live = {seen.attempt for seen in situation.observed if seen.live and trial_id in seen.trial_ids}
    return record.progress if record.progress.attempt in live else None


def _eta_s(situation: Situation, statuses: Mapping[str, TrialStatus]) -> float | None:
    typical = _typical_s(situation, statuses)
    # A kind of which nothing is known is taken for the longest known: an estimate that shrinks disappoints nobody.
    unknown_s = max(typical.values(), default=None)
    if unknown_s is None:
        return None if any(not status.final for status in statuses.values()) else 0.0
    whole_s = {trial.trial_id: typical.get(trial.kind, unknown_s) for trial in situation.plan.trials}
    left_s = longest_s = 0.0
    for group in situation.plan.groups:
        group_s = _group_left_s(situation, statuses, group=group, whole_s=whole_s)
        left_s += group_s
        longest_s = max(longest_s, group_s)
    return max(left_s / situation.limits.parallelism, longest_s)


def _group_left_s(
    situation: Situation, statuses: Mapping[str, TrialStatus], *, group: Group, whole_s: Mapping[str, float]
) -> float:
    """Until the last trial of the group ends, if a place is free for what of it does not run."""
    idle = [trial_id for trial_id in open_trials(group, statuses) if statuses[trial_id].state != "running"]
    running = [trial_id for trial_id in open_trials(group, statuses) if statuses[trial_id].state == "running"]
    left_s = sum(whole_s[trial_id] for trial_id in idle)
    # The process counts its training steps alone; evaluation and publishing are in the durations of others.
    own_s = {trial_id: _own_estimate_s(situation, trial_id) or 0.0 for trial_id in running}
    if group.engine == "lanes" and running:  # they end together; each one's duration is its share of the process's
        together_s = sum(whole_s[trial_id] for trial_id in _fellows(situation, running[0]))
        return left_s + max(*own_s.values(), together_s - _elapsed_s(situation, running[0]))
    return left_s + sum(
        max(own_s[trial_id], whole_s[trial_id] - _elapsed_s(situation, trial_id)) for trial_id in running
    )


def _typical_s(situation: Situation, statuses: Mapping[str, TrialStatus]) -> dict[TrialKind, float]:
    """Mean duration by kind: of finished trials, else of running ones by their own estimate."""
    finished: dict[TrialKind, list[float]] = {}
    running: dict[TrialKind, list[float]] = {}
    for trial in situation.plan.trials:
        if (result := situation.ledger.record(trial.trial_id).result) is not None:
            finished.setdefault(trial.kind, []).append(_seconds(result))
        elif statuses[trial.trial_id].state == "running":
            own_s = _own_estimate_s(situation, trial.trial_id)
            if own_s is not None:
                sharing = len(_fellows(situation, trial.trial_id)) if trial.trial_id in situation.packed else 1
                shared_s = (_elapsed_s(situation, trial.trial_id) + own_s) / sharing
                running.setdefault(trial.kind, []).append(shared_s)
    return {kind: fmean(durations) for kind, durations in (running | finished).items()}


def _fellows(situation: Situation, trial_id: str) -> tuple[str, ...]:
    """The trials of its live submission, this one and the finished ones included."""
    seen = next((one for one in situation.observed or () if one.live and trial_id in one.trial_ids), None)
    return (trial_id,) if seen is None else tuple(seen.trial_ids)


def _own_estimate_s(situation: Situation, trial_id: str) -> float | None:
    """What the process says about its own rest."""
    progress = _present(situation, trial_id)
    if progress is None or progress.eta_s is None or progress.stage not in {"train", "evaluate"}:
        return None
    return max(0.0, progress.eta_s - (situation.now - progress.updated_at).total_seconds())


def _elapsed_s(situation: Situation, trial_id: str) -> float:
    started = next((seen.started_at for seen in situation.observed or () if trial_id in seen.trial_ids), None)
    return 0.0 if started is None else max(0.0, (situation.now - started).total_seconds())


def _seconds(result: Result) -> float:
    seconds = result.seconds
    return seconds.startup + seconds.data + seconds.train + seconds.evaluate + seconds.publish
