"""One trial in the packed engine: what it trains, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from job.checkpoint import Checkpoints
from job.contract.config import TrainingOptions
from job.contract.documents import ScoredSplit, StepRecord
from job.dropout import RowPlace
from job.evaluation.scoring import RowResult
from job.lanes.exam import Asked
from job.lanes.passes import LaneWindow, PlacedRow
from job.lanes.stack import Factors, LaneAdapter
from job.reference.collate import TokenRow
from job.seeds import Streams
from job.windows import Cadence, windows

__all__ = ["Answers", "Course", "Guest", "Lane", "LaneOwner"]

Answers = Mapping[ScoredSplit, Sequence[RowResult] | Exception]
"""To the rows of a split, or what went wrong in place of them."""


class LaneOwner(Protocol):
    """Whom a lane tells what happens. What it raises fails this lane alone, but for a stop or a store that is away."""

    def begin(self) -> None:
        """The lane is about to be trained, from wherever it was left."""

    def asks(self, step: int, *, final: bool) -> Mapping[ScoredSplit, Asked]:
        """What may be asked together with other lanes before `evaluate`, or when `final` before `finish`."""

    def evaluate(self, step: int, answers: Answers) -> None:
        """Score the validation rows; for what was not asked yet the base model answers as this lane."""

    def finish(self, history: Sequence[StepRecord], factors: Mapping[str, Factors], answers: Answers) -> None:
        """Training is over: score and publish; for what was not asked yet the base model answers as this lane."""

    def fail(self, error: Exception) -> None:
        """This lane has come to nothing."""

    def on_step(self, record: StepRecord, *, seconds: float) -> None:
        """After each optimizer step; `seconds` are this lane's share of the time it took."""

    def on_checkpoint(self, step: int) -> None:
        """A checkpoint is in the store."""

    def save_extra(self) -> Mapping[str, bytes]:
        """Files of the owner for a checkpoint."""

    def load_extra(self, files: Mapping[str, bytes]) -> None:
        """Those files, when the lane goes on from a checkpoint."""


class Guest(Protocol):
    """Whoever is to be answered by the base model as it is, together with the lanes: a lane whose B is 0.

    Sees to its own failures; what it raises is about all lanes.
    """

    def asks(self) -> Mapping[ScoredSplit, Asked]:
        """What may be asked together with the lanes; nothing, too, once it has failed."""

    def finish(self, answers: Answers) -> None:
        """Score and publish; for what was not asked yet the model answers as it is."""


@dataclass(frozen=True)
class Lane:
    """What one trial trains."""

    trial_id: str
    adapter: LaneAdapter
    rows: Sequence[TokenRow]
    options: TrainingOptions
    seeds: Streams
    cadence: Cadence
    rate: Callable[[int], float]
    checkpoints: Checkpoints
    owner: LaneOwner

    @property
    def ranks(self) -> dict[str, int]:
        """Of each adapted layer."""
        return {name: factors.down.shape[1] for name, factors in self.adapter.factors.items()}


@dataclass
class Course:
    """Where a lane stands between two optimizer steps, with tensors of its own."""

    lane: Lane
    factors: dict[str, Factors]
    means: dict[str, Factors]
    squares: dict[str, Factors]
    step: int = 0
    evaluated: bool = True
    """False when the evaluation that is due after `step` was not made yet."""
    history: list[StepRecord] = field(default_factory=list)

    @classmethod
    def begin(cls, lane: Lane) -> Course:
        """At step 0."""
        factors = dict(lane.adapter.factors)
        return cls(lane, factors, means=_zeros(factors), squares=_zeros(factors))

    def windows(self) -> _Windows:
        """The rows of this lane's next steps."""
        return _Windows(self)


class _Windows:
    """Each call gives the window of the next step; an empty one once there is none."""

    def __init__(self, course: Course) -> None:
        lane = course.lane
        self._lane = lane
        self._step = course.step
        self._left = windows(len(lane.rows), options=lane.options, order_seed=lane.seeds.order, start=course.step)

    def next(self) -> LaneWindow:
        lane, step = self._lane, self._step
        self._step += 1
        return LaneWindow(
            tuple(
                PlacedRow(lane.rows[index], RowPlace(lane.seeds.dropout, step, number, row))
                for number, batch in enumerate(next(self._left, []))
                for row, index in enumerate(batch)
            )
        )


def _zeros(factors: Mapping[str, Factors]) -> dict[str, Factors]:
    return {name: Factors(torch.zeros_like(down), torch.zeros_like(up)) for name, (down, up) in factors.items()}
