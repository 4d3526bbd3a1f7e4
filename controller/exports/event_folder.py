"""A folder of TensorBoard's event files that follows a run: each finished trial is read from the store once.

Limits
- A trial that runs has no curve in the store; it comes with its end.
- TensorBoard reads a file on from where it was: a trial that is trained anew gets a file of another name.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from controller.attempt_files import read_records
from controller.exports.values import trial_name, varied_values
from controller.report.content import objective_of
from controller.spec.model import SweepSpec
from controller.states import Situation, TrialStatus
from job.contract.config import PlannedTrial
from job.contract.documents import EvaluationRecord, Plan, Result, StepRecord
from job.contract.metric_names import names_of
from job.store import Store
from job.store.results import load_manifest
from job.store.whole_file import explained, write_whole

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

__all__ = ["EventFolder", "metric_tags"]

_PREFIX = "events.out.tfevents."  # what TensorBoard takes for an event file


class EventFolder:
    """The event files of one run."""

    def __init__(self, root: Path, *, store: Store, plan: Plan, spec: SweepSpec) -> None:
        self.root = root
        self._store = store
        self._plan = plan
        self._spec = spec
        self._values = varied_values(plan.trials, spec)

    def begin(self) -> None:
        """Say what is compared, and forget trials that the run no longer asks for. Raises as files and folders do."""
        from controller.exports.events import experiment_events

        plan = self._plan
        events = experiment_events(
            name=f"{plan.sweep}/{plan.run}",
            at=plan.created_at,
            values=[values for values in self._values.values() if values],
            metrics=metric_tags(self._spec),
        )
        _write(self.root, f"{_PREFIX}{plan.spec_sha256[:12]}", events)
        names = {trial_name(trial) for trial in plan.trials}
        with explained(self.root):
            for path in self.root.iterdir():
                if path.is_dir() and path.name not in names and _is_ours(path):
                    shutil.rmtree(path)

    def follow(self, situation: Situation, statuses: Mapping[str, TrialStatus]) -> int:
        """Write what has ended since the last time; how many trials.

        Raises ResultError for a result that does not verify, TransientError and ConfigurationError as the store does.
        """
        return sum(self._write(trial, situation, statuses[trial.trial_id]) for trial in self._plan.trials)

    def _write(self, trial: PlannedTrial, situation: Situation, status: TrialStatus) -> bool:
        """Whether there was anything new."""
        record = situation.ledger.record(trial.trial_id)
        if status.state == "succeeded" and record.result is not None:
            name, ended = f"{_PREFIX}{record.result.attempt}", record.result.finished_at
        elif status.state == "failed" and record.failures:
            newest = max(record.failures, key=lambda failure: failure.at)
            name, ended = f"{_PREFIX}failed-{newest.attempt}", newest.at
        else:
            return False
        folder = self.root / trial_name(trial)
        if (folder / name).exists():
            return False
        _write(folder, name, self._session(trial, record.result, ended=ended))
        return True

    def _session(self, trial: PlannedTrial, result: Result | None, *, ended: datetime) -> Iterable[Event]:
        from controller.exports.events import session_events

        records: tuple[StepRecord | EvaluationRecord, ...] = ()
        if result is not None:
            records = read_records(self._store, load_manifest(self._store, result.manifest))
        return session_events(
            records,
            values=self._values[trial.trial_id],
            group=f"{trial.letter}: {trial.label}",
            began=ended if result is None else result.started_at,
            ended=ended,
            state="failed" if result is None else "succeeded",
        )


def metric_tags(spec: SweepSpec) -> tuple[str, ...]:
    """The tags of a trial's metrics, the objective first; known before any trial has ended."""
    goal, evaluation = objective_of(spec), spec.trial.evaluation
    tags = [f"{split}/{name}" for split in evaluation.final_splits for name in names_of(evaluation.metrics)]
    return tuple(dict.fromkeys([f"{goal.split}/{goal.metric}", *tags, "train/loss"]))


def _write(folder: Path, name: str, events: Iterable[Event]) -> None:
    """One whole file of events; any other in the folder is of an attempt or a plan that no longer counts."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    body = io.BytesIO()
    writer = RecordWriter(body)
    for event in events:
        writer.write(event.SerializeToString())
    with write_whole(folder / name) as temporary:
        temporary.write_bytes(body.getvalue())
    with explained(folder):
        for path in folder.glob(f"{_PREFIX}*"):
            if path.name != name:
                with suppress(FileNotFoundError):
                    path.unlink()


def _is_ours(folder: Path) -> bool:
    return all(path.name.startswith(_PREFIX) for path in folder.iterdir())
