"""Submissions of a sweep of three trials, and how to wait for what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Callable

from fake_sweep import DIGEST, lora_trial, plan_of, request_for

from controller.backend import Backend, Observed, Submission
from job.contract.config import Source
from job.contract.documents import Plan

__all__ = ["DEADLINE_S", "PLAN", "one", "over", "runs", "submission", "wait_for"]

_BUCKET = Source(kind="s3", location="s3://bucket/model", digest=DIGEST)  # which every place reaches
PLAN = plan_of(tuple(lora_trial(number) for number in range(3))).model_copy(update={"model": _BUCKET, "data": _BUCKET})
DEADLINE_S = 30.0


def submission(number: int = 1, *, trial: int = 0, plan: Plan = PLAN) -> Submission:
    group = plan.groups[trial]
    return Submission(
        name=f"demo-0123abcd{trial}-{number}",
        number=number,
        group_id=group.group_id,
        request=request_for(plan, group.trial_ids),
    )


def one(backend: Backend, name: str) -> Observed | None:
    return next((seen for seen in backend.observe() if seen.name == name), None)


def wait_for(
    backend: Backend, name: str, condition: Callable[[Observed], bool], *, deadline_s: float = DEADLINE_S
) -> Observed:
    """The submission as soon as it is as wanted."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        seen = one(backend, name)
        if seen is not None and condition(seen):
            return seen
        time.sleep(0.02)
    raise AssertionError(f"{name} is {one(backend, name)} after {deadline_s} s")


def over(seen: Observed) -> bool:
    return seen.state == "ended"


def runs(seen: Observed) -> bool:
    return seen.state == "running"
