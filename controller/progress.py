"""How far a sweep is, and how long it will still take; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from controller.states import Situation, TrialStatus
from job.contract.config import PlannedTrial, TrialKind
from job.contract.documents import Progress, Result
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
    if status.state in {"succeeded", "stopped"}:
        return status.text
    progress = _present(situation, trial)
    if status.state == "running" and progress is not None:
        parts: list[str] = [progress.stage]
        if progress.max_steps:
            parts.append(f"step {progress.step}/{progress.max_steps}")
        if progress.loss is not None:
            parts.append(f"loss {progress.loss:.3f}")
        if progress.tokens_per_s is not None:
            parts.append(f"{progress.tokens_per_s:,.0f} tokens/s")
        if status.text:
            parts.append(status.text)
        return ", ".join(parts)
    reason = status.reason or ""
    return f"{reason}: {status.text}" if reason and status.text else reason or status.text


def _present(situation: Situation, trial: PlannedTrial) -> Progress | None:
    """The progress of the process that runs now; what an earlier one left says nothing about it."""
    record = situation.ledger.record(trial.trial_id)
    if record.progress is None or record.failed_in(record.progress.attempt):
        return None
    if situation.observed is None:
        return record.progress
    live = {seen.attempt for seen in situation.observed if seen.live and trial.trial_id in seen.trial_ids}
    return record.progress if record.progress.attempt in live else None


def _eta_s(situation: Situation, statuses: Mapping[str, TrialStatus]) -> float | None:
    typical = _typical_s(situation, statuses)
    left_s = longest_s = 0.0
    for trial in situation.plan.trials:
        status = statuses[trial.trial_id]
        if status.final:
            continue
        # A kind of which nothing is known is taken for the longest known: an estimate that shrinks disappoints nobody.
        whole_s = typical.get(trial.kind, max(typical.values(), default=None))
        if whole_s is None:
            return None
        trial_s = whole_s
        if status.state == "running":
            # The process counts its training steps alone; evaluation and publishing are in the durations of others.
            trial_s = max(_own_estimate_s(situation, trial) or 0.0, whole_s - _elapsed_s(situation, trial))
        left_s += trial_s
        longest_s = max(longest_s, trial_s)
    return max(left_s / situation.limits.parallelism, longest_s)


def _typical_s(situation: Situation, statuses: Mapping[str, TrialStatus]) -> dict[TrialKind, float]:
    """Mean duration by kind: of finished trials, else of running ones by their own estimate."""
    finished: dict[TrialKind, list[float]] = {}
    running: dict[TrialKind, list[float]] = {}
    for trial in situation.plan.trials:
        if (result := situation.ledger.record(trial.trial_id).result) is not None:
            finished.setdefault(trial.kind, []).append(_seconds(result))
        elif statuses[trial.trial_id].state == "running" and (own_s := _own_estimate_s(situation, trial)) is not None:
            running.setdefault(trial.kind, []).append(_elapsed_s(situation, trial) + own_s)
    return {kind: fmean(durations) for kind, durations in (running | finished).items()}


def _own_estimate_s(situation: Situation, trial: PlannedTrial) -> float | None:
    """What the process says about its own rest."""
    progress = _present(situation, trial)
    if progress is None or progress.eta_s is None or progress.stage not in {"train", "evaluate"}:
        return None
    return max(0.0, progress.eta_s - (situation.now - progress.updated_at).total_seconds())


def _elapsed_s(situation: Situation, trial: PlannedTrial) -> float:
    started = next((seen.started_at for seen in situation.observed or () if trial.trial_id in seen.trial_ids), None)
    return 0.0 if started is None else max(0.0, (situation.now - started).total_seconds())


def _seconds(result: Result) -> float:
    seconds = result.seconds
    return seconds.startup + seconds.data + seconds.train + seconds.evaluate + seconds.publish
