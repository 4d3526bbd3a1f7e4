"""The trials of one request on one copy of the base model: what is shared is done once, and each is published alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from job.adapter import load_adapter, save_adapter
from job.attempt import Attempt
from job.checkpoint import Checkpoints
from job.context import TrialContext
from job.contract.config import PlannedTrial
from job.contract.errors import ConfigurationError
from job.lanes.adapters import new_adapter
from job.lanes.baseline import Baseline, ask_baselines
from job.lanes.course import Lane
from job.lanes.members import Fail, Members
from job.lanes.owner import TrialOwner, measured_of
from job.lanes.publisher import Publisher
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
    tokenised,
)
from job.reuse import fetch_adapter
from job.seeds import streams
from job.trial import Sources, fetch_sources, is_done, new_context, watched
from job.windows import Cadence, planned_steps

__all__ = ["run_group"]

logger = logging.getLogger(__name__)

_OTHERS_FIRST = "other trials of this Job come first"


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
        group = Members(contexts, work=of.work, fail=fail, publisher=publisher)
        prepared = group.together(partial(_prepare, group))
        if prepared is None:
            return
        tokens = group.each(partial(_tokenised, prepared=prepared, known={}), of=list(group.open))
        training, riding, others = _parted(group.open, wide=prepared.wide)
        for context in (*training, *riding):
            context.progress.stage("waiting", message=_OTHERS_FIRST)
        for context in others:
            score = partial(_score, group, context, tokens[context.trial.trial_id], prepared=prepared)
            group.alone(context, score)
        guests = [Baseline(group, context, tokens[context.trial.trial_id], prepared.sources.rows) for context in riding]
        unasked = _train(group, training, tokens, guests=guests, prepared=prepared)
        ask_baselines(unasked, seats=max(len(training), len(guests)))
        publisher.finish()


class _Parted(NamedTuple):
    """The trials of a group by how they go through the model."""

    training: list[TrialContext]
    riding: list[TrialContext]
    """Zero-shot, and asked together with those that train."""
    others: list[TrialContext]
    """That train nothing, and are asked one by one."""


def _parted(contexts: Sequence[TrialContext], *, wide: bool) -> _Parted:
    parted = _Parted([], [], [])
    for context in contexts:
        if context.trial.kind == "zero-shot":
            (parted.riding if wide else parted.others).append(context)
        else:
            reused = context.trial.trial_id in context.request.adapters
            (parted.others if reused else parted.training).append(context)
    return parted


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


def _prepare(group: Members) -> _Prepared:
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


def _score(group: Members, context: TrialContext, loaded: Loaded, *, prepared: _Prepared) -> None:
    """A trial that trains nothing: the base model as it is, or with an adapter that exists."""
    prefix = context.request.adapters.get(context.trial.trial_id)
    measured = measure_base(context, loaded) if prefix is None else _measure_existing(context, loaded, prefix=prefix)
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
    group: Members,
    contexts: Sequence[TrialContext],
    tokens: Mapping[str, Loaded],
    *,
    guests: Sequence[Baseline],
    prepared: _Prepared,
) -> Sequence[Baseline]:
    """Train these trials, all of them at once on a GPU, one after the other on a CPU; gives the guests left unasked."""
    made = group.each(partial(_lane, group, tokens, prepared=prepared), of=contexts)
    if not made:
        return guests
    lanes = list(made.values())
    base = prepared.base
    return train_lanes(
        base.model,
        lanes,
        guests=guests,
        width=len(lanes) if prepared.wide else 1,
        scored_together=prepared.wide,
        pad_id=next(iter(tokens.values())).pad_id,
        bf16=lanes[0].options.bf16,
        stop=contexts[0].stop,
    )


def _lane(group: Members, tokens: Mapping[str, Loaded], context: TrialContext, *, prepared: _Prepared) -> Lane:
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
    context.progress.stage("waiting", message=_OTHERS_FIRST, max_steps=total)
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
