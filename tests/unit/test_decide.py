"""The decision table, row by row: what is stored and observed, and what is done about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from fake_sweep import NOW, lora_trial, plan_of, result_of

from controller.backend import EndCause, Observed
from controller.decide import Action, Forget, RecordEnd, StopSubmission, Submit, WriteFailure, decide, settled
from controller.ledger import CorruptResult, Ledger, TrialRecord
from controller.names import Naming
from controller.states import Limits, Situation, TrialStatus, states
from job.contract.documents import Control, Failure, Plan, Progress, Retry, SubmissionEnd
from job.contract.errors import PERMANENT_REASONS, FailureReason

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


def test_a_new_sweep_submits_as_many_groups_as_may_run() -> None:
    assert submits(situation()) == [("A", 1), ("B", 1)]


def test_what_waits_takes_a_place_as_what_runs_does() -> None:
    assert submits(situation(observed=[seen(state="waiting")])) == [("B", 1)]


def test_a_finished_trial_is_never_submitted() -> None:
    assert submits(situation(ledger(DONE))) == [("B", 1), ("C", 1)]


def test_the_next_submission_waits_until_the_end_of_the_last_is_stored() -> None:
    failed = TrialRecord(failures=(failure("p1"),))
    assert "A" not in dict(submits(situation(ledger(failed), [ended(exit_code=1)], now=LATER)))
    assert ("A", 2) in submits(
        situation(ledger(failed, ends=[end()]), now=LATER, limits=replace(LIMITS, parallelism=3))
    )


def test_nothing_is_submitted_for_a_trial_that_any_live_submission_holds() -> None:
    other_plan = replace(seen((A.trial_id, "feedfeedfeed")), name="demo-00000000-1")
    assert submits(situation(observed=[other_plan])) == [("B", 1)]


def test_a_retry_queues_behind_first_attempts() -> None:
    failed = TrialRecord(failures=(failure("p1"),))
    assert submits(situation(ledger(failed, ends=[end()]), now=LATER)) == [("B", 1), ("C", 1)]


@pytest.mark.parametrize(
    ("seen_end", "outcome", "reason", "permanent"),
    [
        (ended(exit_code=0), "failed", "result_missing", False),
        (ended(exit_code=1), "failed", "crash", False),
        (ended(exit_code=139), "failed", "crash", False),
        (ended(exit_code=None), "failed", "crash", False),
        (ended(exit_code=64), "failed", "usage", True),
        (ended(exit_code=65), "failed", "data", True),
        (ended(exit_code=70), "failed", "bug", True),
        (ended(exit_code=75), "retry", "unavailable", False),
        (ended(exit_code=78), "failed", "configuration", True),
        (ended(exit_code=79), "failed", "gpu_oom", True),
        (ended(exit_code=80), "failed", "diverged", True),
        (ended(exit_code=81), "failed", "timeout", True),
        (ended(exit_code=137), "failed", "crash", False),
        (ended(exit_code=137, cause="oom"), "failed", "oom", True),
        (ended(cause="deleted"), "failed", "crash", False),
        (ended(exit_code=85), "disrupted", None, None),
        (ended(exit_code=143), "disrupted", None, None),
        (ended(exit_code=137, cause="killed"), "disrupted", None, None),
        (ended(cause="evicted"), "disrupted", None, None),
        (ended(cause="lost"), "disrupted", None, None),
    ],
)
def test_an_end_becomes_one_failure_or_none_and_is_recorded(
    seen_end: Observed, outcome: str, reason: FailureReason | None, permanent: bool | None
) -> None:
    done = [one for one in actions(situation(observed=[seen_end])) if not isinstance(one, Submit)]
    recorded = done.pop()
    assert isinstance(recorded, RecordEnd)
    assert (recorded.end.outcome, recorded.end.reason, recorded.end.number) == (outcome, reason, 1)
    if reason is None:
        assert done == []
        return
    (written,) = done
    assert isinstance(written, WriteFailure)
    found = written.failure
    assert (found.reason, found.permanent, found.attempt, found.trial_id) == (reason, permanent, "p1", A.trial_id)
    assert found.log_tail == "last words"
    assert found.written_by == "controller"


def test_a_failure_that_the_job_wrote_is_not_written_again() -> None:
    stored = ledger(TrialRecord(failures=(failure("p1", "diverged"),)))
    kinds = [type(one) for one in actions(situation(stored, [ended(exit_code=80)]))]
    assert kinds == [RecordEnd, Submit, Submit]


def test_a_result_wins_over_the_exit_code_and_over_failures() -> None:
    stored = ledger(TrialRecord(result=result_of(A, "p1"), failures=(failure("p0", "diverged"),)))
    given = situation(stored, [ended(exit_code=137)])
    assert status(given).state == "succeeded"
    assert not [one for one in actions(given) if isinstance(one, WriteFailure)]


def test_an_ended_submission_is_forgotten_only_when_its_end_is_stored() -> None:
    assert Forget(name_of()) not in actions(situation(ledger(DONE), [ended(exit_code=0)]))
    assert Forget(name_of()) in actions(situation(ledger(DONE, ends=[end(outcome="done")]), [ended(exit_code=0)]))


@pytest.mark.parametrize(
    ("failures", "voids", "state", "reason"),
    [
        ((), (), "pending", "slot"),
        ((failure("p1"),), (), "pending", "slot"),
        ((failure("p1"), failure("p2"), failure("p3")), (), "failed", "crash"),
        ((failure("p1", "diverged"),), (), "failed", "diverged"),
        ((failure("p1", "diverged"),), ("p1",), "pending", "slot"),
        ((failure("p1"), failure("p2"), failure("p3")), ("p1", "p2"), "pending", "slot"),
        ((failure("p1", "diverged"), failure("p2", "data")), ("p1",), "failed", "data"),
        ((failure("p1", "diverged", at=LATER), failure("p2")), (), "failed", "diverged"),
        ((failure("p1"), failure("p2", "unavailable", at=LATER)), (), "pending", "backoff"),
    ],
)
def test_a_trial_has_failed_when_an_unvoided_failure_is_permanent_or_its_attempts_are_spent(
    failures: tuple[Failure, ...], voids: tuple[str, ...], state: str, reason: str
) -> None:
    record = TrialRecord(failures=failures, retries=(Retry(trial_id=A.trial_id, at=NOW, voids=voids),))
    found = status(situation(ledger(record), now=LATER))
    assert (found.state, found.reason) == (state, reason)


def test_a_result_that_does_not_verify_is_a_failure_that_is_not_repeated() -> None:
    record = TrialRecord(corrupt=CorruptResult("adapter.safetensors is missing", "tag"))
    given = situation(ledger(record))
    assert (status(given).state, status(given).reason) == ("failed", "result_corrupt")
    assert submits(given) == [("B", 1), ("C", 1)]


@pytest.mark.parametrize(("waited_s", "due"), [(0, False), (9, False), (10, True), (-3600, True)])
def test_the_second_retry_waits_twice_as_long_and_a_clock_set_back_does_not_prolong_it(
    waited_s: int, due: bool
) -> None:
    stored = ledger(TrialRecord(failures=(failure("p1"), failure("p2"))), ends=[end(1), end(2)])
    given = situation(stored, now=NOW + timedelta(seconds=waited_s), limits=replace(LIMITS, parallelism=3, backoff_s=5))
    assert (("A", 3) in submits(given)) is due


def test_a_backoff_is_bounded() -> None:
    assert Limits(backoff_s=5, backoff_limit_s=300).backoff(10_000) == timedelta(seconds=300)


def test_disruptions_are_no_failures_until_there_are_too_many() -> None:
    two = ledger(TrialRecord(), ends=[end(1, "disrupted"), end(2, "disrupted")])
    given = situation(two, limits=replace(LIMITS, parallelism=3))
    assert ("A", 3) in submits(given)
    three = ledger(TrialRecord(), ends=[end(number, "disrupted") for number in (1, 2, 3)])
    written = [one for one in actions(situation(three)) if isinstance(one, WriteFailure)]
    assert [(one.failure.reason, one.failure.permanent) for one in written] == [("disruptions", True)]
    assert "A" not in dict(submits(situation(three)))


def test_a_retry_voids_disruptions_too() -> None:
    ends = [end(number, "disrupted") for number in (1, 2, 3)]
    retry = ledger(TrialRecord(), ends=ends).retry(A.trial_id, at=NOW)
    stored = ledger(TrialRecord(retries=(retry,)), ends=ends)
    assert ("A", 4) in submits(situation(stored, now=LATER, limits=replace(LIMITS, parallelism=3)))


def test_stops_that_were_asked_for_do_not_count() -> None:
    stored = ledger(TrialRecord(), ends=[end(number, "stopped") for number in range(1, 9)])
    assert ("A", 9) in submits(situation(stored, limits=replace(LIMITS, parallelism=3)))


@pytest.mark.parametrize(
    ("control", "limits"),
    [
        (Control(state="stopped"), LIMITS),
        (Control(trials={A.trial_id: "stop"}), LIMITS),
        (Control(), replace(LIMITS, leaving=True)),
    ],
)
def test_what_is_to_stop_is_stopped_once_and_its_end_is_no_failure(control: Control, limits: Limits) -> None:
    stored = ledger(control=control)
    assert StopSubmission(name_of()) in actions(situation(stored, [seen()], limits=limits))
    told = replace(seen(), stopping=True)
    assert StopSubmission(name_of()) not in actions(situation(stored, [told], limits=limits))
    after = actions(situation(stored, [ended(exit_code=85)], limits=limits))
    assert [one.end.outcome for one in after if isinstance(one, RecordEnd)] == ["stopped"]
    assert not [one for one in after if isinstance(one, WriteFailure)]


def test_a_stopped_run_submits_nothing_and_keeps_what_is_finished() -> None:
    given = situation(ledger(DONE, control=Control(state="stopped")))
    assert actions(given) == ()
    assert [one.state for one in states(given).values()] == ["succeeded", "stopped", "stopped"]
    assert settled(given, states(given))


def test_a_paused_run_submits_nothing_and_is_not_finished() -> None:
    given = situation(ledger(control=Control(state="paused")))
    assert actions(given) == ()
    assert {one.reason for one in states(given).values()} == {"paused"}
    assert not settled(given, states(given))


def test_a_controller_that_leaves_submits_nothing() -> None:
    assert actions(situation(limits=replace(LIMITS, leaving=True))) == ()


@pytest.mark.parametrize(("allowed", "stops"), [(None, False), (1, False), (0, True)])
def test_more_failed_trials_than_allowed_stop_the_rest(allowed: int | None, stops: bool) -> None:
    stored = ledger(TrialRecord(failures=(failure("p1", "diverged"),)))
    running_b = seen((B.trial_id,))
    given = situation(stored, [running_b], limits=replace(LIMITS, max_failed_trials=allowed))
    assert (StopSubmission(running_b.name) in actions(given)) is stops
    assert ("C" in dict(submits(given))) is not stops
    assert (states(given)[C.trial_id].state == "stopped") is stops


def test_a_job_that_has_published_or_failed_is_left_to_tidy_up() -> None:
    assert StopSubmission(name_of()) not in actions(situation(ledger(DONE), [seen()]))
    failed = ledger(TrialRecord(failures=(failure("p1", "diverged"),)))
    assert StopSubmission(name_of()) not in actions(situation(failed, [seen()]))


@pytest.mark.parametrize(
    ("wait", "scheduled", "waited_s", "reason"),
    [
        ("starting", True, 1801, "start_timeout"),
        ("starting", True, 1799, None),
        ("image", True, 1801, "image"),
        ("admission", False, 1801, "admission"),
        ("no_gpu", False, 1801, None),
        ("no_gpu", False, 7201, "queue_timeout"),
        ("queued", False, 7199, None),
    ],
)
def test_a_wait_over_its_limit_fails_the_trial_and_then_stops_the_submission(
    wait: str, scheduled: bool, waited_s: int, reason: FailureReason | None
) -> None:
    limits = replace(LIMITS, start_timeout_s=1800, queue_timeout_s=7200)
    waiting = replace(
        seen(state="waiting"),
        wait_reason=wait,  # type: ignore[arg-type]  # a table of texts
        scheduled_at=NOW if scheduled else None,
    )
    now = NOW + timedelta(seconds=waited_s)
    written = [
        one for one in actions(situation(observed=[waiting], limits=limits, now=now)) if isinstance(one, WriteFailure)
    ]
    assert [one.failure.reason for one in written] == ([] if reason is None else [reason])
    if reason is None:
        return
    stored = ledger(TrialRecord(failures=(written[0].failure,)))
    again = actions(situation(stored, [waiting], limits=limits, now=now))
    assert StopSubmission(waiting.name) in again
    assert not [one for one in again if isinstance(one, WriteFailure)]
    thrown_out = replace(waiting, state="ended", stopping=True, exit_code=None, cause="killed")
    after = actions(situation(stored, [thrown_out], limits=limits, now=now))
    assert [one.end.outcome for one in after if isinstance(one, RecordEnd)] == ["stopped"]


def test_the_first_submission_is_the_canary_of_all_others() -> None:
    limits = replace(LIMITS, canary=True)
    assert submits(situation(limits=limits)) == [("A", 1)]
    assert submits(situation(observed=[seen(state="waiting")], limits=limits)) == []
    assert states(situation(observed=[seen(state="waiting")], limits=limits))[B.trial_id].reason == "canary"
    assert submits(situation(observed=[seen()], limits=limits)) == [("B", 1)]


def test_a_group_is_tried_again_with_just_the_trials_that_are_left() -> None:
    plan = plan_of((A, B, C), per_group=3)
    ids = tuple(trial.trial_id for trial in plan.trials)
    ended_group = end().model_copy(update={"name": name_of(ids), "trial_ids": ids, "group_id": plan.groups[0].group_id})
    given = situation(ledger(DONE, ends=[ended_group]), plan=plan, now=LATER)
    assert actions(given) == (Submit(name_of(ids, 2), 2, plan.groups[0].group_id, (B.trial_id, C.trial_id)),)


def test_a_mixed_group_that_ends_in_order_has_no_failures_beyond_its_own() -> None:
    plan = plan_of((A, B), per_group=2)
    ids = (A.trial_id, B.trial_id)
    own = failure("p1", "diverged").model_copy(update={"trial_id": B.trial_id})
    stored = Ledger(trials={A.trial_id: DONE, B.trial_id: TrialRecord(failures=(own,))})
    done = replace(seen(ids, state="ended"), exit_code=0)
    recorded = actions(situation(stored, [done], plan=plan))
    assert [one.end.outcome for one in recorded if isinstance(one, RecordEnd)] == ["done"]
    assert len(recorded) == 1


def test_stopping_one_trial_of_a_packed_group_ends_its_process_and_the_rest_goes_on() -> None:
    plan = plan_of((A, B), per_group=2)
    ids = (A.trial_id, B.trial_id)
    control = Control(trials={A.trial_id: "stop"})
    assert actions(situation(ledger(control=control), [seen(ids)], plan=plan)) == (StopSubmission(name_of(ids)),)
    over = end(outcome="stopped").model_copy(update={"name": name_of(ids), "trial_ids": ids})
    (submit,) = actions(situation(ledger(control=control, ends=[over]), plan=plan))
    assert isinstance(submit, Submit)
    assert submit.trial_ids == (B.trial_id,)


def test_trials_with_one_adapter_run_one_after_the_other_so_that_it_is_trained_once() -> None:
    same = lora_trial(0, max_new_tokens=32)
    assert same.adapter_id == A.adapter_id
    plan = plan_of((A, same, B))
    assert submits(situation(plan=plan)) == [("A", 1), ("B", 1)]
    assert submits(situation(ledger(DONE), [seen((B.trial_id,))], plan=plan)) == [("A", 1)]


def test_an_end_of_a_group_that_left_the_plan_is_still_recorded() -> None:
    gone = replace(seen(("feedfeedfeed",), state="ended"), exit_code=0)
    recorded = actions(situation(observed=[gone]))[0]
    assert isinstance(recorded, RecordEnd)
    assert recorded.end.outcome == "done"


def progress(*, attempt: str = "p1", at: datetime = NOW) -> Progress:
    return Progress(attempt=attempt, stage="train", step=1, max_steps=4, updated_at=at)


@pytest.mark.parametrize(
    ("stored", "state"),
    [
        (ledger(TrialRecord(progress=progress())), "running"),
        (ledger(TrialRecord(progress=progress()), ends=[end()]), "pending"),
        (ledger(TrialRecord(progress=progress(), failures=(failure("p1"),))), "pending"),
        (ledger(TrialRecord(progress=progress(at=NOW - timedelta(hours=1)))), "pending"),
        (ledger(TrialRecord(progress=progress(), result=result_of(A, "p1"))), "succeeded"),
    ],
)
def test_without_a_backend_a_trial_runs_while_its_progress_is_fresh(stored: Ledger, state: str) -> None:
    given = Situation(PLAN, stored, None, LIMITS, NOW)
    assert status(given).state == state


def test_every_trial_of_the_plan_has_a_status() -> None:
    assert list(states(situation())) == [trial.trial_id for trial in PLAN.trials]
