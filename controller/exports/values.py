"""What other tools call parameters and scalars of a trial, with numbers as numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controller.report.setup import values_of
from controller.spec.model import SweepSpec
from job.contract.config import PlannedTrial
from job.contract.documents import EvaluationRecord, StepRecord

__all__ = ["Scalar", "Value", "scalars_of", "trial_name", "varied_values"]

Value = float | str


class Scalar(NamedTuple):
    """A number under the name that it has in other tools."""

    tag: str
    value: float


def varied_values(trials: Iterable[PlannedTrial], spec: SweepSpec) -> dict[str, dict[str, Value]]:
    """Trial to varied path to value; of a path whose values are not all numbers, each is text.

    Baselines have none. A path that a trial does not set is left out.
    """
    written = {trial.trial_id: values_of(trial, spec) for trial in trials}
    numeric = {path for path in spec.vary.paths if _all_numbers(values[path] for values in written.values() if values)}
    return {
        trial_id: {path: float(text) if path in numeric else text for path, text in values.items() if text}
        for trial_id, values in written.items()
    }


def trial_name(trial: PlannedTrial) -> str:
    """What a trial is called in lists of other tools, fit for a folder: `A-seed0-0123456789ab`."""
    seed = "" if trial.seed is None else f"-seed{trial.seed}"
    return f"{trial.letter}{seed}-{trial.trial_id}"


def scalars_of(record: StepRecord | EvaluationRecord) -> Iterator[Scalar]:
    """What a record measured."""
    if isinstance(record, EvaluationRecord):
        yield from (Scalar(f"{record.split}/{name}", value.mean) for name, value in record.metrics.items())
        return
    yield Scalar("train/loss", record.loss)
    yield Scalar("train/learning_rate", record.learning_rate)
    if record.grad_norm is not None:
        yield Scalar("train/grad_norm", record.grad_norm)


def _all_numbers(texts: Iterable[str]) -> bool:
    found = [text for text in texts if text]
    return bool(found) and all(_is_number(text) for text in found)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    # Both are names of nothing that can be drawn.
    return text.lower() not in {"nan", "inf", "-inf", "infinity"}
