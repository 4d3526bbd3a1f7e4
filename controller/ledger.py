"""What the store says about a run, as values: the only truth that decisions are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from job.contract.documents import Control, Failure, Progress, Result, Retry, SubmissionEnd

__all__ = ["CorruptResult", "Ledger", "TrialRecord"]


@dataclass(frozen=True, slots=True)
class CorruptResult:
    """A result.json that does not verify."""

    message: str
    etag: str
    """What `retry` removes; another tag means that someone has mended it since."""


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """Every stored document of one trial."""

    result: Result | None = None
    corrupt: CorruptResult | None = None
    failures: tuple[Failure, ...] = ()
    retries: tuple[Retry, ...] = ()
    progress: Progress | None = None

    @property
    def voided(self) -> frozenset[str]:
        """Attempts and submissions that no longer count."""
        return frozenset(name for retry in self.retries for name in retry.voids)

    @property
    def counted_failures(self) -> tuple[Failure, ...]:
        """The failures that no retry has voided, oldest first."""
        voided = self.voided
        counted = (failure for failure in self.failures if failure.attempt not in voided)
        return tuple(sorted(counted, key=lambda failure: (failure.at, failure.attempt)))

    def failed_in(self, attempt: str) -> bool:
        """Whether the failure of this attempt is already written."""
        return any(failure.attempt == attempt for failure in self.failures)


_NOTHING = TrialRecord()


@dataclass(frozen=True)
class Ledger:
    """The stored documents of a run."""

    control: Control = field(default_factory=Control)
    trials: Mapping[str, TrialRecord] = field(default_factory=dict)
    ends: Mapping[str, SubmissionEnd] = field(default_factory=dict)
    """By submission name."""

    def record(self, trial_id: str) -> TrialRecord:
        """What is stored about a trial; nothing yet is an empty record."""
        return self.trials.get(trial_id, _NOTHING)

    def ends_of(self, trial_id: str) -> Sequence[SubmissionEnd]:
        """How the trial's submissions ended, by number."""
        return self._ends_by_trial.get(trial_id, ())

    def disruptions(self, trial_id: str) -> tuple[SubmissionEnd, ...]:
        """The submissions that were evicted or stopped from outside since the trial's last retry, by number."""
        voided = self.record(trial_id).voided
        return tuple(end for end in self.ends_of(trial_id) if end.outcome == "disrupted" and end.name not in voided)

    def retry(self, trial_id: str, *, at: datetime) -> Retry:
        """The document that gives the trial a new start: it voids all that is known of it."""
        attempts = (failure.attempt for failure in self.record(trial_id).failures)
        names = (end.name for end in self.ends_of(trial_id))
        return Retry(trial_id=trial_id, at=at, voids=tuple(sorted({*attempts, *names})))

    def has_ended(self, attempt: str) -> bool:
        """Whether the end of this process is in the store."""
        return attempt in self._ended_attempts

    @cached_property
    def _ends_by_trial(self) -> dict[str, list[SubmissionEnd]]:
        by_trial: dict[str, list[SubmissionEnd]] = {}
        for end in sorted(self.ends.values(), key=lambda end: end.number):
            for trial_id in end.trial_ids:
                by_trial.setdefault(trial_id, []).append(end)
        return by_trial

    @cached_property
    def _ended_attempts(self) -> frozenset[str]:
        return frozenset(end.attempt for end in self.ends.values() if end.attempt is not None)
