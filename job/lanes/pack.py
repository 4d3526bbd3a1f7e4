"""Lanes that go through the model together, one optimizer step of all of them at a time."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from job.contract.documents import StepRecord
from job.contract.errors import DivergedError
from job.device import peak_bytes
from job.lanes.adamw import AdamW, Moments
from job.lanes.course import Course
from job.lanes.exam import Asked, Exam
from job.lanes.head import lane_losses
from job.lanes.joined import Joined
from job.lanes.layer import Lanes
from job.lanes.passes import LaneWindow, passes
from job.lanes.stack import Factors, LaneAdapter, Stack
from job.memory import memory_is_ours

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from job.evaluation.scoring import RowResult
    from job.stopping import StopSignal

__all__ = ["Pack", "Stepped"]

_JOINED = 256
"""Columns of factors side by side: 16 lanes of rank 16. For a layer of 768 x 2304 they cost half of what it does."""


class Stepped(NamedTuple):
    """One optimizer step of one lane."""

    record: StepRecord | DivergedError
    seconds: float
    """The lane's share of the step by its tokens."""


class Pack:
    """Courses on a device. They keep what they had until `put_back`.

    A lane that has come to nothing keeps its place, with an adapter of zeros, so that the others go on with the same
    shapes, and on a CPU to the same bits, as if it trained on.
    """

    def __init__(self, model: PreTrainedModel, courses: Sequence[Course], *, pad_id: int, bf16: bool) -> None:
        self.courses = tuple(courses)
        self._model = model
        self._pad_id = pad_id
        self._autocast = partial(torch.autocast, model.device.type, torch.bfloat16, enabled=bf16)
        self._stack = Stack(
            [LaneAdapter(one.factors, one.lane.adapter.scales, one.lane.adapter.dropout) for one in courses],
            device=model.device,
        )
        self._moments = Moments(
            mean=self._rows([one.means for one in courses]), square=self._rows([one.squares for one in courses])
        )
        self._adamw = AdamW(
            self._stack.values, options=[one.lane.options for one in courses], moments=self._moments
        )  # fmt: skip
        self._windows = [one.windows() for one in courses]
        self._frozen: set[int] = set()
        self._lanes = Lanes(model, self._stack)

    def close(self) -> None:
        """The model is the base model again."""
        self._lanes.detach()

    def freeze(self, lane: int) -> None:
        """Train this lane no more."""
        self._frozen.add(lane)
        for tensor in (self._stack.values, *self._moments):
            with torch.no_grad():
                tensor[lane] = 0.0

    @contextmanager
    def answering_as(self, lane: int) -> Iterator[None]:
        """Inside, the model answers with this lane's adapter.

        On a CPU the adapter is merged: of a text's tokens each costs 200 small products otherwise. Not so in less than
        float32, where the sum would be rounded away, and not on a GPU, whose memory may not hold the weights twice.
        """
        exact = self._model.dtype == self._stack.values.dtype
        answering = self._lanes.merged if exact and self._model.device.type == "cpu" else self._lanes.only
        with answering(lane):
            yield

    def answering_as_it_is(self) -> AbstractContextManager[None]:
        """Inside, the model answers as if there were no lanes."""
        return self._lanes.none()

    def answers(self, asked: Mapping[int, Asked], *, stop: StopSignal) -> dict[int, list[RowResult] | Exception]:
        """What each of these lanes answers, all of them asked together; see Exam.hold for what is raised.

        Whoever has a number beyond those of the lanes is answered by the base model as it is.
        """
        found: dict[int, list[RowResult] | Exception] = {}
        size = max(_JOINED // self._stack.rank, 1)
        guests = [number for number in asked if number >= len(self.courses)]
        for start in range(0, len(self.courses), size):
            part = range(start, min(start + size, len(self.courses)))
            present = (*part, *(guests if start == 0 else ()))
            of_part = {number: asked[number] for number in present if number in asked}
            if of_part:
                with memory_is_ours(lambda said: f"{size} adapters side by side do not fit into memory: {said}"):
                    found |= self._exam(part).hold(of_part, stop=stop)
        return found

    def step(self) -> list[Stepped | None]:
        """One step of every lane that still trains; None for the others. Raises GpuMemoryError with nothing changed."""
        began = time.monotonic()
        windows = [window.next() for window in self._windows]
        with memory_is_ours(partial(self._out_of_memory, windows)):
            losses = self._gradients(windows)
            rates = [course.lane.rate(course.step) for course in self.courses]
            norms = self._moved(rates)
            ends = list(zip(losses.tolist(), norms.tolist(), rates, windows, strict=True))
        seconds = time.monotonic() - began
        tokens = sum(window.tokens for window in windows)
        return [
            None if lane in self._frozen else Stepped(self._record(lane, *end), seconds * end[3].tokens / tokens)
            for lane, end in enumerate(ends)
        ]

    def put_back(self, lane: int) -> None:
        """Give the course its present weights and optimizer state, in memory of their own on the CPU."""
        course = self.courses[lane]
        held = (self._stack.values, *self._moments)
        course.factors, course.means, course.squares = (
            self._stack.factors(tensor[lane].detach().cpu().clone(), course.lane.ranks) for tensor in held
        )

    def factors(self, lane: int) -> dict[str, Factors]:
        """The lane's present weights, on the CPU."""
        return self._stack.factors(self._stack.values[lane].detach().cpu().clone(), self.courses[lane].lane.ranks)

    def _exam(self, lanes: range) -> Exam:
        joined = Joined(self._stack, lanes=lanes)
        return Exam(self._model, lanes=self._lanes, joined=joined, pad_id=self._pad_id, seats=len(lanes))

    def _rows(self, factors: Sequence[Mapping[str, Factors]]) -> torch.Tensor:
        return torch.stack([self._stack.row_of(one) for one in factors])

    def _gradients(self, windows: Sequence[LaneWindow]) -> torch.Tensor:
        """Each lane's loss over its window, (K,), with the gradients of all of them in the stack."""
        device = self._model.device
        self._stack.gradients.zero_()
        shares = torch.tensor([1 / max(window.targets, 1) for window in windows], device=device, dtype=torch.float64)
        losses = torch.zeros(len(windows), device=device, dtype=torch.float64)
        at_once = max(course.lane.options.per_device_train_batch_size for course in self.courses)
        for batch in passes(windows, rows_at_once=at_once, pad_id=self._pad_id):
            with self._lanes.training(batch.rows):
                with self._autocast():
                    summed = lane_losses(self._model, batch.to(device))
                of_window = summed * shares.to(summed.dtype)
                with _strided_gradients():
                    of_window.sum().backward()  # type: ignore[no-untyped-call]  # torch
            losses += of_window.detach()
        return losses

    def _moved(self, rates: Sequence[float]) -> torch.Tensor:
        with torch.no_grad():
            return self._adamw.step(
                self._stack.gradients,
                rates=rates,
                steps=[course.step + 1 for course in self.courses],
                frozen=self._frozen,
            )

    def _record(
        self, lane: int, loss: float, norm: float, rate: float, window: LaneWindow
    ) -> StepRecord | DivergedError:
        course = self.courses[lane]
        step = course.step + 1
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {norm}"
            return DivergedError(
                f"{what} at step {step} of {course.lane.cadence.total} with learning rate {rate:g}; "
                "lower training.learning_rate or raise training.warmup_steps"
            )
        return StepRecord(step=step, loss=loss, learning_rate=rate, grad_norm=norm, tokens=window.tokens)

    def _out_of_memory(self, windows: Sequence[LaneWindow], said: str) -> str:
        longest = max(row.tokens for window in windows for row in window.rows)
        return (
            f"training ran out of memory at a peak of {peak_bytes(self._model.device):,} bytes: {len(windows)} lanes "
            f"of rows of up to {longest} tokens at once ({said}); lower training.per_device_train_batch_size and raise "
            "gradient_accumulation_steps by as much, or set training.gradient_checkpointing"
        )


@contextmanager
def _strided_gradients() -> Iterator[None]:
    """Gradients lie in rows, one for each lane; torch warns once that a layer's part of them is not dense."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="grad and param do not obey the gradient layout contract")
        yield
