"""The trials of one request on one copy of the base model: what is shared is done once, and each is published alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from job.adapter import load_adapter, save_adapter
from job.attempt import Attempt
from job.checkpoint import Checkpoints
from job.context import TrialContext
from job.contract.config import PlannedTrial
from job.contract.documents import StepRecord
from job.contract.errors import ConfigurationError, StoppedError, TransientError
from job.data import Rows
from job.device import describe_device
from job.lanes.adapters import NewAdapter, new_adapter
from job.lanes.course import Lane
from job.lanes.schedule import schedule
from job.lanes.train import train_lanes
from job.measure import (
    Base,
    Loaded,
    Measured,
    load_base_of,
    measure_base,
    new_folder,
    score_final,
    score_split,
    tokenised,
    write_card,
)
from job.memory import memory_is_ours
from job.reuse import fetch_adapter
from job.seeds import streams
from job.trial import Sources, disk_full_is_transient, fetch_sources, is_done, new_context, publish_trial, watched
from job.windows import Cadence, planned_steps

if TYPE_CHECKING:
    from job.lanes.stack import Factors

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
    group = _Group([new_context(trial, of=of, startup_s=startup_s) for trial in wanted], work=of.work, fail=fail)

    def all_hung(message: str) -> None:
        for context in group.open:
            hung(context.trial, message)

    with watched(of, on_hang=all_hung):
        prepared = group.together(partial(_prepare, group))
        if prepared is None:
            return
        tokens = group.each(partial(_tokenised, prepared=prepared, known={}))
        for context in list(group.open):
            if context.trial.kind != "lora" or context.trial.trial_id in of.request.adapters:
                group.alone(context, partial(_score, group, context, tokens[context.trial.trial_id], prepared=prepared))
        _train(group, tokens, prepared=prepared)


class _Prepared(NamedTuple):
    """What all trials share."""

    sources: Sources
    base: Base


class _Group:
    """The trials that are not over, and what becomes of those that fail."""

    def __init__(self, contexts: Sequence[TrialContext], *, work: Path, fail: Fail) -> None:
        self.open = list(contexts)
        self._work = work
        self._fail = fail

    def fail(self, context: TrialContext, error: Exception) -> None:
        """This trial is over."""
        self.open.remove(context)
        self._fail(context.trial, error)

    def done(self, context: TrialContext) -> None:
        """This trial is over, and has its result."""
        self.open.remove(context)

    def together(self, work: Callable[[], T]) -> T | None:
        """What `work` gives; None when it failed, and all trials with it."""
        try:
            with memory_is_ours(_out_of_memory), disk_full_is_transient(self._work):
                return work()
        except (StoppedError, TransientError):
            raise
        except Exception as err:  # as for a trial of its own: people read the words of a failure
            for context in list(self.open):
                self.fail(context, err)
        return None

    def alone(self, context: TrialContext, work: Callable[[], T]) -> T | None:
        """What `work` gives; None when it failed, and this trial with it."""
        try:
            with memory_is_ours(_out_of_memory), disk_full_is_transient(self._work):
                return work()
        except (StoppedError, TransientError):
            raise
        except Exception as err:  # the others go on, whatever this one died of
            self.fail(context, err)
        return None

    def each(self, work: Callable[[TrialContext], T]) -> dict[str, T]:
        """What `work` gives for each trial that it did not fail for, by trial id."""
        found = {context.trial.trial_id: self.alone(context, partial(work, context)) for context in list(self.open)}
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


def _score(group: _Group, context: TrialContext, loaded: Loaded, *, prepared: _Prepared) -> None:
    """A trial that trains nothing: the base model as it is, or with an adapter that exists."""
    prefix = context.request.adapters.get(context.trial.trial_id)
    measured = measure_base(context, loaded) if prefix is None else _measure_existing(context, loaded, prefix=prefix)
    publish_trial(context, measured, rows=prepared.sources.rows)
    group.done(context)


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
    return _measured(context, loaded, folder=folder, history=found.history)


def _measured(context: TrialContext, loaded: Loaded, *, folder: Path, history: Sequence[StepRecord]) -> Measured:
    steps = history[-1].step
    return Measured(
        folder=folder,
        engine="lanes",
        steps=steps,
        history=tuple(history),
        final=context.config.evaluation.final_splits,
        device=describe_device(loaded.base.device),
        dropped=loaded.left_out,
        adapter_bytes=write_card(context, loaded, folder=folder / "adapter", steps=steps),
    )


def _train(group: _Group, tokens: Mapping[str, Loaded], *, prepared: _Prepared) -> None:
    """Train every trial that is still open, all of them at once on a GPU, one after the other on a CPU.

    On a CPU more rows at once are no faster (docs/performance.md), and the longest of them pads all others.
    """
    made = group.each(partial(_lane, group, tokens, prepared=prepared))
    if not made:
        return
    lanes = list(made.values())
    base = prepared.base
    train_lanes(
        base.model,
        lanes,
        width=len(lanes) if base.device.type == "cuda" else 1,
        pad_id=next(iter(tokens.values())).pad_id,
        bf16=lanes[0].options.bf16,
        stop=group.open[0].stop,
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
        owner=_Owner(context, loaded, adapter=adapter, group=group, rows=prepared.sources.rows),
    )


@dataclass(frozen=True)
class _Owner:
    """A trial whose adapter is trained in a lane."""

    context: TrialContext
    loaded: Loaded
    adapter: NewAdapter
    group: _Group
    rows: Rows

    def evaluate(self, step: int) -> None:
        """Score the validation rows."""
        with disk_full_is_transient(self.context.work):
            score_split(self.context, self.loaded, model=self.loaded.base.model, split="validation", step=step)

    def finish(self, history: Sequence[StepRecord], factors: Mapping[str, Factors]) -> None:
        """Score what has to be scored at the end, and publish."""
        context = self.context
        with disk_full_is_transient(context.work):
            score_final(context, self.loaded, model=self.loaded.base.model, steps=history[-1].step)
            folder = self.adapter.save(factors).parent
            measured = _measured(context, self.loaded, folder=folder, history=history)
            publish_trial(context, measured, rows=self.rows)
        self.group.done(context)

    def fail(self, error: Exception) -> None:
        """This trial has come to nothing."""
        self.group.fail(self.context, error)

    def on_step(self, record: StepRecord, *, seconds: float) -> None:
        """Take a step and this trial's share of its time."""
        self.context.clock.charge("train", seconds)
        self.context.on_step(record)

    def on_checkpoint(self, step: int) -> None:
        """A checkpoint is in the store."""
        self.context.progress.checkpointed(step)

    def save_extra(self) -> Mapping[str, bytes]:
        """What was measured so far."""
        return self.context.recording.dump()

    def load_extra(self, files: Mapping[str, bytes]) -> None:
        """Go on from that."""
        self.context.recording.load(files)


def _out_of_memory(said: str) -> str:
    return f"out of memory: {said}; lower execution.eval_batch_size, or use a smaller model or dtype"
