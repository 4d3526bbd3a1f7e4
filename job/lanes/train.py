"""The packed engine's story: packs of lanes, one after the other; in a pack all lanes step together."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import torch

from job.contract.documents import ScoredSplit
from job.contract.errors import DivergedError, GpuMemoryError, StoppedError, TransientError
from job.evaluation.scoring import RowResult
from job.lanes.course import Answers, Course, Guest, Lane
from job.lanes.exam import Asked
from job.lanes.pack import Pack
from job.lanes.saved import resumed, write_course
from job.memory import memory_is_ours
from job.publishing.publish import STORE_PATIENCE_S, with_patience
from job.stopping import StopSignal

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["train_lanes"]

G = TypeVar("G", bound=Guest)

logger = logging.getLogger(__name__)

_AskedSplits = dict[ScoredSplit, dict[int, Asked]]
"""By split and lane; guests have the numbers after those of the lanes."""


def train_lanes(
    model: PreTrainedModel,
    lanes: Sequence[Lane],
    *,
    width: int,
    scored_together: bool,
    pad_id: int,
    bf16: bool,
    stop: StopSignal,
    guests: Sequence[G] = (),
    patience_s: float = STORE_PATIENCE_S,
) -> Sequence[G]:
    """Train every lane to its end, at most `width` of them at a time, from wherever earlier attempts left them.

    Lanes that are due at the same step are `scored_together`, or one after the other. The `guests` are asked beside
    the first lanes that are scored together at their end. Gives those that were not: when no lane came to its end, or
    when lanes are not asked together.

    `model` is the frozen base in eval mode, and is so again afterwards. Each lane's owner is told what becomes of it;
    a lane that fails leaves the others untouched. A pack that fails as a whole, as for want of memory, is halved.

    Raises StoppedError with a checkpoint of every lane begun, and TransientError when the store does not answer.
    """
    waiting = deque(_split(lanes, size=width))
    begun: dict[str, Course] = {}
    unasked = list(guests)
    while waiting:
        crew = _Crew(
            model,
            _courses(waiting.popleft(), begun=begun),
            guests=unasked,
            scored_together=scored_together,
            pad_id=pad_id,
            bf16=bf16,
            stop=stop,
            patience_s=patience_s,
        )
        try:
            trouble = _trouble(crew.train)
        except StoppedError:
            for lane in (lane for pack in waiting for lane in pack if lane.trial_id in begun):
                _save_now(begun[lane.trial_id])
            raise
        if trouble is None:
            continue
        left = [course.lane for course in crew.courses]
        if crew.width == 1:
            for lane in left:
                lane.owner.fail(trouble)
            continue
        half = -(-crew.width // 2)  # the error may be one lane's, or that of all of them together
        logger.warning("%d lanes together failed, going on with %d at a time: %s", crew.width, half, trouble)
        waiting = deque(part for lanes in (left, *waiting) for part in _split(lanes, size=half))
    return unasked


def _courses(lanes: Sequence[Lane], *, begun: dict[str, Course]) -> list[Course]:
    """Where these lanes stand; one that cannot be told has failed."""
    found = []
    for lane in lanes:
        try:
            lane.owner.begin()
            found.append(begun.get(lane.trial_id) or begun.setdefault(lane.trial_id, resumed(lane)))
        except (StoppedError, TransientError):
            raise
        except Exception as err:  # as in _told
            lane.owner.fail(err)
    return found


class _Crew(Generic[G]):
    """The courses of one pack until all of them are over."""

    def __init__(
        self,
        model: PreTrainedModel,
        courses: Sequence[Course],
        *,
        guests: list[G],
        scored_together: bool,
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
        self._unasked = guests
        """Shared with the crews that follow; who is asked leaves it."""
        self._scored_together = scored_together
        self._pad_id = pad_id
        self._bf16 = bf16
        self._stop = stop
        self._patience_s = patience_s

    @property
    def width(self) -> int:
        """How many lanes go through the model together, those that have failed included."""
        return len(self._present)

    def train(self) -> None:
        """Raises what goes wrong for all of them, with all courses where their last step left them."""
        while self.courses:
            self._train_once()

    def _train_once(self) -> None:
        with memory_is_ours(lambda said: f"{self.width} adapters and their optimizer do not fit into memory: {said}"):
            pack = Pack(self._model, self._present, pad_id=self._pad_id, bf16=self._bf16)
        try:
            self._train(pack)
        finally:
            for lane, course in enumerate(pack.courses):
                if course in self.courses:
                    pack.put_back(lane)
            pack.close()

    def _train(self, pack: Pack) -> None:
        """Until some lane is over: then the others go on without it."""
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
        due = [(lane, course) for lane, course in self._training(pack) if not course.evaluated]
        with self._saving_all(pack):
            answers = self._answers(pack, self._asked(pack, due, final=False))
            for lane, course in due:
                if course in self.courses:
                    evaluate = partial(course.lane.owner.evaluate, course.step, answers.get(lane, {}))
                    with pack.answering_as(lane):
                        self._told(pack, lane, evaluate)
                    course.evaluated = True

    def _asked(self, pack: Pack, due: Sequence[tuple[int, Course]], *, final: bool) -> _AskedSplits:
        """What these lanes may be asked together; nothing where all are asked alone."""
        asked: _AskedSplits = {}
        if not self._scored_together:
            return asked
        for lane, course in due:

            def collect(lane: int = lane, course: Course = course) -> None:
                for split, one in course.lane.owner.asks(course.step, final=final).items():
                    asked.setdefault(split, {})[lane] = one

            self._told(pack, lane, collect)
        return asked

    def _answers(self, pack: Pack, asked: _AskedSplits) -> dict[int, Answers]:
        """To what was asked, by lane; nothing for those that are to be asked alone."""
        found: dict[int, dict[ScoredSplit, Sequence[RowResult] | Exception]] = {}
        for split, of_lanes in asked.items():
            try:
                answers = pack.answers(of_lanes, stop=self._stop)
            except (GpuMemoryError, StoppedError, TransientError):
                raise
            except Exception:  # whatever it is, it must not cost what was trained
                logger.exception("lanes could not be asked together, and are asked one by one")
                continue
            for lane, answer in answers.items():
                found.setdefault(lane, {})[split] = answer
        return dict(found)

    def _save(self, pack: Pack) -> None:
        """Save what is due, waiting for a store that does not answer; a stop asked for meanwhile gets one last try."""
        for lane, course in self._training(pack):
            if not (course.lane.cadence.saves(course.step) or self._stop.requested):
                continue
            pack.put_back(lane)
            folder = _written(course)
            save = partial(course.lane.checkpoints.save, course.step, folder)
            with self._saving_all(pack):
                with_patience(save, stop=self._stop, patience_s=self._patience_s)
            course.lane.owner.on_checkpoint(course.step)

    def _save_now(self, pack: Pack) -> None:
        for lane, course in self._training(pack):
            pack.put_back(lane)
            _save_now(course)

    def _finish(self, pack: Pack) -> None:
        over = [(lane, course) for lane, course in enumerate(pack.courses) if course.step >= course.lane.cadence.total]
        trained = [(lane, course) for lane, course in over if course in self.courses]
        with self._saving_all(pack):
            asked = self._asked(pack, trained, final=True)
            guests = dict(enumerate(self._unasked, start=len(pack.courses))) if asked else {}
            for number, guest in guests.items():
                for split, one in guest.asks().items():
                    asked.setdefault(split, {})[number] = one
            answers = self._answers(pack, asked)
            for lane, course in trained:
                if course in self.courses:
                    self._end(pack, lane, answers.get(lane, {}))
            for number, guest in guests.items():
                if number in answers:
                    with pack.answering_as_it_is():
                        guest.finish(answers[number])
                    self._unasked.remove(guest)
        for _, course in over:
            self._present.remove(course)

    def _end(self, pack: Pack, lane: int, answers: Answers) -> None:
        course = pack.courses[lane]
        with pack.answering_as(lane):
            self._told(pack, lane, partial(course.lane.owner.finish, course.history, pack.factors(lane), answers))
        if course in self.courses:
            self.courses.remove(course)

    @contextmanager
    def _saving_all(self, pack: Pack) -> Iterator[None]:
        """A stop inside leaves a checkpoint of every lane that still trains."""
        try:
            yield
        except StoppedError:
            self._save_now(pack)
            raise

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


def _save_now(course: Course) -> None:
    try:
        course.lane.checkpoints.save(course.step, _written(course))
    except TransientError as err:
        logger.warning("trial %s: stopping without a checkpoint of step %d: %s", course.lane.trial_id, course.step, err)


def _trouble(train: Callable[[], None]) -> Exception | None:
    """What went wrong for all lanes of a pack, without the traceback, which would keep its tensors alive."""
    try:
        train()
    except (StoppedError, TransientError):
        raise  # both mean: run the same request again
    except Exception as err:  # as with a trial of its own: the lanes that have not begun have their turn
        if not isinstance(err, GpuMemoryError):
            logger.exception("a step failed")
        trouble = err.with_traceback(None)
        trouble.__context__ = trouble.__cause__ = None
    else:
        return None
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return trouble


def _split(lanes: Sequence[Lane], *, size: int) -> list[list[Lane]]:
    """Packs in the order given. In a pack lanes have one order, as sums of floats depend on who stands where."""
    packs = (lanes[at : at + size] for at in range(0, len(lanes), size))
    return [sorted(pack, key=lambda lane: lane.trial_id) for pack in packs]
