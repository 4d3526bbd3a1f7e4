"""Situations of a sweep of three trials, put together from a few words, for tests of what is decided in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from fake_sweep import NOW, lora_trial, plan_of, result_of

from controller.backend import EndCause, Observed
from controller.decide import Action, Submit, decide
from controller.ledger import Ledger, TrialRecord
from controller.names import Naming
from controller.states import Limits, Situation, TrialStatus, states
from job.contract.documents import Control, Failure, Plan, SubmissionEnd
from job.contract.errors import PERMANENT_REASONS, FailureReason

__all__ = [
    "DONE",
    "LATER",
    "LIMITS",
    "NAMING",
    "PLAN",
    "A",
    "B",
    "C",
    "actions",
    "end",
    "ended",
    "failure",
    "ledger",
    "name_of",
    "seen",
    "situation",
    "status",
    "submits",
]

A, B, C = (lora_trial(number) for number in range(3))
PLAN = plan_of((A, B, C))
NAMING = Naming("/runs", "demo", "main")
LIMITS = Limits(parallelism=2, max_attempts=3, max_disruptions=2)


def name_of(trial_ids: Iterable[str] = (A.trial_id,), number: int = 1) -> str:
    return NAMING.submission(tuple(trial_ids), number)


def seen(trial_ids: tuple[str, ...] = (A.trial_id,), *, number: int = 1, state: str = "running") -> Observed:
    running = state != "waiting"
    return Observed(
        name=name_of(trial_ids, number),
        group_id=f"g-{trial_ids[0]}",
        number=number,
        trial_ids=trial_ids,
        state="running" if state == "running" else "waiting" if state == "waiting" else "ended",
        wait_reason=None if running else "starting",
        attempt=f"p{number}" if running else None,
        submitted_at=NOW,
        scheduled_at=NOW,
        started_at=NOW if running else None,
        ended_at=NOW if state == "ended" else None,
    )


def ended(*, exit_code: int | None = None, cause: EndCause = "exited", number: int = 1) -> Observed:
    return replace(seen(number=number, state="ended"), exit_code=exit_code, cause=cause, log_tail="last words")


def failure(attempt: str, reason: FailureReason = "crash", *, at: datetime = NOW, by: str = "job") -> Failure:
    return Failure(
        trial_id=A.trial_id,
        attempt=attempt,
        reason=reason,
        permanent=reason in PERMANENT_REASONS,
        exit_code=1,
        message="it broke",
        written_by="job" if by == "job" else "controller",
        at=at,
    )


def end(number: int = 1, outcome: str = "failed", *, at: datetime = NOW) -> SubmissionEnd:
    return SubmissionEnd(
        name=name_of(number=number),
        group_id=f"g-{A.trial_id}",
        number=number,
        trial_ids=(A.trial_id,),
        attempt=f"p{number}",
        outcome=outcome,
        exit_code=1,
        reason=None,
        started_at=NOW,
        ended_at=at,
    )


def ledger(
    record: TrialRecord | None = None, *, ends: Iterable[SubmissionEnd] = (), control: Control | None = None
) -> Ledger:
    trials = {} if record is None else {A.trial_id: record}
    return Ledger(control=control or Control(), trials=trials, ends={one.name: one for one in ends})


def situation(
    stored: Ledger | None = None,
    observed: Iterable[Observed] = (),
    *,
    limits: Limits = LIMITS,
    now: datetime = NOW,
    plan: Plan = PLAN,
) -> Situation:
    return Situation(plan, stored or Ledger(), tuple(observed), limits, now)


def actions(given: Situation) -> tuple[Action, ...]:
    return decide(given, naming=NAMING)


def submits(given: Situation) -> list[tuple[str, int]]:
    """Letter of the first trial and number of every submission that is made."""
    letters = {trial.trial_id: trial.letter for trial in given.plan.trials}
    return [(letters[one.trial_ids[0]], one.number) for one in actions(given) if isinstance(one, Submit)]


def status(given: Situation) -> TrialStatus:
    return states(given)[A.trial_id]


LATER = NOW + timedelta(hours=1)
DONE = TrialRecord(result=result_of(A, "p1"))
