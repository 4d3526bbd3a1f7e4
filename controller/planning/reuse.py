"""Adapters that earlier specs of a run have trained: what a changed evaluation scores again instead of training."""

from __future__ import annotations

from controller.planning.plan import earlier_plans
from controller.verified import VerifiedResults
from job.contract.config import PlannedTrial
from job.contract.documents import Plan
from job.contract.errors import ResultError
from job.store import Keys, Store

__all__ = ["earlier_adapters", "without_adapter"]


def earlier_adapters(store: Store, plan: Plan) -> dict[str, str]:
    """Trial of `plan` to the key of an attempt that holds its adapter, trained for another spec of the same run."""
    wanted = {trial.adapter_id: trial.trial_id for trial in plan.trials if trial.adapter_id is not None}
    planned = {trial.trial_id for trial in plan.trials}
    results = VerifiedResults(store)
    found: dict[str, str] = {}
    for earlier in earlier_plans(store):
        for trial in earlier.trials:
            ours = wanted.get(trial.adapter_id or "")
            if ours is None or ours in found or trial.trial_id in planned:
                continue
            attempt = _attempt_of(results, trial)
            if attempt is not None:
                found[ours] = Keys.attempt(trial.trial_id, attempt)
    return found


def without_adapter(store: Store, plan: Plan) -> tuple[PlannedTrial, ...]:
    """The trials of `plan` that would have to be trained, as no result of the run holds their adapter."""
    results, there = VerifiedResults(store), set(earlier_adapters(store, plan))
    known = {
        trial.adapter_id for trial in plan.trials if trial.trial_id in there or _attempt_of(results, trial) is not None
    }
    return tuple(trial for trial in plan.trials if trial.kind == "lora" and trial.adapter_id not in known)


def _attempt_of(results: VerifiedResults, trial: PlannedTrial) -> str | None:
    """The attempt of a result that verifies; a damaged one is no reason to fail, only to train again."""
    try:
        result = results.read(trial)
    except ResultError:
        return None
    return None if result is None else result.attempt
