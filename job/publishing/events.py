"""TensorBoard event files from a trial's own record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from job.contract.documents import EvaluationRecord, StepRecord

__all__ = ["write_events"]


def write_events(
    folder: Path, *, history: Sequence[StepRecord], evaluations: Sequence[EvaluationRecord], every: int
) -> None:
    """Write `folder/events.out.tfevents.*` with one scalar per measured quantity.

    `every` is the number of optimizer steps between two training scalars. TensorBoard puts the host's name into the
    file's name; a published file gets a plain one.
    """
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(log_dir=str(folder))
    for record in history:
        if record.step % every == 0:
            _scalars(writer, record.step, {"train/loss": record.loss, "train/learning_rate": record.learning_rate})
            if record.grad_norm is not None:
                _scalars(writer, record.step, {"train/grad_norm": record.grad_norm})
    for evaluation in evaluations:
        means = {f"{evaluation.split}/{name}": value.mean for name, value in evaluation.metrics.items()}
        _scalars(writer, evaluation.step, means)
    writer.close()
    for number, path in enumerate(sorted(folder.glob("events.out.tfevents.*"))):
        path.rename(folder / f"events.out.tfevents.{number}")


def _scalars(writer: object, step: int, values: dict[str, float]) -> None:
    for tag, value in values.items():
        writer.add_scalar(tag, value, step)  # type: ignore[attr-defined]  # SummaryWriter, imported lazily
