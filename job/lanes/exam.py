"""Rows of many lanes scored in batches that all lanes share.

Each batch is read once, by lengths: the loss of the references and the keys and values that decoding goes on from.
Then all texts are written together. What a row gets does not depend on the rows beside it, but for the last bits of
sums of floats.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from job.contract.errors import DivergedError, StoppedError, TransientError
from job.evaluation.batches import length_batches, length_runs, run_batches
from job.evaluation.completion_loss import RowLoss, completion_loss_after
from job.evaluation.evaluate import measuring
from job.evaluation.generation import Decoding, finished
from job.evaluation.prompt_cache import ReadPrompts, can_read_once, read_prompts
from job.evaluation.scoring import RowResult, check_finite
from job.lanes.decode import Decoder, can_decode
from job.lanes.joined import Joined
from job.lanes.layer import Lanes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from job.prompts import EncodedRow
    from job.stopping import StopSignal

__all__ = ["Asked", "Exam", "can_examine"]


@dataclass(frozen=True)
class Asked:
    """What one lane is asked, and whom to tell how far it is."""

    rows: Sequence[EncodedRow]
    decoding: Decoding
    where: str
    at_once: int
    """Rows of each lane that are written at a time; fewer when memory does not hold them."""
    on_batch: Callable[[int, int, float], None]
    """Rows done, rows in all, and seconds since it was told before: the lane's share by rows."""


class _Question(NamedTuple):
    lane: int
    place: int
    """Of the row among the lane's."""
    row: EncodedRow


def can_examine(model: PreTrainedModel, asked: Asked) -> bool:
    """Whether these rows may be asked together with those of other lanes."""
    return (
        can_read_once(model)
        and can_decode(model, asked.decoding)
        and min(len(row.prompt_ids) for row in asked.rows) > 1
    )


class Exam:
    """Questions to some lanes of a model. A number that no lane has is answered by the model as it is.

    A batch has the rows of so many lanes at a time as there are `seats`: fewer lanes get more rows each, as all of
    them together have to fit into memory anyway.
    """

    def __init__(
        self, model: PreTrainedModel, *, lanes: Lanes | None, joined: Joined | None, pad_id: int, seats: int
    ) -> None:
        self._model = model
        self._seats = seats
        self._lanes = lanes
        self._joined = joined
        self._pad_id = pad_id

    def hold(self, asked: Mapping[int, Asked], *, stop: StopSignal) -> dict[int, list[RowResult] | Exception]:
        """Loss and text of each lane's rows, in their order; what went wrong in place of them, for a lane alone.

        Raises GpuMemoryError when not even a row fits, StoppedError after SIGTERM.
        """
        unsound = self._joined.refresh() if self._joined is not None else []
        found: dict[int, list[RowResult] | Exception] = {
            lane: DivergedError(
                f"the adapter has weights that are not finite ({asked[lane].where}); lower training.learning_rate"
            )
            for lane in unsound
            if lane in asked
        }
        alike: dict[tuple[Decoding, int], dict[int, Asked]] = {}
        for lane, one in asked.items():
            if lane not in found:
                alike.setdefault((one.decoding, one.at_once), {})[lane] = one
        for (decoding, at_once), of_lanes in alike.items():
            decoder = Decoder(self._model, decoding=decoding, answering=self.answering)
            found |= _Sitting(
                self, of_lanes, decoding=decoding, decoder=decoder, at_once=at_once, seats=self._seats, stop=stop
            ).hold()  # fmt: skip
        return found  # with the decoders' memory given back: training comes next

    def answering(self, foreign: torch.Tensor) -> AbstractContextManager[None]:
        """Inside, each row of a forward pass is answered by its own lane."""
        if self._lanes is None or self._joined is None:
            return nullcontext()
        return self._lanes.mixed(self._joined, foreign)

    def foreign(self, lanes: Sequence[int]) -> torch.Tensor:
        """What `answering` takes for rows of these lanes."""
        if self._joined is None:
            return torch.zeros(len(lanes), 1, 0, dtype=torch.bool, device=self._model.device)
        return self._joined.foreign(lanes)

    def read(self, questions: Sequence[_Question], *, foreign: torch.Tensor) -> tuple[ReadPrompts, list[RowLoss]]:
        """The prompts of the questions, all but their last tokens, and the losses of the references after them."""
        rows = [question.row for question in questions]
        with self.answering(foreign):
            part = read_prompts(model=self._model, prompts=[row.prompt_ids for row in rows], pad_id=self._pad_id)
            return part, completion_loss_after(part, model=self._model, rows=rows, pad_id=self._pad_id)

    @property
    def model(self) -> PreTrainedModel:
        return self._model


class _Sitting:
    """One exam of lanes that are asked in the same way."""

    def __init__(
        self,
        exam: Exam,
        asked: Mapping[int, Asked],
        *,
        decoding: Decoding,
        decoder: Decoder,
        at_once: int,
        seats: int,
        stop: StopSignal,
    ) -> None:
        self._exam = exam
        self._asked = asked
        self._decoding = decoding
        self._decoder = decoder
        self._at_once = at_once
        self._seats = seats
        self._stop = stop
        self._questions = [
            _Question(lane, index, row) for lane, one in asked.items() for index, row in enumerate(one.rows)
        ]
        self._results: dict[int, dict[int, RowResult]] = {lane: {} for lane in asked}
        self._failed: dict[int, Exception] = {}

    def hold(self) -> dict[int, list[RowResult] | Exception]:
        lengths = [len(question.row.prompt_ids) for question in self._questions]
        batches = length_batches(lengths, size=self._at_once * self._seats)
        with measuring(self._exam.model, seed=0):  # greedy: nothing is drawn
            run_batches(batches, work=self._batch)
        return {
            lane: self._failed.get(lane) or [self._results[lane][index] for index in range(len(one.rows))]
            for lane, one in self._asked.items()
        }

    def _batch(self, batch: tuple[int, ...]) -> None:
        began = time.monotonic()
        questions = [self._questions[index] for index in batch if self._questions[index].lane not in self._failed]
        if not questions:
            return
        parts, losses = self._read(questions)
        self._check(questions, losses)
        self._write(questions, losses, parts)
        self._tell(questions, seconds=time.monotonic() - began)

    def _read(self, questions: Sequence[_Question]) -> tuple[list[ReadPrompts], list[RowLoss]]:
        parts: list[ReadPrompts] = []
        losses: list[RowLoss] = []
        for run in length_runs([len(question.row.prompt_ids) for question in questions]):
            for start in range(run.start, run.stop, self._at_once):  # logits of all rows at once are the largest tensor
                self._stop.check()
                some = questions[start : min(start + self._at_once, run.stop)]
                part, of_part = self._exam.read(some, foreign=self._exam.foreign([one.lane for one in some]))
                parts.append(part)
                losses += of_part
        return parts, losses

    def _check(self, questions: Sequence[_Question], losses: Sequence[RowLoss]) -> None:
        """A lane that has come to nothing is asked no more."""
        for question, loss in zip(questions, losses, strict=True):
            if question.lane not in self._failed:
                where = self._asked[question.lane].where
                self._alone(question.lane, partial(check_finite, [question.row], [loss], where=where))

    def _write(self, questions: Sequence[_Question], losses: Sequence[RowLoss], parts: list[ReadPrompts]) -> None:
        allowed = [self._decoding.allowed(len(question.row.prompt_ids)) for question in questions]
        limits = [
            1 if question.lane in self._failed else limit for question, limit in zip(questions, allowed, strict=True)
        ]
        foreign = self._exam.foreign([question.lane for question in questions])
        texts = self._decoder.texts(parts, foreign=foreign, limits=limits, stop=self._stop)
        for question, loss, text, limit in zip(questions, losses, texts, allowed, strict=True):
            if question.lane not in self._failed:
                generated = finished(text, decoding=self._decoding, allowed=limit)
                self._results[question.lane][question.place] = RowResult(loss, generated)

    def _tell(self, questions: Sequence[_Question], *, seconds: float) -> None:
        for lane in {question.lane for question in questions} - self._failed.keys():
            one, done = self._asked[lane], len(self._results[lane])
            share = sum(question.lane == lane for question in questions) / len(questions)
            self._alone(lane, partial(one.on_batch, done, len(one.rows), seconds * share))

    def _alone(self, lane: int, work: Callable[[], None]) -> None:
        try:
            work()
        except (StoppedError, TransientError):
            raise  # these are about all lanes
        except Exception as err:  # as with a trial of its own: the others go on
            self._failed[lane] = err
