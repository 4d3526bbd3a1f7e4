"""Zero-shot trials of a group: lanes without an adapter, in the final exam of those that have one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from job.context import TrialContext
from job.contract.documents import ScoredSplit
from job.data import Rows
from job.evaluation.scoring import RowResult
from job.lanes.course import Answers
from job.lanes.exam import Asked, Exam
from job.lanes.members import Members
from job.lanes.owner import asked_of
from job.measure import Loaded, final_splits, measure_base

__all__ = ["Baseline", "ask_baselines"]


@dataclass(frozen=True)
class Baseline:
    """A guest of the lanes (job.lanes.course.Guest) that is scored and published as soon as it is answered."""

    members: Members
    context: TrialContext
    loaded: Loaded
    rows: Rows

    def asks(self) -> Mapping[ScoredSplit, Asked]:
        """What may be asked together with others; nothing once the trial has failed."""
        if self.context not in self.members.open:
            return {}
        splits = final_splits(self.context, steps=0)
        ask = partial(asked_of, self.context, self.loaded, splits=splits, step=0)
        return self.members.alone(self.context, ask) or {}

    def finish(self, answers: Answers) -> None:
        """Score and publish; for what was not asked yet the base model answers now."""
        if self.context in self.members.open:
            self.members.alone(self.context, partial(self._finish, answers))

    def _finish(self, answers: Answers) -> None:
        measured = measure_base(self.context, self.loaded, answers=answers)
        self.members.publish(self.context, self.rows, measured)


def ask_baselines(baselines: Sequence[Baseline], *, seats: int) -> None:
    """Ask the base model for all of them together, with no lanes attached, and finish each."""
    asked: dict[ScoredSplit, dict[int, Asked]] = {}
    for seat, baseline in enumerate(baselines):
        for split, one in baseline.asks().items():
            asked.setdefault(split, {})[seat] = one
    found: dict[int, dict[ScoredSplit, Sequence[RowResult] | Exception]] = {}
    for split, of_seats in asked.items():
        first = baselines[next(iter(of_seats))]
        exam = Exam(first.loaded.base.model, lanes=None, joined=None, pad_id=first.loaded.pad_id, seats=seats)
        answers = first.members.guarded(
            partial(exam.hold, of_seats, stop=first.context.stop), of=[baselines[seat].context for seat in of_seats]
        )
        for seat, answer in (answers or {}).items():
            found.setdefault(seat, {})[split] = answer
    for seat, baseline in enumerate(baselines):
        baseline.finish(found.get(seat, {}))
