"""The trials of one request on one copy of the base model: what is shared is done once, and each is published alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from job.adapter import load_adapter, save_adapter
from job.attempt import Attempt
from job.checkpoint import Checkpoints
from job.context import TrialContext
from job.contract.config import PlannedTrial
from job.contract.documents import ScoredSplit
from job.contract.errors import ConfigurationError, StoppedError, TransientError
from job.data import Rows
from job.evaluation.scoring import RowResult
from job.lanes.adapters import new_adapter
from job.lanes.course import Answers, Lane
from job.lanes.exam import Asked, Exam
from job.lanes.owner import TrialOwner, asked_of, measured_of
from job.lanes.publisher import Publisher
from job.lanes.schedule import schedule
from job.lanes.train import train_lanes
from job.measure import (
    Base,
    Loaded,
    Measured,
    final_splits,
    load_base_of,
    measure_base,
    new_folder,
    score_final,
    tokenised,
)
from job.memory import memory_is_ours
from job.reuse import fetch_adapter
from job.seeds import streams
from job.trial import Sources, disk_full_is_transient, fetch_sources, is_done, new_context, publish_trial, watched
from job.windows import Cadence, planned_steps

__all__ = ["run_group"]

logger = logging.getLogger(__name__)

Fail = Callable[[PlannedTrial, Exception], None]
T = TypeVar("T")


def run_group(of: Attempt, *, started_s: float, fail: Fail, hung: Callable[[PlannedTrial, str], None]) -> None:
    """Bring every trial of the request to a published result, or to a failure that `fail` is told.

    The process began at `started_s`; what is done for all trials together is charged to them in equal shares.
    Raises StoppedError after a SIGTERM and TransientError when a store is away: both mean to run the request again.
    """
    wanted = [trial for trial in of.request.trials if not is_done(of.store, trial)]
    if not wanted:
        return
    startup_s = (time.monotonic() - started_s) / len(wanted)
    contexts = [new_context(trial, of=of, startup_s=startup_s) for trial in wanted]

    def all_hung(message: str) -> None:
        present = list(group.open)
        for context in [one for one in present if one.progress.begun] or present:
            hung(context.trial, message)

    with watched(of, on_hang=all_hung), Publisher() as publisher:
        group = _Group(contexts, work=of.work, fail=fail, publisher=publisher)
        prepared = group.together(partial(_prepare, group))
        if prepared is None:
            return
        tokens = group.each(partial(_tokenised, prepared=prepared, known={}), of=list(group.open))
        answers = _base_answers(group, tokens, prepared=prepared) if prepared.wide else {}
        open_now = list(group.open)
        for context in open_now:
            if not _trains(context):
                trial_id = context.trial.trial_id
                score = partial(_score, group, context, tokens[trial_id], prepared=prepared)
                group.alone(context, partial(score, answers=answers.get(trial_id, {})))
        _train(group, [context for context in open_now if _trains(context)], tokens, prepared=prepared)
        publisher.finish()


def _trains(context: TrialContext) -> bool:
    return context.trial.kind == "lora" and context.trial.trial_id not in context.request.adapters


class _Prepared(NamedTuple):
    """What all trials share."""

    sources: Sources
    base: Base

    @property
    def wide(self) -> bool:
        """Whether rows of many lanes go through the model together.

        On a CPU more rows at once are no faster (docs/performance.md), and the longest of them pads all others.
        """
        return self.base.device.type == "cuda"


class _Group:
    """The trials that are not over, and what becomes of each. Those being published end on other threads."""

    def __init__(self, contexts: Sequence[TrialContext], *, work: Path, fail: Fail, publisher: Publisher) -> None:
        self.open = list(contexts)
        self._work = work
        self._fail = fail
        self._publisher = publisher

    def fail(self, context: TrialContext, error: Exception) -> None:
        """This trial is over."""
        self.open.remove(context)
        self._fail(context.trial, error)

    def publish(self, context: TrialContext, rows: Rows, measured: Measured) -> None:
        """This trial gets its result while the others go on."""

        def publish() -> None:
            publish_trial(context, measured, rows=rows, now=self._publisher.waited)
            self.open.remove(context)

        self._publisher.begin(lambda: self.alone(context, publish))

    def together(self, work: Callable[[], T]) -> T | None:
        """What `work` gives; None when it failed, and all trials with it."""
        return self.guarded(work, of=list(self.open))

    def alone(self, context: TrialContext, work: Callable[[], T]) -> T | None:
        """What `work` gives; None when it failed, and this trial with it. The others go on, whatever it died of."""
        return self.guarded(work, of=[context])

    def guarded(self, work: Callable[[], T], *, of: Sequence[TrialContext]) -> T | None:
        """What `work` gives; None when it failed, and these trials with it."""
        try:
            with memory_is_ours(_out_of_memory), disk_full_is_transient(self._work):
                return work()
        except (StoppedError, TransientError):
            raise
        except Exception as err:  # as for a trial of its own: people read the words of a failure
            for context in of:
                if context in self.open:
                    self.fail(context, err)
        return None

    def each(self, work: Callable[[TrialContext], T], *, of: Sequence[TrialContext]) -> dict[str, T]:
        """What `work` gives for each of these trials that it did not fail for, by trial id."""
        found = {context.trial.trial_id: self.alone(context, partial(work, context)) for context in of}
        return {trial_id: value for trial_id, value in found.items() if value is not None}


def _prepare(group: _Group) -> _Prepared:
    first = group.open[0]
    began = time.monotonic()
    for context in group.open:
        context.progress.stage("data")
    sources = fetch_sources(first)
    fetched = time.monotonic()
    base = load_base_of(first, model_folder=sources.model)
    loaded = time.monotonic()
    for context in group.open:
        context.clock.charge("data", (fetched - began) / len(group.open))
        context.clock.charge("startup", (loaded - fetched) / len(group.open))
    return _Prepared(sources, base)


def _tokenised(context: TrialContext, *, prepared: _Prepared, known: dict[str, Loaded]) -> Loaded:
    """The rows by this trial's prompt, tokenised once for all trials that ask alike."""
    config = context.config
    alike = f"{config.prompt!r} {config.data!r} {config.generation and config.generation.max_new_tokens}"
    with context.clock.stage("data"):
        if alike not in known:
            known[alike] = tokenised(context, prepared.base, rows=prepared.sources.rows)
    return known[alike]


def _base_answers(group: _Group, tokens: Mapping[str, Loaded], *, prepared: _Prepared) -> dict[str, Answers]:
    """What the model as it is answers the trials that ask for that, by trial id; all are asked together."""
    asked: dict[ScoredSplit, dict[int, Asked]] = {}
    asking = [context for context in group.open if context.trial.kind == "zero-shot"]
    seats = max(len(asking), sum(_trains(context) for context in group.open))
    for lane, context in enumerate(asking):
        splits = final_splits(context, steps=0)
        ask = partial(asked_of, context, tokens[context.trial.trial_id], splits=splits, step=0)
        for split, one in (group.alone(context, ask) or {}).items():
            asked.setdefault(split, {})[lane] = one
    found: dict[str, dict[ScoredSplit, Sequence[RowResult] | Exception]] = {}
    for split, of_lanes in asked.items():
        contexts = [asking[lane] for lane in of_lanes]
        pad_id = tokens[contexts[0].trial.trial_id].pad_id
        exam = Exam(prepared.base.model, lanes=None, joined=None, pad_id=pad_id, seats=seats)
        answers = group.guarded(partial(exam.hold, of_lanes, stop=contexts[0].stop), of=contexts)
        for lane, answer in (answers or {}).items():
            found.setdefault(asking[lane].trial.trial_id, {})[split] = answer
    return dict(found)


def _score(group: _Group, context: TrialContext, loaded: Loaded, *, prepared: _Prepared, answers: Answers) -> None:
    """A trial that trains nothing: the base model as it is, or with an adapter that exists."""
    prefix = context.request.adapters.get(context.trial.trial_id)
    if prefix is None:
        measured = measure_base(context, loaded, answers=answers)
    else:
        measured = _measure_existing(context, loaded, prefix=prefix)
    group.publish(context, prepared.sources.rows, measured)


def _measure_existing(context: TrialContext, loaded: Loaded, *, prefix: str) -> Measured:
    found = fetch_adapter(context.store, prefix=prefix, folder=context.work / "reused")
    logger.info("adapter %s exists: evaluating %s, training nothing", context.trial.adapter_id, prefix)
    model = load_adapter(loaded.base.model, found.folder)
    try:
        score_final(context, loaded, model=model, steps=found.history[-1].step)
        folder = new_folder(context)
        save_adapter(model, folder / "adapter", base_name=context.request.model.public_name)
    finally:
        model.unload()
    return measured_of(context, loaded, folder=folder, history=found.history)


def _train(
    group: _Group, contexts: Sequence[TrialContext], tokens: Mapping[str, Loaded], *, prepared: _Prepared
) -> None:
    """Train these trials, all of them at once on a GPU, one after the other on a CPU."""
    made = group.each(partial(_lane, group, tokens, prepared=prepared), of=contexts)
    if not made:
        return
    lanes = list(made.values())
    base = prepared.base
    train_lanes(
        base.model,
        lanes,
        width=len(lanes) if prepared.wide else 1,
        scored_together=prepared.wide,
        pad_id=next(iter(tokens.values())).pad_id,
        bf16=lanes[0].options.bf16,
        stop=contexts[0].stop,
    )


def _lane(group: _Group, tokens: Mapping[str, Loaded], context: TrialContext, *, prepared: _Prepared) -> Lane:
    config, loaded = context.config, tokens[context.trial.trial_id]
    if config.lora is None or config.training is None or config.seed is None:
        raise ConfigurationError(f"trial {context.trial.trial_id} of kind lora has no lora, training or seed")
    seeds = streams(config.seed)
    rows = loaded.encoded["train"].rows
    total = planned_steps(len(rows), config.training)
    with context.clock.stage("startup"):
        adapter = new_adapter(
            prepared.base.model,
            lora=config.lora,
            seed=seeds.init,
            folder=new_folder(context) / "adapter",
            base_name=context.request.model.public_name,
        )
    context.progress.stage("waiting", message="other trials of this Job come first", max_steps=total)
    return Lane(
        trial_id=context.trial.trial_id,
        adapter=adapter.lane,
        rows=rows,
        options=config.training,
        seeds=seeds,
        cadence=Cadence(total, config.training.eval_steps, context.request.execution.checkpoint_every),
        rate=schedule(config.training, steps=total),
        checkpoints=Checkpoints(
            context.store, trial_id=context.trial.trial_id, attempt=context.attempt, spool=context.work / "spool"
        ),
        owner=TrialOwner(
            context,
            loaded,
            adapter=adapter,
            publish=partial(group.publish, context, prepared.sources.rows),
            failed=partial(group.fail, context),
        ),
    )


def _out_of_memory(said: str) -> str:
    return f"out of memory: {said}; lower execution.eval_batch_size, or use a smaller model or dtype"
