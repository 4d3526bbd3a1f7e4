"""What went wrong on the way to results that are there: a reader of the report is to know it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from controller.ledger import Ledger
from job.contract.config import PlannedTrial
from job.contract.documents import Plan

__all__ = ["stumbles"]

_AT_MOST = 10


def stumbles(plan: Plan, ledger: Ledger) -> tuple[str, ...]:
    """A sentence for each failed attempt of a trial that has a result, and for each result whose process failed."""
    found = [sentence for trial in plan.trials for sentence in _of(trial, ledger)]
    more = len(found) - _AT_MOST
    return (*found[:_AT_MOST], f"{more} more failed attempts are in the store.") if more > 0 else tuple(found)


def _of(trial: PlannedTrial, ledger: Ledger) -> Iterator[str]:
    record = ledger.record(trial.trial_id)
    if record.result is None:
        return
    for failure in record.counted_failures:
        yield f"{trial.letter} has its result after a failed attempt ({failure.reason}): {failure.message}"
    failed = {failure.attempt for failure in record.failures}
    for end in ledger.ends_of(trial.trial_id):
        counted = failed.isdisjoint({end.name, end.attempt}) and end.name not in record.voided
        if end.outcome == "failed" and counted:
            yield f"{trial.letter} has a valid result although its process failed ({end.reason}): {end.message}"
