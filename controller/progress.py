"""How far a sweep is, and how long it will still take; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from controller.states import Situation, TrialStatus
from job.contract.config import PlannedTrial
from job.contract.documents import Result
from job.contract.errors import TrialState

__all__ = ["SweepProgress", "progress_of", "trial_note"]


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


def trial_note(situation: Situation, trial: PlannedTrial, status: TrialStatus) -> str:
    """What is worth knowing about a trial now, beyond its state: reason, step and loss, or its wait."""
    record = situation.ledger.record(trial.trial_id)
    if status.state in {"succeeded", "stopped"}:
        return status.text
    if status.state == "running" and record.progress is not None and not record.failed_in(record.progress.attempt):
        progress = record.progress
        parts: list[str] = [progress.stage]
        if progress.max_steps:
            parts.append(f"step {progress.step}/{progress.max_steps}")
        if progress.loss is not None:
            parts.append(f"loss {progress.loss:.3f}")
        if progress.tokens_per_s is not None:
            parts.append(f"{progress.tokens_per_s:,.0f} tokens/s")
        if status.stopping:
            parts.append(status.text)
        return ", ".join(parts)
    reason = status.reason or ""
    return f"{reason}: {status.text}" if reason and status.text else reason or status.text


def _eta_s(situation: Situation, statuses: Mapping[str, TrialStatus]) -> float | None:
    durations: dict[str, list[float]] = {}
    for trial in situation.plan.trials:
        if (result := situation.ledger.record(trial.trial_id).result) is not None:
            durations.setdefault(trial.kind, []).append(_seconds(result))
    left_s = longest_s = 0.0
    for trial in situation.plan.trials:
        status = statuses[trial.trial_id]
        if status.final:
            continue
        known = durations.get(trial.kind)
        whole_s = sum(known) / len(known) if known else None
        trial_s = _running_s(situation, trial, whole_s) if status.state == "running" else whole_s
        if trial_s is None:
            return None
        left_s += trial_s
        longest_s = max(longest_s, trial_s)
    return max(left_s / situation.limits.parallelism, longest_s)


def _running_s(situation: Situation, trial: PlannedTrial, whole_s: float | None) -> float | None:
    """The rest of a running trial: its own estimate, or what is left of an average one."""
    progress = situation.ledger.record(trial.trial_id).progress
    if progress is not None and progress.eta_s is not None and progress.stage in {"train", "evaluate"}:
        return max(0.0, progress.eta_s - (situation.now - progress.updated_at).total_seconds())
    if whole_s is None:
        return None
    started = next((seen.started_at for seen in situation.observed or () if trial.trial_id in seen.trial_ids), None)
    elapsed_s = 0.0 if started is None else (situation.now - started).total_seconds()
    return max(0.0, whole_s - elapsed_s)


def _seconds(result: Result) -> float:
    seconds = result.seconds
    return seconds.startup + seconds.data + seconds.train + seconds.evaluate + seconds.publish
