"""What a run no longer needs: checkpoints of finished trials, attempts that another one has superseded; or all of it.

Only what this project writes ever goes. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controller.ledger import Ledger
from job.contract.documents import Plan
from job.store import Keys, ObjectInfo
from job.store.keys import is_ours

__all__ = ["Leftover", "leftovers", "whole_run"]


@dataclass(frozen=True, slots=True)
class Leftover:
    """Objects that may go together, and why."""

    prefix: str
    why: str
    keys: tuple[str, ...]
    size_bytes: int


def leftovers(plan: Plan, ledger: Ledger, listing: Iterable[ObjectInfo]) -> tuple[Leftover, ...]:
    """What may go, from a listing of the run's `trials/`; nothing of a trial without a verified result."""
    found: dict[tuple[str, str], list[ObjectInfo]] = {}
    winners = {
        trial.trial_id: result.attempt
        for trial in plan.trials
        if (result := ledger.record(trial.trial_id).result) is not None
    }
    for one in listing:
        if not is_ours(one.key):
            continue
        for place in _places(one.key, winners):
            found.setdefault(place, []).append(one)
    return tuple(
        Leftover(prefix, why, tuple(one.key for one in group), sum(one.size_bytes for one in group))
        for (prefix, why), group in sorted(found.items())
    )


def whole_run(listing: Iterable[ObjectInfo]) -> tuple[Leftover, ...]:
    """Everything, results first and plans last: a clean that is cut short can be started again."""
    ours = [one for one in listing if is_ours(one.key)]
    ours.sort(key=lambda one: (one.key.startswith((Keys.PLANS, Keys.SPECS, Keys.CONTROL)), one.key))
    if not ours:
        return ()
    return (Leftover("", "the whole run", tuple(one.key for one in ours), sum(one.size_bytes for one in ours)),)


def _places(key: str, winners: dict[str, str]) -> Iterator[tuple[str, str]]:
    trial_id, _, rest = key.removeprefix(Keys.TRIALS).partition("/")
    if trial_id not in winners:
        return
    kind, _, inside = rest.partition("/")
    if kind == "checkpoints":
        yield Keys.checkpoints(trial_id), "checkpoints of a finished trial"
    elif kind == "attempts":
        attempt, _, _ = inside.partition("/")
        if attempt != winners[trial_id]:
            yield Keys.attempt(trial_id, attempt), "superseded attempt"
