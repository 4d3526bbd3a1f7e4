"""What a way of running the sweep cost, and what came out of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from job.contract.base import Count, Frozen, Number, Text
from job.contract.config import PlannedTrial
from job.contract.documents import DATA_LIMIT_BYTES, EvaluationRecord, Result, StepRecord
from job.store import Keys
from job.store.folder import FolderStore
from job.store.results import read_result
from packed.process import BenchmarkError, Ran
from packed.trl_task import TrlResult

__all__ = ["STAGES", "MeasuredTrial", "MeasuredWay", "of_job", "of_trl"]

STAGES = ("startup", "data", "train", "evaluate", "publish")


class MeasuredTrial(Frozen):
    """One trial of one way."""

    label: Text
    losses: tuple[Number, ...]
    """Of each step."""
    train_tokens: Count
    """Without padding."""
    sequences: Count
    """Rows scored, each with its loss and its text."""
    test_loss: Number
    test_rouge_l: Number
    data_s: Number
    train_s: Number
    evaluate_s: Number
    publish_s: Number
    device_peak_bytes: Count
    """On CUDA, else 0."""


class MeasuredWay(Frozen):
    """All trials of one way."""

    way: Text
    seconds: Number
    """From the start of the first process to the end of the last."""
    peak_bytes: Count
    """Of the largest process: on the device if that is a GPU, else resident."""
    measured_at: Text
    trials: tuple[MeasuredTrial, ...]

    @classmethod
    def made(cls, way: str, ran: Sequence[Ran], trials: Sequence[MeasuredTrial], *, measured_at: str) -> Self:
        """From the processes of the way and their trials."""
        on_device = max(trial.device_peak_bytes for trial in trials)
        return cls(
            way=way,
            seconds=math.fsum(one.seconds for one in ran),
            peak_bytes=on_device or max(one.peak_bytes for one in ran),
            measured_at=measured_at,
            trials=tuple(trials),
        )

    def stage(self, name: str) -> float:
        """Seconds of all trials; start-up is what no other stage has: interpreter, imports, loading, and the end."""
        if name == "startup":
            return self.seconds - math.fsum(self.stage(other) for other in STAGES if other != name)
        return math.fsum(getattr(trial, f"{name}_s") for trial in self.trials)

    @property
    def tokens_per_s(self) -> float:
        """In training, padding not counted."""
        return sum(trial.train_tokens for trial in self.trials) / max(self.stage("train"), 1e-9)

    @property
    def sequences_per_s(self) -> float:
        """In evaluation."""
        return sum(trial.sequences for trial in self.trials) / max(self.stage("evaluate"), 1e-9)

    @property
    def test_loss(self) -> float:
        """Mean over the trials."""
        return math.fsum(trial.test_loss for trial in self.trials) / len(self.trials)


def of_job(run_folder: Path, trial: PlannedTrial, *, on_cuda: bool) -> MeasuredTrial:
    """What the job published. Raises BenchmarkError when there is no result that verifies."""
    store = FolderStore(run_folder)
    result = read_result(store, trial)
    if result is None:
        raise BenchmarkError(f"trial {trial.label!r} left no result that verifies in {run_folder}; see the log there")
    steps, evaluations = _metrics(store, result)
    test = result.metrics["test"]
    return MeasuredTrial(
        label=trial.label,
        losses=tuple(record.loss for record in steps),
        train_tokens=result.train_tokens,
        sequences=sum(record.metrics["completion_loss"].n for record in evaluations),
        test_loss=test["completion_loss"].mean,
        test_rouge_l=test["rougeL"].mean,
        data_s=result.seconds.data,
        train_s=result.seconds.train,
        evaluate_s=result.seconds.evaluate,
        publish_s=result.seconds.publish,
        device_peak_bytes=result.device.peak_bytes if on_cuda else 0,
    )


def of_trl(folder: Path, trial: PlannedTrial) -> MeasuredTrial:
    """What a TRL process left in its folder."""
    found = TrlResult.model_validate_json((folder / "result.json").read_bytes())
    (test,) = (one for one in found.evaluations if one.split == "test")
    return MeasuredTrial(
        label=trial.label,
        losses=found.losses,
        train_tokens=found.train_tokens,
        sequences=sum(one.rows for one in found.evaluations),
        test_loss=test.completion_loss,
        test_rouge_l=test.rouge_l,
        data_s=found.data_s,
        train_s=found.train_s,
        evaluate_s=found.evaluate_s,
        publish_s=found.publish_s,
        device_peak_bytes=found.device_peak_bytes,
    )


def _metrics(store: FolderStore, result: Result) -> tuple[list[StepRecord], list[EvaluationRecord]]:
    key = Keys.attempt_file(result.trial_id, result.attempt, "metrics.jsonl")
    lines = store.read(key, limit_bytes=DATA_LIMIT_BYTES).splitlines()
    steps = [StepRecord.model_validate_json(line) for line in lines if b'"kind":"step"' in line.replace(b" ", b"")]
    others = [line for line in lines if b'"kind":"evaluation"' in line.replace(b" ", b"")]
    return steps, [EvaluationRecord.model_validate_json(line) for line in others]
