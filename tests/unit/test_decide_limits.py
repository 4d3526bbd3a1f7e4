"""What people and limits ask for: stops, pauses, waits, canaries, packed groups."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from fake_sweep import NOW, lora_trial, plan_of, result_of
from situations import (
    DONE,
    LATER,
    LIMITS,
    PLAN,
    A,
    B,
    C,
    actions,
    end,
    ended,
    failure,
    ledger,
    name_of,
    seen,
    situation,
    status,
    submits,
)

from controller.decide import RecordEnd, StopSubmission, Submit, WriteFailure, settled
from controller.ledger import Ledger, TrialRecord
from controller.states import Limits, Situation, states
from job.contract.documents import Control, Progress
from job.contract.errors import FailureReason, WaitReason


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


def test_a_pause_leaves_alone_what_lives_and_starts_no_other() -> None:
    paused = ledger(control=Control(state="paused"))
    for live in (seen(), seen(state="waiting")):
        given = situation(paused, [live])
        assert actions(given) == ()
        assert [one.state for one in states(given).values()] == [live.state, "pending", "pending"]


@pytest.mark.parametrize(("wait", "limit_s"), [("no_gpu", 7200), ("image", 1800)])
def test_no_limit_of_waiting_runs_in_a_pause_and_all_begin_anew_after_it(wait: WaitReason, limit_s: int) -> None:
    limits = replace(LIMITS, start_timeout_s=1800, queue_timeout_s=7200)
    waiting = replace(seen(state="waiting"), wait_reason=wait, scheduled_at=NOW if wait == "image" else None)

    def fails(control: Control, waited_s: int) -> bool:
        now = NOW + timedelta(seconds=waited_s)
        given = situation(ledger(control=control), [waiting], limits=limits, now=now)
        return any(isinstance(one, WriteFailure) for one in actions(given))

    assert fails(Control(), limit_s + 1)
    assert not fails(Control(state="paused"), 100 * limit_s)
    resumed = Control(resumed_at=NOW + timedelta(seconds=100 * limit_s))
    assert not fails(resumed, 101 * limit_s)
    assert fails(resumed, 101 * limit_s + 1)


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


@pytest.mark.parametrize(
    ("reason", "shared", "stops"),
    [("data", True, True), ("configuration", True, True), ("data", False, False), ("unavailable", True, False)],
)
def test_what_fails_for_a_cause_that_all_trials_share_stops_the_rest(
    reason: FailureReason, shared: bool, stops: bool
) -> None:
    failed = failure("p1", reason).model_copy(update={"shared": shared})
    running_b = seen((B.trial_id,))
    given = situation(ledger(TrialRecord(failures=(failed,))), [running_b])
    assert (StopSubmission(running_b.name) in actions(given)) is stops
    assert ("C" in dict(submits(given))) is not stops
    rest = states(given)[C.trial_id]
    assert (rest.state == "stopped") is stops
    assert (rest.text, rest.reason == reason) == (
        (f"every trial would fail as A {A.trial_id} did" if stops else ""),
        stops,
    )


def test_a_retry_of_the_trial_that_failed_for_a_shared_cause_frees_the_rest() -> None:
    failed = failure("p1", "data").model_copy(update={"shared": True})
    stored = ledger(TrialRecord(failures=(failed,)))
    void = stored.retry(A.trial_id, at=NOW)
    again = ledger(TrialRecord(failures=(failed,), retries=(void,)))
    assert {status.state for status in states(situation(again)).values()} == {"pending"}


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
        ("unschedulable", False, 1801, None),
        ("unschedulable", False, 7201, "queue_timeout"),
        ("configuration", True, 1801, "configuration"),
        ("node_lost", True, 90_000, None),
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


@pytest.mark.parametrize(("replaced", "stored", "fails"), [(2, 0, False), (3, 0, True), (2, 1, True), (0, 2, False)])
def test_processes_that_the_backend_replaces_too_often_fail_the_trial_and_stop_the_submission(
    replaced: int, stored: int, fails: bool
) -> None:
    ends = [end(number, "disrupted") for number in range(1, stored + 1)]
    live = replace(seen(number=stored + 1), disruptions=replaced)
    written = [one for one in actions(situation(ledger(ends=ends), [live])) if isinstance(one, WriteFailure)]
    assert [one.failure.reason for one in written] == (["disruptions"] if fails else [])
    if not fails:
        return
    then = actions(situation(ledger(TrialRecord(failures=(written[0].failure,)), ends=ends), [live]))
    assert StopSubmission(live.name) in then
    assert not [one for one in then if isinstance(one, WriteFailure)]


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
