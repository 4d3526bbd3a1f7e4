"""Trials to groups: the trials of one Job; pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from controller.planning.base_model import BaseModel
from controller.planning.engine import engine_of, packing_key, settings_refusal
from controller.planning.lanes_cost import CPU, GPU, Sharing, share_of
from controller.planning.place import TrialsPerJob
from job.contract.base import canonical_json, sha256_hex
from job.contract.config import JobExecution, PlannedTrial
from job.contract.documents import Group, Plan

__all__ = ["Packing", "group", "group_id", "part_of"]


@dataclass(frozen=True)
class Packing:
    """What decides how trials share Jobs."""

    trials_per_job: TrialsPerJob = 1
    packed: bool = True
    """Whether the packed engine trains what it can; else all is the reference engine's, each trial by itself."""
    model: BaseModel = field(default_factory=BaseModel)
    execution: JobExecution = field(default_factory=JobExecution)
    at_a_time: int = 1
    """Jobs that run side by side."""
    has_gpu: bool = True


@dataclass(frozen=True)
class _Bucket:
    """Trials that may share a Job, in the order of the plan."""

    trials: Sequence[PlannedTrial]
    sharing: Sharing
    refused: str = ""
    """Why the packed engine does not take them."""


def group(
    trials: Sequence[PlannedTrial], *, packing: Packing, earlier: Sequence[Group] = (), limit_bytes: int
) -> tuple[Group, ...]:
    """Every trial in one group, in the order of `trials`.

    Groups of earlier plans stay as they are when all their trials are still wanted, so that a widened sweep meets the
    Jobs it already made. Of the others, those that the packed engine takes and that are compatible are packed in
    order, as many as `packing` says and as take `limit_bytes` together.
    """
    wanted = {trial.trial_id: trial for trial in trials}
    kept: list[Group] = []
    taken: set[str] = set()
    for old in earlier:
        held = [wanted[trial_id] for trial_id in old.trial_ids if trial_id in wanted]
        if taken.isdisjoint(old.trial_ids) and len(held) == len(old.trial_ids) and _still_runs(old, held, packing):
            kept.append(old)
            taken.update(old.trial_ids)
    free = [trial for trial in trials if trial.trial_id not in taken]
    new = [
        _group(part, bucket)
        for bucket in _buckets(free, packing)
        for part in _parts(bucket, packing=packing, limit_bytes=limit_bytes)
    ]
    order = {trial.trial_id: index for index, trial in enumerate(trials)}
    return tuple(sorted([*kept, *new], key=lambda one: order[one.trial_ids[0]]))


def group_id(trial_ids: Iterable[str]) -> str:
    """Stable from the trials alone: `g-` and 12 hex digits."""
    return "g-" + sha256_hex(canonical_json(list(trial_ids)))[:12]


def part_of(plan: Plan, trial_ids: Sequence[str]) -> Group:
    """The group of the plan that holds these trials, narrowed to them: what a retry of some of its trials runs.

    Without a trained trial it is the reference engine's: there is nothing to train together.
    """
    wanted = set(trial_ids)
    whole = next(one for one in plan.groups if not wanted.isdisjoint(one.trial_ids))
    trained = any(trial.kind == "lora" for trial in plan.trials if trial.trial_id in wanted)
    return whole.model_copy(update={"trial_ids": tuple(trial_ids), "engine": whole.engine if trained else "reference"})


def _still_runs(old: Group, trials: Sequence[PlannedTrial], packing: Packing) -> bool:
    """Whether the packed engine still takes an earlier group: what is no part of an identity may have changed."""
    return old.engine == "reference" or not any(
        settings_refusal(trial.config, execution=packing.execution) for trial in trials
    )


def _buckets(trials: Sequence[PlannedTrial], packing: Packing) -> Iterator[_Bucket]:
    if not packing.packed:
        yield from (_Bucket([trial], Sharing(1, ""), refused="execution.trials_per_job is 1") for trial in trials)
        return
    packed: list[PlannedTrial] = []
    leads: list[PlannedTrial] = []
    for trial in trials:
        choice = engine_of(trial.config, model=packing.model, execution=packing.execution)
        if trial.kind == "lead":
            leads.append(trial)
        elif choice.engine == "lanes":
            packed.append(trial)
        else:
            yield _Bucket([trial], Sharing(1, ""), refused=choice.why)
    if leads:
        many = len(leads) if packing.trials_per_job == "auto" else packing.trials_per_job
        yield _Bucket(leads, Sharing(many, ""), refused="they ask no model")
    for compatible in _compatible(packed):
        yield _Bucket(compatible, _sharing(compatible, packing))


def _compatible(trials: Sequence[PlannedTrial]) -> list[list[PlannedTrial]]:
    """Trials that may share a pass over the base model.

    Of trials with the same adapter each is in another list: the later ones wait for it and train nothing.
    """
    found: dict[tuple[str, int], list[PlannedTrial]] = {}
    adapters: Counter[str] = Counter()
    for trial in trials:
        if trial.kind == "lora" and trial.adapter_id is not None:
            found.setdefault((packing_key(trial.config), adapters[trial.adapter_id]), []).append(trial)
            adapters[trial.adapter_id] += 1
    for trial in trials:
        if trial.kind == "lora":
            continue
        key = packing_key(trial.config)  # a baseline has no precision, and rides with the first that it fits
        home = next((one for one in found if one[0].startswith(key)), (key, 0))
        found.setdefault(home, []).append(trial)
    return list(found.values())


def _sharing(trials: Sequence[PlannedTrial], packing: Packing) -> Sharing:
    if packing.trials_per_job == 1:
        return Sharing(1, "on a cluster each trial has a Job of its own, unless the spec says otherwise")
    if packing.trials_per_job != "auto":
        return Sharing(packing.trials_per_job, f"execution.trials_per_job is {packing.trials_per_job}")
    if packing.model.shape is None:
        return Sharing(1, f"what they would take together is not known: {packing.model.unknown}")
    return share_of(
        [trial.config for trial in trials],
        shape=packing.model.shape,
        execution=packing.execution,
        at_a_time=packing.at_a_time,
        device=GPU if packing.has_gpu else CPU,
    )


def _parts(bucket: _Bucket, *, packing: Packing, limit_bytes: int) -> Iterator[Sequence[PlannedTrial]]:
    """A number fills one part after the other; `auto` makes them even, so that none keeps a place after the others."""
    most = bucket.sharing.lanes
    if packing.trials_per_job == "auto":
        most = math.ceil(len(bucket.trials) / math.ceil(len(bucket.trials) / most))
    part: list[PlannedTrial] = []
    size = 0
    for trial in bucket.trials:
        bytes_ = len(trial.model_dump_json(indent=1))
        if part and (len(part) == most or size + bytes_ > limit_bytes):
            yield part
            part, size = [], 0
        part.append(trial)
        size += bytes_
    if part:
        yield part


def _group(trials: Sequence[PlannedTrial], bucket: _Bucket) -> Group:
    ids = tuple(trial.trial_id for trial in trials)
    trained = sum(trial.kind == "lora" for trial in trials)
    packed = bucket.refused == "" and trained > 0
    return Group(
        group_id=group_id(ids),
        trial_ids=ids,
        engine="lanes" if packed else "reference",
        why=bucket.refused or _why(len(trials), trained=trained, sharing=bucket.sharing),
    )


def _why(count: int, *, trained: int, sharing: Sharing) -> str:
    if not trained:
        return "nothing is trained"
    if sharing.lanes > 1 and count == 1:
        return "no other trial is left to share its Job"
    return sharing.why
