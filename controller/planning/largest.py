"""The submission of a plan that asks for most; what a place takes of it, it takes of all."""

from __future__ import annotations

from controller.backend import Submission
from controller.names import Naming
from controller.planning.request import request_of
from controller.spec.model import SweepSpec
from job.contract.config import Provenance
from job.contract.documents import Plan

__all__ = ["largest_submission"]


def largest_submission(spec: SweepSpec, plan: Plan, *, naming: Naming, provenance: Provenance) -> Submission:
    """The first submission of the first group that trains, or of the first group where none does."""
    trained = {trial.trial_id for trial in plan.trials if trial.kind == "lora"}
    group = max(plan.groups, key=lambda group: not trained.isdisjoint(group.trial_ids))
    return Submission(
        name=naming.sample(group.trial_ids),
        number=1,
        group_id=group.group_id,
        request=request_of(spec, plan, group, provenance=provenance, adapters={}),
    )
