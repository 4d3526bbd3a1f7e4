"""Trials to groups: the trials of one Job; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from job.contract.base import canonical_json, sha256_hex
from job.contract.config import PlannedTrial
from job.contract.documents import Group

__all__ = ["group", "group_id"]


def group(
    trials: Sequence[PlannedTrial], *, earlier: Sequence[Group] = (), trials_per_job: int = 1, limit_bytes: int
) -> tuple[Group, ...]:
    """Every trial in one group, in the order of `trials`.

    Groups of earlier plans stay as they are when all their trials are still wanted, so that a widened sweep meets the
    Jobs it already made. The others are packed in order, trials of one kind together, until a group has
    `trials_per_job` or its trials together take `limit_bytes`.
    """
    wanted = {trial.trial_id: trial for trial in trials}
    kept: list[Group] = []
    taken: set[str] = set()
    for old in earlier:
        if taken.isdisjoint(old.trial_ids) and all(trial in wanted for trial in old.trial_ids):
            kept.append(old)
            taken.update(old.trial_ids)
    free = [trial for trial in trials if trial.trial_id not in taken]
    new = [_group(part) for part in _packed(free, trials_per_job=trials_per_job, limit_bytes=limit_bytes)]
    order = {trial.trial_id: index for index, trial in enumerate(trials)}
    return tuple(sorted([*kept, *new], key=lambda one: order[one.trial_ids[0]]))


def group_id(trial_ids: Iterable[str]) -> str:
    """Stable from the trials alone: `g-` and 12 hex digits."""
    return "g-" + sha256_hex(canonical_json(list(trial_ids)))[:12]


def _group(trials: Sequence[PlannedTrial]) -> Group:
    ids = tuple(trial.trial_id for trial in trials)
    return Group(group_id=group_id(ids), trial_ids=ids)


def _packed(
    trials: Sequence[PlannedTrial], *, trials_per_job: int, limit_bytes: int
) -> Iterator[Sequence[PlannedTrial]]:
    if trials_per_job == 1:
        yield from ([trial] for trial in trials)
        return
    part: list[PlannedTrial] = []
    size = 0
    for trial in trials:
        bytes_ = len(trial.model_dump_json(indent=1))
        full = len(part) == trials_per_job or size + bytes_ > limit_bytes
        if part and (full or trial.kind != part[0].kind):
            yield part
            part, size = [], 0
        part.append(trial)
        size += bytes_
    if part:
        yield part
