"""Adapters that earlier specs of a run have trained: what a changed evaluation scores again instead of training."""

from __future__ import annotations

from controller.planning.plan import earlier_plans
from controller.verified import VerifiedResults
from job.contract.config import PlannedTrial
from job.contract.documents import Plan, Result
from job.contract.errors import ResultError
from job.store import Keys, Store

__all__ = ["earlier_adapters", "without_adapter"]


def earlier_adapters(store: Store, plan: Plan) -> dict[str, str]:
    """Trial of `plan` to the key of an attempt that holds its adapter, trained for another spec of the same run.

    That of the trial that trained it, where it is still there, and else of one that has used it since.
    """
    wanted = {trial.adapter_id: trial.trial_id for trial in plan.trials if trial.adapter_id is not None}
    planned = {trial.trial_id for trial in plan.trials}
    results = VerifiedResults(store)
    trained: dict[str, str] = {}
    used: dict[str, str] = {}
    for earlier in earlier_plans(store):
        for trial in earlier.trials:
            ours = wanted.get(trial.adapter_id or "")
            if ours is None or ours in trained or trial.trial_id in planned:
                continue
            result = _result_of(results, trial)
            if result is not None:
                holding = trained if result.reused_from is None else used
                holding.setdefault(ours, Keys.attempt(trial.trial_id, result.attempt))
    return used | trained


def without_adapter(store: Store, plan: Plan) -> tuple[PlannedTrial, ...]:
    """The trials of `plan` that would have to be trained, as no result of the run holds their adapter."""
    results, there = VerifiedResults(store), set(earlier_adapters(store, plan))
    known = {
        trial.adapter_id for trial in plan.trials if trial.trial_id in there or _result_of(results, trial) is not None
    }
    return tuple(trial for trial in plan.trials if trial.kind == "lora" and trial.adapter_id not in known)


def _result_of(results: VerifiedResults, trial: PlannedTrial) -> Result | None:
    """A result that verifies; a damaged one is no reason to fail, only to train again."""
    try:
        return results.read(trial)
    except ResultError:
        return None
