"""What the stages of one trial share: what was asked, where it is written, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from job.contract.config import PlannedTrial, Request, TrialConfig
from job.contract.documents import StepRecord
from job.progress import ProgressWriter
from job.recording import Recording
from job.stages import StageClock
from job.stopping import StopSignal
from job.store import Store
from job.watchdog import check_time

__all__ = ["TrialContext"]


@dataclass(frozen=True)
class TrialContext:
    """One attempt at one trial."""

    request: Request
    trial: PlannedTrial
    attempt: str
    store: Store
    work: Path
    """An empty scratch folder of this trial."""
    stop: StopSignal
    clock: StageClock
    progress: ProgressWriter
    recording: Recording
    log: Path
    """Of the process; published with the trial."""
    started_at: datetime

    @property
    def config(self) -> TrialConfig:
        return self.trial.config

    def on_step(self, record: StepRecord) -> None:
        """After each optimizer step. Raises HungError when the trial's time is spent."""
        self.progress.step(record)
        self._check_time()

    def on_batch(self, done: int, total: int) -> None:
        """After each evaluated batch. Raises HungError when the trial's time is spent."""
        self.progress.batch(done, total)
        self._check_time()

    def _check_time(self) -> None:
        check_time(spent_s=self.clock.working_s(), limit_s=self.request.execution.trial_timeout_s)
