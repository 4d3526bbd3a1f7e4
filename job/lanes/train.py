"""The packed engine's story: packs of lanes, one after the other; in a pack all lanes step together."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from job.contract.errors import DivergedError, GpuMemoryError, StoppedError, TransientError
from job.lanes.course import Course, Lane
from job.lanes.pack import Pack
from job.lanes.saved import resumed, write_course
from job.publishing.publish import STORE_PATIENCE_S, with_patience
from job.stopping import StopSignal

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["train_lanes"]

logger = logging.getLogger(__name__)


def train_lanes(
    model: PreTrainedModel,
    lanes: Sequence[Lane],
    *,
    width: int,
    pad_id: int,
    bf16: bool,
    stop: StopSignal,
    patience_s: float = STORE_PATIENCE_S,
) -> None:
    """Train every lane to its end, at most `width` of them at a time, from wherever earlier attempts left them.

    `model` is the frozen base in eval mode, and is so again afterwards. Each lane's owner is told what becomes of it;
    a lane that fails leaves the others untouched. A pack that does not fit into memory goes on in two halves.

    Raises StoppedError with a checkpoint of every lane begun, and TransientError when the store does not answer.
    """
    waiting = deque(_split(lanes, size=width))
    begun: dict[str, Course] = {}
    while waiting:
        pack = waiting.popleft()
        courses = [begun.get(lane.trial_id) or begun.setdefault(lane.trial_id, resumed(lane)) for lane in pack]
        crew = _Crew(model, courses, pad_id=pad_id, bf16=bf16, stop=stop, patience_s=patience_s)
        too_much = _memory_error(crew.train)
        if too_much is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()
        left = [course.lane for course in crew.courses]
        if too_much is not None and len(left) == 1:
            left[0].owner.fail(GpuMemoryError(too_much))
        elif too_much is not None:
            half = -(-len(left) // 2)
            logger.warning("%d lanes at once do not fit into memory, going on with %d: %s", len(left), half, too_much)
            waiting = deque(part for lanes in (left, *waiting) for part in _split(lanes, size=half))


class _Crew:
    """The courses of one pack until all of them are over."""

    def __init__(
        self,
        model: PreTrainedModel,
        courses: Sequence[Course],
        *,
        pad_id: int,
        bf16: bool,
        stop: StopSignal,
        patience_s: float,
    ) -> None:
        self._model = model
        self.courses = list(courses)
        """Those that still train; what has failed or is finished is not among them."""
        self._present = list(courses)
        """With those that have failed, which keep their places."""
        self._pad_id = pad_id
        self._bf16 = bf16
        self._stop = stop
        self._patience_s = patience_s

    def train(self) -> None:
        """Raises GpuMemoryError, StoppedError or TransientError with all courses where their last step left them."""
        while self.courses:
            pack = Pack(self._model, self._present, pad_id=self._pad_id, bf16=self._bf16)
            try:
                self._train(pack)
            finally:
                for lane, course in enumerate(pack.courses):
                    if course in self.courses:
                        pack.put_back(lane)
                pack.close()

    def _train(self, pack: Pack) -> None:
        """Until some lane is finished: then the others go on without it."""
        present = len(self._present)
        for lane, course in enumerate(pack.courses):
            if course not in self.courses:
                pack.freeze(lane)
        self._evaluate(pack)
        self._finish(pack)
        while self.courses and len(self._present) == present:
            self._step(pack)
            self._evaluate(pack)
            self._save(pack)
            self._stop.check()
            self._finish(pack)

    def _step(self, pack: Pack) -> None:
        for lane, (course, stepped) in enumerate(zip(pack.courses, pack.step(), strict=True)):
            course.step += 1
            if stepped is None:
                continue
            if isinstance(stepped.record, DivergedError):
                self._fail(pack, lane, stepped.record)
                continue
            course.history.append(stepped.record)
            course.evaluated = not course.lane.cadence.evaluates(course.step)
            self._told(pack, lane, partial(course.lane.owner.on_step, stepped.record, seconds=stepped.seconds))

    def _evaluate(self, pack: Pack) -> None:
        for lane, course in self._training(pack):
            if course.evaluated:
                continue
            try:
                with pack.answering_as(lane):
                    self._told(pack, lane, partial(course.lane.owner.evaluate, course.step))
            except StoppedError:
                self._save_now(pack)
                raise
            course.evaluated = True

    def _save(self, pack: Pack) -> None:
        """Save what is due, waiting for a store that does not answer; a stop asked for meanwhile gets one last try."""
        for lane, course in self._training(pack):
            if not (course.lane.cadence.saves(course.step) or self._stop.requested):
                continue
            pack.put_back(lane)
            folder = _written(course)
            save = partial(course.lane.checkpoints.save, course.step, folder)
            try:
                with_patience(save, stop=self._stop, patience_s=self._patience_s)
            except StoppedError:
                self._save_now(pack)
                raise
            course.lane.owner.on_checkpoint(course.step)

    def _save_now(self, pack: Pack) -> None:
        for lane, course in self._training(pack):
            pack.put_back(lane)
            try:
                course.lane.checkpoints.save(course.step, _written(course))
            except TransientError as err:
                logger.warning(
                    "trial %s: stopping without a checkpoint of step %d: %s", course.lane.trial_id, course.step, err
                )

    def _finish(self, pack: Pack) -> None:
        for lane, course in self._training(pack):
            if course.step < course.lane.cadence.total:
                continue
            with pack.answering_as(lane):
                self._told(pack, lane, partial(course.lane.owner.finish, course.history, pack.factors(lane)))
            if course in self.courses:
                self.courses.remove(course)
            self._present.remove(course)

    def _training(self, pack: Pack) -> list[tuple[int, Course]]:
        return [(lane, course) for lane, course in enumerate(pack.courses) if course in self.courses]

    def _told(self, pack: Pack, lane: int, tell: Callable[[], None]) -> None:
        try:
            tell()
        except (GpuMemoryError, StoppedError, TransientError):
            raise  # these are about all lanes
        except Exception as err:  # as with a trial of its own: whatever a lane dies of, the others go on
            self._fail(pack, lane, err)

    def _fail(self, pack: Pack, lane: int, error: Exception) -> None:
        course = pack.courses[lane]
        self.courses.remove(course)
        pack.freeze(lane)
        course.lane.owner.fail(error)


def _written(course: Course) -> Path:
    folder = course.lane.checkpoints.new_folder()
    write_course(course, folder)
    return folder


def _memory_error(train: Callable[[], None]) -> str | None:
    """What is to be said when it did not fit, or None; text, as a traceback would keep the tensors alive."""
    try:
        train()
    except GpuMemoryError as err:
        return str(err)
    return None


def _split(lanes: Sequence[Lane], *, size: int) -> list[list[Lane]]:
    """Packs in the order given. In a pack lanes have one order, as sums of floats depend on who stands where."""
    packs = (lanes[at : at + size] for at in range(0, len(lanes), size))
    return [sorted(pack, key=lambda lane: lane.trial_id) for pack in packs]
