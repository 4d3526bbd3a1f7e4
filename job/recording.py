"""What a trial measured so far: kept through a checkpoint, written out at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from job.contract.base import Frozen
from job.contract.documents import EvaluationRecord, MetricValue, Prediction, Seconds, SplitScores, StepRecord, parse

if TYPE_CHECKING:
    from job.evaluation.evaluate import SplitEvaluation
    from job.stages import StageClock

__all__ = ["Recording", "json_lines"]


def json_lines(records: Sequence[Frozen]) -> bytes:
    """JSONL: one compact record a line."""
    return "".join(record.model_dump_json() + "\n" for record in records).encode()


class Recording:
    """Evaluations and predictions in the order they were made; steps come from the engine's own history."""

    def __init__(self, clock: StageClock) -> None:
        self._clock = clock
        self.evaluations: list[EvaluationRecord] = []
        self.predictions: list[Prediction] = []
        self.scores: dict[tuple[str, int], SplitScores] = {}
        """By split and step; the final ones are published."""

    def add(self, evaluation: SplitEvaluation, *, split: str, step: int) -> EvaluationRecord:
        """Take one evaluation in."""
        record = EvaluationRecord.model_validate({"step": step, "split": split, "metrics": evaluation.metrics})
        self.evaluations.append(record)
        self.predictions.extend(evaluation.predictions)
        self.scores[split, step] = evaluation.scores
        return record

    def has(self, *, split: str, step: int) -> bool:
        """Whether `split` was scored after `step` by this process or by one that it resumes."""
        return (split, step) in self.scores

    def metrics(self, *, split: str, step: int) -> dict[str, MetricValue]:
        """The headline metrics of one evaluation. Raises KeyError when there was none."""
        for record in reversed(self.evaluations):
            if (record.split, record.step) == (split, step):
                return record.metrics
        raise KeyError(f"{split} was not scored after step {step}")

    def dump(self) -> dict[str, bytes]:
        """The files of a checkpoint that `load` reads back."""
        scores = {
            f"scores-{split}-{step}.json": s.model_dump_json().encode() for (split, step), s in self.scores.items()
        }
        return {
            "evaluations.jsonl": json_lines(self.evaluations),
            "predictions.jsonl": json_lines(self.predictions),
            "seconds.json": self._clock.seconds().model_dump_json().encode(),
            **scores,
        }

    def load(self, files: Mapping[str, bytes]) -> None:
        """Go on from what `dump` wrote. Raises ResultError when a file is damaged."""
        self.evaluations = [
            parse(EvaluationRecord, line, name="evaluations.jsonl") for line in files["evaluations.jsonl"].splitlines()
        ]
        self.predictions = [
            parse(Prediction, line, name="predictions.jsonl") for line in files["predictions.jsonl"].splitlines()
        ]
        for name, body in files.items():
            if name.startswith("scores-"):
                _, split, step = name.removesuffix(".json").split("-")
                self.scores[split, int(step)] = parse(SplitScores, body, name=name)
        self._clock.add(parse(Seconds, files["seconds.json"], name="seconds.json"))

    def lines(self, history: Sequence[StepRecord]) -> bytes:
        """metrics.jsonl: steps and evaluations in order of step."""
        records: list[StepRecord | EvaluationRecord] = [*history, *self.evaluations]
        records.sort(key=lambda record: record.step)
        return json_lines(records)
